"""A run as an object: its options and numbers at once, its players when they are first asked for.

A run's folder names its players `adversary` and `defender`, `player_0` and `player_1`, or `model`, which sits where it
was trained: after an attack at player 0, after SFT, RLHF or DPO at player 1, in both where it learned in both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...agents.folders import read_json
from ...agents.loading import load_agent
from ...agents.population import Population
from ...envs import LanguageGame, Speaker
from ...envs.game import PLAYERS
from ..comparison.entrants import is_run, mixture_folders, run_costs
from ..training.costs import Costs
from ..training.files import Json
from ..training.options import GameOptions
from ..training.run import CONFIG_FILE, FINISHED_FILE, read_metrics
from .commands import DEMO, TRAINERS
from .options import make_config

Seats: TypeAlias = tuple[Speaker | None, Speaker | None]
"""Who plays as player 0 and as player 1; None: a run trained nobody for that seat."""

PAIRS = (("player_0", "player_1"), ("adversary", "defender"))
"""The folders of runs that train both players."""
MODEL = "model"
"""The folder of a run that trains one."""
SEATS_OF_MODEL: Mapping[str, tuple[int, ...]] = {"attack": (0,), "sft": (1,), "rlhf": (1,), "dpo": (1,)}
"""Where a run's one model was trained; that of `sb3` says so itself, and all others play in both seats."""
NO_PLAYER = ("judge", "reward_model", "text", "text_stages", "stages", "meta", "demo")
"""Runs whose models play no game, or which are folders of other runs."""


