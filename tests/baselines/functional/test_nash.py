"""Losses of Nash learning against the tabular learners: one step of each on a table of replies is the exact one."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor

from duologue.baselines.functional.nash import (
    checked_preferences,
    dno_loss,
    egpo_targets,
    mirror_descent_targets,
    multiplayer_targets,
    nash_md_loss,
    online_ipo_targets,
    sppo_loss,
    squared_margin_loss,
)
from duologue.baselines.solvers.preference_learners import HedgeSelfPlay, MultiplayerSelfPlay, OptimisticSelfPlay
from duologue.baselines.solvers.regularised_preference_learners import (
    EGPO,
    IPOSelfPlay,
    NashMDPG,
    OnlineMirrorDescent,
)

NUM_REPLIES = 5
PAIRS = torch.tensor(list(itertools.product(range(NUM_REPLIES), repeat=2)))
FIRST, SECOND = PAIRS.T
UNIFORM = torch.full((len(PAIRS),), 1 / len(PAIRS), dtype=torch.float64)
BETA, ETA = 0.3, 0.7


def planted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return preferences with cycles, and a policy that says everything."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((NUM_REPLIES, NUM_REPLIES)), 1)
    preferences = upper + np.tril(1 - upper.T, -1) + np.eye(NUM_REPLIES) / 2
    return preferences, rng.dirichlet(np.full(NUM_REPLIES, 3.0))


GAMES = [planted(seed) for seed in range(3)]


def table(policy: np.ndarray) -> Tensor:
    """Return a table of logits that can be trained."""
    return torch.from_numpy(np.log(policy)).clone().requires_grad_()


def margins_of(logits: Tensor) -> Tensor:
    """Return the margins of all ordered pairs."""
    logprobs = logits.log_softmax(0)
    return logprobs[FIRST] - logprobs[SECOND]


def gradient_step(logits: Tensor, loss: Tensor, learning_rate: float) -> np.ndarray:
    """Return the policy after one step against the gradient."""
    (gradient,) = torch.autograd.grad(loss, logits)
    after: np.ndarray = (logits - learning_rate * gradient).softmax(0).detach().numpy()
    return after


def minimiser(loss_of: Callable[[Tensor], Tensor], start: Tensor, num_steps: int = 1) -> np.ndarray:
    """Return the policy at a loss's minimum by Newton's method: one step where the loss is a square of the logits."""
    logits = start.detach().clone()
    for _ in range(num_steps):
        gradient = torch.autograd.functional.jacobian(loss_of, logits)
        curvature = torch.autograd.functional.hessian(loss_of, logits)
        logits = logits - torch.linalg.pinv(curvature, rtol=1e-10) @ gradient
    policy: np.ndarray = logits.softmax(0).numpy()
    return policy


def pair_weights(policy: np.ndarray) -> Tensor:
    """Return how often each ordered pair is drawn, both replies from the policy."""
    said = torch.from_numpy(policy)
    return said[FIRST] * said[SECOND]


@pytest.mark.parametrize(("preferences", "policy"), GAMES)
def test_online_ipo_on_its_own_pairs_is_self_play(preferences: np.ndarray, policy: np.ndarray) -> None:
    """One step of gradient descent, away from the reference after a first one."""
    learner = IPOSelfPlay(preferences, policy, kl_coef=BETA, learning_rate=0.02)
    labels, ref = torch.from_numpy(preferences)[FIRST, SECOND], margins_of(table(policy)).detach()
    for _ in range(3):
        logits = table(learner.policy)
        targets = online_ipo_targets(ref, labels, kl_coef=BETA)
        loss = squared_margin_loss(margins_of(logits), targets, pair_weights(learner.policy))
        learner.step()
        np.testing.assert_allclose(gradient_step(logits, loss, 0.02), learner.policy, atol=1e-9)


@pytest.mark.parametrize(("preferences", "policy"), GAMES)
def test_inpo_s_minimum_is_a_step_of_mirror_descent(preferences: np.ndarray, policy: np.ndarray) -> None:
    """On pairs of the policy at collection, a label for each pair alone."""
    learner = OnlineMirrorDescent(preferences, policy, kl_coef=BETA, step_size=ETA)
    labels, ref = torch.from_numpy(preferences)[FIRST, SECOND], margins_of(table(policy)).detach()
    for _ in range(3):
        start, weights = table(learner.policy), pair_weights(learner.policy)
        targets = mirror_descent_targets(margins_of(start).detach(), ref, labels, step_size=ETA, kl_coef=BETA)

        def loss_of(logits: Tensor, targets: Tensor = targets, weights: Tensor = weights) -> Tensor:
            return squared_margin_loss(margins_of(logits), targets, weights)

        found = minimiser(loss_of, start)
        learner.step()
        np.testing.assert_allclose(found, learner.policy, atol=1e-9)


@pytest.mark.parametrize(("preferences", "policy"), GAMES)
def test_onpo_is_optimistic_hedge(preferences: np.ndarray, policy: np.ndarray) -> None:
    """The same square twice on the same pairs, from the secondary policy: first for it, then for the next one.

    The tabular learner takes the first rewards to have been there before, so that its secondary policy begins a step
    behind.
    """
    learner = OptimisticSelfPlay(preferences, policy, step_size=ETA)
    labels, current = torch.from_numpy(preferences)[FIRST, SECOND], policy
    secondary = softmax(np.log(policy) - ETA * preferences @ policy)
    for _ in range(4):
        np.testing.assert_allclose(current, learner.policy, atol=1e-9)
        weights = pair_weights(current)

        def step(base: np.ndarray, weights: Tensor = weights) -> np.ndarray:
            old = margins_of(table(base)).detach()
            targets = mirror_descent_targets(old, old, labels, step_size=ETA, kl_coef=0.0)
            return minimiser(lambda logits: squared_margin_loss(margins_of(logits), targets, weights), table(base))

        secondary = step(secondary)
        current = step(secondary)
        learner.step()


@pytest.mark.parametrize(("preferences", "policy"), GAMES)
def test_egpo_steps_to_a_half_point_and_from_the_start_again(preferences: np.ndarray, policy: np.ndarray) -> None:
    """Gradient descent on all pairs alike: eta beta is 4 lr / n."""
    learning_rate = ETA * BETA * NUM_REPLIES / 4
    learner = EGPO(preferences, policy, kl_coef=BETA, step_size=ETA)
    ref, stated = margins_of(table(policy)).detach(), torch.from_numpy(preferences)
    for _ in range(3):
        logits, against = table(learner.policy), learner.policy
        for _half in range(2):
            wins = stated @ torch.from_numpy(against)
            targets = egpo_targets(ref, wins[FIRST], wins[SECOND], kl_coef=BETA)
            loss = squared_margin_loss(margins_of(logits), targets, UNIFORM)
            against = gradient_step(logits, loss, learning_rate)
        learner.step()
        np.testing.assert_allclose(against, learner.policy, atol=1e-9)


@pytest.mark.parametrize(("preferences", "policy"), GAMES)
def test_mnpo_s_minimum_is_the_mean_of_what_the_others_would_do(preferences: np.ndarray, policy: np.ndarray) -> None:
    """Three players from different starts; the first one's next policy."""
    rng, stated = np.random.default_rng(0), torch.from_numpy(preferences)
    starts = np.stack([policy, *rng.dirichlet(np.full(NUM_REPLIES, 2.0), 2)])
    learner = MultiplayerSelfPlay(preferences, starts, step_size=ETA)
    others = starts[1:]
    old = torch.stack([margins_of(table(other)).detach() for other in others])
    wins = torch.stack([stated @ torch.from_numpy(other) for other in others])
    targets = multiplayer_targets(old, wins[:, FIRST] - wins[:, SECOND], step_size=ETA)
    found = minimiser(lambda logits: squared_margin_loss(margins_of(logits), targets), table(policy))
    learner.step()
    np.testing.assert_allclose(found, learner.policy, atol=1e-9)


