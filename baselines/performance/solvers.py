"""The benchmark of the exact tier: NashConv beside OpenSpiel's, and what trees of growing size cost.

NashConv of one random policy on Leduc poker, the tree made beforehand, against both of OpenSpiel's functions for the
same policy, in one process, taking turns, each with its median. Then random games of 10^3 to 10^7 nodes, each in a
process of its own: CPU time to enumerate one, peak memory meanwhile, and CPU time of one NashConv.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...envs.games.leduc_poker import CALL, DECK, FOLD, RAISE, LeducPoker
from ...envs.games.random_game import RandomGame
from ...envs.tree.analysis import GameTree, Profile, nash_conv, random_profile
from ..training.checks import check_count
from ..training.failures import run_command
from .page import Figure

GOALS = {"python": 30.0, "cpp": 10.0}
"""How many times faster than each of OpenSpiel's functions NashConv on Leduc poker is to be."""
ACTIONS = {FOLD: 0, CALL: 1, RAISE: 2}
"""OpenSpiel's numbers for our words."""
NUM_CALLS = {"ours": 200, "python": 1, "cpp": 3}
"""Calls in one repetition, so that each lasts long enough to be measured."""
BRANCHING = 4


@dataclass(frozen=True, slots=True)
class LeducComparison:
    """NashConv of one policy on Leduc poker: seconds of CPU time for one call, and what it returned."""

    seconds: dict[str, float]
    """By "ours", "python" (`exploitability.nash_conv`) and "cpp" (`pyspiel.nash_conv`)."""
    values: dict[str, float]
    """What each of them says NashConv is."""

    @property
    def figures(self) -> list[Figure]:
        """How many times faster than the other two ours is, with the goals."""
        return [
            Figure(
                f"leduc_nash_conv_vs_openspiel_{name}",
                round(self.seconds[name] / self.seconds["ours"], 1),
                goal,
                "times",
            )
            for name, goal in GOALS.items()
        ]


@dataclass(frozen=True, slots=True)
class TreeCost:
    """What one tree costs."""

    num_nodes: int
    """Its size, the root included."""
    num_infostates: int
    """Information states of both players."""
    enumerate_s: float
    """CPU time to make it, in seconds."""
    peak_bytes: int
    """By how much the process's largest resident set grew meanwhile."""
    array_bytes: int
    """What the finished arrays take."""
    nash_conv_s: float
    """CPU time of one NashConv, median, in seconds."""


def compare_on_leduc(*, num_repetitions: int = 7) -> LeducComparison:
    """Measure NashConv of one random policy: ours and both of OpenSpiel's, in turns, medians."""
    pyspiel, spiel_game = _pyspiel(), _pyspiel().load_game("leduc_poker")
    tree = GameTree(LeducPoker())
    profile, table = random_profile(tree, np.random.default_rng(0)), {}
    for player, name, probabilities in spiel_policy(tree, profile, spiel_game):
        table[player, name] = probabilities
    calls: dict[str, Callable[[], float]] = {
        "ours": lambda: nash_conv(tree, profile),
        "python": _python_nash_conv(spiel_game, table),
        "cpp": _cpp_nash_conv(pyspiel, spiel_game, table),
    }
    values = {name: float(call()) for name, call in calls.items()}  # this also warms up
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(num_repetitions):
        for name, call in calls.items():
            times[name].append(cpu_seconds(call, NUM_CALLS[name]))
    return LeducComparison({name: statistics.median(seconds) for name, seconds in times.items()}, values)


def spiel_policy(tree: GameTree, profile: Profile, spiel_game: Any) -> list[tuple[int, str, dict[int, float]]]:
    """Return a Leduc policy for OpenSpiel: player, name of the information state, probability of each action."""
    found = []
    for player, table in enumerate(tree.tables):
        for infostate, node in enumerate(table.nodes.tolist()):
            state = _replay(tree, node, spiel_game)
            actions = range(int(table.offsets[infostate]), int(table.offsets[infostate + 1]))
            probabilities = {ACTIONS[int(table.tokens[a])]: float(profile[player][a]) for a in actions}
            found.append((player, state.information_state_string(player), probabilities))
    return found


