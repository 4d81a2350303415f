"""The conformance suite for authors of games: what every game must keep, whatever its rules.

Needs no test framework. Each check plays random episodes, forfeits among them, and raises `ConformanceError`
with the game, what was expected and what came; `check_game` runs all of them.

>>> from duologue.envs.games.bluff import Bluff
>>> check_game(Bluff(), episodes=4)
"""

from __future__ import annotations

import copy
import itertools
import pickle
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium.utils.env_checker import data_equivalence

from ..engine.contract import TOLERANCE, check_rewards, checked_rewards
from ..engine.episode import Episode, speak_all
from ..engine.plays import (
    Play,
    random_play,
    random_plays,
    replayed,
    utterances_of,
    with_other_deals,
    with_other_thoughts,
    with_other_words,
)
from ..engine.views import Observation, Utterance, View
from ..game import PLAYERS, LanguageGame
from ..interfaces.aec import AGENT_IDS, LanguageGameEnv
from ..interfaces.single_player import SinglePlayerEnv
from .answers import ConformanceError, check_answers
from .knowledge import Observed, all_observed, knowledge

__all__ = ["CHECKS", "Check", "ConformanceError", "check_game"]

MAX_OTHER_DEALS = 8
"""How many other deals the leak check replays an episode under."""
JUDGE_TOLERANCE = 1e-6
"""How far a learned judge may differ between a batch and a single call, which sum in another order."""

Step = tuple[Observation, tuple[float, float], str]
"""What follows a token: the next speaker's observation, both rewards, the transcript."""


