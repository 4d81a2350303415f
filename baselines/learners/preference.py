"""DPO and IPO: learning from which of two replies to one prompt is preferred, from given pairs or from fresh ones.

With G(p) = log p(y_w|x) - log p(y_l|x): DPO (Rafailov et al., 2023, arXiv 2305.18290, equation 7) minimises
-log sigmoid(kl_coef (G(pi) - G(ref))), IPO (Azar et al., 2023, arXiv 2310.12036, equation 17) the square of
G(pi) - G(ref) - 1 / (2 kl_coef). Offline, the pairs are given: `PreferenceLearner.fit`. Online, they are replies of the
policy as it is, labelled by returns or by a preference function: `PreferenceLearner.update`. Online IPO settles at the
Nash equilibrium of the KL-regularised preference game (arXiv 2403.08635); offline IPO on pairs from a policy mu does
not, but at ref exp(P(y > mu) / kl_coef).

Which game that is, is decided by the labels. Where a game pays amounts, the label of a pair that earned R and R' is

    P(y > y') = 1/2 + (R - R') / (2 D),    D the range of the game's payoffs,

and not who earned more. For online IPO's expected gradient is -(4 / kl_coef) times that of E[P(y > y')] - kl_coef
KL(pi, ref) with y ~ pi, and y' ~ pi held fixed. The label is linear in both returns, so that luck, the deal's and the
opponent's, averages out: E[P(y > y')] = 1/2 + (E[R | y] - E[R']) / (2 D), whose second return is a constant. What is
maximised is E[R] - 2 D kl_coef KL(pi, ref): the game itself, in which a nat costs 2 D kl_coef, and where both players
learn so, they settle at the equilibrium of that. Who earned more, the ordinal label, drops the amounts: it takes a loss
of 3/4 that is risked for a gain of 1/2 for one of 1/2, and its equilibria are those of another game (NashConv 1/12 to
1/6 in the tiny red-team game with its intent hidden). A sigmoid of the difference is linear for small differences only.
Where just two payoffs occur both labels are the same. A label is a probability and enters as such, without being drawn.

Differs from the papers in: a reply is all that the player says in an episode; a label may be a probability, which has
the expected gradient of labels drawn with it, and a tie is one of 1/2; best against worst of a group is the pairing of
RLHF-workflow (arXiv 2405.07863), whose reset of the reference to the current policy is not made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...agents.language_model.causal_lm import CausalLMAgent, TokenEvaluation
from ..functional.advantages import prompt_groups
from ..functional.masking import masked_sum, require_same_shape
from ..functional.supervised import PreferenceLoss, preference_loss
from ..rollouts.trajectories import Trajectories, joined
from ..training.checks import Positive
from .base import TrainedModel, TrainingConfig
from .optimisation import numbered, require_finite
from .ptx import PretrainingData
from .registry import register_learner

Pairing = Literal["random", "best_worst"]
"""Which replies to one prompt are compared; see `pair_rows`."""

Labels = Literal["linear", "ordinal"]
"""How the returns of two replies become a label: by how much the one earned more, or by whether it did."""

ROUNDING = 1e-4
"""By how much of the payoff range two returns, sums of float32, may differ beyond it."""

Preference: TypeAlias = Callable[[Trajectories, Trajectories], Tensor]
"""Of two batches of N replies to the same prompts: the probability that the first one is preferred, (N,)."""


@dataclass(frozen=True, kw_only=True)
class PreferenceConfig(TrainingConfig):
    """How one player learns from preferences."""

    loss: PreferenceLoss = "dpo"
    """DPO's logistic loss or IPO's square."""
    pairing: Pairing = "random"
    """Online: all replies to a prompt in random pairs, or one pair, the best return against the worst."""
    labels: Labels = "linear"
    """Online: a pair's label is 1/2 and the difference of its returns over twice the payoff range, or 1 for who earned
    more, which is for games whose returns say no more than that one reply is preferred."""
    payoff_range: Positive | None = None
    """Linear labels: the largest difference between two returns to the player. None: the largest seen so far."""
    kl_coef: Positive = 0.1
    """The papers' beta (IPO: tau): the price of a nat of divergence from the frozen start."""


