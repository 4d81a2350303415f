"""Seeds of the rounds of runs in which both players learn."""

import pytest

from duologue.baselines.learners.base import PlayerLearner
from duologue.baselines.learners.options import RESPONSE_PPO
from duologue.baselines.learners.ppo import PPOLearner
from duologue.baselines.two_player.fictitious_play import FictitiousPlay, FictitiousPlayOptions
from duologue.baselines.two_player.learner import derived_seed
from duologue.baselines.two_player.psro import PSRO, PSROOptions
from duologue.tests.baselines.helpers import bluff, tiny_agent


def test_a_run_has_its_own_seed_and_shares_none_of_the_others() -> None:
    """Neighbouring seeds plus a count of updates, say, would meet: 0 + 2 = 1 + 1."""
    assert [derived_seed(seed, 0) for seed in range(5)] == list(range(5))
    seeds = {derived_seed(seed, number) for seed in range(50) for number in range(50)}
    assert len(seeds) == 2500


@pytest.mark.parametrize("learns", ["fictitious_play", "psro"])
def test_fresh_responders_of_two_runs_never_share_a_seed(learns: str) -> None:
    """Else runs of neighbouring seeds would hold the same players, and an interval over seeds would be too narrow."""
    asked: dict[int, set[int]] = {0: set(), 1: set()}
    for seed, seen in asked.items():

        def make_player(player: int, player_seed: int, seen: set[int] = seen) -> PlayerLearner:
            seen.add(player_seed)
            return PPOLearner(tiny_agent(bluff(), seed=player), RESPONSE_PPO)

        if learns == "psro":
            options = PSROOptions(num_updates=3, updates_per_response=1, batch_size=4, num_payoff_episodes=4)
            list(PSRO(bluff(), make_player, options, seed=seed))
        else:
            rounds = FictitiousPlayOptions(num_rounds=3, updates_per_round=1, batch_size=4)
            list(FictitiousPlay(bluff(), make_player, rounds, seed=seed))
    assert [len(seen) for seen in asked.values()] == [4, 4]
    assert asked[0].isdisjoint(asked[1])
