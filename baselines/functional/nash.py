"""Losses of Nash learning from preferences: functions of the log-probabilities of whole replies.

Two replies y and y' to a prompt have a margin m = log pi(y) - log pi(y') under the policy that learns, and others under
policies that stand still: the reference and the policy at collection, pi_t. P(y > y') is a probability that somebody
states, and need not be transitive. beta is `kl_coef`, eta `step_size`, as in `baselines.solvers`, the steps of whose
tabular learners these losses make: exactly, on a table of replies, as the tests show.

Five algorithms minimise one square, (m - target)^2, and differ in the target:

| algorithm | target | pairs |
| --- | --- | --- |
| online IPO (2403.08635) | ref + (P(y > y') - 1/2) / beta | of the policy as it is |
| INPO (2407.00617), MPO (2410.16714) | eta beta ref + (1 - eta beta) old + eta (P(y > y') - 1/2) | of pi_t |
| ONPO (2502.16852) | old + eta (P(y > y') - 1/2), twice | of pi_t |
| EGPO (2503.08942) | ref + (P(y > pi_t) - P(y' > pi_t)) / beta | any |
| MNPO (2509.23102) | the mean over the others j of log pi_j + eta P(. > pi_j) | any |

A label of 1 or 0 that is drawn with the probability has the same expected gradient as the probability itself. SPPO does
the same for one reply at a time, DNO by a logistic loss; Nash-MD and, with a leader and a follower, SLHF follow a
policy gradient.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from .masking import require_same_shape

ORDER_TOLERANCE = 1e-3
"""By how much P(y > y') and 1 - P(y' > y) may differ."""


def checked_preferences(
    preferences: Float[Tensor, " N"], swapped: Float[Tensor, " N"] | None = None, *, tolerance: float = ORDER_TOLERANCE
) -> Float[Tensor, " N"]:
    """Return stated probabilities once they are seen to be some; with both orders, the mean of both.

    Args:
        preferences: P(y > y') as it was stated; (N,).
        swapped: P(y' > y) as it was stated when asked the other way round; (N,).
        tolerance: how far the two may be from summing to 1.

    Raises:
        ValueError: a number that is none, outside [0, 1], or two orders that contradict each other.
    """
    for name, stated in (("preferences", preferences), ("swapped", swapped)):
        if stated is not None and not bool(((stated >= 0) & (stated <= 1)).all()):
            worst = next(x for x in stated.tolist() if not 0 <= x <= 1)
            raise ValueError(f"{name}: expected probabilities in [0, 1], got {worst}")
    if swapped is None:
        return preferences
    require_same_shape(preferences=preferences, swapped=swapped)
    apart = (preferences + swapped - 1).abs()
    if len(apart) and float(apart.max()) > tolerance:
        row = int(apart.argmax())
        raise ValueError(
            f"preferences: expected P(y > y') + P(y' > y) = 1 to {tolerance:g}, got {float(preferences[row])} and "
            f"{float(swapped[row])} for pair {row}"
        )
    return (preferences + 1 - swapped) / 2


def squared_margin_loss(
    margins: Float[Tensor, " N"], targets: Float[Tensor, " N"], weights: Float[Tensor, " N"] | None = None
) -> Float[Tensor, ""]:
    """Return mean((m - target)^2), or the weighted sum where each pair's share of the batch is given.

    Args:
        margins: log pi(y) - log pi(y') of the policy that learns, with gradients; (N,).
        targets: what they are drawn to; (N,).
        weights: shares that sum to 1, as where all pairs are listed; (N,). None: all alike.
    """
    require_same_shape(margins=margins, targets=targets)
    return _mean((margins - targets).square(), weights)


def online_ipo_targets(
    ref_margins: Float[Tensor, " N"], preferences: Float[Tensor, " N"], *, kl_coef: float
) -> Float[Tensor, " N"]:
    """Return ref + (P(y > y') - 1/2) / beta: a label of 1 asks for IPO's 1 / (2 beta); (N,)."""
    require_same_shape(ref_margins=ref_margins, preferences=preferences)
    return ref_margins + (preferences - 0.5) / kl_coef


def mirror_descent_targets(
    old_margins: Float[Tensor, " N"],
    ref_margins: Float[Tensor, " N"],
    preferences: Float[Tensor, " N"],
    *,
    step_size: float,
    kl_coef: float,
) -> Float[Tensor, " N"]:
    """Return eta beta ref + (1 - eta beta) old + eta (P(y > y') - 1/2); (N,).

    INPO's and, with a reference that is moved now and then, COMAL's and MPO's; with beta = 0, which is allowed, ONPO's.

    Raises:
        ValueError: eta beta is above 1, a step beyond the reference.
    """
    require_same_shape(old_margins=old_margins, ref_margins=ref_margins, preferences=preferences)
    pull = step_size * kl_coef
    if not 0 <= pull <= 1:
        raise ValueError(f"step_size: expected step_size * kl_coef in [0, 1], got {step_size} * {kl_coef}")
    return pull * ref_margins + (1 - pull) * old_margins + step_size * (preferences - 0.5)


def egpo_targets(
    ref_margins: Float[Tensor, " N"],
    win_rates: Float[Tensor, " N"],
    other_win_rates: Float[Tensor, " N"],
    *,
    kl_coef: float,
) -> Float[Tensor, " N"]:
    """Return ref + (P(y > pi) - P(y' > pi)) / beta; (N,).

    Args:
        ref_margins: of the reference; (N,).
        win_rates: P(y > pi), pi being pi_t for the half step and the half point for the step; (N,).
        other_win_rates: P(y' > pi); (N,).
        kl_coef: beta.
    """
    require_same_shape(ref_margins=ref_margins, win_rates=win_rates, other_win_rates=other_win_rates)
    return ref_margins + (win_rates - other_win_rates) / kl_coef


def multiplayer_targets(
    old_margins: Float[Tensor, "K N"], win_rate_gains: Float[Tensor, "K N"], *, step_size: float
) -> Float[Tensor, " N"]:
    """Return the mean over K other players j of m_j + eta (P(y > pi_j) - P(y' > pi_j)), MNPO's; (N,)."""
    require_same_shape(old_margins=old_margins, win_rate_gains=win_rate_gains)
    return (old_margins + step_size * win_rate_gains).mean(0)


def sppo_loss(
    logprobs: Float[Tensor, " N"],
    old_logprobs: Float[Tensor, " N"],
    win_rates: Float[Tensor, " N"],
    *,
    step_size: float,
    weights: Float[Tensor, " N"] | None = None,
) -> Float[Tensor, ""]:
    """Return mean((log pi(y) - log pi_t(y) - eta (P(y > pi_t) - 1/2))^2).

    SPPO (2405.00675), equation 4.5: Hedge in self-play, the log of whose normaliser it takes to be eta / 2.
    """
    require_same_shape(logprobs=logprobs, old_logprobs=old_logprobs, win_rates=win_rates)
    targets = old_logprobs + step_size * (win_rates - 0.5)
    return squared_margin_loss(logprobs, targets, weights)


def dno_loss(
    margins: Float[Tensor, " N"],
    old_margins: Float[Tensor, " N"],
    win_rate_gains: Float[Tensor, " N"],
    *,
    step_size: float,
    weights: Float[Tensor, " N"] | None = None,
) -> Float[Tensor, ""]:
    """Return the cross-entropy of sigmoid((m - m_t) / eta) with labels sigmoid(P(y > pi_t) - P(y' > pi_t)).

    DNO (2404.03715), equation 9: the same fixed point as Hedge's step, by a logistic loss.
    """
    require_same_shape(margins=margins, old_margins=old_margins, win_rate_gains=win_rate_gains)
    scaled, labels = (margins - old_margins) / step_size, torch.sigmoid(win_rate_gains)
    return _mean(-labels * logsigmoid(scaled) - (1 - labels) * logsigmoid(-scaled), weights)


def nash_md_loss(
    logprobs: Float[Tensor, " N"],
    ref_logprobs: Float[Tensor, " N"],
    win_rates: Float[Tensor, " N"],
    *,
    kl_coef: float,
    weights: Float[Tensor, " N"] | None = None,
) -> Float[Tensor, ""]:
    """Return -mean(log pi(y) [P(y > y') - 1/2 - beta (log pi(y) - log ref(y))]), what is in brackets held fixed.

    Nash-MD-PG (2312.00886), equation 12, for y of the policy and y' of pi^(1 - b) ref^b; with y' of the policy it is
    self-play's gradient, of a leader and a follower SLHF's (2512.16626).
    """
    require_same_shape(logprobs=logprobs, ref_logprobs=ref_logprobs, win_rates=win_rates)
    advantages = win_rates - 0.5 - kl_coef * (logprobs.detach() - ref_logprobs)
    return _mean(-logprobs * advantages, weights)


def _mean(losses: Float[Tensor, " N"], weights: Float[Tensor, " N"] | None) -> Float[Tensor, ""]:
    return losses.mean() if weights is None else (weights * losses).sum()
