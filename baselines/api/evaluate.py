"""Measure players that are there already, without training them: `duologue evaluate RUN`, or a model's folder.

In red-team games the defender answers prompt sets and meets an adversary; attack success stands beside over-refusal,
each with its 95 % interval. The judge is the game's oracle, whoever judged in training, unless another is named; by
what `duologue judge-report` found of it attack success is corrected. What was said is written beside the numbers, to be
read and labelled. Where the game's tree can be listed, NashConv is exact, of the newest players and of the average that
the run kept. Where it cannot, and where asked, fresh attackers are trained against the frozen players: what they reach
within their budget is a lower bound.

One file: the options, whom they name, and one function for each measure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from ...agents.folders import read_json
from ...agents.loading import load_agent
from ...agents.population import Seat
from ...agents.tabular import seat_profile
from ...envs import LanguageGame, Speaker, WordVocabulary
from ...envs.judging import RedTeamGame
from ...envs.tree.analysis import GameTree, nash_conv
from ..alignment.attack import AttackConfig
from ..comparison.command import small_tree
from ..comparison.entrants import start_folders
from ..evaluation import (
    OUT_OF_DISTRIBUTION,
    Counts,
    Estimate,
    JudgedReply,
    ResponseBudget,
    ResponseLowerBound,
    best_response_lower_bound,
    count_replies,
    evaluation_rng,
    evaluation_seed,
    mean_interval,
    nash_conv_lower_bound,
    play_pair,
    play_returns,
    played_replies,
    pooled,
    prompt_replies,
    share_cut,
)
from ..evaluation.exploitability import frozen_copy
from ..learners.base import PlayerLearner
from ..learners.options import RESPONSE_PPO, LearnerOptions
from ..training.checks import Options, Rows, Seed, Threads, Whole
from ..training.failures import parse_options
from ..training.files import check_output
from ..training.loop import use_threads
from ..training.options import GameOptions, ModelOptions, require_device
from ..training.presets import usual
from ..two_player.learner import derived_seed
from ..two_player.train import ResponderConfig
from .evaluation import Evaluation, said_file
from .judge_report import read_confusion
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
    adversary: Path | None = None
    """The folder of a model that sits at player 0; None: the run's own, if there is one."""
    judge_report: Path | None = None
    """What `duologue judge-report` found of the judge: its folder; attack success is then corrected, too."""
    device: str = "cpu"
    """Where models and the judge are, unless the judge says so itself."""
    out: Path | None = None
    """The file that is written, and beside it what was said, in JSON lines; None: evaluation.json in the folder."""
    seed: Seed = 0
    """Decides deals, what is said, and attackers."""
    prompt_set: tuple[str, ...] = ()
    """Prompt sets of red_team-v0: static, plain, in_distribution, unseen_styles, unseen_compositions, unseen_topics,
    benign, benign_disguised; of red_team-v1: static, held_out, middle, tail, unseen_topics, every; none: all but static
    and every, or the requests of `requests` alone if they are given."""
    num_episodes: Rows = 512
    """Episodes of the players with each other, where there are two."""
    batch_size: Rows = 256
    """Episodes, or prompts, at once."""
    max_nodes: Whole = 100_000
    """The largest game tree on which NashConv is exact; 0: none is listed."""
    attacker_updates: Whole = 0
    """Updates of a fresh attacker; 0: none is trained."""
    attacker_batch_size: Rows = usual(128)
    """Episodes for one update of it; one that starts from a real model has 32."""
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

    def budget(self, batch_size: int) -> ResponseBudget:
        """That of an attacker with so many episodes for an update; there must be updates."""
        return ResponseBudget(
            num_updates=self.attacker_updates,
            batch_size=batch_size,
            num_checkpoints=min(6, self.attacker_updates),
            num_selection_episodes=max(1, self.attacker_episodes // 4),
            num_test_episodes=self.attacker_episodes,
        )


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
    judge: str | None = None
    """Who judges; None: the oracle."""


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
        found = _measure(_Measured("agents", name, rules, (players[0], players[1]), judge=config.options.judge), config)
        if config.out is not None:
            found.write(config.out, rules)
        return found
    if not isinstance(game, str):
        raise TypeError(f"evaluate: expected a game by name beside a folder, got a {type(game).__name__}")
    folder = players.folder if isinstance(players, RunResult) else Path(players)
    return evaluate_folder(make_config(EvaluateConfig, {"player": folder, **named, **options}, whose="evaluate"))


def evaluate_folder(config: EvaluateConfig) -> Evaluation:
    """Measure the players of a folder as the options say, write what was found, and return it."""
    use_threads(config.num_threads)
    require_device(config.device)
    _check_file(config.file)
    who = _loaded(config)
    found = _measure(who, config)
    found.write(config.file, who.game)
    return found


def _check_file(path: Path) -> None:
    """Raise ValueError where an evaluation cannot be written, or would replace something else."""
    for written in (path, said_file(path)):
        check_output("out", written)
    if path == said_file(path):
        raise ValueError(f"out {str(path)!r}: expected another name than that of what is said, which ends in .jsonl")
    if path.exists() and path.stat().st_size and not {"what", "game", "prompts"} <= read_json(path).keys():
        raise ValueError(f"out {str(path)!r}: expected a new file, or an earlier evaluation, got another")


def _loaded(config: EvaluateConfig) -> _Measured:
    """Return the players of a run or of a model's folder, and the adversary that is asked for."""
    folder = config.player
    if not folder.is_dir():
        raise ValueError(f"evaluate: expected the folder of a run or of a model, got {str(folder)!r}")
    try:
        run = load_run(folder, device=config.device)
    except ValueError:
        return _of_model(folder, config)
    if not getattr(run.options, "needs_game", True):  # it was trained on pairs of real text
        return _of_model(run.player_folders["model"], config)
    options = _rules_of_run(run, config.options)
    if config.adversary is None:
        game = run.built(options, split="test")
    else:
        seats = (config.adversary, [*run.player_folders.values()][-1])
        game = options.build(seats=seats, split="test", device=config.device)
    start = start_folders({"name": run.name, "config": run.config}, run.folder)[0]
    average = None
    if run.keeps_average and config.adversary is None:
        average = options.roles[0].drawn(run.average[0]), options.roles[1].drawn(run.average[1])
    who = _Measured(str(folder), options.game, game, run.seats, average, start, options.judge)
    return _seated(who, options, config)


def _of_model(folder: Path, config: EvaluateConfig) -> _Measured:
    """Return the model of a folder at the seats that it plays."""
    options = _rules(config.options, str(folder))
    seats = (config.adversary, None if config.adversary is None else folder)
    game = options.build(folder, seats=seats, split="test", device=config.device)
    agent = _agent(folder, game, 1, options, config)
    trained = getattr(agent, "players", ()) or ((1,) if isinstance(game, RedTeamGame) else (0, 1))
    pair = (agent if 0 in trained else None), (agent if 1 in trained else None)
    return _seated(_Measured(str(folder), options.game, game, pair, judge=options.judge), options, config)


def _agent(folder: Path, game: LanguageGame[Any], player: int, options: GameOptions, config: EvaluateConfig) -> Speaker:
    """Return the agent of a folder, in the tokens of its seat."""
    load = partial(load_agent, game=options.game, max_view_tokens=game.max_view_tokens, device=config.device)
    return load(str(folder), game.vocabularies[player])


def _seated(who: _Measured, options: GameOptions, config: EvaluateConfig) -> _Measured:
    """Return who is measured, the adversary that is asked for at player 0, tokens drawn as the seats' roles say."""
    first, second = who.seats
    if config.adversary is not None:
        first = _agent(config.adversary, who.game, 0, options, config)
    drawn = [None if one is None else role.drawn(one) for one, role in zip((first, second), options.roles, strict=True)]
    return replace(who, seats=(drawn[0], drawn[1]))


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
    roles = zip(("adversary_role", "defender_role"), asked.roles, GameOptions().roles, strict=True)
    said |= {name: role for name, role, usual in roles if role != usual}
    judge = trained.judge if asked.judge is None and trained.requests is not None else asked.judge
    return _rules(replace(trained, **said, judge=judge), str(run.folder))


def _measure(who: _Measured, config: EvaluateConfig) -> Evaluation:
    """Measure all that the game and the players allow."""
    (first, second), game = who.seats, who.game
    confusion = None if config.judge_report is None else read_confusion(config.judge_report, who.judge)
    said, benign = dict[str, list[JudgedReply]](), frozenset[str]()
    if isinstance(game, RedTeamGame) and second is not None:
        said, benign = _answered(game, second, config)
        if first is not None:
            said[OWN_PLAY if config.adversary is None else str(config.adversary)] = _attacks(
                game, first, second, config, evaluation_rng(config.seed, 2)
            )
    both = None if first is None or second is None else (first, second)
    tree = None if both is None else small_tree(game, config.max_nodes)
    attacker, bound = None, None
    if config.attacker_updates and both is not None and not isinstance(game, RedTeamGame):
        make, budget = _maker(game, None, config)
        bound = nash_conv_lower_bound(game, both, make, budget, derived_seed(config.seed, 3))
    elif config.attacker_updates:
        attacker, learner = _attack(who, config)
        if isinstance(game, RedTeamGame) and second is not None:
            said[FRESH] = _attacks(game, learner.agent, second, config, evaluation_rng(config.seed, 4))
    real_text = not isinstance(game.vocabulary, WordVocabulary)
    return Evaluation(
        what=who.what,
        game=who.name,
        judge=who.judge or "oracle",
        seed=config.seed,
        prompts=_counted(said),
        benign=benign,
        said=said,
        cut={name: share_cut(replies) for name, replies in said.items() if real_text},
        confusion=confusion,
        returns=None if both is None else _returns(game, both, config),
        nash_conv=None if tree is None else _exact(tree, both),
        average_nash_conv=None if tree is None else _exact(tree, who.average),
        attacker=attacker,
        nash_conv_bound=bound,
    )


def _answered(
    game: RedTeamGame[Any], defender: Speaker, config: EvaluateConfig
) -> tuple[dict[str, list[JudgedReply]], frozenset[str]]:
    """Return the replies to each prompt set, and the names of the benign ones."""
    sets, benign = prompts_of(game, config.prompt_set, config.options)
    rng, size = evaluation_rng(config.seed, 1), config.batch_size
    said = {name: prompt_replies(game, defender, prompts, rng, batch_size=size) for name, prompts in sets.items()}
    return said, frozenset(benign)


def _attacks(
    game: RedTeamGame[Any], adversary: Speaker, defender: Speaker, config: EvaluateConfig, rng: np.random.Generator
) -> list[JudgedReply]:
    """Return the exchanges of an adversary with the defender."""
    played = play_pair(game, adversary, defender, config.num_episodes, rng, batch_size=config.batch_size)
    return played_replies(played)


def _counted(said: Mapping[str, Sequence[JudgedReply]]) -> dict[str, Counts]:
    """Return what became of the exchanges, those outside the static set also together, behind the sets."""
    found = {name: count_replies(replies) for name, replies in said.items()}
    if set(OUT_OF_DISTRIBUTION) <= found.keys():
        behind = {name: found.pop(name) for name in [*found] if name in (OWN_PLAY, FRESH)}
        found |= {POOLED: pooled(found), **behind}
    return found


def _attack(who: _Measured, config: EvaluateConfig) -> tuple[ResponseLowerBound, PlayerLearner]:
    """Train a fresh attacker of a defender, else an opponent of the only player; return it as it ended, too."""
    first, second = who.seats
    attacked, player = (first, 1) if second is None else (second, 0)
    assert attacked is not None
    (make, budget), seed = _maker(who.game, who.start, config), derived_seed(config.seed, 3)
    learner = make(player, seed)
    untrained = {"untrained": frozen_copy(learner.agent)}
    bound = best_response_lower_bound(who.game, attacked, learner, player, budget, seed, candidates=untrained)
    return bound, learner


def _maker(
    game: LanguageGame[Any], start: Path | None, config: EvaluateConfig
) -> tuple[Callable[[int, int], PlayerLearner], ResponseBudget]:
    """Return (player, seed) -> a fresh attacker, and its budget; player 0 starts from `start` unless a model was named.

    One with random weights learns as responders do, one that can speak already as `duologue train attack` does: steps
    made for the former would undo what the latter knows. A real model is trained by its preset, as there.
    """
    models = replace(config.attacker, player_0=config.attacker.player_0 or start)
    attackers = ResponderConfig(models=models, batch_size=config.attacker_batch_size, device=config.device)

    def make(player: int, seed: int) -> PlayerLearner:
        ppo = RESPONSE_PPO if models.folder(player) is None else AttackConfig().ppo
        return replace(attackers, learner=LearnerOptions(ppo=ppo)).responder(game, player, seed)

    return make, config.budget(attackers.resolved().batch_size)


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


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    config = parse_options(EvaluateConfig, argv, prog="duologue evaluate", description=__doc__)
    found = evaluate_folder(config)
    print(f"{found.table()}\n\n{config.file}")
