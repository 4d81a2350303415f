"""One gradient step, and what is refused in it."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from duologue.baselines.learners.optimisation import make_optimizer, numbered, require_finite, take_step


def one_weight(learning_rate: float = 0.1) -> tuple[nn.Parameter, torch.optim.Optimizer]:
    """Return a weight of 1 and what moves it."""
    weight = nn.Parameter(torch.ones(()))
    return weight, make_optimizer([weight], learning_rate=learning_rate, weight_decay=0.0)


@pytest.mark.parametrize("factor", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_changes_nothing(factor: float) -> None:
    """Adam would spread it over every weight."""
    weight, optimizer = one_weight()
    with pytest.raises(FloatingPointError, match=f"loss: expected a finite number, got {factor}"):
        take_step(weight * factor, optimizer, [weight])
    assert weight.item() == 1


def test_a_gradient_that_is_no_number_changes_nothing() -> None:
    """The square root of 0 is a number, its slope is none; clipping would make NaN of all gradients."""
    weight, optimizer = one_weight()
    with pytest.raises(FloatingPointError, match="gradient norm: expected a finite number, got inf"):
        take_step((weight - 1).sqrt(), optimizer, [weight])
    assert weight.item() == 1


@pytest.mark.parametrize("learning_rate", [1e30, 1e36])
def test_a_step_that_breaks_the_weights_is_noticed_at_once(learning_rate: float) -> None:
    """Also the last one, after which no loss would tell: 1e30 is a number, a model of such weights says NaN."""
    weight, optimizer = one_weight(learning_rate)
    with pytest.raises(FloatingPointError, match=r"weights after the step: expected numbers of at most 100000, got "):
        take_step(weight**2, optimizer, [weight])


def test_the_norm_is_that_before_clipping() -> None:
    """The slope of 6 w at 1."""
    weight, optimizer = one_weight()
    assert take_step(6 * weight, optimizer, [weight], max_grad_norm=0.5) == pytest.approx(6)
    assert weight.item() == pytest.approx(0.9, abs=1e-4)


@pytest.mark.parametrize(("gradient", "share"), [(1.0, 0.99), (1e-2, 0.5), (1e-4, 0.0099)])
def test_beside_adam_s_epsilon_a_small_gradient_makes_a_small_step(gradient: float, share: float) -> None:
    """A first step is learning_rate g / (g + epsilon); by Adam's own epsilon it is learning_rate for all of these."""
    for epsilon, expected in ((1e-2, share), (1e-8, 1.0)):
        weight = nn.Parameter(torch.ones((), dtype=torch.float64))
        optimizer = make_optimizer([weight], learning_rate=0.1, weight_decay=0.0, adam_epsilon=epsilon)
        take_step(weight * gradient, optimizer, [weight])
        assert 1 - weight.item() == pytest.approx(0.1 * expected, rel=1e-2)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1.0, math.nan, math.inf], "update 3: rewards: expected finite numbers, got nan and 1 more among 3"),
        (-math.inf, "update 3: rewards: expected a finite number, got -inf"),
    ],
)
def test_what_is_no_number_is_counted_and_told_where(numbers: Any, message: str) -> None:
    """By the name of the thing and the number of the update."""
    with pytest.raises(FloatingPointError) as caught, numbered("update", 3):
        require_finite("rewards", torch.tensor(np.array(numbers)))
    assert str(caught.value) == message
