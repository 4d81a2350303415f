"""Estimators of KL(policy, reference) from the policy's own samples, and the coefficient that follows it.

With d = logprobs - ref_logprobs of sampled tokens (Schulman, "Approximating KL Divergence", 2020). As a term
of the *reward*, k1 gives the right gradient. As a *differentiated loss* on fresh samples, k1 has the expected
gradient 0, k2 that of KL(policy, reference), and k3 that of KL(reference, policy). These gradients are those of
d of a whole reply. Taken token by token, as GRPO does, a loss only feels what its own token does to the KL at that
token, not where the token leads: its gradient is that of the expected sum of per-token divergences with the
distribution over prefixes held fixed. In the reward, k1 per token has no such defect once rewards are summed to go.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .masking import masked_sum, require_same_shape

KLEstimator = Literal["k1", "k2", "k3"]
"""Which estimator of KL(policy, reference), by name; see `kl_estimate`."""


def k1(logprobs: Float[Tensor, "..."], ref_logprobs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return d, in nats: unbiased, of either sign."""
    require_same_shape(logprobs=logprobs, ref_logprobs=ref_logprobs)
    return logprobs - ref_logprobs


def k2(logprobs: Float[Tensor, "..."], ref_logprobs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return d^2 / 2, in nats: biased, never negative."""
    return k1(logprobs, ref_logprobs).square() / 2


def k3(logprobs: Float[Tensor, "..."], ref_logprobs: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return exp(-d) - 1 + d, in nats: unbiased, never negative."""
    difference = k1(logprobs, ref_logprobs)
    return torch.expm1(-difference) + difference


def kl_estimate(
    logprobs: Float[Tensor, "..."], ref_logprobs: Float[Tensor, "..."], *, estimator: KLEstimator
) -> Float[Tensor, "..."]:
    """Return the estimator of that name; all three have a gradient with respect to `logprobs`."""
    estimators = {"k1": k1, "k2": k2, "k3": k3}
    if estimator not in estimators:
        raise ValueError(f"estimator: expected one of {', '.join(estimators)}, got {estimator!r}")
    return estimators[estimator](logprobs, ref_logprobs)


def reply_kl_nats(
    logprobs: Float[Tensor, "B T"], ref_logprobs: Float[Tensor, "B T"], policy_token_mask: Bool[Tensor, "B T"]
) -> Float[Tensor, " B"]:
    """Return k1 of each whole reply: the sum of log pi - log ref over its own tokens, in nats."""
    require_same_shape(logprobs=logprobs, ref_logprobs=ref_logprobs, policy_token_mask=policy_token_mask)
    return masked_sum(k1(logprobs, ref_logprobs), policy_token_mask, dim=1)


def adapt_kl_coef(
    kl_coef: float,
    *,
    kl_nats: float,
    target_nats: float,
    num_episodes: int,
    horizon: int,
    max_error: float = 0.2,
) -> float:
    """Return kl_coef (1 + clip(kl_nats / target_nats - 1, +-max_error) num_episodes / horizon).

    The proportional controller of Ziegler et al. (2019), whose gain K_beta is num_episodes / horizon.

    Args:
        kl_coef: The coefficient so far.
        kl_nats: KL per episode, as just measured.
        target_nats: KL per episode to be held.
        num_episodes: How many episodes were played since the last change.
        horizon: How many episodes a full correction takes.
        max_error: Largest relative error that counts.
    """
    if target_nats <= 0 or horizon <= 0:
        raise ValueError(f"target_nats, horizon: expected positive numbers, got {target_nats}, {horizon}")
    error = min(max(kl_nats / target_nats - 1, -max_error), max_error)
    return kl_coef * (1 + error * num_episodes / horizon)