@dataclass(frozen=True, slots=True)
class ReplyPairs:
    """Pairs of replies to the same prompts, row by row, and how the first one fares."""

    first: Trajectories
    second: Trajectories
    preferences: Tensor
    """(N,), the probability that the first reply is preferred: 1 or 0 for a label, 1/2 for a tie."""

    def __post_init__(self) -> None:
        """Check that there is a preference for each pair."""
        counts = (len(self.first), len(self.second), len(self.preferences))
        if len(set(counts)) > 1:
            raise ValueError(f"pairs: expected as many first and second replies as preferences, got {counts}")

    def __len__(self) -> int:
        """Return the number of pairs N."""
        return len(self.preferences)

    def select(self, rows: Tensor) -> ReplyPairs:
        """Return some of the pairs."""
        return ReplyPairs(self.first.select(rows), self.second.select(rows), self.preferences[rows])

    def to(self, device: torch.device) -> ReplyPairs:
        """Return the same pairs on a device."""
        return ReplyPairs(self.first.to(device), self.second.to(device), self.preferences.to(device))


@dataclass(frozen=True, slots=True)
class PreferenceUpdate:
    """What one update reports; means over its gradient steps, each measured before it."""

    loss: float
    """The loss."""
    accuracy: float
    """Share of the pairs that are no ties, 0 to 1, whose preferred reply has gained on the other; 1/2 for no gain."""
    margin_nats: float
    """Mean G(pi) - G(ref), in favour of the preferred reply."""
    num_pairs: int
    """How many pairs there were."""
    grad_norm: float
    """The gradient's norm before it is clipped."""
    learning_rate: float
    """AdamW's in this update."""
    ptx_loss_nats: float | None = None
    """Mean negative log-likelihood of a token of the start's own data; None without a `ptx_coef`."""


