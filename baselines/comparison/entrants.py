"""Who takes part in a comparison: finished runs, single models, and agents by name.

| NAME= | who plays |
| --- | --- |
| `random`, `echo` | the agent, in both seats |
| the folder of a model or of an SB3 policy | that one, in both seats |
| the folder of a finished run | its newest players, `player_0` and `player_1`, `adversary` and `defender`, or `model` |
| the same with `:average` behind it | the mixtures of its `pool`, weighted as `meta_game.json` says, else evenly |

A pool is what the run still met at its end: the newest members, as many as it kept. That of a league is its main
agents; it has no average of its own.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from ...agents.folders import read_json
from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.loading import load_agent
from ...agents.population import Population, Seat
from ...envs import LanguageGame, Speaker
from ...envs.engine.contract import the_vocabulary
from ...envs.game import PLAYERS
from ..reporting.records import MAX_NAME, record_of
from ..training.costs import COSTS_FILE, Costs
from ..training.files import to_json
from ..training.options import GameOptions
from ..training.roles import RoleOptions
from ..training.run import CONFIG_FILE, FINISHED_FILE, require_left

META_GAME_FILE = "meta_game.json"
"""What PSRO's members weigh."""
Folders: TypeAlias = tuple[tuple[Path, ...], tuple[Path, ...]]
"""The model folders of player 0's members and of player 1's."""

AVERAGE, META_GAME_FILE = ":average", "meta_game.json"
SEAT_FOLDERS = (("player_0", "player_1"), ("adversary", "defender"), ("model", "model"))
"""Where runs leave their players, the first that is there."""
RULES = tuple(option.name for option in fields(GameOptions) if option.name not in ("game", "tokenizer", "spoken"))
"""Options of a game by which its rules differ; a model that has another tokenizer is refused."""


@dataclass(frozen=True, slots=True)
class _Weighed:
    """What `meta_game.json` says of a run's mixtures."""

    members: tuple[tuple[int, ...], tuple[int, ...]]
    """Of each player, the updates after which each came."""
    weights: tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Entrant:
    """One that takes part."""

    name: str
    seats: tuple[Seat, Seat]
    """Who plays as player 0 and as player 1."""
    starts: tuple[Path | None, Path | None] = (None, None)
    """The model folders that these two were trained from; None: unknown, or not one model."""
    pool: Folders | None = None
    """The members that its run kept, oldest first."""
    costs: Costs | None = None
    """Of the run."""
    note: str = ""
    """What a reader must know of it."""


@dataclass(frozen=True, slots=True)
class Source:
    """What a command line says of an entrant, looked up but not loaded."""

    name: str
    spec: str
    run: Path | None = None
    """The run's folder."""
    folders: Folders | None = None
    """Who sits at each place; None: an agent by name."""
    weights: tuple[tuple[float, ...], tuple[float, ...]] = ((1.0,), (1.0,))
    """Of these."""
    average: bool = False
    """Whether they are a mixture."""

    @classmethod
    def parse(cls, text: str) -> Source:
        """Read NAME=WHAT.

        Raises:
            ValueError: there is no such folder, or not what should be in it; the message has the name.
        """
        name, equals, spec = text.partition("=")
        if not (name.strip() and equals and spec):
            raise ValueError(f"entrant: expected NAME=FOLDER or NAME=AGENT, got {text!r}")
        if len(name) > MAX_NAME:
            raise ValueError(f"entrant: expected a name of at most {MAX_NAME} characters, got {len(name):,}")
        average = spec.endswith(AVERAGE) and not Path(spec).is_dir()
        folder = Path(spec.removesuffix(AVERAGE) if average else spec)
        try:
            if not folder.is_dir():
                if average:
                    raise ValueError(f"expected the folder of a run before {AVERAGE}, got {str(folder)!r}")
                return cls(name, spec)
            if not is_run(folder):
                if average:
                    raise ValueError(f"{folder}: expected a run with a pool, got a single model")
                return cls(name, spec, folders=((folder,), (folder,)))
            return cls._of_run(name, spec, folder, average=average)
        except ValueError as error:
            raise ValueError(f"entrant {name}: {error}") from None

    @classmethod
    def _of_run(cls, name: str, spec: str, run: Path, *, average: bool) -> Source:
        if not (run / FINISHED_FILE).is_file():
            raise ValueError(f"{run}: expected a finished run, got one that has not come to its end")
        if average:
            folders, weights = mixture_folders(run)
            return cls(name, spec, run, folders, weights, average=True)
        for first, second in SEAT_FOLDERS:
            if (run / first).is_dir() and (run / second).is_dir():
                return cls(name, spec, run, ((run / first,), (run / second,)))
        wanted = "; ".join(" and ".join(dict.fromkeys(pair)) for pair in SEAT_FOLDERS)
        raise ValueError(f"{run}: expected one of these folders in a run: {wanted}, got {_names(run)}")

    @property
    def model_folders(self) -> tuple[Path, ...]:
        """All folders, in one of which a tokenizer may lie."""
        return () if self.folders is None else (*self.folders[0], *self.folders[1])

    def load(self, game: LanguageGame[Any], options: GameOptions, start: Source | None = None) -> Entrant:
        """Return the entrant.

        Args:
            game: the rules.
            options: what these are made by; the run's must be the same game.
            start: what its models were trained from; None: what the run says.

        Raises:
            ValueError: the run is one on another game, a model is of another vocabulary, or there is a start but no
                language models that may have had one.
        """
        try:
            config = {} if self.run is None else run_config(self.run)
            note = _check_rules(config, options)
            loaded, vocabulary = dict[Path, Speaker](), the_vocabulary(game, "compare")
            for folder in self.model_folders:
                if folder not in loaded:
                    loaded[folder] = load_agent(
                        str(folder), vocabulary, game=options.game, max_view_tokens=game.max_view_tokens
                    )
            seats, costs = self._seats(game, loaded, options.roles), run_costs(self.run)
        except ValueError as error:
            raise ValueError(f"entrant {self.name}: {error}") from error
        note = "; ".join(filter(None, (note, *(_elsewhere(seats[player], player) for player in PLAYERS))))
        starts = start_folders(config, self.run) if start is None else _given_starts(start, self.spec, seats)
        pool = None if self.run is None else pool_folders(self.run)
        return Entrant(self.name, seats, (None, None) if self.average else starts, pool, costs, note)

    def _seats(
        self, game: LanguageGame[Any], loaded: Mapping[Path, Speaker], roles: tuple[RoleOptions, RoleOptions]
    ) -> tuple[Seat, Seat]:
        """Return who sits at each place, the tokens of language models drawn as its role says."""
        if self.folders is None:
            agent = load_agent(self.spec, game.vocabulary, max_view_tokens=game.max_view_tokens)
            return agent, agent
        members = [
            tuple(_drawn(loaded[folder], role) for folder in folders)
            for folders, role in zip(self.folders, roles, strict=True)
        ]
        if not self.average:
            return members[0][0], members[1][0]
        return Population(members[0], self.weights[0]), Population(members[1], self.weights[1])


