"""The exact solvers by name, each with its paper, its guarantee and the test that checks it."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ...envs.tree.analysis import GameTree
from .solver import Solver


@dataclass(frozen=True, slots=True)
class SolverEntry:
    """A solver that has a name."""

    entry_point: str
    """Its "module:class" in `duologue.baselines.solvers`, imported at first use."""
    paper: str
    """Where it comes from."""
    guarantee: str
    """What is proved of it in two-player zero-sum games."""
    test: str
    """The file, in tests/baselines/solvers/, that checks it."""


SOLVERS: dict[str, SolverEntry] = {
    "uniform": SolverEntry("uniform:Uniform", "none", "none: what a learner has to beat", "test_solver.py"),
    "fictitious_play": SolverEntry(
        "fictitious_play:FictitiousPlay",
        "Brown, 1951; XFP: Heinrich, Lanctot & Silver, 2015, algorithm 1",
        "average converges, about as t^(-1/2) in practice",
        "test_fictitious_play.py",
    ),
    "cfr": SolverEntry("cfr:CFR", "Zinkevich et al., 2007", "average O(T^(-1/2))", "test_cfr.py"),
    "cfr_plus": SolverEntry(
        "cfr:CFRPlus",
        "Tammelin, 2014, arXiv 1407.5042",
        "average O(T^(-1/2)), about 1/T in practice",
        "test_cfr.py",
    ),
    "mwu": SolverEntry(
        "mirror_descent:MWU",
        "Freund & Schapire, 1999",
        "average O(T^(-1/2)); the last iterate leaves equilibria that mix",
        "test_mirror_descent.py",
    ),
    "omwu": SolverEntry(
        "mirror_descent:OMWU",
        "Rakhlin & Sridharan, 2013; Wei et al., 2021",
        "matrix games: average O(1/T), last iterate linear if the equilibrium is unique",
        "test_mirror_descent.py",
    ),
    "extragradient": SolverEntry(
        "mirror_descent:Extragradient",
        "Korpelevich, 1976; Nemirovski, 2004",
        "matrix games: average O(1/T)",
        "test_mirror_descent.py",
    ),
    "mmd": SolverEntry(
        "mmd:MMD",
        "Sokota et al., 2023, arXiv 2206.05825",
        "fixed magnet: last iterate linear to the quantal response equilibrium; annealed or moving: in practice",
        "test_mmd.py",
    ),
    "rnad": SolverEntry(
        "rnad:RNaD", "Perolat et al., 2022, arXiv 2206.15378", "last iterate converges in practice", "test_rnad.py"
    ),
    "double_oracle": SolverEntry(
        "double_oracle:DoubleOracle",
        "McMahan, Gordon & Blum, 2003; PSRO: Lanctot et al., 2017, arXiv 1711.00832",
        "ends at an equilibrium",
        "test_double_oracle.py",
    ),
    "gpo_ftrl": SolverEntry(
        "gpo_ftrl:GPOFTRL",
        "Zheng et al., 2024, arXiv 2406.10977, section 3",
        "average O(T^(-1/2)) with explicit constants, printed as the bound",
        "test_gpo_ftrl.py",
    ),
    "alternating_best_response": SolverEntry(
        "alternating_best_response:AlternatingBestResponse",
        "GPO's stages (arXiv 2406.10977) with exact responses",
        "none: cycles where equilibria mix",
        "test_alternating_best_response.py",
    ),
}


@runtime_checkable
class Bounded(Protocol):
    """A solver that knows how far from equilibrium its average can be at most."""

    def bound(self, iteration: int) -> float | None:
        """Return what NashConv of the average cannot exceed after `iteration` steps, or None."""
        ...


def solver_class(name: str) -> Callable[..., Solver]:
    """Return the class registered as `name`.

    Raises:
        ValueError: no such solver; the message names the nearest.
    """
    if name not in SOLVERS:
        near = difflib.get_close_matches(name, SOLVERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"algorithm: expected one of {', '.join(SOLVERS)}, got {name!r}{hint}")
    module, _, attribute = SOLVERS[name].entry_point.partition(":")
    found: Callable[..., Solver] = getattr(importlib.import_module(f".{module}", __package__), attribute)
    return found


def make_solver(name: str, tree: GameTree, num_iterations: int, /, **options: Any) -> Solver:
    """Return a solver at its start.

    Args:
        name: one of `SOLVERS`.
        tree: of the game.
        num_iterations: how many steps are planned; a few solvers make their step sizes for it.
        options: further ones of the class.

    Raises:
        ValueError: no such solver, or an option out of its range.
        TypeError: an option that the solver does not have.
    """
    factory = solver_class(name)
    parameters = [known for known in inspect.signature(factory).parameters if known != "tree"]
    if "num_iterations" in parameters:
        parameters.remove("num_iterations")
        given = {"num_iterations": num_iterations}
    else:
        given = {}
    unknown = sorted(set(options) - set(parameters))
    if unknown:
        raise TypeError(f"{name}: expected options among {sorted(parameters)}, got {unknown}")
    return factory(tree, **given, **options)


def algorithm_table() -> str:
    """Return the solvers as a Markdown table: what they do, by whom, what is guaranteed, and which test checks it."""
    rows = ["| solver | what it does | paper | guarantee, zero-sum | test |", "| --- | --- | --- | --- | --- |"]
    for name, entry in SOLVERS.items():
        what, _, _ = (inspect.getdoc(solver_class(name)) or "").partition("\n")
        rows.append(f"| `{name}` | {what} | {entry.paper} | {entry.guarantee} | `{entry.test}` |")
    return "\n".join(rows)
