"""Did the return rise: means and intervals of a policy's episodes."""

import numpy as np
import pytest

from duologue.agents import ScriptedAgent
from duologue.baselines.evaluation.intervals import Estimate
from duologue.baselines.evaluation.rise import Rise, mean_return
from duologue.envs import Observation
from duologue.envs.games.bluff import BET, FOLD, Bluff


def test_folding_always_costs_one_chip() -> None:
    """The rules of bluff: a fold by player 0 loses 1, whatever the card."""
    estimate = mean_return(lambda _: FOLD[0], Bluff(), player=0, opponent=ScriptedAgent(["call"]), num_episodes=20)
    assert estimate == (-1.0, -1.0, -1.0)


def test_betting_into_a_caller_wins_and_loses_two_chips_alike() -> None:
    """An ace wins 2, a deuce loses 2, each dealt with probability 1/2: mean 0, and the interval of 400 holds it."""
    estimate = mean_return(lambda _: BET[0], Bluff(), player=0, opponent=ScriptedAgent(["call"]), num_episodes=400)
    assert estimate.low < 0 < estimate.high
    assert estimate.half_width == pytest.approx(1.96 * 2 / np.sqrt(400), rel=0.02)


def test_an_illegal_token_forfeits_the_episode() -> None:
    """Its cost in bluff is 1."""

    def illegal(observation: Observation) -> int:
        return int(np.flatnonzero(observation["action_mask"] == 0)[-1])

    assert mean_return(illegal, Bluff(), player=0, opponent=ScriptedAgent(["call"]), num_episodes=3).value == -1.0


def test_intervals_that_meet_are_no_rise() -> None:
    """By definition; and `check` prints before it raises."""
    low, high = Estimate(0.0, -0.1, 0.1), Estimate(0.3, 0.1, 0.5)
    assert not Rise(low, high).beyond_noise
    assert Rise(low, high._replace(low=0.11)).beyond_noise
    assert not Rise(high, low).beyond_noise


def test_check_prints_both_and_refuses_what_did_not_rise(capsys: pytest.CaptureFixture[str]) -> None:
    """The line is what `make guests` reads."""
    low, high = Estimate(0.0, -0.1, 0.1), Estimate(0.3, 0.2, 0.4)
    Rise(low, high).check()
    assert capsys.readouterr().out == "return 0.00 (-0.10 to 0.10), after training 0.30 (0.20 to 0.40)\n"
    with pytest.raises(AssertionError, match=r"expected a return that rose beyond noise, got return 0\.30"):
        Rise(high, low).check()
