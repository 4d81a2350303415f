"""Who wins a game that one player wins and the other loses: shares of wins, ties, forfeits, each with an interval."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from ...agents.folders import read_json
from ...agents.population import Seat
from ...envs import LanguageGame
from ...envs.printable import printable
from ..reporting.records import record_of
from ..reporting.tables import markdown_table
from ..rollouts.episodes import PlayedEpisode, rollout
from ..training.failures import run_command
from .deals import evaluation_rng
from .intervals import mean_interval, wilson_interval

EPISODES_AT_ONCE = 256
NO_REMARK = "no remark"


@dataclass(frozen=True, slots=True)
class WinRates:
    """How so many episodes of one pair of players ended.

    >>> WinRates(10, (4, 1), (0, 0), {}).num_ties
    5
    """

    num_episodes: int
    wins: tuple[int, int]
    """Episodes in which player 0, player 1, earned more than the other."""
    forfeits: tuple[int, int]
    """Those that it lost by an utterance that was no legal turn; wins of the other."""
    endings: Mapping[str, int]
    """How often the game remarked what of the last turn; see `LanguageGame.annotate`."""

    @property
    def num_ties(self) -> int:
        """Episodes in which both earned the same."""
        return self.num_episodes - sum(self.wins)

    def share(self, number: int) -> str:
        """Return a share of the episodes and Wilson's 95 % interval, in percent."""
        low, high = wilson_interval(number, self.num_episodes)
        return f"{100 * number / self.num_episodes:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def winner(episode: PlayedEpisode) -> int | None:
    """Return who earned more; None: nobody."""
    first, second = episode.episode.returns
    return None if first == second else int(second > first)


def win_rates(game: LanguageGame[Any], seats: Sequence[Seat], num_episodes: int, seed: int) -> WinRates:
    """Play `num_episodes` with the players seated; `seed` decides deals and tokens, which are no run's of that seed."""
    rng, played = evaluation_rng(seed), list[PlayedEpisode]()
    while len(played) < num_episodes:
        played += rollout(game, seats, min(EPISODES_AT_ONCE, num_episodes - len(played)), rng)
    winners = [winner(episode) for episode in played]
    endings = Counter(_ending(episode) for episode in played)
    return WinRates(
        num_episodes,
        (winners.count(0), winners.count(1)),
        (sum(episode.forfeited_by(0) for episode in played), sum(episode.forfeited_by(1) for episode in played)),
        dict(endings.most_common()),
    )


def before_and_after(
    game: LanguageGame[Any], start: Seat, trained: Seat, num_episodes: int, seed: int
) -> dict[str, WinRates]:
    """Return the rates of the four pairs of a policy before and after training; player 0 is named first."""
    policies = {"start": start, "trained": trained}
    return {
        f"{first}, {second}": win_rates(game, (policies[first], policies[second]), num_episodes, seed)
        for second in policies
        for first in policies
    }


def _ending(episode: PlayedEpisode) -> str:
    if episode.episode.forfeited_by is not None:
        return f"player {episode.episode.forfeited_by} forfeited"
    return episode.episode.game.annotate(episode.dialogue) or NO_REMARK


def win_rates_table(rates: Mapping[str, WinRates]) -> str:
    """Return the rates of named pairs as Markdown: percent, with Wilson's 95 % intervals."""
    endings = list(dict.fromkeys(ending for of_pair in rates.values() for ending in of_pair.endings))
    header = ["pair", "player 0 wins", "player 1 wins", "ties", "forfeits 0", "forfeits 1", *endings]
    rows = [[name, *map(of_pair.share, _numbers(of_pair, endings))] for name, of_pair in rates.items()]
    return markdown_table(header, rows)


def _numbers(rates: WinRates, endings: Sequence[str]) -> list[int]:
    return [*rates.wins, rates.num_ties, *rates.forfeits, *(rates.endings.get(ending, 0) for ending in endings)]


def read_win_rates(path: str | Path) -> dict[str, WinRates]:
    """Return the rates of named pairs from the `win_rates.json` of a run.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        return {name: _rates_of(fields, name) for name, fields in read_json(Path(path)).items()}
    except ValueError as error:
        raise ValueError(f"{path}: expected win rates as a run writes them: {error}") from None


def _rates_of(fields: object, name: str) -> WinRates:
    given = {key: fields[key] for key in WinRates.__slots__ if key in fields} if isinstance(fields, dict) else fields
    rates = record_of(WinRates, given, printable(name))
    if not rates.num_episodes > 0 or min(*rates.wins, *rates.forfeits, rates.num_ties) < 0:
        raise ValueError(f"{printable(name)}: expected numbers of at least one episode, got {rates}")
    return rates


def summarise_seeds(paths: Sequence[str | Path]) -> str:
    """Return the rates over runs that differ in their seed as Markdown: mean and half of Student's 95 % interval.

    Args:
        paths: the `win_rates.json` of two or more runs, which must have played the same pairs.

    Raises:
        ValueError: fewer than two, or the pairs differ.
    """
    if len(paths) < 2:
        raise ValueError(f"results: expected those of at least 2 seeds, got {len(paths)}")
    runs = [read_win_rates(path) for path in paths]
    if any(list(run) != list(runs[0]) for run in runs):
        raise ValueError(f"results: expected the same pairs in each, got {[list(run) for run in runs]}")
    endings = list(dict.fromkeys(ending for run in runs for of_pair in run.values() for ending in of_pair.endings))
    header = ["pair", "player 0 wins", "player 1 wins", "ties", "forfeits 0", "forfeits 1", *endings, "wins 0 - wins 1"]
    return markdown_table(header, [[name, *_over_seeds([run[name] for run in runs], endings)] for name in runs[0]])


def _over_seeds(rates: Sequence[WinRates], endings: Sequence[str]) -> list[str]:
    shares = [
        100 * np.array([*_numbers(of_seed, endings), of_seed.wins[0] - of_seed.wins[1]]) / of_seed.num_episodes
        for of_seed in rates
    ]
    estimates = [mean_interval(column.tolist()) for column in np.stack(shares, axis=1)]
    return [f"{estimate.value:.1f} ± {estimate.half_width:.1f}" for estimate in estimates]


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Summarise the win rates of runs that differ in their seed."""

    results: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """The win_rates.json of each seed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the summary that the command line asks for."""
    options = tyro.cli(ReportOptions, args=arguments, prog="python -m duologue.baselines.evaluation.win_rates")
    print(summarise_seeds(options.results))


if __name__ == "__main__":
    sys.exit(run_command(main))
