"""Ctrl-C inside the rules or their judge, at any call of theirs: said again, a token does what it would have done."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from duologue.agents import ScriptedAgent
from duologue.envs import (
    Dialogue,
    Ending,
    Episode,
    LanguageGameEnv,
    SinglePlayerEnv,
    Tokens,
    TurnLevelEnv,
    Utterance,
    speak_all,
)
from duologue.envs.batched.game import BatchedGame
from duologue.envs.interfaces.mask_to_info import MaskToInfo
from duologue.envs.interfaces.vector import LanguageGameVectorEnv
from duologue.tests.envs.helpers import BLUE, RED, YES, Whisper

THINK, END_THINK = Whisper.vocabulary.think_ids
EOS = Whisper.vocabulary.eos_id
TURNS = ((THINK, YES, END_THINK, RED, EOS), (RED, YES, BLUE), (BLUE, EOS))


class Interrupted(Whisper):
    """Whisper, whose call number `at` of any rule is interrupted, once."""

    def __init__(self, at: int = -1) -> None:
        """Count the calls from 0; -1: none is interrupted."""
        self.at, self.calls = at, 0

    def _tick(self) -> None:
        self.calls += 1
        if self.calls == self.at + 1:
            raise KeyboardInterrupt

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        self._tick()
        return super().next_player(dialogue)

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        self._tick()
        return super().rewards(dialogue)

    def rewards_batch(self, dialogues: Sequence[Dialogue[str]]) -> Sequence[tuple[float, float]]:
        self._tick()
        return super().rewards_batch(dialogues)

    def turn_limit(self, dialogue: Dialogue[str]) -> int:
        self._tick()
        return super().turn_limit(dialogue)

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
        self._tick()
        return super().legal_tokens(dialogue, prefix)

    def hears(self, dialogue: Dialogue[str], player: int) -> Tokens | None:
        self._tick()
        return super().hears(dialogue, player)

    def announcement(self, dialogue: Dialogue[str], player: int) -> Tokens:
        self._tick()
        return super().announcement(dialogue, player)

    def briefing(self, deal: str, player: int) -> Tokens:
        self._tick()
        return super().briefing(deal, player)


Calls = list[Callable[[], object]]
Form = Callable[[Interrupted], tuple[Calls, Callable[[], object]]]
"""How a game is played: the calls, in order, and what describes where play stands without asking the rules."""


def standing(episode: Episode[Any]) -> object:
    """Return all that an episode keeps."""
    kept = (episode.dialogue, episode.player, episode.lengths, episode.returns, episode.reward_history)
    turn = episode.open_turn
    opened = (turn.spoken, turn.thought, turn.thinking, turn.closed_by, turn.legal_mask.tolist())
    return repr((kept, opened, episode.messages, episode.views.tolist()))


def pushed(game: Interrupted) -> tuple[Calls, Callable[[], object]]:
    """Token by token, through the engine."""
    episode = Episode(game, "red")
    return [partial(episode.push, token) for turn in TURNS for token in turn], lambda: standing(episode)


def spoken(game: Interrupted) -> tuple[Calls, Callable[[], object]]:
    """Turn by turn, each paid by a call of its own."""
    episode, calls = Episode(game, "red"), Calls()
    for turn in TURNS:
        calls.append(partial(episode.speak, Utterance(turn, ending=Ending.TOO_LONG)))
        calls.append(lambda: episode.settle(game.rewards(episode.dialogue)))
    return calls, lambda: standing(episode)


def spoken_together(game: Interrupted) -> tuple[Calls, Callable[[], object]]:
    """Turn by turn in three episodes, paid together."""
    episodes = [Episode(game, deal) for deal in ("red", "blue", "red")]
    calls: Calls = [partial(speak_all, episodes, [Utterance(turn)] * 3) for turn in TURNS]
    return calls, lambda: [standing(episode) for episode in episodes]


def books(env: LanguageGameEnv[Any]) -> object:
    """Return all that the AEC form keeps."""
    assert env.episode is not None
    kept = (env.rewards, env._cumulative_rewards, env.agent_selection, env.terminations, env.agents)
    return repr(kept), standing(env.episode)


def stepped(game: Interrupted) -> tuple[Calls, Callable[[], object]]:
    """Token by token, through the AEC form with its mask in the info."""
    inside = LanguageGameEnv(game)
    env = MaskToInfo(inside)
    env.reset(options={"deal": "red"})
    return [partial(env.step, token) for turn in TURNS for token in turn], lambda: books(inside)


def stepped_by_turns(game: Interrupted) -> tuple[Calls, Callable[[], object]]:
    """Turn by turn, through the turn-level form."""
    env = TurnLevelEnv(game)
    env.reset(options={"deal": "red"})
    return [partial(env.step, env.pad(turn)) for turn in TURNS], lambda: books(env.env)


def arrays(plays: BatchedGame[Any]) -> object:
    """Return all that the batched form shows, and where its deals stand."""
    shown = ("views", "lengths", "player", "rewards", "returns", "finished", "final_returns", "forfeited_by")
    numbers = [getattr(plays, name).tolist() for name in shown]
    return repr((numbers, [plays.dialogue(k) for k in range(plays.num_episodes)], plays._rng.bit_generator.state))


def batched(game: Interrupted) -> tuple[Calls, Callable[[], object]]:
    """Token by token, in three episodes in lockstep, each of them dealt anew at its end."""
    plays = BatchedGame(game, 3, seed=0)
    tokens = [token for turn in (*TURNS, TURNS[0]) for token in turn]
    return [partial(plays.step, [token] * 3) for token in tokens], lambda: arrays(plays)


def batched_by_turns(game: Interrupted) -> tuple[Calls, Callable[[], object]]:
    """Turn by turn, in three episodes in lockstep, each of them dealt anew at its end."""
    plays = BatchedGame(game, 3, seed=0)
    calls: Calls = [partial(plays.speak, [turn] * 3, [len(turn)] * 3) for turn in (*TURNS, TURNS[0])]
    return calls, lambda: arrays(plays)


def played(form: Form, game: Interrupted) -> tuple[object, int]:
    """Play, saying again what was interrupted; return where play then stands and how many calls were interrupted."""
    calls, state = form(game)
    interrupts = 0
    for call in calls:
        before = state()
        try:
            call()
        except KeyboardInterrupt:
            interrupts += 1
            assert state() == before
            call()
    return state(), interrupts


FORMS = [pushed, spoken, spoken_together, stepped, stepped_by_turns, batched, batched_by_turns]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_an_interrupted_call_can_be_made_again(form: Form) -> None:
    """At every call of every rule: the same state before and the same result after."""
    undisturbed = Interrupted()
    form(undisturbed)
    dealt = undisturbed.calls
    game = Interrupted()
    expected, _ = played(form, game)
    assert game.calls > dealt + 10
    for at in range(dealt, game.calls):
        result, interrupts = played(form, Interrupted(at))
        assert (result, interrupts) == (expected, 1), f"call {at}"


def single(game: Interrupted) -> tuple[Any, Callable[[int], float], Callable[[], str]]:
    """One player against a scripted one."""
    env = SinglePlayerEnv(game, opponent=ScriptedAgent(["red yes"]), render_mode="ansi")
    return env, lambda token: env.step(token)[1], lambda: env.render() or ""


def vector(game: Interrupted) -> tuple[Any, Callable[[int], float], Callable[[], str]]:
    """The same, twice side by side."""
    env = LanguageGameVectorEnv(game, 2, opponent=ScriptedAgent(["red yes"]), render_mode="ansi")
    return env, lambda token: float(env.step(np.full(2, token))[1][0]), lambda: "".join(env.render() or ())


@pytest.mark.parametrize("form", [single, vector], ids=lambda form: form.__name__)
def test_an_interrupt_against_an_opponent_loses_the_token_or_the_episode(form: Any) -> None:
    """At the player's own token all stands as before; in the opponent's turn only a reset goes on."""
    outcomes = set()
    for at in range(-1, 60):
        game = Interrupted()
        env, step, render = form(game)
        env.reset(seed=0, options={"deal": "red"})
        game.at, game.calls = at, 0
        outcome, earned = "undisturbed", 0.0
        for token in (RED, EOS, BLUE, EOS):
            try:
                earned += step(token)
            except KeyboardInterrupt:
                outcome = "said again"
                try:
                    earned += step(token)
                except RuntimeError:
                    outcome = "reset"
                    break
        outcomes.add(outcome)
        game.at = -1
        if outcome == "reset":
            env.reset(seed=0, options={"deal": "red"})
            earned = sum(step(token) for token in (RED, EOS, BLUE, EOS))
        assert (earned, render().count("[over]")) == (6.0, 2 if form is vector else 1)
    assert outcomes == {"undisturbed", "said again", "reset"}


@pytest.mark.parametrize("make", [LanguageGameEnv, SinglePlayerEnv, TurnLevelEnv])
def test_an_interrupted_reset_can_be_made_again(make: Any) -> None:
    """The deal that was drawn is not lost, and the episode before it is still there."""
    undisturbed = make(Interrupted())
    undisturbed.reset(seed=3)
    expected = [dealt(undisturbed) for _ in range(4)]
    for at in range(5):
        game = Interrupted()
        env = make(game)
        env.reset(seed=3)
        game.at, game.calls = at, 0
        got = []
        for _ in range(4):
            before = env.unwrapped.episode
            try:
                got.append(dealt(env))
            except KeyboardInterrupt:
                assert env.unwrapped.episode is before
                got.append(dealt(env))
        assert got == expected
        assert game.calls > at


def dealt(env: Any) -> str:
    """Reset, and return the deal."""
    env.reset()
    deal: str = env.unwrapped.episode.dialogue.deal
    return deal


def test_a_batch_that_was_interrupted_while_it_wrote_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two bytecodes nothing can be undone: every use asks for a reset of all, which goes on."""
    plays, undisturbed = (BatchedGame(Whisper(), 3, seed=0) for _ in range(2))

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BatchedGame, "_open", interrupted)
        with pytest.raises(KeyboardInterrupt):
            plays.speak([[RED, EOS]] * 3, [2, 2, 2])
    for use in (plays.legal_masks, lambda: plays.step([RED] * 3), lambda: plays.view(0), lambda: plays.reset([1])):
        with pytest.raises(
            RuntimeError, match=r"expected .* all episodes, as an earlier call was interrupted half-way"
        ):
            use()
    plays.reset(seed=1)
    undisturbed.reset(seed=1)
    for tokens in ([RED, BLUE, EOS], [EOS, YES, RED], [RED, EOS, EOS], [EOS, EOS, EOS]):
        plays.step(tokens)
        undisturbed.step(tokens)
    assert arrays(plays) == arrays(undisturbed)