@register_learner("preference", config=PreferenceConfig, replies_per_prompt=4)
class PreferenceLearner(TrainedModel[PreferenceConfig]):
    """One player that learns by DPO or IPO."""

    saved = (*TrainedModel.saved, "range_seen")

    def __init__(
        self,
        agent: CausalLMAgent,
        config: PreferenceConfig,
        *,
        preference: Preference | None = None,
        num_planned: int | None = None,
        ptx: PretrainingData | None = None,
    ) -> None:
        """Take the agent to train in place.

        Args:
            agent: whoever learns.
            config: how.
            preference: who compares fresh replies; None: their returns, see `PreferenceConfig.labels`.
            num_planned: the updates over which the learning rate falls; None: it stays.
            ptx: the start's own data, for a `ptx_coef` above 0.
        """
        super().__init__(agent, config, num_planned=num_planned, ptx=ptx)
        self.preference: Preference = self._by_return if preference is None else preference
        self.range_seen = 0.0
        """The largest difference between two returns that were told apart so far."""

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PreferenceUpdate:
        """Pair fresh replies to the same prompts, have them compared, and learn from that; `rng` pairs and orders.

        Raises:
            ValueError: no prompt has two replies; see `rollout_in_groups`.
        """
        with numbered("update", self.num_updates + 1):
            require_finite("rewards", batch.rewards)
        first, second = pair_rows(batch, rng, pairing=self.config.pairing)
        replies = batch.select(first), batch.select(second)
        return self.fit(ReplyPairs(*replies, self.preference(*replies)), rng)

    def labels(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the probability that the first of two replies is preferred, by what both earned; (N,).

        Raises:
            ValueError: two returns differ by more than the `payoff_range` that was given.
        """
        if self.config.labels == "ordinal":
            return ordinal_labels(first, second)
        known = self.config.payoff_range
        if known is None:
            widest = (first - second).abs().max() if len(first) else first.new_zeros(())
            self.range_seen = max(self.range_seen, float(widest))
        return linear_labels(first, second, payoff_range=(self.range_seen or 1.0) if known is None else known)

    def _by_return(self, first: Trajectories, second: Trajectories) -> Tensor:
        return self.labels(first.returns, second.returns)

    def fit(self, pairs: ReplyPairs, rng: np.random.Generator) -> PreferenceUpdate:
        """Take one pass over given pairs; `rng` orders its minibatches."""
        steps, pairs = list[Tensor](), pairs.to(self.agent.model.device)
        with self.updating():
            require_finite("preferences", pairs.preferences)
            for rows in self.minibatches(len(pairs), rng):
                steps.append(self._step(pairs.select(rows), rng))
        loss_mean, accuracy, margin = torch.stack(steps).mean(0).tolist()
        return PreferenceUpdate(
            loss=loss_mean,
            accuracy=accuracy,
            margin_nats=margin,
            num_pairs=len(pairs),
            grad_norm=self.grad_norm,
            learning_rate=self.last_learning_rate,
            ptx_loss_nats=self.ptx_loss_nats,
        )

    def _step(self, pairs: ReplyPairs, rng: np.random.Generator) -> Tensor:
        """Take one gradient step; return its loss, accuracy and margin, (3,)."""
        both, preferences = joined(pairs.first, pairs.second), pairs.preferences.to(torch.float32)
        own, config = both.policy_token_mask, self.config

        def margins_of(said: TokenEvaluation) -> Tensor:
            first, second = masked_sum(said.logprobs, own, dim=1).chunk(2)
            return first - second

        ref_margins = margins_of(self.said(both, reference=True))

        def loss_of(said: TokenEvaluation) -> tuple[Tensor, Tensor]:
            margins = margins_of(said)
            loss = preference_loss(margins, ref_margins, preferences, loss=config.loss, kl_coef=config.kl_coef)
            return loss, _report(loss.detach(), margins.detach() - ref_margins, preferences)

        return self.step(both, loss_of, rng)


def linear_labels(first: Float[Tensor, " N"], second: Float[Tensor, " N"], *, payoff_range: float) -> Tensor:
    """Return 1/2 + (first - second) / (2 payoff_range): the label by which online IPO plays for the returns; (N,).

    Raises:
        ValueError: two returns differ by more than the range, and no probability comes out.
    """
    require_same_shape(first=first, second=second)
    gains = first - second
    widest = float(gains.abs().max()) if len(gains) else 0.0
    if widest > payoff_range * (1 + ROUNDING):
        raise ValueError(
            f"payoff_range: expected at least the difference of any two returns, {widest:g}, got {payoff_range:g}"
        )
    return (0.5 + gains / (2 * payoff_range)).clamp(0, 1)


def ordinal_labels(first: Float[Tensor, " N"], second: Float[Tensor, " N"]) -> Tensor:
    """Return 1 where the first return is higher, 0 where it is lower, 1/2 for a tie; (N,)."""
    require_same_shape(first=first, second=second)
    return torch.heaviside(first - second, first.new_tensor(0.5))


def prefer_higher_return(first: Trajectories, second: Trajectories) -> Tensor:
    """Return the `ordinal_labels` of two batches by their returns; (N,)."""
    return ordinal_labels(first.returns, second.returns)


def bradley_terry_preference(first: Trajectories, second: Trajectories) -> Tensor:
    """Return sigmoid(r(first) - r(second)), the preference that DPO takes rewards to express; (N,)."""
    return torch.sigmoid(first.returns - second.returns)


def pair_rows(batch: Trajectories, rng: np.random.Generator, *, pairing: Pairing) -> tuple[Tensor, Tensor]:
    """Return the rows of the first and of the second replies; both of a pair answer the same prompt.

    * "random": every reply of a group is in one pair, one is left over in an odd group; the replies of a pair are
      independent draws of the policy, as online IPO's theory wants it.
    * "best_worst": one pair a group, the highest return against the lowest.

    Raises:
        ValueError: no prompt has two replies.
    """
    groups = prompt_groups(batch.tokens, batch.policy_token_mask, batch.players).cpu().numpy()
    returns = batch.returns.cpu().numpy()
    pairs: list[tuple[int, int]] = []
    for group in range(int(groups.max()) + 1):
        members = rng.permutation(np.flatnonzero(groups == group))
        if len(members) > 1 and pairing == "best_worst":
            pairs.append((members[returns[members].argmax()], members[returns[members].argmin()]))
        elif len(members) > 1:
            pairs += zip(members[0:-1:2].tolist(), members[1::2].tolist(), strict=True)
    if not pairs:
        raise ValueError(f"pairs: expected two replies or more to some prompt, got {len(batch)} prompts with one each")
    first, second = torch.tensor(pairs, device=batch.tokens.device).T
    return first, second


def _report(loss: Tensor, gains: Tensor, preferences: Tensor) -> Tensor:
    """Return the loss, the accuracy and the mean margin towards the preferred reply."""
    towards = gains * (2 * preferences - 1).sign()
    decided = preferences != 0.5
    right = torch.heaviside(towards, towards.new_tensor(0.5))
    accuracy = right[decided].mean() if bool(decided.any()) else gains.new_tensor(0.5)
    return torch.stack([loss, accuracy, towards.mean()])
