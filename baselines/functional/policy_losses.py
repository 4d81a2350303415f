"""Losses that improve a policy from its own rollouts; only the learner's own tokens enter.

All are to be minimised. Whatever stands on other tokens changes neither a loss nor a gradient.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .divergences import KLEstimator, kl_estimate
from .masking import masked_mean, masked_sum, require_same_shape

Aggregation = Literal["token_mean", "sequence_mean", "constant_length"]
"""How a loss per token becomes one number; see `aggregate_tokens`."""


def token_logprobs(logits: Float[Tensor, "B T V"], tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Return log softmax(logits)[token]; logits[:, t] are those that tokens[:, t] is drawn from.

    A logit of -inf is a token that may not be said.
    """
    require_same_shape(logits_without_vocabulary=logits[..., 0], tokens=tokens)
    chosen = logits.gather(-1, tokens.long().unsqueeze(-1)).squeeze(-1)
    return chosen - torch.logsumexp(logits, dim=-1)


def probability_ratio(
    logprobs: Float[Tensor, "B T"],
    old_logprobs: Float[Tensor, "B T"],
    policy_token_mask: Bool[Tensor, "B T"],
) -> Float[Tensor, "B T"]:
    """Return exp(logprobs - old_logprobs) on own tokens and 1 elsewhere (PPO's r_t)."""
    require_same_shape(logprobs=logprobs, old_logprobs=old_logprobs, policy_token_mask=policy_token_mask)
    return torch.where(policy_token_mask, logprobs - old_logprobs.detach(), 0.0).exp()


def clipped_surrogate(
    ratio: Float[Tensor, "B T"],
    advantage: Float[Tensor, "B T"],
    policy_token_mask: Bool[Tensor, "B T"],
    *,
    clip_epsilon: float,
    aggregation: Aggregation = "token_mean",
    constant_length: int | None = None,
) -> Float[Tensor, ""]:
    """Return -mean(min(r A, clip(r, 1 - eps, 1 + eps) A)) over the learner's own tokens.

    PPO (Schulman et al., 2017), equation 7, negated to be minimised. Our `ratio` is its r_t.
    """
    require_same_shape(ratio=ratio, advantage=advantage, policy_token_mask=policy_token_mask)
    clipped = ratio.clamp(1 - clip_epsilon, 1 + clip_epsilon)
    gain = torch.minimum(ratio * advantage, clipped * advantage)
    return -aggregate_tokens(gain, policy_token_mask, aggregation=aggregation, constant_length=constant_length)


def clip_fraction(
    ratio: Float[Tensor, "B T"], policy_token_mask: Bool[Tensor, "B T"], *, clip_epsilon: float
) -> Float[Tensor, ""]:
    """Return the share of own tokens, 0 to 1, whose ratio lies outside [1 - eps, 1 + eps]."""
    return masked_mean(((ratio - 1).abs() > clip_epsilon).to(ratio.dtype), policy_token_mask)


def clipped_value_loss(
    values: Float[Tensor, "B T"],
    old_values: Float[Tensor, "B T"],
    returns: Float[Tensor, "B T"],
    policy_token_mask: Bool[Tensor, "B T"],
    *,
    clip_epsilon: float,
) -> Float[Tensor, ""]:
    """Return mean(max((V - G)^2, (V_old + clip(V - V_old, -eps, eps) - G)^2)) / 2 over own tokens.

    The value term of PPO (Schulman et al., 2017, equation 9), clipped as its authors' code does and the paper
    does not say.
    """
    require_same_shape(values=values, old_values=old_values, returns=returns, policy_token_mask=policy_token_mask)
    old_values = old_values.detach()
    clipped = old_values + (values - old_values).clamp(-clip_epsilon, clip_epsilon)
    errors = torch.maximum((values - returns).square(), (clipped - returns).square())
    return masked_mean(errors, policy_token_mask) / 2


