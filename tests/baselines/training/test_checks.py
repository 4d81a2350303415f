"""Options of the wrong type are refused by name, also those that Python would take for something else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from duologue.baselines.solvers.double_oracle import double_oracle
from duologue.baselines.solvers.preference_learners import HedgeSelfPlay, OptimisticSelfPlay
from duologue.baselines.solvers.registry import make_solver
from duologue.baselines.solvers.regularised_preference_learners import (
    EGPO,
    IPOSelfPlay,
    NashMD,
    NashMDPG,
    NashMP,
    OnlineMirrorDescent,
)
from duologue.baselines.solvers.solver import solve
from duologue.baselines.solvers.uniform import Uniform
from duologue.baselines.training.checks import Options, check_count, check_positive
from duologue.envs.games.bluff import Bluff
from duologue.envs.tree.analysis import GameTree

TREE = GameTree(Bluff())
POSITIVE = "expected a finite number above 0"
COUNT = "expected an integer of at least 1"
BAD_NUMBERS: list[Any] = ["abc", "0.5", True, [1, 2], 0, -1.0, float("nan"), float("inf"), 10**400, {}]
BAD_COUNTS: list[Any] = [2.5, 3.0, "4", True, 0, -1, [1], None]
NUMBERS = [("mwu", "eta"), ("omwu", "eta"), ("extragradient", "eta"), ("mmd", "eta"), ("mmd", "alpha")]
NUMBERS += [("mmd", "magnet_rate"), ("rnad", "eta"), ("rnad", "alpha"), ("gpo_ftrl", "payoff_range")]
STARTED = ["fictitious_play", "cfr", "cfr_plus", "mwu", "omwu", "mmd", "rnad", "alternating_best_response"]


def refusal(call: Callable[[], object]) -> str:
    """Return the message with which the call is refused."""
    with pytest.raises(ValueError, match=": expected ") as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(("solver", "option"), NUMBERS)
@pytest.mark.parametrize("value", BAD_NUMBERS)
def test_numbers_of_the_solvers(solver: str, option: str, value: object) -> None:
    """The option, what it takes, what came: True is no number here, and an array would be a step size each."""
    message = refusal(lambda: make_solver(solver, TREE, 10, **{option: value}))
    assert message == f"{option}: {POSITIVE}, got {value!r}"


@pytest.mark.parametrize("value", BAD_COUNTS)
def test_counts_of_the_solvers(value: object) -> None:
    """A regulariser that stays for 2.5 steps would change at every fifth."""
    assert refusal(lambda: make_solver("rnad", TREE, 10, reg_every=value)) == f"reg_every: {COUNT}, got {value!r}"
    message = refusal(lambda: make_solver("gpo_ftrl", TREE, value))  # type: ignore[arg-type]
    assert message == f"num_iterations: {COUNT}, got {value!r}"
    message = refusal(lambda: solve(Uniform(TREE), 5, every=value))  # type: ignore[arg-type]
    assert message == f"every: {COUNT}, got {value!r}"


@pytest.mark.parametrize("solver", ["cfr", "cfr_plus"])
@pytest.mark.parametrize("value", ["False", "yes", 0, 1, None])
def test_flags_of_the_solvers(solver: str, value: object) -> None:
    """The text "False" counts as true in Python."""
    message = refusal(lambda: make_solver(solver, TREE, 10, alternating=value))
    assert message == f"alternating: expected True or False, got {value!r}"


@pytest.mark.parametrize("value", [["first"], 1, None, "First"])
def test_choices_of_the_solvers(value: object) -> None:
    """A list cannot even be looked up."""
    message = refusal(lambda: make_solver("fictitious_play", TREE, 10, ties=value))
    assert message == f"ties: expected 'first' or 'last', got {value!r}"
    message = refusal(lambda: make_solver("mmd", TREE, 10, magnet=value))
    assert message == f"magnet: expected 'fixed', 'annealed' or 'moving', got {value!r}"
    message = refusal(lambda: make_solver("double_oracle", TREE, 10, meta_solver=value))
    assert message.startswith("meta_solver: expected one of uniform, nash,")
    assert message.endswith(f"got {value!r}")


@pytest.mark.parametrize("value", ["abc", True, [1e-9], -1.0, float("nan"), float("inf")])
def test_tolerances(value: Any) -> None:
    """An infinite tolerance would call anything an equilibrium."""
    expected = f"tolerance: expected a finite number of at least 0, got {value!r}"
    assert refusal(lambda: make_solver("double_oracle", TREE, 10, tolerance=value)) == expected
    assert refusal(lambda: double_oracle(np.zeros((2, 2)), tolerance=value)) == expected


@pytest.mark.parametrize("solver", STARTED)
@pytest.mark.parametrize("value", [5, "ab", ["a", "b"], [None, None], [[0.5, 0.5]], {"first": 1}])
def test_starts_of_the_solvers(solver: str, value: object) -> None:
    """A start from a command line can be anything; all that is no profile is refused under its own name."""
    with pytest.raises(ValueError, match=r"^initial_profile: ."):
        make_solver(solver, TREE, 10, initial_profile=value)


@pytest.mark.parametrize("value", BAD_NUMBERS)
def test_numbers_of_the_preference_learners(value: Any) -> None:
    """The same message for beta, eta and the learning rate, whoever asks."""
    game = np.array([[0.5, 0.7], [0.3, 0.5]]), np.array([0.5, 0.5])
    calls: list[tuple[str, Callable[[], object]]] = [
        ("step_size", lambda: HedgeSelfPlay(*game, step_size=value)),
        ("step_size", lambda: OptimisticSelfPlay(*game, step_size=value)),
        ("step_size", lambda: OnlineMirrorDescent(*game, kl_coef=0.1, step_size=value)),
        ("step_size", lambda: NashMD(*game, kl_coef=0.1, step_size=value)),
        ("kl_coef", lambda: EGPO(*game, kl_coef=value, step_size=0.1)),
        ("kl_coef", lambda: NashMP(*game, kl_coef=value)),
        ("kl_coef", lambda: NashMD(*game, kl_coef=value)),
        ("learning_rate", lambda: IPOSelfPlay(*game, kl_coef=0.1, learning_rate=value)),
    ]
    for option, call in calls:
        assert refusal(call) == f"{option}: {POSITIVE}, got {value!r}"


@pytest.mark.parametrize("value", ["0.5", True, 1.5, -0.1, float("nan"), [0.5]])
def test_rates_of_mixing(value: Any) -> None:
    """Shares of the reference policy."""
    game, expected = (np.full((2, 2), 0.5), np.array([0.5, 0.5])), "mix_rate: expected a number from 0 to 1, got "
    assert refusal(lambda: NashMD(*game, kl_coef=0.1, mix_rate=value)) == f"{expected}{value!r}"
    made = lambda: NashMDPG(*game, kl_coef=0.1, learning_rate=0.1, mix_rate=value)  # noqa: E731
    assert refusal(made) == f"{expected}{value!r}"


def test_numbers_of_other_libraries_are_numbers() -> None:
    """Numpy's scalars are what computed options are."""
    assert check_positive("eta", np.float32(0.5)) == 0.5  # type: ignore[arg-type]
    assert check_positive("eta", 2) == 2.0
    assert check_count("num_iterations", np.int64(7)) == 7  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Chosen(Options):
    """Options whose types list what they may be."""

    kind: Literal["first", "second"] = "first"
    seat: Literal[0, 1] | None = None
    exact: bool = False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "frist"}, "kind: expected 'first' or 'second', got 'frist'"),
        ({"seat": 2}, "seat: expected 0 or 1, got 2"),
        ({"exact": "False"}, "exact: expected True or False, got 'False'"),
    ],
)
def test_types_that_list_their_values_are_held_to_them(options: dict[str, Any], message: str) -> None:
    """From Python no command line checks them."""
    with pytest.raises(ValueError, match=message):
        Chosen(**options)
    assert Chosen(kind="second", seat=1, exact=True).seat == 1