def _drawn(agent: Speaker, role: RoleOptions) -> Speaker:
    return role.drawn(agent) if isinstance(agent, CausalLMAgent) else agent


def pool_folders(run: Path) -> Folders | None:
    """Return the members that a run kept of each player, oldest first; one policy in both seats has one pool.

    What a pool dropped still lies in its folder and is left out; of a league's players, the main agents count.
    """
    config = run_config(run)
    role, capacity = "main" if config["name"] == "league" else "", _opponents(config).get("capacity", 0)
    if not isinstance(capacity, int) or capacity < 0:
        raise ValueError(f"{run / CONFIG_FILE}: capacity: expected a whole number >= 0, got {capacity!r}")
    found: list[tuple[Path, ...]] = []
    for player in PLAYERS:
        members = [
            path for path in _inside(run / "pool" / f"player_{player}" / role) if re.fullmatch("[0-9]+", path.name)
        ]
        found.append(tuple(sorted(members, key=lambda path: int(path.name))[-capacity:]))
    first, second = found
    if not first:
        return None
    return first, second or first


def meetings(pool: Folders) -> list[tuple[int, int]]:
    """Return which members of both players met in order: at each time that either pool got one, the newest of both."""
    times = [[int(folder.name) for folder in folders] for folders in pool]
    first = max(times[0][0], times[1][0])
    both = sorted(time for time in {*times[0], *times[1]} if time >= first)
    return [(bisect_right(times[0], time) - 1, bisect_right(times[1], time) - 1) for time in both]


