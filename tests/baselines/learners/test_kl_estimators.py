"""KL by k1, k2 and k3, in the reward and as a loss: every expectation is a sum over all replies of up to two tokens."""

import pytest
import torch
from torch import Tensor

from duologue.baselines.functional.advantages import rewards_to_go, shaped_token_rewards
from duologue.baselines.functional.divergences import KLEstimator, kl_estimate, reply_kl_nats
from duologue.baselines.functional.policy_losses import kl_loss, policy_gradient_loss, token_logprobs

EOS = 0
REPLIES = [(EOS,), *((a, b) for a in (1, 2) for b in (EOS, 1, 2))]
TOKENS = torch.tensor([[*reply, 0][:2] for reply in REPLIES])  # (7, 2), padded
OWN = torch.tensor([[True, len(reply) == 2] for reply in REPLIES])
CONTEXTS = torch.tensor([[0, reply[0]] for reply in REPLIES])  # the empty one, then the first token
ESTIMATORS: tuple[KLEstimator, ...] = ("k1", "k2", "k3")


class Case:
    """A policy with a gradient and a reference, each given by its logits in three contexts."""

    def __init__(self, seed: int = 5) -> None:
        """Draw both."""
        logits = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        self.logits, ref_logits = logits[0].requires_grad_(), logits[1]
        self.logprobs, self.ref_logprobs = self.of_tokens(self.logits), self.of_tokens(ref_logits)
        self.probs = self.logprobs.sum(1).exp()
        self.weights = self.probs.detach()

    def of_tokens(self, logits: Tensor) -> Tensor:
        """Return log-probabilities (7, 2) for logits by context."""
        return torch.where(OWN, token_logprobs(logits[CONTEXTS], TOKENS), 0.0)

    def gradient(self, objective: Tensor) -> Tensor:
        """Return the gradient with respect to the policy's logits."""
        return torch.autograd.grad(objective, self.logits, retain_graph=True)[0]

    @property
    def forward_kl(self) -> Tensor:
        """KL(pi, ref) of whole replies."""
        return (self.probs * (self.logprobs - self.ref_logprobs).sum(1)).sum()

    @property
    def reverse_kl(self) -> Tensor:
        """KL(ref, pi) of whole replies."""
        return (self.ref_logprobs.sum(1).exp() * (self.ref_logprobs - self.logprobs).sum(1)).sum()

    def expected(self, estimator: KLEstimator) -> Tensor:
        """Return the estimator of whole replies, averaged over a distribution that is held fixed."""
        now, ref = self.logprobs.sum(1), self.ref_logprobs.sum(1)
        return (self.weights * kl_estimate(now, ref, estimator=estimator)).sum()

    def token_loss(self, estimator: KLEstimator) -> Tensor:
        """Return the expectation of `kl_loss` summed over a reply: rows are weighted by their probability."""
        losses = [
            kl_loss(
                self.logprobs[k : k + 1],
                self.ref_logprobs[k : k + 1],
                OWN[k : k + 1],
                estimator=estimator,
                aggregation="constant_length",
                constant_length=1,
            )
            for k in range(len(REPLIES))
        ]
        return (self.weights * torch.stack(losses)).sum()


def test_k1_and_k3_are_unbiased_and_k2_is_not_of_replies_and_token_by_token() -> None:
    """Schulman (2020): E[k1] = E[k3] = KL(pi, ref); a sum over the tokens of a reply is as good as the whole reply."""
    case = Case()
    kl = case.forward_kl.item()
    assert kl > 0.1
    for estimator in ("k1", "k3"):
        assert case.expected(estimator).item() == pytest.approx(kl, rel=1e-12)
        assert case.token_loss(estimator).item() == pytest.approx(kl, rel=1e-12)
    assert abs(case.expected("k2").item() - kl) > 0.01
    assert abs(case.token_loss("k2").item() - kl) > 0.01
    assert (case.weights * reply_kl_nats(case.logprobs, case.ref_logprobs, OWN)).sum().item() == pytest.approx(kl)