@pytest.mark.parametrize(("preferences", "policy"), GAMES)
def test_dno_s_minimum_is_hedge(preferences: np.ndarray, policy: np.ndarray) -> None:
    """A logistic loss whose minimum is where the margins are those of multiplicative weights."""
    learner, stated = HedgeSelfPlay(preferences, policy, step_size=ETA), torch.from_numpy(preferences)
    wins, old = stated @ torch.from_numpy(policy), margins_of(table(policy)).detach()
    gains, weights = wins[FIRST] - wins[SECOND], pair_weights(policy)

    def loss_of(logits: Tensor) -> Tensor:
        return dno_loss(margins_of(logits), old, gains, step_size=ETA, weights=weights)

    learner.step()
    np.testing.assert_allclose(minimiser(loss_of, table(policy), num_steps=8), learner.policy, atol=1e-6)


@pytest.mark.parametrize(("preferences", "policy"), GAMES)
def test_sppo_is_hedge_where_its_normaliser_may_be_free(preferences: np.ndarray, policy: np.ndarray) -> None:
    """Of log-values that need not sum to 1, exactly; of a policy to the second order of the step."""
    stated, old = torch.from_numpy(preferences), torch.from_numpy(np.log(policy))
    wins, said = stated @ torch.from_numpy(policy), torch.from_numpy(policy)
    apart = []
    for step_size in (ETA, ETA / 10):
        learner = HedgeSelfPlay(preferences, policy, step_size=step_size)
        learner.step()

        def free(values: Tensor, step_size: float = step_size) -> Tensor:
            return sppo_loss(values, old, wins, step_size=step_size, weights=said)

        def normalised(logits: Tensor, step_size: float = step_size) -> Tensor:
            return sppo_loss(logits.log_softmax(0), old, wins, step_size=step_size, weights=said)

        np.testing.assert_allclose(minimiser(free, old), learner.policy, atol=1e-9)
        apart.append(np.abs(minimiser(normalised, old, num_steps=20) - learner.policy).max())
    assert apart[1] < apart[0] / 50  # a tenth of the step: a hundredth, or less
    assert apart[0] < 0.05


