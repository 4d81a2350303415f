"""`duologue solve`: an equilibrium learner on the exact tree of a small game, as a table, a curve or JSON lines.

Distances from equilibrium are NashConv, the sum of both players' best-response gains, of the newest iterate and of the
average of the iterates, both exact.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...agents.loading import SPOKEN_HELP, spoken_options
from ...envs import make_game
from ...envs.printable import file_name
from ...envs.registry import parse_option
from ...envs.tree.analysis import GameTree, backward_induction, random_profile
from ..training.checks import check_count, check_seed
from ..training.failures import INTERRUPTED, run_command
from .linear_programs import solve_zero_sum
from .registry import SOLVERS, Bounded, make_solver, solver_class
from .solver import Solver, SolveStep, solve

EPILOG = """\
examples:
  duologue solve kuhn_poker-v0 --algorithm cfr_plus --iterations 1000
  duologue solve leduc_poker-v0 --algorithm cfr,mmd --iterations 300 --plot leduc.png    two in one picture
  duologue solve kuhn_poker-v0 --algorithm cfr_plus --spoken FOLDER    told in English, said in a chat model's tokens
  duologue solve rock_paper_scissors-v0 --algorithm mwu --start-seed 0 --solver-option eta=0.1 --json
"""
COLUMNS = ("iteration", "NashConv last", "NashConv average", "value")
POINTS_PER_DECADE = 20
"""How many iterations are drawn between 100 and 1000, say, without --every."""
MAX_LP_ENTRIES = 20_000
"""The largest sequence form that the header's value is computed for by linear programming: a few seconds."""

MOST_REPORTS = 10**6

Reports = dict[str, list[SolveStep]]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        ValueError: no such game or algorithm, a game too large or without a list of deals, a number out of its range.
        TypeError: an option that the game or the solver does not have.
        SystemExit: 130 after Ctrl-C; what was printed stands.
    """
    options = _parser().parse_args(argv)
    reports: Reports = {}
    try:
        _solve_all(options, reports)
    except KeyboardInterrupt:
        _say_where_it_stopped(options, reports)
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _solve_all(options: argparse.Namespace, reports: Reports) -> None:
    names = _check(options)
    tree = _enumerate(options)
    solver_options = dict(parse_option(text) for text in options.solver_option)
    if options.start_seed is not None:
        solver_options["initial_profile"] = random_profile(tree, np.random.default_rng(options.start_seed))
    solvers = {name: make_solver(name, tree, options.iterations, **solver_options) for name in names}
    if options.json:
        for step in _reports(solvers[names[0]], _json_iterations(options), _kept(reports, names[0])):
            _write(json.dumps(asdict(step), allow_nan=False))
    else:
        _write(_headline(options.game, tree))
        for name, solver in solvers.items():
            _print_table(options, name, solver, _kept(reports, name))
    path = _plot_path(options, names)
    if path is not None:
        _draw(path, options, solvers, reports)


def _kept(reports: Reports, name: str) -> Callable[[SolveStep], None]:
    return reports.setdefault(name, []).append


def _print_table(options: argparse.Namespace, name: str, solver: Solver, keep: Callable[[SolveStep], None]) -> None:
    entry, bounded = SOLVERS[name], isinstance(solver, Bounded)
    columns = (*COLUMNS, "bound") if bounded else COLUMNS
    guarantee = entry.guarantee if solver.tree.is_zero_sum else "none, the game is not zero-sum"
    _write(f"\n{name}: {entry.paper}; guarantee: {guarantee}")
    _write("".join(f"{column:>18}" for column in columns))
    printed = set(reported_iterations(options.iterations, options.every))
    for step in _reports(solver, sorted(printed | set(_between(options.iterations, options.every))), keep):
        if step.iteration in printed:
            numbers = [step.nash_conv_last, step.nash_conv_average, step.value]
            if isinstance(solver, Bounded):
                numbers.append(solver.bound(step.iteration))
            cells = ("-" if number is None else f"{round(number, 12) + 0.0:.6g}" for number in numbers)
            _write(f"{step.iteration:>18}" + "".join(f"{cell:>18}" for cell in cells))


def _reports(solver: Solver, iterations: Iterable[int], keep: Callable[[SolveStep], None]) -> Iterator[SolveStep]:
    """Yield the report of each of these iterations, in rising order; a bar on the terminal shows how far it is."""
    iterations = list(iterations)
    with tqdm(total=iterations[-1], unit="iteration", leave=False, disable=not sys.stderr.isatty()) as bar:
        for iteration in iterations:
            steps = iteration - solver.iteration
            for step in solve(solver, steps, every=steps):
                keep(step)
                yield step
            bar.update(steps)


def _json_iterations(options: argparse.Namespace) -> list[int]:
    return reported_iterations(options.iterations, options.every or 1)


def reported_iterations(num_iterations: int, every: int | None) -> list[int]:
    """Return the iterations with a row of their own: multiples of `every`, or 1, 2, 5, 10, 20, ...; and the last."""
    if every is not None:
        check_count("reports, iterations / every", num_iterations // every, least=0, most=MOST_REPORTS)
        rows = range(every, num_iterations + 1, every)
        return [*rows] if num_iterations % every == 0 else [*rows, num_iterations]
    rounded = {lead * 10**power for power in range(len(str(num_iterations))) for lead in (1, 2, 5)}
    return sorted({count for count in rounded if count < num_iterations} | {num_iterations})


def _between(num_iterations: int, every: int | None) -> list[int]:
    """Return the iterations that are drawn only."""
    if every is not None:
        return []
    count = int(np.log10(num_iterations) * POINTS_PER_DECADE) + 2
    return sorted({round(iteration) for iteration in np.geomspace(1, num_iterations, count)})


def _check(options: argparse.Namespace) -> list[str]:
    """Return the algorithms' names."""
    for name in ("iterations", "every", "max_nodes"):
        if getattr(options, name) is not None:
            check_count(f"--{name.replace('_', '-')}", getattr(options, name))
    if options.start_seed is not None:
        check_seed("--start-seed", options.start_seed)
    if options.plot is not None:
        _check_plot(options.plot)
    names: list[str] = options.algorithm.split(",")
    for name in names:
        if options.start_seed is not None and "initial_profile" not in inspect.signature(solver_class(name)).parameters:
            raise ValueError(f"--start-seed: expected an algorithm that can start anywhere, got {name}")
        solver_class(name)
    if len(set(names)) < len(names):
        raise ValueError(f"--algorithm: expected each name once, got {options.algorithm!r}")
    if options.json and len(names) > 1:
        raise ValueError(f"--json: expected one algorithm, got {len(names)}: {options.algorithm}")
    return names


