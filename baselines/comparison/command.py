"""Compare players of one game: every measure of `duologue.baselines.evaluation` in one command.

    duologue compare --game kuhn_poker-v0 --entrant psro=runs/psro:average --entrant random=random

An entrant is a finished run of two players, one model or policy in both seats, or an agent by name (see
`comparison/entrants.py`). All meet all in both seatings; they are rated by Bradley-Terry and by alpha-rank, which also
shows cycles; how far each is from equilibrium is computed on the whole tree where it can be listed, and elsewhere
bounded from below by responders that are trained within a stated budget. Beside these: KL to the start, external regret
of pools, and what each run cost. It prints and writes `compare.md`, `compare.json` and a heat map, `compare.png`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tqdm import tqdm

from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.loading import load_agent
from ...agents.tabular import seat_profile
from ...envs import LanguageGame, Speaker
from ...envs.game import PLAYERS
from ...envs.printable import printable
from ...envs.tree.analysis import GameTree, nash_conv
from ...envs.tree.enumeration import TreeTooLarge
from ..evaluation.deals import evaluation_rng, evaluation_seed
from ..evaluation.exploitability import ResponseBudget, nash_conv_lower_bound
from ..evaluation.head_to_head import head_to_head, play_returns, seat_matrix
from ..evaluation.intervals import Estimate, mean_interval
from ..evaluation.kl import kl_to_start
from ..evaluation.ranking import rank
from ..evaluation.regret import profile_regret
from ..rollouts.episodes import rollout
from ..training.checks import AtLeastTwo, Options, Rows, RowsOrNone, Seed, Threads, Whole, check_count
from ..training.failures import parse_options, run_command
from ..training.folders import KeptFolder
from ..training.inputs import require_apart
from ..training.loop import use_threads
from ..training.options import GameOptions, ModelOptions
from ..training.presets import usual
from ..two_player.learner import derived_seed
from ..two_player.train import ResponderConfig
from .entrants import Entrant, Folders, Source, meetings
from .report import Comparison, Distance, PoolRegret, is_unmarked, write_comparison

MIN_REGRET_PLAYS = 3
"""Pools whose members met less often have no regret to speak of."""


@dataclass(frozen=True, kw_only=True)
class Measures(Options):
    """What is measured, and on how much play."""

    num_matches: AtLeastTwo = 500
    """Matches of each pair; a match is one deal in both seatings."""
    max_nodes: Whole = 100_000
    """The largest game tree on which distances are exact; 0: none is listed."""
    response_updates: Whole = 60
    """Updates of a trained responder, where distances are not exact; 0: leave these lower bounds out."""
    response_batch_size: Rows = usual(128)
    """Episodes for one update of a responder; one that starts from a real model has 32."""
    response_episodes: Rows = 2048
    """Fresh episodes on which the chosen responder is scored; a quarter of that choose it."""
    kl_episodes: RowsOrNone = 512
    """Episodes of an entrant with itself on which its KL to the start is measured; 0: leave it out."""
    regret_episodes: RowsOrNone = 128
    """Fresh episodes of each meeting on which the best fixed member of a pool is scored, where regret is not exact; a
    quarter of that chooses it; 0: leave that out."""

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one is too small or too large.
        """
        super().__post_init__()
        check_count("response_episodes", self.response_episodes, least=4)
        for name, least in {"kl_episodes": 2, "regret_episodes": 4}.items():  # an interval takes two, a quarter is one
            number = getattr(self, name)
            if number and number < least:
                raise ValueError(f"{name}: expected 0 or at least {least}, got {number}")

    def budget(self, batch_size: int) -> ResponseBudget:
        """That of a responder with so many episodes for an update."""
        return ResponseBudget(
            num_updates=self.response_updates,
            batch_size=batch_size,
            num_checkpoints=min(6, self.response_updates),
            num_selection_episodes=self.response_episodes // 4,
            num_test_episodes=self.response_episodes,
        )


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Options):
    """Who is compared, in which game, and how."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    entrant: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=FOLDER of a run or a model, NAME=FOLDER:average of a run's mixtures, or NAME=random; give two or more."""
    start: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """NAME=FOLDER of what an entrant was trained from, for its KL; else what its run says, if it does."""
    measures: Annotated[Measures, tyro.conf.arg(name="")] = field(default_factory=Measures)
    """What is measured, and on how much play."""
    responder: ModelOptions = field(default_factory=ModelOptions)
    """What trained responders start from."""
    seed: Seed = 0
    """Decides deals, what is said, and responders."""
    out: Path = Path("runs/compare")
    """The folder that is written."""
    num_threads: Threads = 0
    """Threads of torch; 0: its default."""


