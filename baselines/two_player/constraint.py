"""A red team that looks for what is new, as long as its attacks succeed often enough: DiveR-CT's constraint.

Z. Zhao et al., *DiveR-CT: Diversity-enhanced Red Teaming with Relaxing Constraints*, 2024, arXiv 2405.19026: novelty is
maximised subject to costs <= thresholds, each cost with a multiplier exp(nu) that SGD moves by the mean violation.

Differs from the paper in: there is one cost, what the adversary loses in the game, which a prompt that is no faithful
request costs as well; one value head learns the sum; the sum is divided by 1 + multiplier, so that its scale stays.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..rollouts.trajectories import Trajectories
from ..training.checks import Finite, LearningRate, Options, Positive, Rows
from ..training.state import Stateful


@dataclass(frozen=True, kw_only=True)
class ConstraintOptions(Options):
    """What the adversary may lose in the game while it looks for novelty."""

    threshold: Finite | None = None
    """Its mean loss, in the game's rewards, is held at or below this; None: its rewards and novelty are added up."""
    learning_rate: LearningRate = 0.1
    """Of the multiplier's logarithm; DiveR-CT: 0.1 to 0.2."""
    max_multiplier: Positive = 10.0
    """The highest price."""
    window: Rows = 4
    """Attack batches over which the loss is averaged."""


class CostConstraint(Stateful):
    """Keeps the price of what the adversary loses; without a threshold nothing is priced, and rewards stay as they are.

    >>> constraint = CostConstraint(ConstraintOptions(threshold=-0.5, learning_rate=1.0))
    >>> constraint.observe(0.5)
    >>> round(constraint.price, 3)  # exp(1 * 1.0)
    2.718
    """

    saved = ("_log_multiplier", "_costs")

    def __init__(self, options: ConstraintOptions) -> None:
        """Start at price 1."""
        self.options = options
        self._log_multiplier = 0.0
        self._costs: deque[float] = deque(maxlen=options.window)

    @property
    def price(self) -> float | None:
        """What a unit of loss costs now; None without a threshold."""
        if self.options.threshold is None:
            return None
        return multiplier(self._log_multiplier, max_multiplier=self.options.max_multiplier)

    def weighed(self, rewards_of_game: Trajectories, rewards_of_both: Trajectories) -> Trajectories:
        """Return the adversary's episodes as it is to learn from them: (novelty + price * game) / (1 + price).

        Args:
            rewards_of_game: with what the game pays.
            rewards_of_both: the same episodes with novelty added.
        """
        price = self.price
        if price is None:
            return rewards_of_both
        rewards = rewards_of_both.rewards + (price - 1) * rewards_of_game.rewards
        return replace(rewards_of_both, rewards=rewards / (1 + price))

    def observe(self, mean_loss: float) -> None:
        """Take note of the adversary's mean loss in an attack batch, and move the price."""
        options = self.options
        if options.threshold is None:
            return
        self._costs.append(mean_loss)
        self._log_multiplier = ascended(
            self._log_multiplier,
            list(self._costs),
            threshold=options.threshold,
            learning_rate=options.learning_rate,
            max_multiplier=options.max_multiplier,
        )


def multiplier(log_multiplier: float, *, max_multiplier: float = 10.0) -> float:
    """Return min(exp(nu), max_multiplier), the price of a unit of cost; never negative.

    DiveR-CT (arXiv 2405.19026), which caps it at 10.

    >>> multiplier(0.0), multiplier(50.0)
    (1.0, 10.0)
    """
    return max_multiplier if log_multiplier >= math.log(max_multiplier) else math.exp(log_multiplier)


def ascended(
    log_multiplier: float,
    costs: Sequence[float],
    *,
    threshold: float,
    learning_rate: float,
    max_multiplier: float = 10.0,
) -> float:
    """Return nu after one step of gradient ascent on exp(nu) (mean cost - threshold).

    The dual step of max_pi novelty subject to cost <= threshold: the price rises while the mean over a window of costs
    is above the threshold, falls while it is below, and rests where the constraint binds. Past the cap nothing
    accumulates, so that the price falls as soon as the violation ends.

    >>> round(ascended(0.0, [0.5, 0.7], threshold=0.5, learning_rate=0.1), 6)
    0.01
    """
    if not costs:
        raise ValueError("costs: expected at least one, got none")
    violation = sum(costs) / len(costs) - threshold
    price = multiplier(log_multiplier, max_multiplier=max_multiplier)
    return min(log_multiplier + learning_rate * price * violation, math.log(max_multiplier))