def policy_gradient_loss(
    logprobs: Float[Tensor, "B T"],
    action_values: Float[Tensor, "B T"],
    policy_token_mask: Bool[Tensor, "B T"],
    *,
    aggregation: Aggregation = "token_mean",
    constant_length: int | None = None,
) -> Float[Tensor, ""]:
    """Return -mean(Q(s_t, a_t) log pi(a_t|s_t)) over own tokens, whose gradient is minus that of equation 9.

    The language game (arXiv 2402.08078), equation 9. `action_values` may be full returns, returns to go or
    advantages: the expected gradient is the same, the variance falls. The equation's mean over pairs equals
    the gradient of the expected return up to the number of own tokens per episode; with "constant_length" and
    length 1 it equals it exactly.
    """
    require_same_shape(logprobs=logprobs, action_values=action_values, policy_token_mask=policy_token_mask)
    return -aggregate_tokens(
        logprobs * action_values.detach(),
        policy_token_mask,
        aggregation=aggregation,
        constant_length=constant_length,
    )


def kl_loss(
    logprobs: Float[Tensor, "B T"],
    ref_logprobs: Float[Tensor, "B T"],
    policy_token_mask: Bool[Tensor, "B T"],
    *,
    estimator: KLEstimator,
    aggregation: Aggregation = "token_mean",
    constant_length: int | None = None,
) -> Float[Tensor, ""]:
    """Return the aggregated estimate of KL(policy, reference) per own token, to be differentiated.

    GRPO (Shao et al., 2024, equation 4) with "k3". What its gradient is on fresh samples is said in `divergences`:
    only "k2" gives that of KL(policy, reference), token by token; "k1" gives 0 in expectation.
    """
    require_same_shape(logprobs=logprobs, ref_logprobs=ref_logprobs, policy_token_mask=policy_token_mask)
    now, ref = (torch.where(policy_token_mask, part, 0.0) for part in (logprobs, ref_logprobs.detach()))
    terms = kl_estimate(now, ref, estimator=estimator)
    return aggregate_tokens(terms, policy_token_mask, aggregation=aggregation, constant_length=constant_length)


def masked_entropy(logits: Float[Tensor, "B T V"], policy_token_mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Return the mean entropy in nats of softmax(logits) over own tokens; PPO's bonus S (equation 9).

    A logit of -inf, a token that may not be said, adds 0.
    """
    require_same_shape(logits_without_vocabulary=logits[..., 0], policy_token_mask=policy_token_mask)
    logprobs = logits[policy_token_mask].log_softmax(-1)  # (own tokens, V)
    finite = logprobs.masked_fill(logprobs == -torch.inf, 0.0)
    entropies = -(logprobs.exp() * finite).sum(-1)
    return entropies.sum() / max(entropies.numel(), 1)


def aggregate_tokens(
    token_losses: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    *,
    aggregation: Aggregation,
    constant_length: int | None = None,
) -> Float[Tensor, ""]:
    """Return one number from a loss per token; the choice changes the objective.

    * "token_mean": the mean over all marked tokens; long replies weigh more.
    * "sequence_mean": the mean within each reply, then over the replies that have a marked token (GRPO); a
      token of a short reply weighs more.
    * "constant_length": the sum over `constant_length`, averaged over all B replies (Dr. GRPO); tokens weigh
      the same whatever else the batch holds.
    """
    if (constant_length is not None) != (aggregation == "constant_length"):
        raise ValueError(
            'constant_length: expected a number with aggregation "constant_length" and None otherwise, '
            f'got {constant_length} with "{aggregation}"'
        )
    if aggregation == "token_mean":
        return masked_mean(token_losses, mask)
    if aggregation == "sequence_mean":
        return masked_mean(masked_mean(token_losses, mask, dim=1), mask.any(dim=1))
    if constant_length is None or constant_length < 1:
        raise ValueError(f"constant_length: expected a positive number of tokens, got {constant_length}")
    return masked_sum(token_losses, mask) / (constant_length * max(len(token_losses), 1))
