"""SPIRAL's role-conditioned advantage: subtract, then update, by game and role."""

import pytest
import torch

from duologue.baselines.functional.role_advantages import RoleBaseline, updated_running_mean

RETURNS = {0: torch.full((4,), 1.0), 1: torch.full((4,), -1.0)}


def test_a_batch_is_no_part_of_its_own_baseline() -> None:
    """From b = 0 the first advantages are the returns; then b = .05 (1 + .95) for returns of 1 and 1."""
    baseline = RoleBaseline(decay=0.95)
    assert baseline.advantages(torch.tensor([1.0, 1.0]), game="g", player=0).tolist() == [1.0, 1.0]
    assert baseline.value("g", 0) == pytest.approx(0.0975)
    assert baseline.advantages(torch.tensor([1.0, 0.0]), game="g", player=0).tolist() == pytest.approx(
        [0.9025, -0.0975]
    )


def test_returns_are_mixed_in_one_by_one() -> None:
    """By b <- d b + (1 - d) R, twice by hand: 2 -> 1.5 -> 2.25 with d = 1/2 and returns 1, 3."""
    assert updated_running_mean(2.0, torch.tensor([1.0, 3.0]), decay=0.5) == 2.25


def last_advantage(key_of_role: dict[int, int]) -> float:
    """Return the largest advantage after 50 batches in which player 0 always earns 1 and player 1 always -1."""
    baseline, latest = RoleBaseline(decay=0.95), {}
    for _ in range(50):
        for player, returns in RETURNS.items():
            latest[player] = baseline.advantages(returns, game="g", player=key_of_role[player])
    return max(float(one.abs().max()) for one in latest.values())


def test_constant_returns_by_role_leave_no_advantage() -> None:
    """Algorithms.md 3.5: .95^200 is left of the first one with a baseline for each role."""
    assert last_advantage({0: 0, 1: 1}) == pytest.approx(0, abs=1e-4)


def test_a_shared_baseline_praises_the_seat() -> None:
    """The same with one key for both roles: each still has most of its own return."""
    assert last_advantage({0: 0, 1: 0}) > 0.8


def test_games_are_kept_apart() -> None:
    """The key is (game, role)."""
    baseline = RoleBaseline()
    baseline.advantages(torch.ones(100), game="g", player=0)
    assert baseline.value("h", 0) == 0
    assert baseline.value("g", 1) == 0
    assert baseline.value("g", 0) > 0.9


def test_saved_means_come_back() -> None:
    """All of them, into a baseline that has seen nothing."""
    first, second = RoleBaseline(), RoleBaseline()
    first.advantages(torch.ones(3), game="g", player=1)
    second.load_state_dict(first.state_dict())
    assert second.value("g", 1) == first.value("g", 1) != 0


def test_the_decay_is_a_share() -> None:
    """At 1 nothing would ever be learned."""
    with pytest.raises(ValueError, match=r"decay: expected a number in \[0, 1\), got 1"):
        RoleBaseline(decay=1.0)
