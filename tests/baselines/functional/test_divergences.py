"""Expectations are sums here: all replies of up to two tokens over a vocabulary of three are enumerated."""

import pytest
import torch
from torch import Tensor

from duologue.baselines.functional.divergences import adapt_kl_coef, k1, k2, k3
from duologue.baselines.functional.policy_losses import policy_gradient_loss, token_logprobs

EOS = 0
REPLIES = [(EOS,), *((a, b) for a in (1, 2) for b in (EOS, 1, 2))]
TOKENS = torch.tensor([[*reply, 0][:2] for reply in REPLIES])  # (7, 2), padded
OWN = torch.tensor([[True, len(reply) == 2] for reply in REPLIES])
CONTEXTS = torch.tensor([[0, reply[0]] for reply in REPLIES])  # the empty one, then the first token


def per_token_logprobs(logits: Tensor) -> Tensor:
    """Return the logprobs of all replies, (7, 2), for logits by context, (3, 3)."""
    return torch.where(OWN, token_logprobs(logits[CONTEXTS], TOKENS), 0.0)


def random_logits() -> tuple[Tensor, Tensor]:
    """Return the logits of a policy, with gradient, and those of a reference."""
    policy, reference = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return policy.requires_grad_(), reference


def test_k1_and_k3_are_unbiased_and_k2_is_not() -> None:
    """Schulman (2020): E[k1] = E[k3] = KL(pi, ref); k2 and k3 are never negative."""
    policy, reference = random_logits()
    logprobs, ref_logprobs = per_token_logprobs(policy).sum(1), per_token_logprobs(reference).sum(1)
    probs = logprobs.exp()
    assert probs.sum().item() == pytest.approx(1)
    kl = torch.nn.functional.kl_div(ref_logprobs, logprobs, reduction="sum", log_target=True).item()
    assert (probs * k1(logprobs, ref_logprobs)).sum().item() == pytest.approx(kl, rel=1e-12)
    assert (probs * k3(logprobs, ref_logprobs)).sum().item() == pytest.approx(kl, rel=1e-12)
    assert abs((probs * k2(logprobs, ref_logprobs)).sum().item() - kl) > 0.01
    assert (k2(logprobs, ref_logprobs) >= 0).all()
    assert (k3(logprobs, ref_logprobs) >= 0).all()


def test_expected_gradients_of_the_estimators() -> None:
    """As a loss k1 gives 0, k2 that of KL(pi, ref), k3 that of KL(ref, pi); in the reward k1 gives k2's."""
    policy, reference = random_logits()
    logprobs, ref_logprobs = per_token_logprobs(policy).sum(1), per_token_logprobs(reference).sum(1)
    probs, difference = logprobs.exp().detach(), (logprobs - ref_logprobs).detach()

    def gradient(objective: Tensor) -> Tensor:
        return torch.autograd.grad(objective.sum(), policy, retain_graph=True)[0]

    forward = gradient(logprobs.exp() * (logprobs - ref_logprobs))
    backward = gradient(ref_logprobs.exp() * (ref_logprobs - logprobs))
    torch.testing.assert_close(gradient(probs * k1(logprobs, ref_logprobs)), torch.zeros_like(forward))
    torch.testing.assert_close(gradient(probs * k2(logprobs, ref_logprobs)), forward)
    torch.testing.assert_close(gradient(probs * k3(logprobs, ref_logprobs)), backward)
    torch.testing.assert_close(gradient(probs * difference * logprobs), forward)


def test_the_policy_gradient_equals_finite_differences_of_the_expected_return() -> None:
    """Language game, equation 9 against 3: a reward per reply, each reply weighted by its probability."""
    policy, _ = random_logits()
    returns = torch.randn(len(REPLIES), generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def expected_return(logits: Tensor) -> Tensor:
        return (per_token_logprobs(logits).sum(1).exp() * returns).sum()

    logprobs = per_token_logprobs(policy)
    weights = logprobs.sum(1).exp() * len(REPLIES) * returns  # the loss averages over the replies
    loss = policy_gradient_loss(
        logprobs, weights[:, None].expand(-1, 2), OWN, aggregation="constant_length", constant_length=1
    )
    gradient = torch.autograd.grad(-loss, policy)[0]
    for i in range(policy.numel()):
        step = torch.zeros(9, dtype=torch.float64)
        step[i] = 1e-5
        with torch.no_grad():
            rise = expected_return(policy + step.view(3, 3)) - expected_return(policy - step.view(3, 3))
        assert gradient.view(-1)[i].item() == pytest.approx(rise.item() / 2e-5, abs=1e-8)


def test_kl_coef_follows_the_target() -> None:
    """By hand: an excess of 10 % counts, one of 100 % is clipped to 20 %, at K = 50 / 100."""
    assert adapt_kl_coef(0.2, kl_nats=6.6, target_nats=6.0, num_episodes=50, horizon=100) == pytest.approx(0.21)
    assert adapt_kl_coef(0.2, kl_nats=12.0, target_nats=6.0, num_episodes=50, horizon=100) == pytest.approx(0.22)
    assert adapt_kl_coef(0.2, kl_nats=0.0, target_nats=6.0, num_episodes=50, horizon=100) == pytest.approx(0.18)
