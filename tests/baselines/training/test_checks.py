"""Options of the wrong type are refused by name, also those that Python would take for something else."""

import dataclasses
import math
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from duologue.baselines.alignment.eva import EvaOptions
from duologue.baselines.api.commands import COMMANDS, TRAINERS
from duologue.baselines.benchmark.alignment_cell import AlignmentSettings
from duologue.baselines.benchmark.cell import BenchSettings
from duologue.baselines.evaluation.exploitability import ResponseBudget
from duologue.baselines.learners.registry import LEARNERS
from duologue.baselines.learners.values import ValueConfig
from duologue.baselines.performance.rollouts import BenchmarkConfig
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
from duologue.baselines.studies.exact_gap import ExactGapConfig
from duologue.baselines.studies.outcome_judge import OutcomeJudgeConfig
from duologue.baselines.studies.true_judged import TrueJudgedConfig
from duologue.baselines.text.exchanges import JudgeConfig
from duologue.baselines.training.checks import (
    LARGEST_SEED,
    Options,
    check_count,
    check_finite,
    check_model_size,
    check_positive,
)
from duologue.baselines.two_player.learner import Task
from duologue.envs.games.bluff import Bluff
from duologue.envs.printable import shown
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


NEEDED: dict[str, dict[str, Any]] = {
    "TextTrainingConfig": {"data": (Path("dialogues.jsonl"),)},
    "TextStagesConfig": {"pairs": Path("pairs.jsonl")},
    "EvaluateConfig": {"player": Path("run")},
    "ExportConfig": {"run": Path("run")},
    "JudgeReportConfig": {"judge": "refusal", "exchanges": Path("exchanges.jsonl")},
    "ConvertConfig": {"source": "model.gguf", "out": Path("model")},
    "EncoderJudgeConfig": {"exchanges": Path("exchanges.jsonl")},
}
"""What the options of a command cannot be made without."""
FURTHER = (
    *(ValueConfig, BenchmarkConfig, ExactGapConfig, OutcomeJudgeConfig, TrueJudgedConfig, JudgeConfig, ResponseBudget),
    *(AlignmentSettings, EvaOptions),
)
"""Options that are only given from Python."""
BELOW_0 = {"threshold", "band"}
"""Returns, which may be of either sign."""
NO_INTEGERS: list[Any] = [math.nan, math.inf, -math.inf, 10**30, -1, "3", True, 2.5]
NO_FLOATS: list[Any] = [math.nan, math.inf, -math.inf, 10**400, "3", True]


def inside(options: Any) -> Iterator[Any]:
    """Yield options and those of their groups."""
    yield options
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from inside(value)


def all_options() -> dict[str, Any]:
    """Return an instance of every dataclass of options, by its name."""
    commands = dict.fromkeys(command.config for command in (*TRAINERS.values(), *COMMANDS.values()))
    roots = [kind(**NEEDED.get(kind.__name__, {})) for kind in (*commands, *FURTHER)]
    roots += [learner.config() for learner in LEARNERS.values()]
    return {type(options).__name__: options for root in roots for options in inside(root)}


ALL_OPTIONS = all_options()


def numbers_in(hint: Any) -> set[type]:
    """Return which of int and float a type allows, whatever range it says."""
    if get_origin(hint) is Literal:
        return set()
    parts = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
    return {hint} & {int, float} if hint in (int, float) else {found for part in parts for found in numbers_in(part)}


def bare(hint: Any) -> bool:
    """Whether a type has a number in it that says no range."""
    if get_origin(hint) in (Annotated, Literal):
        return not any(isinstance(mark, types.FunctionType) for mark in get_args(hint)) and bare(get_args(hint)[0])
    return hint in (int, float) or any(bare(part) for part in get_args(hint))


def test_all_commands_have_their_options_here() -> None:
    """Forty dataclasses and more; what is not of the one base would not be checked."""
    assert len(ALL_OPTIONS) > 45
    assert [name for name, options in ALL_OPTIONS.items() if not isinstance(options, Options)] == []


@pytest.mark.parametrize("name", ALL_OPTIONS)
def test_every_number_among_options_says_its_range(name: str) -> None:
    """An int or a float by itself would take -1, and a batch of 10^30."""
    hints = get_type_hints(type(ALL_OPTIONS[name]), include_extras=True)
    assert [field for field, hint in hints.items() if bare(hint)] == []


@pytest.mark.parametrize("name", ALL_OPTIONS)
def test_numbers_that_are_none_are_refused_by_name(name: str) -> None:
    """NaN and infinity, texts, True, and what is below the range or beyond all machines; in groups of several too."""
    options = ALL_OPTIONS[name]
    hints = get_type_hints(type(options), include_extras=True)
    for field in (field.name for field in dataclasses.fields(options) if field.init):
        kinds = numbers_in(hints[field])
        bad = NO_FLOATS + ([] if field in BELOW_0 else [-1]) if float in kinds else NO_INTEGERS if int in kinds else []
        several = tuple in {get_origin(part) for part in (hints[field], *get_args(hints[field]))}
        for value in bad:
            given = ((value, value) if field == "band" else (value,)) if several else value
            with pytest.raises(ValueError, match=rf"\b{field}: expected"):
                dataclasses.replace(options, **{field: given})


@pytest.mark.parametrize("name", ALL_OPTIONS)
def test_other_types_are_refused_by_name(name: str) -> None:
    """None where there is no default for it, a yes or no as a word, a group as a mapping, a text as a number."""
    options = ALL_OPTIONS[name]
    hints = get_type_hints(type(options), include_extras=True)
    for field in (field.name for field in dataclasses.fields(options) if field.init):
        origin, parts = get_origin(hints[field]), get_args(hints[field])
        optional = origin in (Union, types.UnionType) and type(None) in parts
        for value in [object(), *([] if optional else [None])]:
            with pytest.raises(ValueError, match=rf"\b{field}: expected"):
                dataclasses.replace(options, **{field: value})


def test_what_is_given_to_a_cell_of_the_bench_is_checked() -> None:
    """From Python, where no command line stands before it."""
    with pytest.raises(ValueError, match="seed: expected an integer of at least 0, got -1"):
        Task(game=Bluff(), num_updates=6, batch_size=4, seed=-1, make_player=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size: expected an integer of at most 1048576"):
        BenchSettings(num_updates=6, batch_size=10**12)


def test_bounds_are_told() -> None:
    """What no machine could hold is refused before it is allocated."""
    with pytest.raises(ValueError, match=f"seed: expected an integer of at most 5, got {LARGEST_SEED}"):
        check_count("seed", LARGEST_SEED, most=5)
    with pytest.raises(ValueError, match="expected a model of at most 10,000,000,000 weights, got 65536 and 1000"):
        check_model_size(hidden_size=65536, num_layers=1000, num_heads=4)
    with pytest.raises(ValueError, match="num_heads: expected heads of an even width that make up hidden_size, 8, g"):
        check_model_size(hidden_size=8, num_layers=1, num_heads=3)
    check_model_size(hidden_size=2, num_layers=1, num_heads=2)


def test_a_wrong_value_is_shown_short() -> None:
    """Python writes out no integer of more than 4,300 digits, and nobody reads a text of a million letters."""
    with pytest.raises(ValueError, match=r"eta: expected a finite number, got an integer of 16610 bits"):
        check_finite("eta", 10**5000)
    assert shown("x" * 10**6) == f"'{'x' * 499}..."