@pytest.mark.parametrize(("preferences", "policy"), GAMES)
def test_nash_md_is_a_policy_gradient_against_the_mixture(preferences: np.ndarray, policy: np.ndarray) -> None:
    """The mixture of whole replies, not token by token; away from the reference after a first step."""
    learner = NashMDPG(preferences, policy, kl_coef=BETA, learning_rate=0.2, mix_rate=0.25)
    stated, ref = torch.from_numpy(preferences), torch.from_numpy(np.log(policy))
    for _ in range(3):
        logits = table(learner.policy)
        mixed = (0.75 * logits.detach() + 0.25 * ref).softmax(0)
        logprobs, weights = logits.log_softmax(0), torch.from_numpy(learner.policy)
        loss = nash_md_loss(logprobs, ref, stated @ mixed, kl_coef=BETA, weights=weights)
        learner.step()
        np.testing.assert_allclose(gradient_step(logits, loss, 0.2), learner.policy, atol=1e-9)


def test_means_weigh_all_alike() -> None:
    """By hand, of two: (1 - 0)^2 and (3 - 1)^2; -(-1)(.5 - .5 - .2) and -(-2)(1 - .5 - .2 (-1))."""
    one, two = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])
    assert float(squared_margin_loss(one, two)) == pytest.approx(2.5)
    logprobs, ref = torch.tensor([-1.0, -2.0]), torch.tensor([-2.0, -1.0])
    found = nash_md_loss(logprobs, ref, torch.tensor([0.5, 1.0]), kl_coef=0.2)
    assert float(found) == pytest.approx((1.0 * -0.2 + 2.0 * 0.7) / 2)
    assert float(dno_loss(two, two, torch.zeros(2), step_size=1.0)) == pytest.approx(np.log(2))


def test_steps_beyond_the_reference_are_refused() -> None:
    """Eta beta at most 1."""
    zeros = torch.zeros(2)
    with pytest.raises(ValueError, match=r"step_size \* kl_coef in \[0, 1\], got 3\.0 \* 0\.5"):
        mirror_descent_targets(zeros, zeros, zeros, step_size=3.0, kl_coef=0.5)


@pytest.mark.parametrize("stated", [float("nan"), -0.1, 1.5, float("inf")])
def test_a_judge_that_states_no_probability_is_refused(stated: float) -> None:
    """By the number that it stated, in either order."""
    wrong, right = torch.tensor([0.5, stated]), torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match=r"preferences: expected probabilities in \[0, 1\], got"):
        checked_preferences(wrong)
    with pytest.raises(ValueError, match=r"swapped: expected probabilities in \[0, 1\], got"):
        checked_preferences(right, wrong)


def test_both_orders_must_agree() -> None:
    """To a thousandth, and what is returned is antisymmetric."""
    first, second = torch.tensor([0.7, 0.2]), torch.tensor([0.3004, 0.8])
    found = checked_preferences(first, second)
    assert (found + checked_preferences(second, first)).tolist() == pytest.approx([1.0, 1.0])
    with pytest.raises(ValueError, match=r"P\(y > y'\) \+ P\(y' > y\) = 1 to 0\.001, got 0\.2.* for pair 1"):
        checked_preferences(first, torch.tensor([0.3, 0.6]))
