"""Did a policy learn, whatever library it came from? Its return before and after training, with intervals.

A policy is here a function from what `SinglePlayerEnv` observes to a token: the least that any library can give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...envs import LanguageGame, Observation, SinglePlayerEnv, Speaker
from .intervals import Estimate, mean_interval

Choose = Callable[[Observation], int]


@dataclass(frozen=True, slots=True)
class Rise:
    """Mean return over an episode before and after training, each with the 95 % interval of its episodes' mean."""

    before: Estimate
    after: Estimate

    @property
    def beyond_noise(self) -> bool:
        """Whether the intervals do not meet, which is stricter than an interval of the difference that excludes 0."""
        return self.after.low > self.before.high

    def __str__(self) -> str:
        """Write both, with their intervals."""
        parts = (
            f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
            for estimate in (self.before, self.after)
        )
        return "return {}, after training {}".format(*parts)

    def check(self) -> None:
        """Print both, and raise AssertionError unless the return rose beyond noise."""
        print(self, flush=True)
        if not self.beyond_noise:
            raise AssertionError(f"expected a return that rose beyond noise, got {self}")


def mean_return(
    choose: Choose,
    game: LanguageGame[Any],
    *,
    player: int,
    opponent: Speaker,
    num_episodes: int = 300,
    seed: int = 0,
) -> Estimate:
    """Play episodes and return the mean of what they paid to `player`, with its 95 % interval.

    Args:
        choose: returns a token for an observation; an illegal one forfeits the episode, as in training.
        game: the rules.
        player: the seat of `choose`.
        opponent: who sits opposite.
        num_episodes: at least 2.
        seed: decides deals and the opponent's tokens.
    """
    env = SinglePlayerEnv(game, player=1 if player else 0, opponent=opponent)
    returns = []
    for episode in range(num_episodes):
        observation, _ = env.reset(seed=seed if episode == 0 else None)
        total, over = 0.0, False
        while not over:
            observation, reward, over, _, _ = env.step(choose(observation))
            total += reward
        returns.append(total)
    return mean_interval(returns)
