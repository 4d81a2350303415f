"""Agents that say amiss in a rollout: named, in one line, with every episode as it stood."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from duologue.agents import RandomAgent, ScriptedAgent
from duologue.agents.population import Population
from duologue.baselines.rollouts import rollout
from duologue.envs import Ending, Episode, SinglePlayerEnv, Utterance, View, speak_all
from duologue.envs.interfaces.vector import LanguageGameVectorEnv
from duologue.tests.envs.helpers import BLUE, RED, YES, Whisper

EOS = Whisper.vocabulary.eos_id
GOOD = Utterance((RED, EOS))
THREE = (RED, BLUE, YES)


class Says:
    """Says the same to each view, or hands back the same altogether."""

    def __init__(self, *, each: Any = None, altogether: Any = None) -> None:
        """Take either."""
        self.each, self.altogether = each, altogether

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return it."""
        return [self.each] * len(views) if self.each is not None else self.altogether


class SaysNone:
    """Returns None for each view."""

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return them."""
        return [None] * len(views)  # type: ignore[list-item]


def utterance(tokens: Any, logprobs: Any = None, ending: Any = Ending.END_OF_TURN) -> Utterance:
    """Return an utterance of whatever this is."""
    return Utterance(tokens, logprobs, ending)


AMISS = [
    (Says(each=GOOD.tokens), TypeError, r"utterance: expected an Utterance, got \(8, 2\)"),
    (Says(each="red"), TypeError, "utterance: expected an Utterance, got 'red'"),
    (SaysNone(), TypeError, "utterance: expected an Utterance, got None"),
    (Says(altogether=None), TypeError, "utterances: expected a list of 2, one for each view, got None"),
    (Says(altogether="ab"), TypeError, "utterances: expected a list of 2, one for each view, got 'ab'"),
    (Says(altogether=iter([GOOD, GOOD])), TypeError, "utterances: expected a list of 2"),
    (Says(altogether=[]), ValueError, "utterances: expected 2, one for each view, got 0"),
    (Says(altogether=[GOOD]), ValueError, "utterances: expected 2, one for each view, got 1"),
    (Says(altogether=[GOOD] * 3), ValueError, "utterances: expected 2, one for each view, got 3"),
    (Says(each=utterance(None)), TypeError, "utterance: expected a tuple of token ids, got tokens=None"),
    (Says(each=utterance(RED)), TypeError, "utterance: expected a tuple of token ids, got tokens=8"),
    (Says(each=utterance("ab")), TypeError, "token: expected a token id, an integer in .*, got 'a'"),
    (Says(each=utterance((RED, 3.7))), TypeError, "token: expected a token id, an integer in .*, got 3.7"),
    (Says(each=utterance((RED, -1))), ValueError, "token: expected a token id in .*, got -1"),
    (Says(each=utterance(())), ValueError, "utterance: expected <eos> or the length limit at its end"),
    (Says(each=utterance((RED,))), ValueError, "utterance: expected <eos> or the length limit at its end"),
    (Says(each=utterance((RED, EOS, RED))), ValueError, "utterance: expected nothing after the end of the turn"),
    (Says(each=utterance((*THREE, RED))), ValueError, "utterance: expected nothing after the end of the turn"),
    (Says(each=utterance((*THREE, EOS))), ValueError, "utterance: expected nothing after the end of the turn"),
    (Says(each=utterance((RED, EOS), (0.0,))), ValueError, "expected one finite logprob for each of its 2 tokens"),
    (Says(each=utterance((RED, EOS), (0.0,) * 3)), ValueError, "expected one finite logprob for each of its 2 tokens"),
    (Says(each=utterance((RED, EOS), (0.0, float("nan")))), ValueError, "expected one finite logprob"),
    (Says(each=utterance((RED, EOS), (0.0, -float("inf")))), ValueError, "expected one finite logprob"),
    (Says(each=utterance((RED, EOS), (float("inf"), -float("inf")))), ValueError, "expected one finite logprob"),
    (Says(each=utterance((RED, EOS), ("a", "b"))), ValueError, "expected one finite logprob"),
    (Says(each=utterance((RED, EOS), 0.5)), ValueError, "expected one finite logprob"),
    (Says(each=utterance((RED, EOS), ending="end_of_turn")), TypeError, "expected a value of Ending, got ending='end"),
    (Says(each=utterance((RED, EOS), ending=None)), TypeError, "expected a value of Ending, got ending=None"),
]


@pytest.mark.parametrize(("agent", "kind", "message"), AMISS)
def test_what_an_agent_says_amiss_is_named(agent: Any, kind: type[Exception], message: str) -> None:
    """By itself and as a member of a population; where it speaks second, what was said first stands."""
    rng = np.random.default_rng(0)
    with pytest.raises(kind, match=message):
        rollout(Whisper(), [agent, RandomAgent()], 2, rng)
    episodes = [Episode(Whisper(), deal) for deal in ("red", "blue")]
    speak_all(episodes, [GOOD, GOOD])
    before = [episode.transcript() for episode in episodes]
    if not isinstance(agent, Says) or not hasattr(agent.altogether, "__next__"):
        with pytest.raises(kind, match=message):
            speak_all(episodes, agent.speak([episode.view() for episode in episodes], rng))
        with pytest.raises(kind, match=message):
            rollout(Whisper(), [Population.even([agent]), RandomAgent()], 2, rng)
    assert [episode.transcript() for episode in episodes] == before


EACH = [case for case in AMISS if not isinstance(case[0], Says) or case[0].each is not None]


@pytest.mark.parametrize(("agent", "kind", "message"), EACH)
def test_an_opponent_that_says_amiss_is_named(agent: Any, kind: type[Exception], message: str) -> None:
    """In Gymnasium's forms, which then ask for a reset."""
    forms: list[Any] = [(SinglePlayerEnv(Whisper(), opponent=agent), int), (vector(agent), lambda token: [token] * 2)]
    for env, wrap in forms:
        env.reset(seed=0)
        env.step(wrap(RED))
        with pytest.raises((kind, ValueError), match=message if env.__class__ is SinglePlayerEnv else "expected"):
            env.step(wrap(EOS))
        with pytest.raises(RuntimeError, match="step: expected a call"):
            env.step(wrap(EOS))


