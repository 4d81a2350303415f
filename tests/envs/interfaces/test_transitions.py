"""Per-player transitions: by hand on Kuhn poker, and against the single-player form."""

from typing import Any, Literal

import numpy as np
import pytest

from duologue.envs import (  # fmt: skip
    AGENT_IDS,
    Dialogue,
    LanguageGame,
    LanguageGameEnv,
    Observation,
    PlayerTransition,
    PlayerTransitions,
    RandomAgent,
    SinglePlayerEnv,
    TurnLevelEnv,
    Utterance,
    make_game,
)
from duologue.envs.games.kuhn_poker import BET, CALL, CHECK, KuhnPoker
from duologue.tests.envs.helpers import Coordination, Whisper

Transition = PlayerTransition[Any, Any]
game_ids: Any = {"ids": lambda game: type(game).__name__}


def play(env: Any, actions: list[Any]) -> list[Transition]:
    """Play an episode in which these actions are taken; return its transitions in the order of completion."""
    stream, left, found = PlayerTransitions[Any, Any](), list(actions), list[Transition]()
    for agent_id in env.agent_iter():
        observation, reward, terminated, truncated, _ = env.last()
        action = None if terminated or truncated else left.pop(0)
        transition = stream.add(agent_id, observation, reward, terminated, action)
        found += [] if transition is None else [transition]
        env.step(action)
    assert not left
    return found


def test_kuhn_poker_by_hand() -> None:
    """Player 0 checks, is bet into and calls with the king: its second view has the bet, and the call earns 2 chips."""
    env = LanguageGameEnv(KuhnPoker())
    env.reset(options={"deal": ("king", "queen")})
    check, call, bet = play(env, [CHECK, BET, CALL])
    assert [
        (transition.agent_id, transition.action, transition.reward, transition.terminated)
        for transition in (check, call, bet)
    ] == [
        ("player_0", CHECK, 0.0, False),
        ("player_0", CALL, 2.0, True),
        ("player_1", BET, -2.0, True),
    ]
    assert CHECK not in check.observation["observation"]
    assert np.array_equal(check.next_observation["observation"], call.observation["observation"])
    assert {CHECK, BET} <= set(call.observation["observation"].tolist())
    assert BET not in bet.observation["observation"]
    assert CALL in bet.next_observation["observation"]
    assert not bet.next_observation["action_mask"].any()


class Recorded:
    """Says random turns and remembers them."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self.said: list[int] = []

    def speak(self, views: Any, rng: np.random.Generator) -> list[Utterance]:
        """Return the turns."""
        utterances = RandomAgent().speak(views, rng)
        self.said += [token for utterance in utterances for token in utterance.tokens]
        return utterances


class Paying(Whisper):
    """Pays both players for every turn, the other's opening turn included."""

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        return float(10 ** len(dialogue.turns)), -float(10 ** len(dialogue.turns))


@pytest.mark.parametrize("player", [0, 1])
@pytest.mark.parametrize("game", [KuhnPoker(), Paying(), Coordination(), make_game("tic_tac_toe-v0")], **game_ids)
def test_a_players_transitions_are_those_of_the_single_player_form(
    game: LanguageGame[Any], player: Literal[0, 1]
) -> None:
    """The same deals and tokens: equal observations, actions, rewards and ends, first and last of an episode too."""
    rng = np.random.default_rng(player)
    for seed in range(8):
        opponent = Recorded()
        alone = SinglePlayerEnv(game, player=player, opponent=opponent)
        observation, _ = alone.reset(seed=seed)
        wanted, ended = list[Transition](), False
        while not ended:
            action = int(rng.choice(np.flatnonzero(observation["action_mask"])))
            seen = observation
            observation, reward, ended, _, _ = alone.step(action)
            wanted.append(PlayerTransition(AGENT_IDS[player], seen, action, reward, observation, ended))
        assert alone.episode is not None
        env = LanguageGameEnv(game)
        env.reset(options={"deal": alone.episode.dialogue.deal})
        own, others = [transition.action for transition in wanted], list(opponent.said)
        found = play_by_seat(env, player, own, others)
        assert_equal([transition for transition in found if transition.agent_id == AGENT_IDS[player]], wanted)


def play_by_seat(env: LanguageGameEnv[Any], player: int, own: list[int], others: list[int]) -> list[Transition]:
    """Play an episode, each player's tokens in order."""
    stream, found = PlayerTransitions[Observation, int](), list[Transition]()
    for agent_id in env.agent_iter():
        observation, reward, terminated, _, _ = env.last()
        assert observation is not None
        tokens = own if agent_id == AGENT_IDS[player] else others
        action = None if terminated else tokens.pop(0)
        transition = stream.add(agent_id, observation, reward, terminated, action)
        found += [] if transition is None else [transition]
        env.step(None if action is None else np.int64(action))
    return found


def assert_equal(found: list[Transition], wanted: list[Transition]) -> None:
    """Compare everything that a learner reads."""
    assert [(transition.action, transition.terminated) for transition in found] == [
        (transition.action, transition.terminated) for transition in wanted
    ]
    assert [transition.reward for transition in found] == pytest.approx([transition.reward for transition in wanted])
    for ours, theirs in zip(found, wanted, strict=True):
        assert_same_observation(ours.observation, theirs.observation)
        assert_same_observation(ours.next_observation, theirs.next_observation)


def assert_same_observation(seen: Observation, expected: Observation) -> None:
    """Compare views and masks."""
    assert np.array_equal(seen["observation"], expected["observation"])
    assert np.array_equal(seen["action_mask"], expected["action_mask"])


def test_in_the_turn_form_a_decision_is_a_turn() -> None:
    """Whisper pays player 0 1, 2 and 3 for its three turns: 1 + 2 until its second turn, 3 at the end."""
    env = TurnLevelEnv(Whisper())
    env.reset(options={"deal": "red"})
    eos = env.game.vocabulary.eos_id
    red, blue, yes = env.game.vocabulary.encode("red blue yes")
    opening, last, answer = play(env, [env.pad(turn) for turn in ((blue, eos), (yes, eos), (red, eos))])
    assert [
        (transition.agent_id, transition.reward, transition.terminated) for transition in (opening, last, answer)
    ] == [
        ("player_0", 3.0, False),
        ("player_0", 3.0, True),
        ("player_1", 0.5, True),
    ]
    assert np.array_equal(opening.next_observation, last.observation)


def test_an_episode_broken_off_leaves_nothing_behind_after_reset() -> None:
    """Else its last decision would lead into the next episode."""
    env, stream = LanguageGameEnv(KuhnPoker()), PlayerTransitions[Any, int]()
    env.reset(options={"deal": ("king", "queen")})
    assert stream.add("player_0", env.observe("player_0"), 0.0, False, CHECK) is None
    stream.reset()
    assert stream.add("player_0", env.observe("player_0"), 0.0, False, BET) is None


def test_a_truncation_is_no_termination() -> None:
    """None ends the stream; whether the future counts is what `terminated` says."""
    stream = PlayerTransitions[str, int]()
    stream.add("player_0", "before", 0.25, False, 1)
    assert stream.add("player_0", "after", 1.0, False, None) == PlayerTransition(
        "player_0", "before", 1, 1.25, "after", False
    )
    assert stream.add("player_0", "next episode", 0.0, False, 1) is None