class Check(Protocol):
    """One check of the suite."""

    def __call__(self, game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
        """Raise ConformanceError if the game breaks the contract in one of so many random episodes."""
        ...


def check_game(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Run every check of `CHECKS` on a game.

    Raises:
        ConformanceError: a check failed; the message says what was expected and what came.
    """
    for check in CHECKS:
        try:
            check(game, seed=seed, episodes=episodes)
        except ConformanceError:
            raise
        except Exception as error:
            met = f"{type(error).__name__}: {error}"
            name = getattr(check, "__name__", repr(check))
            raise ConformanceError(f"{type(game).__name__}: expected {name} to pass, got {met}") from error


def check_replay(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that the same seed and tokens give the same observations, rewards and transcript."""
    for k in range(seed, seed + episodes):
        rng = np.random.default_rng(k)
        deal = game.deals.sample(rng)
        play = random_play(game, deal, rng, eos_share=(k % 3) / 4, forfeits=k % 4 == 3)
        first, second = (_steps(_reset(game, seed=k), play.tokens) for _ in range(2))
        _expect(_same(first, second), game, "the same seed and tokens to give the same episode", play)
        dealt = _steps(_reset(game, deal=deal), play.tokens)
        _expect(_same(first, dealt), game, "the same deal, passed as an option, to give the same episode", play)


def check_forms(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that the AEC, turn-level and single-player forms agree token for token and reward for reward."""
    for play in random_plays(game, seed, episodes):
        env = _reset(game, deal=play.deal)
        observations = [env.observe(env.agent_selection)]
        steps = _steps(env, play.tokens)
        observations += [observation for observation, _, _ in steps]
        by_turns = Episode(game, play.deal)
        for _, utterance in utterances_of(game, play):
            speak_all([by_turns], [utterance])
        _expect(
            by_turns.transcript() == env.transcript(),
            game,
            "the same transcript turn by turn",
            play,
        )
        _expect(
            _same(by_turns.views.reshape(-1), env.state()),
            game,
            "the same views turn by turn",
            play,
        )
        paid = [rewards for _, rewards, _ in steps if any(rewards)]
        history = [pair for pair in by_turns.reward_history if any(pair)]
        _expect(paid == history, game, f"the rewards of turn-level play, {history}", paid)
        for player in set(play.speakers):
            _check_single_player(game, play, player, observations, by_turns)


def check_rewards_add_up(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that what `last()` hands out adds up to the return, for both players, dead steps included."""
    for play in random_plays(game, seed, episodes):
        env, tokens = _reset(game, deal=play.deal), iter(play.tokens)
        sums = dict.fromkeys(AGENT_IDS, 0.0)
        for agent_id in env.agent_iter():
            _, reward, terminated, truncated, _ = env.last()
            sums[agent_id] += reward
            env.step(None if terminated or truncated else next(tokens))
        returns = replayed(game, play).returns
        close = all(abs(sums[AGENT_IDS[p]] - returns[p]) <= TOLERANCE for p in PLAYERS)
        _expect(close, game, f"the rewards of last() to sum to the returns {returns}", sums)


def check_payoffs(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that the payoff type holds at every step, a forfeit by either player included."""
    for player in PLAYERS:
        checked_rewards(game, game.forfeit_rewards(player))
    for play in random_plays(game, seed, episodes):
        env = _reset(game, deal=play.deal)
        paid = [rewards for _, rewards, _ in _steps(env, play.tokens)]
        for rewards in paid:
            check_rewards(game, rewards)
        last = env.dialogue.turns[-1]
        if last.ending.forfeits and last.player is not None:
            due = checked_rewards(game, game.forfeit_rewards(last.player))
            _expect(paid[-1] == due, game, f"a forfeit to pay {due}", paid[-1])


def check_batches(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that `rewards_batch` gives the `rewards` of each dialogue, in order."""
    finished = [replayed(game, play).dialogue for play in random_plays(game, seed, episodes)]
    dialogues = [dialogue.upto(k + 1) for dialogue in finished for k in range(len(dialogue.turns))]
    dialogues = [dialogue for dialogue in dialogues if not dialogue.turns[-1].ending.forfeits]
    batch = [checked_rewards(game, pair) for pair in game.rewards_batch(dialogues)]
    single = [checked_rewards(game, game.rewards(dialogue)) for dialogue in dialogues]
    _expect(len(batch) == len(single), game, f"{len(single)} pairs from rewards_batch", len(batch))
    close = np.allclose(np.asarray(batch), np.asarray(single), rtol=0, atol=JUDGE_TOLERANCE)
    _expect(close, game, f"rewards_batch to give {single[:3]} ...", batch[:3])


def check_turns(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that a turn ends by `<eos>`, by the length limit or by a forfeit, and by nothing else."""
    opening, closing = game.vocabulary.think_ids or (-1, -1)
    for play in random_plays(game, seed, episodes):
        env, spoken, thinking = _reset(game, deal=play.deal), 0, False
        for token in play.tokens:
            speaker, num_turns = env.agent_selection, len(env.dialogue.turns)
            legal, limit = bool(env.observe(speaker)["action_mask"][token]), game.turn_limit(env.dialogue)
            env.step(token)
            thinking = token == opening or (thinking and token != closing)
            spoken += not thinking and token not in (opening, closing)
            ends = not legal or token == game.vocabulary.eos_id or spoken == limit
            ended = len(env.dialogue.turns) == num_turns + 1
            _expect(ended == ends, game, f"a turn to be over ({ends}) after token {token}", play)
            _expect(ends or env.agent_selection == speaker, game, f"{speaker} to go on inside its turn", play)
            spoken = 0 if ends else spoken


def check_masks(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that the speaker has a legal token, the other none, and padding is never legal."""
    for play in random_plays(game, seed, episodes):
        env = _reset(game, deal=play.deal)
        for token, player in zip(play.tokens, play.speakers, strict=True):
            speaking, silent = (env.observe(AGENT_IDS[p])["action_mask"] for p in (player, 1 - player))
            _expect(
                env.agent_selection == AGENT_IDS[player],
                game,
                f"player {player} to speak",
                env.agent_selection,
            )
            _expect(bool(speaking.any()), game, f"a legal token for player {player}", "an all-zero mask")
            _expect(speaking[0] == 0, game, "id 0, the padding, never to be legal", speaking)
            _expect(not silent.any(), game, f"an all-zero mask for player {1 - player}, who is silent", silent)
            env.step(token)
        over = [env.observe(agent_id)["action_mask"].any() for agent_id in AGENT_IDS]
        _expect(not any(over), game, "all-zero masks after the end", play)


def check_observations(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that observations lie in their space, in fresh arrays, and pad the speaker's view with 0."""
    for play in random_plays(game, seed, episodes):
        env = _reset(game, deal=play.deal)
        for token in play.tokens:
            tokens = env.view(env.agent_selection).tokens
            padded = np.pad(tokens, (0, game.max_view_tokens - len(tokens)))
            seen = env.observe(env.agent_selection)["observation"]
            _expect(_same(seen, padded), game, f"the observation to be the padded view {padded}", seen)
            _check_arrays(game, env)
            env.step(token)
        _check_arrays(game, env)


def check_endings(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that both players end on the same step, within `max_turns`, with empty infos throughout."""
    for play in random_plays(game, seed, episodes):
        env = _reset(game, deal=play.deal)
        for token in play.tokens:
            live = not any(env.terminations.values()) and not any(env.truncations.values())
            _expect(live, game, "nobody to end before the episode does", play)
            env.step(token)
            _expect(not any(env.infos.values()), game, "empty infos", env.infos)
        _expect(all(env.terminations.values()), game, "both to end on the same step", env.terminations)
        _expect(len(env.dialogue.turns) <= game.max_turns, game, f"at most {game.max_turns} turns", play)


def check_copies(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that an environment copied or pickled in mid-episode goes on as the original would."""
    for k, play in enumerate(random_plays(game, seed, episodes)):
        cut = (k * len(play.tokens)) // episodes
        env = LanguageGameEnv(game)
        env.reset(seed=seed + k, options={"deal": play.deal})
        _steps(env, play.tokens[:cut])
        twins = [copy.deepcopy(env), _pickled(game, env)]
        copied = [_steps(twin, play.tokens[cut:]) for twin in twins]
        expected = _steps(env, play.tokens[cut:])
        _expect(all(_same(steps, expected) for steps in copied), game, "a copy to go on as the original", play)
        for twin in (env, *twins):
            twin.reset()
        again = {twin.transcript() for twin in (env, *twins)}
        _expect(len(again) == 1, game, "copies to draw the next deal as the original does", again)


def check_independence(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that two environments over the same rules, played in turns, do not disturb each other."""
    plays = random_plays(game, seed, episodes + 1)
    for pair in itertools.pairwise(plays):
        envs = [_reset(game, deal=play.deal) for play in pair]
        mixed: list[list[Step]] = [[], []]
        for k in range(max(len(play.tokens) for play in pair)):
            for i, play in enumerate(pair):
                mixed[i] += _steps(envs[i], play.tokens[k : k + 1])
        for steps, play in zip(mixed, pair, strict=True):
            alone = _steps(_reset(game, deal=play.deal), play.tokens)
            _expect(_same(steps, alone), game, "an environment that another does not disturb", play)


def check_no_leak(game: LanguageGame[Any], *, seed: int = 0, episodes: int = 20) -> None:
    """Check that what a player may not know never changes its observation, its mask or its messages.

    Every episode is replayed under other deals and with other words and thoughts of either player. What one
    may know is its briefing, what it `hears`, the announcements to it and its own tokens; wherever they are
    equal in two replays, so must be all that reaches it. The other's thoughts must change nothing that
    reaches a player, not even through `hears`. What a briefing or an announcement tells outright is no leak.
    """
    known: dict[Hashable, Observed] = {}
    rng = np.random.default_rng(seed)
    for play in random_plays(game, seed, episodes):
        variants = [play, *with_other_deals(game, play, rng, MAX_OTHER_DEALS)]
        variants += [with_other_words(game, play, player, rng) for player in PLAYERS]
        for variant in variants:
            for told, observed in knowledge(game, variant):
                same = known.setdefault(told, observed) == observed
                _expect(
                    same,
                    game,
                    "equal observations where a player was told the same",
                    variant,
                )
        for player in PLAYERS:
            variant = with_other_thoughts(game, play, 1 - player, rng)
            same = all_observed(game, play, player) == all_observed(game, variant, player)
            _expect(same, game, f"nothing of the other's thoughts to reach player {player}", variant)


CHECKS: tuple[Check, ...] = (
    check_answers,
    check_replay,
    check_forms,
    check_rewards_add_up,
    check_payoffs,
    check_batches,
    check_turns,
    check_masks,
    check_observations,
    check_endings,
    check_copies,
    check_independence,
    check_no_leak,
)


class _Replay:
    """Says recorded utterances in order."""

    def __init__(self, utterances: Iterator[Utterance]) -> None:
        self._utterances = utterances

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        return [next(self._utterances) for _ in views]


def _check_single_player(
    game: LanguageGame[Any], play: Play, player: int, observations: list[Observation], by_turns: Episode[Any]
) -> None:
    opponent = _Replay(utterance for speaker, utterance in utterances_of(game, play) if speaker != player)
    env = SinglePlayerEnv(game, player=1 if player else 0, opponent=opponent, render_mode="ansi")
    observation, _ = env.reset(options={"deal": play.deal})
    total, over = 0.0, False
    for token, speaker, expected in zip(play.tokens, play.speakers, observations, strict=False):
        if speaker == player:
            _expect(_same(observation, expected), game, "the single-player form to show what AEC shows", play)
            observation, reward, over, _, _ = env.step(token)
            total += reward
    _expect(over, game, f"the single-player form of player {player} to end with the episode", play)
    transcript = env.render()
    _expect(transcript == by_turns.transcript(), game, "the AEC transcript from single-player play", transcript)
    close = abs(total - by_turns.returns[player]) <= TOLERANCE
    _expect(close, game, f"single-player rewards to sum to {by_turns.returns[player]}", total)


def _check_arrays(game: LanguageGame[Any], env: LanguageGameEnv[Any]) -> None:
    for agent_id in AGENT_IDS:
        observation, again = env.observe(agent_id), env.observe(agent_id)
        keys = list(observation)
        _expect(keys == ["observation", "action_mask"], game, "the keys observation and action_mask", keys)
        _expect(
            env.observation_space(agent_id).contains(observation),
            game,
            "an element of its space",
            observation,
        )
        shared = np.shares_memory(observation["observation"], again["observation"])
        shared |= np.shares_memory(observation["action_mask"], again["action_mask"])
        _expect(not shared, game, "fresh arrays at every call", f"shared memory for {agent_id}")


def _pickled(game: LanguageGame[Any], env: LanguageGameEnv[Any]) -> LanguageGameEnv[Any]:
    try:
        twin: LanguageGameEnv[Any] = pickle.loads(pickle.dumps(env))
    except Exception as error:
        message = f"{type(game).__name__}: expected rules and deals that can be pickled, got {error}"
        raise ConformanceError(message) from error
    return twin


def _reset(game: LanguageGame[Any], *, seed: int | None = None, deal: Any = None) -> LanguageGameEnv[Any]:
    env = LanguageGameEnv(game)
    env.reset(seed=seed, options={"deal": deal} if seed is None else None)
    return env


def _steps(env: LanguageGameEnv[Any], tokens: Sequence[int]) -> list[Step]:
    """Say tokens, and return what follows each."""
    steps: list[Step] = []
    for token in tokens:
        env.step(token)
        rewards = (env.rewards["player_0"], env.rewards["player_1"])
        steps.append((env.observe(env.agent_selection), rewards, env.transcript()))
    return steps


def _same(first: object, second: object) -> bool:
    return bool(data_equivalence(first, second, exact=True))


def _expect(condition: bool, game: LanguageGame[Any], expected: str, got: object) -> None:
    if not condition:
        raise ConformanceError(f"{type(game).__name__}: expected {expected}, got {got!r}")
