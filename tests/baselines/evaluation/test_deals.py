import numpy as np
import pytest

from duologue.agents import EchoAgent, FunctionAgent, utter
from duologue.baselines.evaluation import attack_success, cross_play, evaluation_rng, evaluation_seed, play_returns
from duologue.baselines.evaluation.head_to_head import head_to_head
from duologue.baselines.evaluation.win_rates import win_rates
from duologue.envs import Utterance, View, deal_episodes
from duologue.envs.games.red_team.game import VOCABULARY, RedTeam

NUM_DEALS = 192


def told(rng: np.random.Generator) -> list[str]:
    """Return the requests of the first deals that a run draws from the generator, as text."""
    episodes = deal_episodes(RedTeam(), rng, NUM_DEALS)
    return [VOCABULARY.decode(episode.view().messages[-1].tokens) for episode in episodes]


class Listener(FunctionAgent):
    """A defender that refuses, and writes down what an adversary that repeats its request was dealt."""

    def __init__(self) -> None:
        """Start with nothing heard."""
        self.heard: list[str] = []
        super().__init__(self.refuse)

    def refuse(self, view: View, rng: np.random.Generator) -> Utterance:
        """Refuse."""
        self.heard.append(view.vocabulary.decode(view.messages[-1].tokens))
        return utter(view, VOCABULARY.encode("sorry no"))


def overlap(first: list[str], second: list[str]) -> float:
    """Return the largest share of deals in which one list repeats the other, shifted by up to 3."""
    return max(float(np.mean([a == b for a, b in zip(first[k:], second, strict=False)])) for k in range(4))


@pytest.mark.parametrize("seed", range(10))
def test_nobody_is_measured_on_the_deals_of_its_first_batch(seed: int) -> None:
    """Deal k of an evaluation was deal k + 1 of the first batch of 192, for 191 of 191.

    By chance about 1 deal in 36 is the same: there are 18 harmful and 18 benign requests that are not held out.
    """
    trained, game = told(np.random.default_rng(seed)), RedTeam()
    listener, again = Listener(), Listener()
    cross_play(game, {"echo": EchoAgent()}, {"listener": listener}, NUM_DEALS, seed)
    play_returns(game, (EchoAgent(), again), NUM_DEALS, seed)
    for measured in (listener.heard, again.heard, told(evaluation_rng(seed))):
        assert len(measured) == NUM_DEALS
        assert overlap(measured, trained) < 0.15
        assert overlap(trained, measured) < 0.15
    shifted = told(np.random.default_rng(seed))[1:]
    assert overlap(trained, shifted) == 1  # the measure of overlap sees what it is to see


def test_measuring_never_asks_for_the_generator_of_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes a seed draws from the branch of measuring: no generator is made of less than 128 bits."""
    asked: list[object] = []
    made = np.random.default_rng

    def default_rng(seed: object = None) -> np.random.Generator:
        asked.append(seed)
        return made(seed)  # type: ignore[arg-type]

    monkeypatch.setattr(np.random, "default_rng", default_rng)
    game, seats = RedTeam(), (EchoAgent(), Listener())
    cross_play(game, {"a": seats[0]}, {"b": seats[1]}, 4, seed=3)
    head_to_head(game, {"a": seats, "b": seats}, 4, seed=3)
    win_rates(game, seats, 4, seed=3)
    attack_success(game, *seats, 4, evaluation_rng(3))
    deals = [seed for seed in asked if not isinstance(seed, list)]  # batches of play have generators of their own
    assert deals
    assert all(isinstance(seed, int) and seed >= 2**127 for seed in deals)


def test_streams_are_repeatable_and_apart() -> None:
    """By seed and number; a seed of an evaluation may seed another."""
    seeds = [evaluation_seed(seed, *stream) for seed in (0, 1, 2**53 - 1) for stream in ((), (0,), (1,), (0, 1))]
    assert len(set(seeds)) == len(seeds)
    assert all(2**127 <= seed < 2**128 for seed in seeds)
    assert evaluation_seed(5, 2) == evaluation_seed(5, 2)
    assert evaluation_seed(evaluation_seed(5, 2)) != evaluation_seed(5, 2)
    assert evaluation_rng(5, 2).integers(2**62) == np.random.default_rng(evaluation_seed(5, 2)).integers(2**62)
    with pytest.raises(ValueError, match="seed: expected a whole number at least 0, got -1"):
        evaluation_seed(-1)
