"""Symmetric preference games: distances from equilibrium, best responses and the equilibrium itself, exactly.

Both players name one of n replies; the game is P with P[y, y'] = the probability that y is preferred to y', so that
P + P^T = 1. In the *original* game a policy wants to be preferred. In the *KL game* with beta = `kl_coef` it also
wants to stay near a reference policy (Munos et al., 2024, "Nash Learning from Human Feedback", 2312.00886):

    J(pi, pi') = pi^T P pi' - beta KL(pi, ref) + beta KL(pi', ref)

Its symmetric equilibrium is unique and the only policy for which log pi - log ref - P pi / beta is constant. All
functions take one game, P (n, n) with policies (n,), or a stack of games, (..., n, n) with (..., n).

>>> P = np.array([[0.5, 0.7], [0.3, 0.5]])
>>> regularised_equilibrium(P, np.array([0.5, 0.5]), kl_coef=0.1).round(6).tolist()
[0.880797, 0.119203]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, rel_entr, softmax

from ...envs.games.matrix.preferences import check_preferences
from ...envs.tree.infostates import Floats
from ..training.checks import check_positive

NEWTON_STEPS = 500
"""Damped Newton steps allowed for one game; tens are usual."""


def check_preference_matrices(preferences: NDArray[np.floating]) -> Floats:
    """Return the matrix, or the stack of matrices (..., n, n), as float64.

    Raises:
        ValueError: one of them is no preference matrix; it names the worst cell, as `check_preferences` does.
    """
    matrices = np.asarray(preferences, dtype=np.float64)
    if matrices.ndim < 2:
        raise ValueError(f"preferences: expected shape (..., n, n), got {matrices.shape}")
    for index in np.ndindex(matrices.shape[:-2]):
        try:
            check_preferences(matrices[index])
        except ValueError as error:
            raise ValueError(f"game {index}, {error}" if index else str(error)) from None
    return matrices


def check_policies(name: str, policies: NDArray[np.floating], preferences: Floats) -> Floats:
    """Return the policies called `name` as float64, one for each game, each reply with a probability above 0.

    Raises:
        ValueError: the wrong shape, a probability that is not positive, or a sum that is not 1.
    """
    checked = np.asarray(policies, dtype=np.float64)
    if checked.shape != preferences.shape[:-1]:
        raise ValueError(f"{name}: expected shape {preferences.shape[:-1]}, got {checked.shape}")
    if not checked.min() > 0 or not np.abs(checked.sum(-1) - 1).max() <= 1e-9:
        sums = f"sums from {checked.sum(-1).min()} to {checked.sum(-1).max()}"
        raise ValueError(f"{name}: expected probabilities > 0 that sum to 1, got a least of {checked.min()} and {sums}")
    return checked


def preferred(preferences: Floats, policies: Floats) -> Floats:
    """Return P pi: how often each reply is preferred to one of `policies`; shape (..., n)."""
    against: Floats = (preferences @ policies[..., None])[..., 0]
    return against


def kl_divergence(policies: Floats, others: Floats) -> Floats:
    """Return KL(policy, other) in nats, 0 log 0 being 0; shape (...)."""
    divergence: Floats = rel_entr(policies, others).sum(-1)
    return divergence


def gap0(preferences: Floats, policies: Floats) -> Floats:
    """Return 2 max_y (P pi)_y - 1, the NashConv of (pi, pi) in the original game; shape (...)."""
    worst: Floats = 2 * preferred(preferences, policies).max(-1) - 1
    return worst


def regularised_best_response(preferences: Floats, policies: Floats, reference: Floats, kl_coef: float) -> Floats:
    """Return BR(pi) = argmax J(., pi), in proportion to ref exp(P pi / beta); shape (..., n)."""
    answer: Floats = softmax(np.log(reference) + preferred(preferences, policies) / kl_coef, axis=-1)
    return answer


def regularised_payoff(
    preferences: Floats, policies: Floats, others: Floats, reference: Floats, kl_coef: float
) -> Floats:
    """Return J(pi, pi') of the KL game; shape (...)."""
    wins: Floats = (policies * preferred(preferences, others)).sum(-1)
    return wins - kl_coef * (kl_divergence(policies, reference) - kl_divergence(others, reference))


def gap(preferences: Floats, policies: Floats, reference: Floats, kl_coef: float) -> Floats:
    """Return the NashConv J(BR, pi) - J(pi, BR) of (pi, pi) in the KL game, 0 only at its equilibrium; shape (...).

    That is 2 [beta log sum_y ref(y) exp((P pi)_y / beta) + beta KL(pi, ref) - 1/2] and, with P + P^T = 1, the same
    as 2 beta KL(pi, BR(pi)), which is how it is computed: nothing large cancels near the equilibrium.
    """
    logits = np.log(reference) + preferred(preferences, policies) / kl_coef
    log_answer = log_softmax(logits, axis=-1)
    log_policies = np.log(np.where(policies > 0, policies, 1.0))  # 0 log 0 is 0
    divergence: Floats = (policies * (log_policies - log_answer)).sum(-1)
    return 2 * kl_coef * divergence


def regularised_equilibrium(preferences: NDArray[np.floating], reference: Floats, *, kl_coef: float) -> Floats:
    """Return the equilibrium of the KL game, to rounding; shape (..., n).

    Damped Newton on F(theta) = theta - log ref - P softmax(theta) / beta. With S = P - 1/2 antisymmetric and D the
    covariance of softmax, the Jacobian 1 - S D / beta has eigenvalues 1 + i w, so that it is never singular and |F|
    has no other stationary point than its zero: backtracking gets there from anywhere.

    Raises:
        ValueError: no preference matrix, a reference with a zero, or `kl_coef` not above 0.
        RuntimeError: Newton did not get to rounding error, as may be where `kl_coef` is tiny.
    """
    matrices = check_preference_matrices(preferences)
    references = check_policies("reference", reference, matrices)
    check_positive("kl_coef", kl_coef)
    found = np.empty_like(references)
    for index in np.ndindex(matrices.shape[:-2]):
        found[index] = softmax(_newton(matrices[index], np.log(references[index]), kl_coef))
    return found


def _newton(matrix: Floats, ref_logits: Floats, kl_coef: float) -> Floats:
    """Return logits at which `_residual` vanishes to rounding."""
    theta = ref_logits.copy()
    miss = _residual(theta, matrix, ref_logits, kl_coef)
    rounding = 1e-14 * (1 + 1 / kl_coef + float(np.abs(ref_logits).max()))
    for _ in range(NEWTON_STEPS):
        policy = softmax(theta)
        covariance = np.diag(policy) - np.outer(policy, policy)
        direction = np.linalg.solve(np.eye(len(theta)) - matrix @ covariance / kl_coef, -miss)
        size, step = float(np.linalg.norm(miss)), 1.0
        while step > 1e-10:
            trial = _residual(theta + step * direction, matrix, ref_logits, kl_coef)
            if np.linalg.norm(trial) <= (1 - 1e-4 * step) * size:
                break
            step /= 2
        else:  # nothing better along a descent direction: only rounding is left
            break
        theta, miss = theta + step * direction, trial
    if np.abs(miss).max() > 100 * rounding:
        raise RuntimeError(
            f"kl_coef: expected an equilibrium at {kl_coef}, got stuck at a residual of {np.abs(miss).max():.3g}; "
            "a larger kl_coef may help"
        )
    return theta


def _residual(theta: Floats, matrix: Floats, ref_logits: Floats, kl_coef: float) -> Floats:
    against: Floats = theta - ref_logits - matrix @ softmax(theta) / kl_coef
    return against


def offline_ipo_optimum(
    preferences: NDArray[np.floating], sampling_policy: Floats, reference: Floats, *, kl_coef: float
) -> Floats:
    """Return the optimum of offline IPO for pairs drawn from `sampling_policy` mu; shape (..., n).

    In proportion to ref exp(P mu / beta) (Azar et al., 2023, 2310.12036, with Psi = identity): the best
    response to mu, and no equilibrium unless mu is one.
    """
    matrices = check_preference_matrices(preferences)
    check_positive("kl_coef", kl_coef)
    sampling = np.asarray(sampling_policy, dtype=np.float64)
    return regularised_best_response(matrices, sampling, check_policies("reference", reference, matrices), kl_coef)