def game_of_size(power: int) -> RandomGame:
    """Return a random game of about 10^power nodes, of `power` + 1 turns with 4 words each, half of them unheard.

    >>> GameTree(game_of_size(3)).num_nodes
    1024
    """
    num_turns = power + 1
    nodes_per_deal = (BRANCHING ** (num_turns + 1) - 1) // (BRANCHING - 1)
    return RandomGame(0, num_turns=num_turns, branching=BRANCHING, num_deals=10**power // nodes_per_deal + 1)


def measure_tree(power: int) -> TreeCost:
    """Make the tree of about 10^power nodes and measure it; meant for a process that does nothing else."""
    GameTree(game_of_size(1))  # what is imported or allocated once
    game, before, start = game_of_size(power), peak_memory(), time.process_time()
    tree = GameTree(game, max_nodes=2 * 10**power)
    enumerate_s, peak = time.process_time() - start, peak_memory() - before
    profile = random_profile(tree, np.random.default_rng(0))
    nash_conv(tree, profile)
    times = [cpu_seconds(lambda: nash_conv(tree, profile), max(1, 10**4 // tree.num_nodes)) for _ in range(5)]
    num_infostates = sum(table.num_infostates for table in tree.tables)
    return TreeCost(tree.num_nodes, num_infostates, enumerate_s, peak, tree.nbytes, statistics.median(times))


def measure_trees(max_nodes: int) -> list[TreeCost]:
    """Measure trees of 10^3, 10^4, ... nodes up to `max_nodes`, each in a fresh process."""
    powers = range(3, len(str(max_nodes)))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as executor:
        return list(executor.map(measure_tree, powers))


def cpu_seconds(call: Callable[[], object], num_calls: int) -> float:
    """Return the CPU time of one call, measured over several."""
    start = time.process_time()
    for _ in range(num_calls):
        call()
    return (time.process_time() - start) / num_calls


def peak_memory() -> int:
    """Return the largest resident set that this process has had, in bytes; Linux only.

    Not `ru_maxrss`, in which a process that has just been started finds its parent's.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status: expected a line VmHWM, got none; memory is measured on Linux only")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print tables; write them as JSON or as a page with pictures, if asked to."""
    parser = argparse.ArgumentParser(prog="python -m duologue.baselines.performance.solvers", description=__doc__)
    parser.add_argument("--max-nodes", type=int, default=10**7, help="size of the largest tree (default: 10000000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the numbers")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="where to write a page; pictures in images/")
    options = parser.parse_args(argv)
    check_count("--max-nodes", options.max_nodes)
    from ..training.files import write_json  # imports torch, which the measured processes do without

    leduc = compare_on_leduc()
    print(leduc_table(leduc))
    costs = measure_trees(options.max_nodes)
    print(f"\n{tree_table(costs)}")
    if options.json is not None:
        write_json(options.json, {"figures": leduc.figures, "leduc": leduc, "trees": costs})
    if options.markdown is not None:
        write_page(options.markdown, leduc, costs)


def leduc_table(leduc: LeducComparison) -> str:
    """Return the comparison as a Markdown table."""
    ratios = {"ours": "", **{name: f"{figure.value:,.0f}" for name, figure in zip(GOALS, leduc.figures, strict=True)}}
    names = {
        "ours": "`nash_conv(tree, profile)`",
        "python": "OpenSpiel, Python: `exploitability.nash_conv`",
        "cpp": "OpenSpiel, C++: `pyspiel.nash_conv`",
    }
    rows = ["| NashConv on Leduc poker | ms | times ours | goal | value |", "| :--- | ---: | ---: | ---: | :--- |"]
    for name, label in names.items():
        goal = f"{GOALS[name]:.0f}" if name in GOALS else ""
        seconds, value = leduc.seconds[name], leduc.values[name]
        rows.append(f"| {label} | {1000 * seconds:.3f} | {ratios[name]} | {goal} | {value:.13f} |")
    return "\n".join(rows)


def tree_table(costs: Sequence[TreeCost]) -> str:
    """Return the costs of the trees as a Markdown table."""
    columns = ["nodes", "information states", "enumerate, s", "nodes per s", "peak bytes per node"]
    columns += ["array bytes per node", "NashConv, ms"]
    rows = [f"| {' | '.join(columns)} |", f"| {' | '.join('---:' for _ in columns)} |"]
    for cost in costs:
        n = cost.num_nodes
        cells = [f"{n:,}", f"{cost.num_infostates:,}", f"{cost.enumerate_s:.3g}", f"{n / cost.enumerate_s:,.0f}"]
        cells += [f"{cost.peak_bytes / n:,.0f}", f"{cost.array_bytes / n:,.0f}", f"{1e3 * cost.nash_conv_s:.3g}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def write_page(path: Path, leduc: LeducComparison, costs: Sequence[TreeCost]) -> None:
    """Write both tables and two pictures as a section of a Markdown page; the pictures lie in `images/` beside it."""
    from ..reporting.plots import plot_curves
    from ..training.files import write_text
    from .page import replace_section

    sizes = [cost.num_nodes for cost in costs]
    times = {"enumerate": [cost.enumerate_s for cost in costs], "NashConv": [cost.nash_conv_s for cost in costs]}
    memory = {
        "peak while enumerating": [cost.peak_bytes / 2**20 for cost in costs],
        "the finished arrays": [cost.array_bytes / 2**20 for cost in costs],
    }
    for name, lines, title, unit in (
        ("tree_time", times, "CPU time against the size of the tree", "seconds"),
        ("tree_memory", memory, "Memory against the size of the tree", "MiB"),
    ):
        plot_curves(
            {label: (sizes, values) for label, values in lines.items()}, path.parent / "images" / f"{name}.png",
            title=title, x_label="nodes", y_label=unit, log_scale=True,
        )  # fmt: skip
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, {os.cpu_count()} cores"
    section = SECTION.format(heading=HEADING, versions=versions, leduc=leduc_table(leduc), trees=tree_table(costs))
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    write_text(path, replace_section(page, HEADING, section))


HEADING = "# Performance of the exact tier"

SECTION = """\
{heading}

Measured by `python -m duologue.baselines.performance.solvers --markdown docs/performance.md`,
which writes this section:
{versions}. Times are CPU time of one core.

## NashConv beside OpenSpiel

Both best responses to one random policy on Leduc poker, medians of alternating repetitions in one process. Ours works
on a tree made beforehand; OpenSpiel's functions walk the game each time.

{leduc}

## Trees of growing size

Random games, four words a turn, half of the turns unheard; each in a process of its own. Peak bytes are by how much the
process's largest resident set grew while the tree was made.

{trees}

![CPU time against nodes, both axes logarithmic](images/tree_time.png)

![Memory against nodes, both axes logarithmic](images/tree_memory.png)
"""


def _python_nash_conv(spiel_game: Any, table: dict[tuple[int, str], dict[int, float]]) -> Callable[[], float]:
    policy = importlib.import_module("open_spiel.python.policy").TabularPolicy(spiel_game)
    for (_, name), probabilities in table.items():
        row = policy.policy_for_key(name)
        row[:] = 0.0
        row[list(probabilities)] = list(probabilities.values())
    exploitability = importlib.import_module("open_spiel.python.algorithms.exploitability")
    return lambda: float(exploitability.nash_conv(spiel_game, policy))


def _cpp_nash_conv(
    pyspiel: Any, spiel_game: Any, table: dict[tuple[int, str], dict[int, float]]
) -> Callable[[], float]:
    policy = pyspiel.TabularPolicy({name: list(probabilities.items()) for (_, name), probabilities in table.items()})
    return lambda: float(pyspiel.nash_conv(spiel_game, policy))


def _replay(tree: GameTree, node: int, spiel_game: Any) -> Any:
    """Return OpenSpiel's state of a node: chance's cards when it asks for them, then our words."""
    deal, *spoken = tree.path(node)
    cards = [DECK.index(card) for card in tree.deals[deal - 1]]
    words, state = [ACTIONS[int(tree.token[step])] for step in spoken], spiel_game.new_initial_state()
    while words or state.is_chance_node():
        state.apply_action(cards.pop(0) if state.is_chance_node() else words.pop(0))
    return state


def _pyspiel() -> Any:
    try:
        return importlib.import_module("pyspiel")
    except ImportError as error:
        raise ImportError(f"OpenSpiel: expected pyspiel, got {error}; pip install open_spiel") from error


if __name__ == "__main__":
    sys.exit(run_command(main))
