"""Which game online IPO plays is decided by its labels: the exact dynamics on a tree, and the sampled gradient."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from duologue.baselines.functional.supervised import ipo_loss, preference_loss
from duologue.baselines.learners.preference import Labels, PreferenceConfig, linear_labels, ordinal_labels
from duologue.envs.games.tiny_red_team import GAINS, HARMFUL_SHARE, PROMPTS, REPLIES

CHANCE = np.array([HARMFUL_SHARE, 1 - HARMFUL_SHARE])
PAID = np.array([[[GAINS[user, prompt, reply] for reply in REPLIES] for prompt in PROMPTS[user]] for user in PROMPTS])
"""What the adversary is paid by user, prompt and reply; "chemistry" is the second prompt of the one, the first of the
other, and the defender, who does not see the user, answers three prompts."""
HEARD = np.array([[0, 1], [1, 2]])
"""Which of the three prompts it is, by user and prompt."""


@cache
def labels_of(labels: Labels, user: int) -> NDArray[np.float64]:
    """Return how what the adversary is paid compares, by prompt, reply, other prompt and other reply; range 1."""
    paid = torch.from_numpy(PAID[user].ravel())
    first, second = paid.repeat_interleave(4), paid.repeat(4)
    found = ordinal_labels(first, second) if labels == "ordinal" else linear_labels(first, second, payoff_range=1.0)
    table: NDArray[np.float64] = found.reshape(2, 2, 2, 2).numpy()
    return table


def preferences(
    labels: Labels, adversary: NDArray[np.float64], defender: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return P(y > y'), y' ~ pi, of the prompts (user, prompt) and of the replies (3 prompts, reply), luck averaged.

    Two prompts of one user meet replies of their own; two replies to one prompt are given to the same user, drawn as
    the prompt tells.
    """
    prompts, replies, heard = np.zeros((2, 2)), np.zeros((3, 2)), np.zeros(3)
    for user in range(2):
        table, answer = labels_of(labels, user), defender[HEARD[user]]  # (prompt, reply)
        prompts[user] = np.einsum("xyuv,xy,u,uv->x", table, answer, adversary[user], answer)
        for prompt, number in enumerate(HEARD[user]):
            reach = CHANCE[user] * adversary[user, prompt]
            replies[number] += reach * (1 - table[prompt, :, prompt]) @ defender[number]  # the defender pays it
            heard[number] += reach
    return prompts, replies / heard[:, None]


def nash_conv(adversary: NDArray[np.float64], defender: NDArray[np.float64]) -> float:
    """Return both players' gains by a best response, summed."""
    paid = np.einsum("uxy,uxy->ux", PAID, defender[HEARD])
    costs = np.zeros((3, 2))
    np.add.at(costs, HEARD, (CHANCE[:, None] * adversary)[..., None] * PAID)
    return float(CHANCE @ paid.max(1) - costs.min(1).sum())


def settled(labels: Labels) -> float:
    """Return NashConv of the averages of online IPO's exact dynamics, mirror descent on P(y > pi) for 8000 steps."""
    logits, said = [np.zeros((2, 2)), np.zeros((3, 2))], [np.zeros((2, 2)), np.zeros((3, 2))]
    for _ in range(8000):
        adversary, defender = (np.exp(part) / np.exp(part).sum(1, keepdims=True) for part in logits)
        for k, (policy, gains) in enumerate(
            zip((adversary, defender), preferences(labels, adversary, defender), strict=True)
        ):
            said[k] += policy / 8000
            logits[k] = 0.9999 * logits[k] + 0.05 * (gains - gains.mean(1, keepdims=True))
    return nash_conv(said[0], said[1])


def test_by_linear_labels_online_ipo_settles_at_the_equilibrium_of_the_game() -> None:
    """Tiny red team, intent hidden, a nat at .004 of the payoffs: all but no distance is left."""
    assert settled("linear") < 0.02


def test_by_ordinal_labels_it_settles_elsewhere() -> None:
    """The defender is indifferent at posterior 1/2 instead of 3/7, the users at compliance 1/2 instead of 2/3 and 1/4.

    A harmful user who says chemistry with probability h then meets benign ones who do with h / 2, and NashConv is
    (1 - h) / 12 + (1 - h / 2) / 12 + h / 24 = (2 - h) / 12, by hand: from 1/12 to 1/6, whichever of these it comes to.
    """
    assert 1 / 12 < settled("ordinal") < 1 / 6


def test_the_equilibrium_of_the_game_has_linear_labels_of_one_half_and_other_ordinal_ones() -> None:
    """The known solution: chemistry by the harmful and by 2/3 of the benign, complied with by 2/3."""
    adversary, defender = np.array([[0.0, 1.0], [2 / 3, 1 / 3]]), np.array([[0.0, 1.0], [2 / 3, 1 / 3], [1.0, 0.0]])
    assert nash_conv(adversary, defender) == pytest.approx(0, abs=1e-12)
    prompts, replies = preferences("linear", adversary * (1 - 1e-12) + 5e-13, defender)
    assert prompts[1] == pytest.approx([0.5, 0.5])  # the benign user mixes both
    assert replies[1] == pytest.approx([0.5, 0.5])  # the defender mixes both
    assert abs(preferences("ordinal", adversary * (1 - 1e-12) + 5e-13, defender)[1][1, 0] - 0.5) > 0.02


def test_labels_by_hand() -> None:
    """Returns .75 and -.25 of a range of 1 are told for certain, .5 and .25 by 5/8, a tie by 1/2."""
    first, second = torch.tensor([0.75, 0.5, 0.25, -0.25]), torch.tensor([-0.25, 0.25, 0.25, 0.0])
    assert linear_labels(first, second, payoff_range=1.0).tolist() == [1, 0.625, 0.5, 0.375]
    assert ordinal_labels(first, second).tolist() == [1, 1, 0.5, 0]
    with pytest.raises(
        ValueError, match=r"payoff_range: expected at least the difference of any two returns, 1, got 0\.5"
    ):
        linear_labels(first, second, payoff_range=0.5)


def test_where_two_payoffs_occur_both_labels_are_one() -> None:
    """Won or lost: there is nothing to drop."""
    first, second = torch.tensor([1.0, -1.0, 1.0, -1.0]), torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert torch.equal(linear_labels(first, second, payoff_range=2.0), ordinal_labels(first, second))


def test_a_label_enters_as_the_probability_that_it_is() -> None:
    """P L(y, y') + (1 - p) L(y', y): the mean over labels drawn with p, without the luck of drawing them."""
    margins, ref = torch.tensor([0.7]), torch.tensor([0.2])
    expected = 0.625 * ipo_loss(margins, ref, kl_coef=0.1) + 0.375 * ipo_loss(-margins, -ref, kl_coef=0.1)
    found = preference_loss(margins, ref, torch.tensor([0.625]), loss="ipo", kl_coef=0.1)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)


def test_labels_are_linear_unless_asked_otherwise() -> None:
    """And the range is what has been seen, where nobody knows it."""
    assert (PreferenceConfig().labels, PreferenceConfig().payoff_range) == ("linear", None)