class Comparing:
    """The measures of one game, each by itself; all random numbers come from one seed."""

    def __init__(self, game: LanguageGame[Any], measures: Measures, responder: ModelOptions, *, seed: int) -> None:
        """Take the rules, and list their tree if it is small enough."""
        self.game, self.measures, self.seed = game, measures, seed
        self.responders = ResponderConfig(models=responder, batch_size=measures.response_batch_size)
        self.tree = small_tree(game, measures.max_nodes)

    @property
    def budget(self) -> ResponseBudget:
        """That of a trained responder, by what it starts from."""
        return self.measures.budget(self.responders.resolved().batch_size)

    def distance(self, entrant: Entrant) -> Distance | None:
        """Return how far an entrant's players are from equilibrium: exactly, else a lower bound, None: left out."""
        if self.tree is not None:
            try:
                distance = nash_conv(self.tree, seat_profile(self.tree, entrant.seats))
            except TypeError:  # it does not state its probabilities
                pass
            except ValueError as error:
                raise ValueError(f"entrant {entrant.name}: {error}") from error
            else:
                if not math.isfinite(distance):
                    raise ValueError(f"entrant {entrant.name}: expected a finite NashConv, got {distance}")
                return Distance(distance, None)
        if not self.measures.response_updates:
            return None
        make, seed = partial(self.responders.responder, self.game), derived_seed(self.seed, 1)
        return Distance(None, nash_conv_lower_bound(self.game, entrant.seats, make, self.budget, seed))

    def moved(self, entrant: Entrant) -> tuple[Estimate | None, Estimate | None]:
        """Return KL(now, start) of both players, None where the start is unknown."""
        num_episodes = self.measures.kl_episodes
        if not num_episodes or entrant.starts == (None, None):
            return None, None
        played = rollout(self.game, entrant.seats, num_episodes, evaluation_rng(self.seed, 2))
        found: list[Estimate | None] = []
        for player in PLAYERS:
            agent, folder = entrant.seats[player], entrant.starts[player]
            speaks = any(
                turn.player == player and turn.utterance.tokens for episode in played for turn in episode.turns
            )
            start = None if folder is None else load_agent(str(folder), self.game.vocabulary)
            if speaks and isinstance(agent, CausalLMAgent) and isinstance(start, CausalLMAgent):
                found.append(kl_to_start(agent, start, played, player))
            else:
                found.append(None)
        return found[0], found[1]

    def regret(self, pool: Folders | None) -> PoolRegret | None:
        """Return both players' external regret, had the members of their pools met in order; None: left out."""
        met = [] if pool is None else meetings(pool)
        if pool is None or len(met) < MIN_REGRET_PLAYS or (self.tree is None and not self.measures.regret_episodes):
            return None
        loaded = {folder: load_agent(str(folder), self.game.vocabulary) for folder in (*pool[0], *pool[1])}
        first, second = ([loaded[folder] for folder in folders] for folders in pool)
        if self.tree is not None:
            profiles = [seat_profile(self.tree, (first[i], second[j])) for i, j in met]
            per_play = (profile_regret(self.tree, profiles)[:, -1] / len(met)).tolist()
            return PoolRegret(len(met), (per_play[0], per_play[1]), None)
        gains = self.gains_by_play(first, second, met)
        return PoolRegret(len(met), (gains[0].value, gains[1].value), (gains[0].half_width, gains[1].half_width))

    def gains_by_play(
        self, first: Sequence[Speaker], second: Sequence[Speaker], met: Sequence[tuple[int, int]]
    ) -> tuple[Estimate, Estimate]:
        """Return what the best fixed member of each pool would have gained for a play, with its 95 % interval.

        It is chosen on some episodes and scored on others: the largest of several noisy means is too high.
        """
        rows, columns = ({str(k): member for k, member in enumerate(members)} for members in (first, second))
        num_episodes, seeds = self.measures.regret_episodes, [evaluation_seed(self.seed, k) for k in (3, 5)]
        payoffs = seat_matrix(self.game, rows, columns, num_episodes // 4, seeds[0]).returns
        row = int(payoffs[0][:, [j for _, j in met]].sum(axis=1).argmax())
        column = int(payoffs[1][[i for i, _ in met]].sum(axis=0).argmax())
        needed = {pair for i, j in met for pair in ((i, j), (row, j), (i, column))}
        paid = {
            (i, j): play_returns(self.game, (first[i], second[j]), num_episodes, seeds[1]) for i, j in sorted(needed)
        }
        # All meetings are on the same deals: an episode's mean over them is what is independent.
        gains_0 = np.mean([paid[row, j][:, 0] - paid[i, j][:, 0] for i, j in met], axis=0)
        gains_1 = np.mean([paid[i, column][:, 1] - paid[i, j][:, 1] for i, j in met], axis=0)
        return mean_interval(gains_0.tolist()), mean_interval(gains_1.tolist())


def compare(
    title: str,
    game: LanguageGame[Any],
    entrants: Sequence[Entrant],
    measures: Measures,
    *,
    seed: int,
    responder: ModelOptions | None = None,
) -> Comparison:
    """Measure all entrants; a bar shows which measure is being taken.

    Args:
        title: what the game is called.
        game: the rules.
        entrants: at least two, their names distinct.
        measures: what is measured.
        seed: decides deals, what is said, and responders.
        responder: what trained responders start from.

    Raises:
        ValueError: fewer than two entrants, or a name twice.
    """
    names = [entrant.name for entrant in entrants]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"entrant: expected two or more with names of their own, got {names}")
    with tqdm(total=1 + 3 * len(names), unit="measure", dynamic_ncols=True, disable=None) as bar:
        bar.set_description("tree and head-to-head")
        comparing = Comparing(game, measures, ModelOptions() if responder is None else responder, seed=seed)
        seats = {entrant.name: entrant.seats for entrant in entrants}
        met = head_to_head(game, seats, measures.num_matches, evaluation_seed(seed, 4))
        bar.update()
        distances, moved, regrets = {}, {}, {}
        for entrant in entrants:
            shown = printable(entrant.name)
            bar.set_description(f"{shown}: distance from equilibrium")
            distances[entrant.name] = comparing.distance(entrant)
            bar.update()
            bar.set_description(f"{shown}: KL to the start")
            moved[entrant.name] = comparing.moved(entrant)
            bar.update()
            bar.set_description(f"{shown}: regret")
            regrets[entrant.name] = comparing.regret(entrant.pool)
            bar.update()
    costs, notes = (
        {entrant.name: entrant.costs for entrant in entrants},
        {entrant.name: entrant.note for entrant in entrants},
    )
    budget = comparing.budget if measures.response_updates else None
    ranking = rank(met, seed=evaluation_seed(seed, 6))
    return Comparison(title, seed, met, ranking, distances, budget, moved, regrets, costs, notes)


