"""Learners of the KL-regularised preference game: tabular forms of Nash learning from human feedback.

Each has `policy`, the newest iterate, `average_policy`, the plain mean of the policies that finished steps left,
`step`, and `num_queries`: how often it asked how all replies fare against one policy, P pi. beta is `kl_coef`, eta is
`step_size`, delta = log pi - log ref. They start at the reference policy. Games can be stacked, as in
`preference_games.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ...envs.tree.infostates import Floats
from ..training.checks import check_positive, check_share
from .preference_learners import LogitLearner


class RegularisedLearner(LogitLearner):
    """What the learners share: the reference policy, from which they start, and how it pulls."""

    def __init__(self, preferences: NDArray[np.floating], reference: Floats, *, kl_coef: float) -> None:
        """Take P (..., n, n), the reference and start (..., n), and beta."""
        super().__init__("reference", preferences, reference)
        self.ref_logits = self._logits
        self.kl_coef = check_positive("kl_coef", kl_coef)

    def _descend(self, rewards: Floats, step_size: float) -> Floats:
        """Return (1 - eta beta) log pi + eta beta log ref + eta rewards: one step of mirror descent."""
        pull = step_size * self.kl_coef
        return (1 - pull) * self._logits + pull * self.ref_logits + step_size * rewards

    def _towards_reference(self, rate: float) -> Floats:
        """Return pi_mix, in proportion to pi^(1 - rate) ref^rate."""
        mixed: Floats = softmax((1 - rate) * self._logits + rate * self.ref_logits, axis=-1)
        return mixed


class _StepSizeLearner(RegularisedLearner):
    """A learner with a constant eta, eta beta at most 1."""

    def __init__(
        self, preferences: NDArray[np.floating], reference: Floats, *, kl_coef: float, step_size: float
    ) -> None:
        """Take P (..., n, n), the reference and start (..., n), beta and eta."""
        super().__init__(preferences, reference, kl_coef=kl_coef)
        self.step_size = _check_step_size(step_size, kl_coef)


class OnlineMirrorDescent(_StepSizeLearner):
    """Online mirror descent in the KL game: online IPO with uniform pairs, and INPO.

    Papers: Calandriello et al., 2024, "Human Alignment of Large Language Models through Online Preference
    Optimisation" (online IPO, 2403.08635); Zhang et al., 2024, "Iterative Nash Policy Optimization" (INPO,
    2407.00617): log pi <- (1 - eta beta) log pi + eta beta log ref + eta P pi. With n replies, SGD on IPO's loss with
    learning rate lr has eta beta = 4 lr / n.

    Guarantee: as magnetic mirror descent with the magnet ref (2206.05825): the last iterate converges linearly for eta
    up to about beta; with much larger eta it may cycle for ever.
    """

    def _next_logits(self) -> Floats:
        return self._descend(self._ask(self.policy), self.step_size)


class OptimisticMirrorDescent(_StepSizeLearner):
    """Online mirror descent with 2 r_t - r_{t-1} for r_t = P pi_t, r_{-1} = r_0.

    The regularised form of Rakhlin & Sridharan's optimism ("Online Learning with Predictable Sequences", 2013). One
    query a step, half of what EGPO needs, for the same curve in practice.

    Guarantee: none proved here; the test compares it with EGPO.
    """

    def _next_logits(self) -> Floats:
        return self._descend(self._ask_optimistically(), self.step_size)


class EGPO(_StepSizeLearner):
    """Extragradient: mirror descent to a half point, then from the start again with the half point's preferences.

    Paper: Zhou et al., "Extragradient Preference Optimization (EGPO)", COLM 2025, 2503.08942. Two queries a step.

    Guarantee: the *last* iterate converges linearly to the equilibrium of the KL game.
    """

    def _next_logits(self) -> Floats:
        half: Floats = softmax(self._descend(self._ask(self.policy), self.step_size), axis=-1)
        return self._descend(self._ask(half), self.step_size)


class NashMP(EGPO):
    """Nash Mirror Prox: extragradient with the step that the theory wants, eta beta = 2 beta / (1 + 2 beta).

    Paper: Tiapkin et al., 2025, "Accelerating Nash Learning from Human Feedback via Mirror Prox", 2505.19731.

    Guarantee: KL(pi*, pi_t) <= (1 + 2 beta)^-t KL(pi*, ref), at two queries a step: the *last* iterate, linearly.
    """

    def __init__(self, preferences: NDArray[np.floating], reference: Floats, *, kl_coef: float) -> None:
        """Take P (..., n, n), the reference and start (..., n), and beta."""
        step_size = 2 / (1 + 2 * check_positive("kl_coef", kl_coef))
        super().__init__(preferences, reference, kl_coef=kl_coef, step_size=step_size)


class NashMD(RegularisedLearner):
    """Mirror descent against a policy that is mixed, geometrically, with the reference.

    Paper: Munos et al., 2024, "Nash Learning from Human Feedback", 2312.00886: log pi <- (1 - eta_t beta)
    log pi + eta_t beta log ref + eta_t P pi_mix, with pi_mix in proportion to pi^(1 - eta_t beta) ref^(eta_t beta).

    Guarantee: with the default eta_t = 2 / (beta (t + 2)) the *last* iterate has KL(pi*, pi_T) <= 8 / (beta^2 (T + 1)),
    in every game and for every T (theorem 1). A constant step stops at a plateau above 0.
    """

    def __init__(
        self,
        preferences: NDArray[np.floating],
        reference: Floats,
        *,
        kl_coef: float,
        step_size: float | None = None,
        mix_rate: float | None = None,
    ) -> None:
        """Take the game and the rates.

        Args:
            preferences: P; shape (..., n, n).
            reference: the reference policy and start; shape (..., n).
            kl_coef: beta.
            step_size: a constant eta; None: the decaying one.
            mix_rate: how much of the reference there is in pi_mix; None: eta_t beta, as in the theorem.
        """
        super().__init__(preferences, reference, kl_coef=kl_coef)
        self.constant_step_size = None if step_size is None else _check_step_size(step_size, kl_coef)
        self.mix_rate = None if mix_rate is None else check_share("mix_rate", mix_rate)

    @property
    def step_size(self) -> float:
        """The eta_t of the next step."""
        if self.constant_step_size is not None:
            return self.constant_step_size
        return 2 / (self.kl_coef * (self.iteration + 2))

    def _next_logits(self) -> Floats:
        rate = self.step_size * self.kl_coef if self.mix_rate is None else self.mix_rate
        return self._descend(self._ask(self._towards_reference(rate)), self.step_size)


class _PolicyGradientLearner(RegularisedLearner):
    """A learner that follows a gradient in the logits, with pi as a factor: replies that it never says stand still."""

    def __init__(
        self, preferences: NDArray[np.floating], reference: Floats, *, kl_coef: float, learning_rate: float
    ) -> None:
        """Take P (..., n, n), the reference and start (..., n), beta and the learning rate."""
        super().__init__(preferences, reference, kl_coef=kl_coef)
        self.learning_rate = check_positive("learning_rate", learning_rate)

    def _ascend(self, advantages: Floats, rate: float) -> Floats:
        """Return theta + rate pi (a - pi.a): a step along the gradient of pi.a in the logits, a held fixed."""
        policy = self.policy
        centred: Floats = advantages - (policy * advantages).sum(-1, keepdims=True)
        return self._logits + rate * policy * centred


class IPOSelfPlay(_PolicyGradientLearner):
    """Online IPO with both replies of a pair drawn from the policy itself.

    Paper: Calandriello et al., 2024, 2403.08635: its expected gradient is 4 / beta times that of self-play, theta <-
    theta - 4 lr pi (delta - pi.delta - (P pi - 1/2) / beta).

    Guarantee: the equilibrium of the KL game is its only rest point; how fast it comes there depends on the least
    probability.
    """

    def _next_logits(self) -> Floats:
        delta = self._logits - self.ref_logits
        return self._ascend(self._ask(self.policy) / self.kl_coef - delta, 4 * self.learning_rate)


class NashMDPG(_PolicyGradientLearner):
    """Policy gradient against the mixed policy: what Nash-MD became for language models.

    Paper: Munos et al., 2024, 2312.00886: theta <- theta + lr pi (a - pi.a), a = P pi_mix - beta delta.

    Guarantee: none; it rests where log pi - log ref - P pi_mix / beta is constant, near the equilibrium, not at it.
    """

    def __init__(
        self,
        preferences: NDArray[np.floating],
        reference: Floats,
        *,
        kl_coef: float,
        learning_rate: float,
        mix_rate: float,
    ) -> None:
        """Take P, the reference and start, beta, the learning rate and how much of the reference pi_mix has."""
        super().__init__(preferences, reference, kl_coef=kl_coef, learning_rate=learning_rate)
        self.mix_rate = check_share("mix_rate", mix_rate)

    def _next_logits(self) -> Floats:
        delta = self._logits - self.ref_logits
        against = self._ask(self._towards_reference(self.mix_rate))
        return self._ascend(against - self.kl_coef * delta, self.learning_rate)


def _check_step_size(step_size: float, kl_coef: float) -> float:
    if check_positive("step_size", step_size) * kl_coef > 1:
        raise ValueError(f"step_size: expected at most 1 / kl_coef = {1 / kl_coef}, got {step_size!r}")
    return step_size