def mixture_folders(run: Path) -> tuple[Folders, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Return the members of a run's mixtures that have weight, and what they weigh.

    Raises:
        ValueError: the run kept no members, or none but the start.
    """
    pool = pool_folders(run)
    if pool is None:
        raise ValueError(f"{run}: expected members in the folder pool/player_0, got {_names(run / 'pool')}")
    require_left(run, "pool", META_GAME_FILE)
    if not (run / META_GAME_FILE).is_file():
        if run_config(run)["name"] == "psro":
            raise ValueError(f"{run}: expected its {META_GAME_FILE}, which says what its members weigh, got none")
        if all(int(folder.name) == 0 for folder in (*pool[0], *pool[1])):
            choice = _opponents(run_config(run)).get("choice")
            why = "" if choice is None else f" by --opponent.choice {choice}"
            raise ValueError(f"{run}: expected a pool of snapshots of its training, got the untrained start alone{why}")
        return pool, ((1.0,) * len(pool[0]), (1.0,) * len(pool[1]))
    where, found = str(run / META_GAME_FILE), read_json(run / META_GAME_FILE)
    weighed = record_of(_Weighed, {name: found[name] for name in ("members", "weights") if name in found}, where)
    kept: list[dict[Path, float]] = []
    for player, (members, weights) in enumerate(zip(weighed.members, weighed.weights, strict=True)):
        if len(members) != len(weights) or min(weights, default=0) < 0 or not sum(weights) > 0:
            raise ValueError(
                f"{where}: player {player}: expected a weight >= 0 for each member, one > 0, got {weights}"
            )
        place = run / "pool" / f"player_{player}"
        pairs = zip(members, weights, strict=True)
        kept.append({place / f"{iteration:06d}": weight for iteration, weight in pairs if weight > 0})
    return (tuple(kept[0]), tuple(kept[1])), (tuple(kept[0].values()), tuple(kept[1].values()))


def _check_rules(config: Mapping[str, Any], options: GameOptions) -> str:
    """Return what differs between the rules of a run and those asked for; another game is an error."""
    trained = _part(config.get("config"), "options")
    if trained.get("game", options.game) != options.game:
        raise ValueError(f"expected a run on {options.game}, got one on {trained['game']}")
    asked = {name: to_json(getattr(options, name), name) for name in RULES}
    differing = [name for name in RULES if name in trained and not _same(trained[name], asked[name])]
    return "; ".join(f"trained with {name} {trained[name]}, plays here with {asked[name]}" for name in differing)


def _same(trained: object, asked: object) -> bool:
    """Return whether two options agree; one file may be written in several ways."""
    if isinstance(trained, str) and isinstance(asked, str):
        return Path(trained).resolve() == Path(asked).resolve()
    return trained == asked


def start_folders(config: Mapping[str, Any], run: Path | None) -> tuple[Path | None, Path | None]:
    """Return the models that a run's players were trained from, as far as it says and they are still there."""
    if run is None or not config:
        return None, None
    options = config["config"]
    models, one_policy = _part(options, "models"), bool(options.get("one_policy"))
    given: list[Any]
    if config["name"] in ("gpo", "advgame"):
        given = [options.get("adversary") or run / "base/model", options.get("defender") or run / "sft/model"]
        given[0] = given[1] if one_policy else given[0]
    else:
        given = [models.get(f"player_{player}") for player in PLAYERS]
        kept = {"self_play": "pool/player_{}/000000", "league": "pool/player_{}/main/000000", "spag": "start/model"}
        if config["name"] in kept:
            given = [folder or run / kept[config["name"]].format(k) for k, folder in enumerate(given)]
        given[1] = given[0] if one_policy or config["name"] == "spag" else given[1]
    paths = (Path(folder) if isinstance(folder, str | Path) else None for folder in given)
    first, second = (path if path is not None and path.is_dir() else None for path in paths)
    return first, second


def _given_starts(start: Source, spec: str, seats: tuple[Seat, Seat]) -> tuple[Path, Path]:
    """Return the models that a command line names; an error where they would not be used."""
    if start.folders is None or start.average:
        raise ValueError(f"start {start.name}: expected the folder of a model or of a run, got {start.spec!r}")
    if not all(isinstance(seat, CausalLMAgent) for seat in seats):
        raise ValueError(f"start {start.name}: expected an entrant of one language model in each seat, got {spec!r}")
    return start.folders[0][0], start.folders[1][0]


def _opponents(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how a run chose opponents, as far as that is an option of it."""
    return _part(_part(config["config"], "play"), "opponents")


def run_config(run: Path) -> dict[str, Any]:
    """Return what a run's configuration file holds: its `name`, and the options that are its `config`.

    Raises:
        ValueError: the file holds something else.
    """
    config = read_json(run / CONFIG_FILE)
    if not (isinstance(config.get("name"), str) and isinstance(config.get("config"), dict)):
        raise ValueError(f"{run / CONFIG_FILE}: expected the name of a run and an object of its options, got others")
    return config


def _part(options: object, name: str) -> Mapping[str, Any]:
    """Return the options of that name among others; none where there are none."""
    part = options.get(name) if isinstance(options, dict) else None
    return part if isinstance(part, dict) else {}


def _elsewhere(seat: Seat, player: int) -> str:
    """Return what is to be said of a policy in a seat that it was not trained in."""
    trained: Sequence[int] = getattr(seat, "players", ())  # a Stable-Baselines3 policy says so
    if not trained or player in trained:
        return ""
    return f"sits at player {player}, trained as player {' and '.join(map(str, trained))} only"


def run_costs(run: Path | None) -> Costs | None:
    """Return what a run says that it cost; None: it says nothing.

    Raises:
        ValueError: the file holds something else.
    """
    if run is None or not (run / COSTS_FILE).is_file():
        return None
    return record_of(Costs, read_json(run / COSTS_FILE), str(run / COSTS_FILE))


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, and not that of a single model."""
    return (folder / CONFIG_FILE).is_file() and {"name", "config"} <= set(read_json(folder / CONFIG_FILE))


def _inside(folder: Path) -> Sequence[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in _inside(folder))[:8]