def test_as_a_loss_of_whole_replies() -> None:
    """On fresh samples k1 has the expected gradient 0, k2 that of KL(pi, ref), k3 that of KL(ref, pi)."""
    case = Case()
    forward, reverse = case.gradient(case.forward_kl), case.gradient(case.reverse_kl)
    assert (forward - reverse).abs().max() > 0.05
    torch.testing.assert_close(case.gradient(case.expected("k1")), torch.zeros_like(forward))
    torch.testing.assert_close(case.gradient(case.expected("k2")), forward)
    torch.testing.assert_close(case.gradient(case.expected("k3")), reverse)


def test_as_a_loss_token_by_token_prefixes_count_as_given() -> None:
    """Chain rule: the KL of a reply is a sum over prefixes of reach times the next token's KL; the reach is not moved.

    That is where a loss per token, GRPO's among them, differs from the KL of the reply.
    """
    case = Case()
    probs, ref = case.logits.softmax(-1), Case().ref_logprobs
    first = torch.stack([ref[0, 0], ref[1, 0], ref[4, 0]])
    second = torch.stack([ref[1:4, 1], ref[4:7, 1]])
    ref_logits = torch.cat([first[None], second])  # (3 contexts, 3 tokens), normalised
    reach = torch.cat([torch.ones(1, dtype=torch.float64), probs[0, 1:]]).detach()
    forward = (reach[:, None] * probs * (probs.log() - ref_logits)).sum()
    reverse = (reach[:, None] * ref_logits.exp() * (ref_logits - probs.log())).sum()
    assert forward.item() == pytest.approx(case.forward_kl.item())
    torch.testing.assert_close(case.gradient(case.token_loss("k1")), torch.zeros(3, 3, dtype=torch.float64))
    torch.testing.assert_close(case.gradient(case.token_loss("k2")), case.gradient(forward))
    torch.testing.assert_close(case.gradient(case.token_loss("k3")), case.gradient(reverse))
    assert (case.gradient(forward) - case.gradient(case.forward_kl)).abs().max() > 0.01


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_in_the_reward_k1_alone_gives_the_gradient_of_the_kl(estimator: KLEstimator) -> None:
    """E[k grad log pi] = grad E[k] - E[grad k]: with k3 that is grad KL(pi, ref) - grad KL(ref, pi)."""
    case = Case()
    rewards = shaped_token_rewards(
        torch.zeros_like(case.logprobs), case.logprobs, case.ref_logprobs, OWN, kl_coef=1.0, estimator=estimator
    )
    weighted = len(REPLIES) * case.weights[:, None] * rewards_to_go(rewards, OWN)
    loss = policy_gradient_loss(case.logprobs, weighted, OWN, aggregation="constant_length", constant_length=1)
    forward = case.gradient(case.forward_kl)
    if estimator == "k1":
        torch.testing.assert_close(case.gradient(loss), forward)
        return
    assert (case.gradient(loss) - forward).abs().max() > 0.01
    tokenwise = torch.where(OWN, kl_estimate(case.logprobs, case.ref_logprobs, estimator=estimator), 0.0).sum(1)
    expected = case.gradient((case.probs * tokenwise).sum()) - case.gradient((case.weights * tokenwise).sum())
    torch.testing.assert_close(case.gradient(loss), expected)


def test_other_tokens_have_no_part_in_the_loss() -> None:
    """Bit for bit the same loss, and gradients of exactly 0, whatever stands there."""
    logprobs, ref = torch.tensor([[-1.0, -2.0]], requires_grad=True), torch.tensor([[-1.5, -1.0]])
    other, own = torch.tensor([[-1.0, -torch.inf]], requires_grad=True), torch.tensor([[True, False]])
    losses = [kl_loss(x, ref, own, estimator="k3") for x in (logprobs, other)]
    assert torch.equal(losses[0], losses[1])
    assert losses[0].item() == pytest.approx(0.5 + torch.exp(torch.tensor(-0.5)).item() - 1)
    assert torch.autograd.grad(losses[1], other)[0][0, 1] == 0


def test_an_unknown_estimator_is_refused() -> None:
    """The message names those that there are."""
    with pytest.raises((ValueError, TypeError), match="estimator"):
        kl_estimate(torch.zeros(1), torch.zeros(1), estimator="k4")  # type: ignore[arg-type]