@dataclass(frozen=True)
class RunResult:
    """A run, as far as it has come; models are loaded when they are first asked for.

    >>> from duologue.baselines import train
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     sizes = {"num_updates": 2, "batch_size": 4, "hidden_size": 8}
    ...     run = train("self_play", game="bluff-v0", out=f"{folder}/run", **sizes)
    ...     run.name, run.finished, run.metrics["player_0/mean_return"].shape, [*run.players]
    ('self_play', True, (2,), ['player_0', 'player_1'])
    """

    folder: Path
    """Where it lies."""
    device: str = "cpu"
    """Where its language models are put."""

    def __post_init__(self) -> None:
        """Check that it is one.

        Raises:
            ValueError: the folder is missing, or holds no run.
        """
        if not self.folder.is_dir():
            raise ValueError(f"run {self.folder}: expected the folder of a run, got none there")
        if not is_run(self.folder):
            inside = sorted(path.name for path in self.folder.iterdir())[:8]
            raise ValueError(f"run {self.folder}: expected a {CONFIG_FILE} with name and config in it, got {inside}")
        if not (isinstance(self._asked["name"], str) and isinstance(self._asked["config"], dict)):
            raise ValueError(f"run {self.folder}: expected a {CONFIG_FILE} with a name and options, got other types")

    @property
    def name(self) -> str:
        """What was run: the name after `duologue train`, or demo."""
        return str(self._asked["name"])

    @property
    def config(self) -> dict[str, Json]:
        """The options, groups nested, as JSON holds them."""
        config: dict[str, Json] = self._asked["config"]
        return config

    @cached_property
    def options(self) -> Any:
        """The options as the command's dataclass; None where this version of the command does not take them.

        A learner that came from a file is registered: the file that the run names is executed.
        """
        command = {**TRAINERS, DEMO.name: DEMO}.get(self.name)
        if command is None:
            return None
        try:
            return make_config(command.config, self.config, whose=self.name)
        except (TypeError, ValueError):  # another version wrote them
            return None

    @property
    def finished(self) -> bool:
        """Whether it has come to its end."""
        return (self.folder / FINISHED_FILE).is_file()

    @cached_property
    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """What was logged, by name, a group's after it: "player_0/mean_return"; NaN where a step has no such number.

        Beside numbers there are yes and no as 1 and 0; words are left out.
        """
        rows = [dict(_numbers(record)) for record in read_metrics(self.folder)]
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: np.array([row.get(name, np.nan) for row in rows], dtype=np.float64) for name in names}

    @cached_property
    def costs(self) -> Costs | None:
        """What training cost; None where the run did not count."""
        return run_costs(self.folder)

    @property
    def game_options(self) -> GameOptions:
        """Which game was played, by which rules.

        Raises:
            ValueError: the run's options name no game.
        """
        given = self.config.get("options")
        if not isinstance(given, dict) or "game" not in given:
            raise ValueError(f"run {self.folder}: expected the options of a game in its {CONFIG_FILE}, got none")
        try:
            return make_config(GameOptions, given, whose=self.name)
        except (TypeError, ValueError) as error:
            raise ValueError(f"run {self.folder}: {error}") from error

    def game(self, *, split: str | None = None) -> LanguageGame[Any]:
        """Return the rules that the run was trained by, its judge included.

        Args:
            split: which of the requests to deal, for games that split them.
        """
        return self.built(self.game_options, split=split)

    def built(self, options: GameOptions, *, split: str | None = None) -> LanguageGame[Any]:
        """Return rules by other options, in the tokens of the players that the run left; `split` as in `game`."""
        folders = [(folder,) for folder in self.player_folders.values()]
        return _built(options, folders, split=split, device=self.device)

    @property
    def player_folders(self) -> dict[str, Path]:
        """The folders of the players that it left, by name.

        Raises:
            ValueError: the run left none; the message says why.
        """
        if self.name in NO_PLAYER:
            raise ValueError(f"run {self.folder}: expected a run that trains players, got one of {self.name}")
        for names in (*PAIRS, (MODEL,)):
            if all((self.folder / name).is_dir() for name in names):
                return {name: self.folder / name for name in names}
        wanted = "; ".join(" and ".join(names) for names in (*PAIRS, (MODEL,)))
        why = "" if self.finished else ", it has not come to its end"
        raise ValueError(f"run {self.folder}: expected one of these in it: {wanted}, got none{why}")

    @cached_property
    def players(self) -> dict[str, Speaker]:
        """The players that it left, by the names of their folders, loaded for the run's game.

        Raises:
            ValueError: the run left none.
        """
        loaded = self._loaded([(folder,) for folder in self.player_folders.values()])
        return {name: agents[0] for name, agents in zip(self.player_folders, loaded, strict=True)}

    @property
    def seats(self) -> Seats:
        """Who plays as player 0 and as player 1.

        Raises:
            ValueError: the run left no players.
        """
        first, *others = self.players.values()
        if others:
            return first, others[0]
        known = SEATS_OF_MODEL.get(self.name, PLAYERS) if self.config.get("player") != 0 else (0,)
        places = getattr(first, "players", ()) or known
        return (first if 0 in places else None), (first if 1 in places else None)

    @property
    def keeps_average(self) -> bool:
        """Whether it kept mixtures of its players."""
        try:
            mixture_folders(self.folder)
        except ValueError:
            return False
        return True

    @cached_property
    def average(self) -> tuple[Population, Population]:
        """The mixtures that the run kept of both players, weighted by its meta-game where it has one, else evenly.

        Raises:
            ValueError: the run kept no members.
        """
        folders, weights = mixture_folders(self.folder)
        members = self._loaded(folders)
        return Population(members[0], weights[0]), Population(members[1], weights[1])

    def _loaded(self, folders: Sequence[Sequence[Path]]) -> list[tuple[Speaker, ...]]:
        """Return the agents of the run's game in the folders of each seat; its judge is not needed for that.

        A folder in both seats is loaded once, unless these have two tokenizers.
        """
        options = replace(self.game_options, judge=None)
        game, loaded = _built(options, folders, judged=False), dict[tuple[Path, int], Speaker]()
        longest, device = game.max_view_tokens, self.device
        load = partial(load_agent, game=options.game, max_view_tokens=longest, device=device)
        for player, seat in enumerate(folders):
            vocabulary = game.vocabularies[player]
            for key in [(folder, id(vocabulary)) for folder in seat]:
                if key not in loaded:
                    loaded[key] = load(str(key[0]), vocabulary)
        return [
            tuple(loaded[folder, id(game.vocabularies[player])] for folder in seat)
            for player, seat in enumerate(folders)
        ]

    @cached_property
    def _asked(self) -> dict[str, Any]:
        return read_json(self.folder / CONFIG_FILE)


def _built(
    options: GameOptions,
    folders: Sequence[Sequence[Path]],
    *,
    split: str | None = None,
    judged: bool = True,
    device: str = "cpu",
) -> LanguageGame[Any]:
    """Return the rules that options ask for, in the tokens of the models in the folders of one seat or of both."""
    if len(folders) == len(PLAYERS):
        seats = (folders[0][0], folders[1][0])
        return options.build(seats=seats, split=split, judged=judged, device=device)
    return options.build(folders[0][0], split=split, judged=judged, device=device)


def load_run(folder: str | Path, *, device: str = "cpu") -> RunResult:
    """Return the run in a folder, finished or not; its language models are put on the device.

    Raises:
        ValueError: there is no such folder, or no run in it.
    """
    return RunResult(Path(folder), device)


def _numbers(record: Mapping[str, Json], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield a name and a value for each number of a record, those of nested records included."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, bool | int | float):
            yield f"{prefix}{name}", float(value)