def small_tree(game: LanguageGame[Any], max_nodes: int) -> GameTree | None:
    """Return the game's tree; None if it has more nodes, deals that cannot be listed, or two vocabularies."""
    first, second = game.vocabularies
    if not max_nodes or first is not second or game.deals.outcomes() is None:
        return None
    try:
        return GameTree(game, max_nodes=max_nodes)
    except TreeTooLarge:
        return None


def run_comparison(config: CompareConfig) -> Comparison:
    """Load the entrants, measure and write; return what came of it.

    Raises:
        ValueError: an entrant is none, or `out` holds something else than a comparison.
    """
    use_threads(config.num_threads)
    sources = [Source.parse(text) for text in config.entrant]
    starts = _starts(config.start, [source.name for source in sources])
    folders = [folder for source in sources for folder in source.model_folders]
    require_apart(config.out, {str(folder): folder for folder in folders})
    game = config.options.build(*folders, split="test")
    entrants = [source.load(game, config.options, starts.get(source.name)) for source in sources]
    with KeptFolder.open(config.out, kind="comparison", older=is_unmarked):
        title, budget = config.options.game, config.measures
        found = compare(title, game, entrants, budget, seed=config.seed, responder=config.responder)
        write_comparison(found, config.out)
    return found


def _starts(texts: Sequence[str], names: Sequence[str]) -> Mapping[str, Source]:
    sources = list(map(Source.parse, texts))
    starts = {source.name: source for source in sources}
    for name in starts:
        if sum(source.name == name for source in sources) > 1:
            raise ValueError(f"start {name}: expected one, got {', '.join(s.spec for s in sources if s.name == name)}")
    unknown = [name for name in starts if name not in names]
    if unknown:
        raise ValueError(f"start: expected names of entrants, {', '.join(names)}, got {', '.join(unknown)}")
    return starts


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    config = parse_options(CompareConfig, argv, prog="duologue compare", description=__doc__)
    print(f"{run_comparison(config).markdown()}\n{config.out}")


if __name__ == "__main__":
    sys.exit(run_command(main))