def _check_plot(path: Path) -> None:
    """Raise now what would be found out after the last iteration."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not path.name or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"--plot: expected a file in a folder that can be written, got {str(path)!r}")


def _enumerate(options: argparse.Namespace) -> GameTree:
    given = dict(parse_option(text) for text in options.option)
    game = make_game(options.game, **given, **spoken_options(options.spoken))
    with tqdm(desc=options.game, unit=" nodes", leave=False, disable=not sys.stderr.isatty()) as bar:
        return GameTree(game, max_nodes=options.max_nodes, progress=lambda nodes: bar.update(nodes - bar.n))


def _headline(name: str, tree: GameTree) -> str:
    first, second = (table.num_infostates for table in tree.tables)
    kind = "zero-sum" if tree.is_zero_sum else "not zero-sum"
    value = exact_value(tree)
    worth = "" if value is None else f"; worth {round(value, 9) + 0.0:.9g} to player 0"  # + 0.0: no -0
    return f"{name}: {tree.num_nodes:,} nodes, {first:,} and {second:,} information states, {kind}{worth}"


def exact_value(tree: GameTree) -> float | None:
    """Return what a zero-sum game is worth to player 0; None for other games, and where it would take long."""
    if not tree.is_zero_sum:
        return None
    if tree.is_perfect_information:
        return float(backward_induction(tree)[1][0, 0])
    return solve_zero_sum(tree).value if len(tree.values) <= MAX_LP_ENTRIES else None


def _plot_path(options: argparse.Namespace, names: Sequence[str]) -> Path | None:
    if options.plot is not None or options.json:
        path: Path | None = options.plot
        return path
    return Path("runs", "solve", f"{file_name(options.game)}-{file_name('+'.join(names))}.png")


def _draw(path: Path, options: argparse.Namespace, solvers: dict[str, Solver], reports: Reports) -> None:
    from .curves import plot_nash_conv  # slow to import, and --json does without

    bound = None
    for name, solver in solvers.items():
        if isinstance(solver, Bounded):
            iterations = [step.iteration for step in reports[name]]
            bounds = [solver.bound(iteration) for iteration in iterations]
            bound = None if None in bounds else (iterations, np.array(bounds, dtype=np.float64))
    plot_nash_conv(reports, path, title=f"{options.game}: distance from equilibrium", bound=bound)
    if not options.json:
        _write(f"\ncurve drawn to {path}")


def _say_where_it_stopped(options: argparse.Namespace, reports: Reports) -> None:
    name, steps = next(reversed(reports.items()), ("", []))
    where = f"{name}, after iteration {steps[-1].iteration} of {options.iterations}" if steps else "before iteration 1"
    print(f"duologue solve: stopped by Ctrl-C: {where}; what is printed stands", file=sys.stderr)


def _write(line: str) -> None:
    """Print to stdout without running into the progress bar."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="duologue solve",
        description="Solve a small game exactly and show how far from equilibrium each iteration is.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("game", metavar="GAME", help="a registered name, such as kuhn_poker-v0")
    parser.add_argument("--algorithm", required=True, metavar="A", help=f"{', '.join(SOLVERS)}; or several: A,B")
    parser.add_argument("--iterations", type=int, default=1000, metavar="N", help="how many (default: 1000)")
    parser.add_argument("--every", type=int, metavar="K", help="report every K-th iteration and the last")
    parser.add_argument("--json", action="store_true", help="one object a line on stdout, nothing else")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="the PNG (default: in runs/solve/; none with --json)")
    parser.add_argument("--start-seed", type=int, metavar="S", help="start from a random profile (default: uniform)")
    parser.add_argument("--max-nodes", type=int, default=10_000_000, metavar="N", help="the largest tree to enumerate")
    parser.add_argument("--spoken", type=Path, metavar="FOLDER", help=SPOKEN_HELP)
    for flag, whose in (("--option", "game"), ("--solver-option", "algorithm")):
        what = f"an option of the {whose}, the value as JSON or plain text; may be repeated"
        parser.add_argument(flag, action="append", default=[], metavar="NAME=VALUE", help=what)
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
