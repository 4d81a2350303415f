"""Losses from given data: demonstrations and preferences.

With margin G(p) = log p(chosen|prompt) - log p(rejected|prompt), each a sum over the reply's tokens.
"""

from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from .masking import masked_mean, require_same_shape


def behaviour_cloning_loss(logprobs: Float[Tensor, "B T"], loss_mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """Return -mean(log pi(a_t|s_t)) over the marked tokens.

    The language game (arXiv 2402.08078): equation 7, pre-training, if the mask marks every token; equation 8,
    SFT, if it marks player two's.
    """
    return -masked_mean(logprobs, loss_mask)


def bradley_terry_loss(chosen_rewards: Float[Tensor, " B"], rejected_rewards: Float[Tensor, " B"]) -> Float[Tensor, ""]:
    """Return -mean(log sigmoid(r(x, y_w) - r(x, y_l))), the loss of a reward model.

    Ouyang et al. (2022), equation 1. Adding a number per prompt to the rewards changes nothing.
    """
    require_same_shape(chosen_rewards=chosen_rewards, rejected_rewards=rejected_rewards)
    return -logsigmoid(chosen_rewards - rejected_rewards).mean()


def dpo_loss(
    margins: Float[Tensor, " B"],
    ref_margins: Float[Tensor, " B"],
    *,
    kl_coef: float,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Return -mean(log sigmoid(kl_coef (G(pi) - G(ref)))).

    DPO (Rafailov et al., 2023), equation 7, whose beta is our `kl_coef`. `label_smoothing`, in [0, 1/2), is
    the assumed share of swapped labels: the loss of the swapped pair is mixed in with that weight.
    """
    require_same_shape(margins=margins, ref_margins=ref_margins)
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing: expected a number in [0, 1/2), got {label_smoothing}")
    scaled = kl_coef * (margins - ref_margins)
    losses = -(1 - label_smoothing) * logsigmoid(scaled) - label_smoothing * logsigmoid(-scaled)
    return losses.mean()


def ipo_loss(margins: Float[Tensor, " B"], ref_margins: Float[Tensor, " B"], *, kl_coef: float) -> Float[Tensor, ""]:
    """Return mean((G(pi) - G(ref) - 1 / (2 kl_coef))^2).

    IPO (Azar et al., 2023), equation 17, whose tau is our `kl_coef`.
    """
    require_same_shape(margins=margins, ref_margins=ref_margins)
    return (margins - ref_margins - 1 / (2 * kl_coef)).square().mean()