def vector(agent: Any) -> Any:
    """Return two episodes side by side."""
    return LanguageGameVectorEnv(Whisper(), 2, opponent=agent)


def test_an_ending_that_forfeits_needs_no_tokens_and_others_do_not_decide() -> None:
    """How a turn ended, the engine finds out by its tokens, whatever the agent says, unless it gives up."""
    for ending in (Ending.UNREADABLE, Ending.AMBIGUOUS):
        (played,) = rollout(Whisper(), [Says(each=utterance((), ending=ending)), RandomAgent()], 1, rng())
        assert played.episode.forfeited_by == 0
    cut_off = Says(each=utterance((RED, EOS), ending=Ending.TOO_LONG))
    (played,) = rollout(Whisper(), [cut_off, ScriptedAgent(["yes"])], 1, rng())
    assert played.dialogue.turns[0].ending is Ending.END_OF_TURN


def rng() -> np.random.Generator:
    """Return a generator."""
    return np.random.default_rng(0)


@pytest.mark.parametrize("seats", [[], [RandomAgent()], [RandomAgent()] * 3, [RandomAgent(), None], ["random"] * 2])
def test_seats_are_two_agents(seats: Any) -> None:
    """A name is no agent."""
    with pytest.raises(ValueError, match="seats: expected two agents or populations, one for each player, got"):
        rollout(Whisper(), seats, 2, rng())


@pytest.mark.parametrize("number", [-1, 1.5, "2", True, None])
def test_numbers_of_episodes_are_whole(number: Any) -> None:
    """None at all is a batch, too."""
    with pytest.raises((TypeError, ValueError), match="num_episodes: expected"):
        rollout(Whisper(), [RandomAgent()] * 2, number, rng())
    assert rollout(Whisper(), [RandomAgent()] * 2, 0, rng()) == []
