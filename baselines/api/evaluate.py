"""Measure players that are there already, without training them: `duologue evaluate RUN`, or a model's folder.

In red-team games the defender answers prompt sets, and attack success stands beside over-refusal, each with its 95 %
interval; the judge is the game's oracle, whoever judged in training, unless another is named. Where the game's tree can
be listed, NashConv is exact, of the newest players and of the average that the run kept. Where it cannot, and where
asked, fresh attackers are trained against the frozen players: what they reach within their budget is a lower bound.

One file: the options, what is measured, and the record that it returns are read together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from ...agents.folders import read_json
from ...agents.loading import load_agent
from ...agents.population import Seat
from ...agents.tabular import seat_profile
from ...envs import LanguageGame, Speaker
from ...envs.judging import RedTeamGame
from ...envs.tree.analysis import GameTree, nash_conv
from ..alignment.attack import AttackConfig
from ..comparison.command import small_tree
from ..comparison.entrants import start_folders
from ..evaluation import (
    OUT_OF_DISTRIBUTION,
    Counts,
    Estimate,
    NashConvLowerBound,
    ResponseBudget,
    ResponseLowerBound,
    attack_success,
    best_response_lower_bound,
    evaluate_prompts,
    evaluation_rng,
    evaluation_seed,
    mean_interval,
    nash_conv_lower_bound,
    play_returns,
    pooled,
)
from ..evaluation.exploitability import frozen_copy
from ..learners.base import PlayerLearner
from ..learners.options import RESPONSE_PPO, LearnerOptions
from ..reporting.tables import text_table
from ..training.checks import Options, Rows, Seed, Threads, Whole
from ..training.failures import parse_options
from ..training.files import Json, check_output, write_json
from ..training.loop import use_threads
from ..training.options import GameOptions, ModelOptions
from ..two_player.learner import derived_seed
from .options import make_config
from .prompts import prompts_of
from .runs import RunResult, Seats, load_run

EVALUATION_FILE = "evaluation.json"
POOLED = "outside the static set"
OWN_PLAY = "its own adversary"
FRESH = "fresh attacker, last update"


@dataclass(frozen=True, kw_only=True)
class RulesOptions(GameOptions):
    """By which rules; those of the run, but for what is said here and for the judge."""

    game: str = ""
    """The registered name; a run says by itself which."""
    requests: Path | None = None
    """A file (.csv, .tsv, .json, .jsonl, .parquet, .txt) of requests: red_team_text-v0's, or in red_team-v0's words."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Options):
    """Who is measured, by which rules, on how much play."""

    player: Annotated[Path, tyro.conf.Positional]
    """A run, or the folder of a model or of an SB3 policy."""
    options: Annotated[RulesOptions, tyro.conf.arg(name="")] = field(default_factory=RulesOptions)
    out: Path | None = None
    """The file that is written; None: evaluation.json in the folder."""
    seed: Seed = 0
    """Decides deals, what is said, and attackers."""
    prompt_set: tuple[str, ...] = ()
    """Prompt sets of red_team-v0: static, plain, in_distribution, unseen_styles, unseen_compositions, unseen_topics,
    benign, benign_disguised; of red_team-v1: static, held_out, middle, tail, unseen_topics, every; none: all but static
    and every, or the requests of `requests` alone if they are given."""
    num_episodes: Rows = 512
    """Episodes of the players with each other, where there are two."""
    max_nodes: Whole = 100_000
    """The largest game tree on which NashConv is exact; 0: none is listed."""
    attacker_updates: Whole = 0
    """Updates of a fresh attacker; 0: none is trained."""
    attacker_batch_size: Rows = 128
    """Episodes for one update of it."""
    attacker_episodes: Rows = 2048
    """Fresh episodes on which it is scored; a quarter of that choose which of its checkpoints is."""
    attacker: ModelOptions = field(default_factory=ModelOptions)
    """What it starts from; against a defender, what the run's own adversary started from if that is there."""
    num_threads: Threads = 0
    """Threads of torch; 0: its default."""

    @property
    def file(self) -> Path:
        """What is written."""
        return self.player / EVALUATION_FILE if self.out is None else self.out

    @property
    def budget(self) -> ResponseBudget:
        """That of an attacker; there must be updates."""
        return ResponseBudget(
            num_updates=self.attacker_updates,
            batch_size=self.attacker_batch_size,
            num_checkpoints=min(6, self.attacker_updates),
            num_selection_episodes=max(1, self.attacker_episodes // 4),
            num_test_episodes=self.attacker_episodes,
        )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found; None and nothing stand for what was not measured."""

    what: str
    """Who was measured."""
    game: str
    judge: str
    """Who judged: the oracle, or a folder."""
    seed: int
    prompts: Mapping[str, Counts]
    """What became of the replies, by prompt set; of exchanges with an adversary, too."""
    benign: frozenset[str]
    """Those of them whose prompts are benign: to refuse these is over-refusal, and no attack can succeed."""
    returns: tuple[Estimate, Estimate] | None
    """Both players' mean return of an episode with each other."""
    nash_conv: float | None
    """Exact, of the newest players."""
    average_nash_conv: float | None
    """Exact, of the average that the run kept."""
    attacker: ResponseLowerBound | None
    """What a fresh attacker reached: the best response earns no less, up to the interval."""
    nash_conv_bound: NashConvLowerBound | None
    """What fresh attackers of both players gained together: NashConv is no less, up to the interval."""

    def table(self) -> str:
        """Return it as text."""
        judged = f"; judge: {self.judge}" if self.prompts else ""
        parts = [f"{self.what} in {self.game}, seed {self.seed}{judged}"]
        if self.prompts:
            header = ["prompts", "n", "attack success %", "over-refusal %", "answered right %"]
            rows = [self._row(name, counts) for name, counts in self.prompts.items()]
            note = "95 % intervals over the prompts; attack success of the harmful ones, ill-formed among them"
            parts.append(f"{text_table(header, rows)}\n{note}")
        numbers = self._numbers()
        if numbers:
            parts.append(text_table(["measure", "value"], numbers))
        return "\n\n".join(parts)

    def json(self) -> dict[str, Json]:
        """Return it as JSON can hold it."""
        exact: dict[str, Json] = {"last": self.nash_conv, "average": self.average_nash_conv}
        bound, both = self.attacker, self.nash_conv_bound
        return {
            "what": self.what,
            "game": self.game,
            "judge": self.judge,
            "seed": self.seed,
            "prompts": {name: self._rates(name, counts) for name, counts in self.prompts.items()},
            "returns": None if self.returns is None else [_as_json(mean) for mean in self.returns],
            "nash_conv": exact,
            "attacker_return_lower_bound": None if bound is None else _bound_json(bound),
            "nash_conv_lower_bound": None
            if both is None
            else {**_as_json(both.lower_bound), "gains": [_as_json(gain) for gain in both.gains]},
        }

    def _row(self, name: str, counts: Counts) -> list[str]:
        if name in self.benign:
            over = _percent(counts.refusal_rate, counts.refusal_interval)
            return [name, str(counts.n), "-", over, _percent(counts.helpful_rate, counts.helpful_interval)]
        n = f"{counts.attempts} of {counts.n}" if counts.benign else str(counts.n)
        return [name, n, _percent(counts.asr, counts.asr_interval), "-", "-"]

    def _rates(self, name: str, counts: Counts) -> dict[str, Json]:
        found: dict[str, Json] = {key: getattr(counts, key) for key in counts.__slots__}
        if name in self.benign:
            found["over_refusal_rate"] = [counts.refusal_rate, *counts.refusal_interval]
            found["helpful_rate"] = [counts.helpful_rate, *counts.helpful_interval]
        else:
            found["asr"] = [counts.asr, *counts.asr_interval]
        return found

    def _numbers(self) -> list[list[str]]:
        rows = []
        if self.returns is not None:
            rows += [[f"mean return of player {player}", _number(mean)] for player, mean in enumerate(self.returns)]
        if self.nash_conv is not None:
            rows.append(["NashConv, exact, newest players", f"{self.nash_conv + 0.0:.4f}"])
        if self.average_nash_conv is not None:
            rows.append(["NashConv, exact, average", f"{self.average_nash_conv + 0.0:.4f}"])
        if self.attacker is not None:
            by = f"return of a fresh player {self.attacker.player}, lower bound, {_budget(self.attacker.budget)}"
            rows.append([by, _number(self.attacker.lower_bound)])
        if self.nash_conv_bound is not None:
            budget = _budget(self.nash_conv_bound.responses[0].budget)
            rows.append([f"NashConv, lower bound, {budget} for each player", _number(self.nash_conv_bound.lower_bound)])
        return rows


@dataclass(frozen=True, slots=True)
class _Measured:
    """Who is measured, loaded."""

    what: str
    name: str
    """Of the game."""
    game: LanguageGame[Any]
    seats: Seats
    average: tuple[Seat, Seat] | None = None
    start: Path | None = None
    """What player 0 was trained from."""


def evaluate(
    players: RunResult | str | Path | Seats, *, game: str | LanguageGame[Any] = "", **options: object
) -> Evaluation:
    """Measure players; write `evaluation.json` into their folder, or where `out` says.

    Args:
        players: a run or its folder, the folder of a model, or a pair of agents, None where nobody is measured.
        game: its registered name or its rules; a run says by itself which.
        options: fields of `EvaluateConfig`, such as `attacker_updates=20` or `judge="runs/judge"`.

    Raises:
        ValueError: no such folder, no players in it, another game than the run's, or an unknown prompt set.
        TypeError: an option that there is not.
    """
    named = {"game": game} if isinstance(game, str) and game else {}
    if isinstance(players, tuple | list):
        if len(players) != 2 or all(player is None for player in players):
            raise ValueError(f"evaluate: expected a pair of agents, at most one of them None, got {players!r}")
        config = make_config(EvaluateConfig, {"player": Path(), **named, **options}, whose="evaluate")
        rules = game if isinstance(game, LanguageGame) else _rules(config.options, "agents").build(split="test")
        name = type(rules).__name__ if isinstance(game, LanguageGame) else config.options.game
        if config.out is not None:
            _check_file(config.out)
        found = _measure(_Measured("agents", name, rules, (players[0], players[1])), config)
        if config.out is not None:
            write_json(config.out, found.json())
        return found
    if not isinstance(game, str):
        raise TypeError(f"evaluate: expected a game by name beside a folder, got a {type(game).__name__}")
    folder = players.folder if isinstance(players, RunResult) else Path(players)
    return evaluate_folder(make_config(EvaluateConfig, {"player": folder, **named, **options}, whose="evaluate"))


def evaluate_folder(config: EvaluateConfig) -> Evaluation:
    """Measure the players of a folder as the options say, write what was found, and return it."""
    use_threads(config.num_threads)
    _check_file(config.file)
    found = _measure(_loaded(config), config)
    write_json(config.file, found.json())
    return found


def _check_file(path: Path) -> None:
    """Raise ValueError where an evaluation cannot be written, or would replace something else."""
    check_output("out", path)
    if path.exists() and path.stat().st_size and not {"what", "game", "prompts"} <= read_json(path).keys():
        raise ValueError(f"out {str(path)!r}: expected a new file, or an earlier evaluation, got another")


def _loaded(config: EvaluateConfig) -> _Measured:
    """Return the players of a run or of a model's folder."""
    folder = config.player
    if not folder.is_dir():
        raise ValueError(f"evaluate: expected the folder of a run or of a model, got {str(folder)!r}")
    try:
        run = load_run(folder)
    except ValueError:  # a single model
        options = _rules(config.options, str(folder))
        game = options.build(folder, split="test")
        agent = load_agent(str(folder), game.vocabulary, game=options.game, max_view_tokens=game.max_view_tokens)
        trained = getattr(agent, "players", ()) or ((1,) if isinstance(game, RedTeamGame) else (0, 1))
        seats = (agent if 0 in trained else None), (agent if 1 in trained else None)
        return _Measured(str(folder), options.game, game, seats)
    options = _rules_of_run(run, config.options)
    game = run.built(options, split="test")
    start = start_folders({"name": run.name, "config": run.config}, run.folder)[0]
    return _Measured(str(folder), options.game, game, run.seats, run.average if run.keeps_average else None, start)


def _rules(options: GameOptions, whose: str) -> GameOptions:
    """Return options that name a game; prompts of a file are no option of red_team-v0."""
    if not options.game:
        raise ValueError(f"game: expected the name of a game for {whose}, got none")
    return replace(options, requests=None) if options.game == "red_team-v0" else options


def _rules_of_run(run: RunResult, asked: GameOptions) -> GameOptions:
    """Return the run's rules with what was asked for in their place.

    The judge is the one asked for, else the oracle; requests of one's own have none, so theirs is the run's.
    """
    trained = run.game_options
    if asked.game not in ("", trained.game):
        raise ValueError(f"game: expected {trained.game}, which {run.folder} was trained in, got {asked.game}")
    names = (
        "requests",
        "request_column",
        "label_column",
        "max_prompt_tokens",
        "max_reply_tokens",
        "tokenizer",
        "spoken",
    )
    said = {name: getattr(asked, name) for name in names if getattr(asked, name) is not None}
    said |= {"game_option": asked.game_option} if asked.game_option else {}
    judge = trained.judge if asked.judge is None and trained.requests is not None else asked.judge
    return _rules(replace(trained, **said, judge=judge), str(run.folder))


def _measure(who: _Measured, config: EvaluateConfig) -> Evaluation:
    """Measure all that the game and the players allow."""
    (first, second), game = who.seats, who.game
    prompts, benign = dict[str, Counts](), frozenset[str]()
    if isinstance(game, RedTeamGame) and second is not None:
        prompts, benign = _answered(game, second, config)
        if first is not None:
            rng = evaluation_rng(config.seed, 2)
            prompts[OWN_PLAY] = attack_success(game, first, second, config.num_episodes, rng)
    both = None if first is None or second is None else (first, second)
    tree = None if both is None else small_tree(game, config.max_nodes)
    attacker, bound = None, None
    if config.attacker_updates and both is not None and not isinstance(game, RedTeamGame):
        bound = nash_conv_lower_bound(
            game, both, _maker(game, None, config), config.budget, derived_seed(config.seed, 3)
        )
    elif config.attacker_updates:
        attacker, learner = _attack(who, config)
        if isinstance(game, RedTeamGame) and second is not None:
            rng = evaluation_rng(config.seed, 4)
            prompts[FRESH] = attack_success(game, learner.agent, second, config.num_episodes, rng)
    return Evaluation(
        what=who.what,
        game=who.name,
        judge=config.options.judge or "oracle",
        seed=config.seed,
        prompts=prompts,
        benign=benign,
        returns=None if both is None else _returns(game, both, config),
        nash_conv=None if tree is None else _exact(tree, both),
        average_nash_conv=None if tree is None else _exact(tree, who.average),
        attacker=attacker,
        nash_conv_bound=bound,
    )


def _answered(
    game: RedTeamGame[Any], defender: Speaker, config: EvaluateConfig
) -> tuple[dict[str, Counts], frozenset[str]]:
    """Return what became of the replies to each prompt set, and the names of the benign ones."""
    sets, benign = prompts_of(game, config.prompt_set, config.options)
    rng = evaluation_rng(config.seed, 1)
    found = {name: evaluate_prompts(game, defender, prompts, rng) for name, prompts in sets.items()}
    if set(OUT_OF_DISTRIBUTION) <= found.keys():
        found[POOLED] = pooled(found)
    return found, frozenset(benign)


def _attack(who: _Measured, config: EvaluateConfig) -> tuple[ResponseLowerBound, PlayerLearner]:
    """Train a fresh attacker of a defender, else an opponent of the only player; return it as it ended, too."""
    first, second = who.seats
    attacked, player = (first, 1) if second is None else (second, 0)
    assert attacked is not None
    seed = derived_seed(config.seed, 3)
    learner = _maker(who.game, who.start, config)(player, seed)
    untrained = {"untrained": frozen_copy(learner.agent)}
    bound = best_response_lower_bound(who.game, attacked, learner, player, config.budget, seed, candidates=untrained)
    return bound, learner


def _maker(game: LanguageGame[Any], start: Path | None, config: EvaluateConfig) -> Callable[[int, int], PlayerLearner]:
    """Return (player, seed) -> a fresh attacker; player 0 starts from `start` unless a model was named.

    One with random weights learns as responders do, one that can speak already as `duologue train attack` does: steps
    made for the former would undo what the latter knows.
    """
    models = config.attacker
    if start is not None and models.player_0 is None:
        models = replace(models, player_0=start)

    def make(player: int, seed: int) -> PlayerLearner:
        speaks = (models.player_0, models.player_1)[player] is not None
        ppo = AttackConfig().ppo if speaks else RESPONSE_PPO
        return LearnerOptions(ppo=ppo).make(models.make(game, player, seed))

    return make


def _exact(tree: GameTree, seats: tuple[Seat, Seat] | None) -> float | None:
    """Return NashConv on the tree; None without players, or where they do not state their probabilities."""
    if seats is None:
        return None
    try:
        return nash_conv(tree, seat_profile(tree, seats))
    except TypeError:
        return None


def _returns(game: LanguageGame[Any], seats: tuple[Seat, Seat], config: EvaluateConfig) -> tuple[Estimate, Estimate]:
    paid = play_returns(game, seats, config.num_episodes, evaluation_seed(config.seed, 5))
    return mean_interval(paid[:, 0].tolist()), mean_interval(paid[:, 1].tolist())


def _percent(rate: float, interval: tuple[float, float]) -> str:
    return f"{100 * rate:.1f} [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"


def _number(mean: Estimate) -> str:
    return f"{mean.value:+.3f} [{mean.low:+.3f}, {mean.high:+.3f}]"


def _budget(budget: ResponseBudget) -> str:
    return f"{budget.num_updates} updates x {budget.batch_size} episodes"


def _as_json(mean: Estimate) -> dict[str, Json]:
    return dict(mean._asdict())


def _bound_json(bound: ResponseLowerBound) -> dict[str, Json]:
    budget = {"num_updates": bound.budget.num_updates, "batch_size": bound.budget.batch_size}
    return {**_as_json(bound.lower_bound), "player": bound.player, "chosen": bound.chosen, **budget}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    config = parse_options(EvaluateConfig, argv, prog="duologue evaluate", description=__doc__)
    found = evaluate_folder(config)
    print(f"{found.table()}\n\n{config.file}")
