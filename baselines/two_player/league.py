"""A small league: main agents that must not lose to anybody, and exploiters that look for their weak points.

After AlphaStar (Vinyals et al., *Grandmaster level in StarCraft II using multi-agent reinforcement learning*, Nature
575, 2019, Methods). Each side has one player of each role:

| role | meets | once frozen |
| --- | --- | --- |
| main | 35 % the opponent's main agent, 50 % PFSP over all frozen, 15 % PFSP over those it has forgotten how to beat | goes on |
| main exploiter | the opponent's main agent; its past where that is too strong | starts anew |
| league exploiter | PFSP over all frozen | starts anew with probability 1/4 |

`matchmaking` has the probabilities. Nothing is guaranteed; the players that count are the main agents.

Differs from the paper in: the sides have different tasks, so that opponents are always of the other side; opponents are
drawn for each episode of a batch by their probabilities; all six learn by the same learner, an update each a step.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import tyro

from ...agents.language_model.causal_lm import CausalLMAgent
from ...envs import LanguageGame
from ...envs.game import PLAYERS
from ..learners.base import PlayerLearner
from ..learners.best_response import PlayerStep, learn_from, seated
from ..rollouts.episodes import PlayedEpisode
from ..rollouts.groups import check_groups, rollout_in_groups
from ..training.checks import Count, Options, Positive, Rows, Share
from ..training.presets import usual
from ..training.state import Stateful
from .learner import Population, Seat
from .matchmaking import ROLES, Role, WinRates, is_ready, match_weights
from .opponents import OpponentPool
from .train import LearnersConfig, train_two_players

NOW = "now"
"""The name of the opponent's main agent as it is."""


@dataclass(frozen=True, kw_only=True)
class LeagueOptions(Options):
    """How long, and who meets whom how often."""

    num_updates: Count = 120
    """Updates of each main agent; each exploiter has as many."""
    batch_size: Rows = usual(128)
    """Episodes for one update."""
    self_play_share: Share = 0.35
    """Share of a main agent's games against the opponent's main agent."""
    forgotten_share: Share = 0.15
    """Share of its games against those that it no longer beats; the rest is PFSP over all frozen players."""
    pfsp_power: Positive = 2.0
    """The power of PFSP's f(x) = (1 - x)^power."""
    snapshot_every: Count = 5
    """Updates after which a player is frozen if it beats all others, and after twice as many in any case."""
    reset_probability: Share = 0.25
    """How often a league exploiter starts anew once it is frozen."""
    win_rate_decay: Share = 0.9
    """What earlier episodes weigh in a win rate once a new batch has come."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a field is out of its range; the message names it.
        """
        super().__post_init__()
        if self.self_play_share + self.forgotten_share > 1:
            raise ValueError(
                f"forgotten_share: expected at most 1 - self_play_share={1 - self.self_play_share:g}, "
                f"got {self.forgotten_share}"
            )


@dataclass(frozen=True, kw_only=True)
class LeagueConfig(LearnersConfig):
    """Main agents and exploiters of both players."""

    algorithm: ClassVar[str] = "league"
    length: ClassVar[str] = "play.num_updates"
    out: Path = Path("runs/league")
    """The run's folder: all frozen players in `pool`, and the main agents."""
    play: Annotated[LeagueOptions, tyro.conf.arg(name="")] = field(default_factory=LeagueOptions)
    """How long, and who meets whom how often."""


@dataclass(frozen=True, slots=True)
class SideStep:
    """What one update of each of a side's players reports."""

    main: PlayerStep
    main_exploiter: PlayerStep
    league_exploiter: PlayerStep
    num_frozen: int
    """Frozen players of the side."""
    num_resets: int
    """How often its exploiters have started anew."""


@dataclass(frozen=True, slots=True)
class LeagueStep:
    """What one update of all players reports."""

    iteration: int
    """Updates of each main agent so far; the league's are three times as many a side."""
    player_0: SideStep
    player_1: SideStep


class Contender(Stateful):
    """One player of the league that learns: its learner, its frozen past, and how it does against whom."""

    saved = ("learner", "pool", "win_rates", "frozen_at", "num_resets")

    def __init__(
        self, player: int, role: Role, make: Callable[[], PlayerLearner], decay: float, *, folder: Path | None
    ) -> None:
        """Begin at the start, of which the past of a main agent already has a copy.

        Args:
            player: the side.
            role: what it is for.
            make: returns the learner that it starts from, the same each time.
            decay: of the win rates.
            folder: where frozen players are written; None: nowhere.
        """
        self.player, self.role, self._make, self._decay = player, role, make, decay
        self.learner, self.win_rates = make(), WinRates(decay=decay)
        self.pool = OpponentPool(self.learner.agent, folder=folder)
        self.frozen_at, self.num_resets = 0, 0
        if role == "main":
            self.pool.add(self.learner.agent, 0)

    def freeze(self, iteration: int) -> None:
        """Put a copy of the player as it is into its past."""
        self.pool.add(self.learner.agent, iteration)
        self.frozen_at = iteration

    def reset(self) -> None:
        """Start anew, as if it had never played."""
        self.learner, self.win_rates = self._make(), WinRates(decay=self._decay)
        self.num_resets += 1


class League(Stateful):
    """The learner: iterate over it to train; it can be saved between two steps."""

    saved = ("iteration", "rng", "sides")

    average: tuple[Seat, Seat] | None = None
    """A league keeps none; whoever wants one averages the main agents."""

    def __init__(
        self,
        game: LanguageGame[Any],
        make_player: Callable[[int, int], PlayerLearner],
        options: LeagueOptions,
        *,
        seed: int,
        group_size: int = 1,
        folder: Path | None = None,
    ) -> None:
        """Make three players for each side, all from the same start.

        Args:
            game: the rules.
            make_player: (player, seed) -> a fresh learner for that seat, the same each time.
            options: how long, and who meets whom how often.
            seed: decides the start, deals, tokens, minibatches and resets.
            group_size: episodes that share their deal and all before the learner's first turn.
            folder: where frozen players are written; None: nowhere.
        """
        check_groups(options.batch_size, group_size)
        self.game, self.options, self.iteration, self.group_size = game, options, 0, group_size
        self.rng = np.random.default_rng(seed)
        self.sides = tuple(
            tuple(
                Contender(
                    player,
                    role,
                    partial(make_player, player, seed),
                    options.win_rate_decay,
                    folder=None if folder is None else folder / f"player_{player}" / role,
                )
                for role in ROLES
            )
            for player in PLAYERS
        )
        """Of each player, its contenders in the order of `ROLES`."""

    def __iter__(self) -> Iterator[LeagueStep]:
        """Yield after each update of all contenders."""
        while self.iteration < self.options.num_updates:
            played = [[self._play(contender) for contender in side] for side in self.sides]
            self.iteration += 1
            steps = [
                [
                    learn_from(contender.learner, episodes, self.rng, player=contender.player, iteration=self.iteration)
                    for contender, episodes in zip(side, of_side, strict=True)
                ]
                for side, of_side in zip(self.sides, played, strict=True)
            ]
            for side in self.sides:
                for contender in side:
                    self._follow(contender)
            first, second = (self._report(side, of_side) for side, of_side in zip(self.sides, steps, strict=True))
            yield LeagueStep(self.iteration, first, second)

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The main agents."""
        return self.sides[0][0].learner.agent, self.sides[1][0].learner.agent

    def opponents(self, contender: Contender) -> tuple[list[str], Population]:
        """Return the names of all that a contender may meet, and the mixture by which they are drawn."""
        names, agents, roles = self._other_side(contender)
        rates, options = contender.win_rates.of(names), self.options
        weights = match_weights(
            contender.role,
            float(rates[0]),
            rates[1:],
            roles,
            self_play=options.self_play_share,
            forgotten=options.forgotten_share,
            power=options.pfsp_power,
        )
        return names, Population(tuple(agents), tuple(weights.tolist()))

    def _other_side(self, contender: Contender) -> tuple[list[str], list[CausalLMAgent], list[Role]]:
        """Return names and agents of the other side, its main agent first, and the roles of the frozen ones."""
        other = self.sides[1 - contender.player]
        frozen = [(them.role, at, agent) for them in other for at, agent in zip(*_past(them), strict=True)]
        names = [NOW, *(f"{role}/{at}" for role, at, _ in frozen)]
        return names, [other[0].learner.agent, *(agent for *_, agent in frozen)], [role for role, *_ in frozen]

    def _play(self, contender: Contender) -> list[PlayedEpisode]:
        names, opponents = self.opponents(contender)
        player, size = contender.player, self.options.batch_size
        seats = seated(contender.learner.agent, opponents, player)
        played = rollout_in_groups(self.game, seats, size, self.rng, player=player, group_size=self.group_size)
        margins = [each.episode.returns[player] - each.episode.returns[1 - player] for each in played]
        contender.win_rates.record([names[each.members[1 - player]] for each in played], margins)
        return played

    def _follow(self, contender: Contender) -> None:
        """Freeze a contender that is ready, and let an exploiter start anew."""
        names = self._other_side(contender)[0]
        rates = contender.win_rates.of([NOW] if contender.role == "main_exploiter" else names[1:])
        if not is_ready(rates, self.iteration - contender.frozen_at, self.options.snapshot_every):
            return
        contender.freeze(self.iteration)
        again = {"main": 0.0, "main_exploiter": 1.0, "league_exploiter": self.options.reset_probability}[contender.role]
        if again and self.rng.random() < again:
            contender.reset()

    def _report(self, side: Sequence[Contender], steps: Sequence[PlayerStep]) -> SideStep:
        main, main_exploiter, league_exploiter = steps
        num_frozen, num_resets = (
            sum(len(contender.pool) for contender in side),
            sum(contender.num_resets for contender in side),
        )
        return SideStep(main, main_exploiter, league_exploiter, num_frozen, num_resets)


def _past(contender: Contender) -> tuple[tuple[int, ...], tuple[CausalLMAgent, ...]]:
    return contender.pool.iterations, contender.pool.members


def league(config: LeagueConfig) -> Path:
    """Run or resume it; return the run's folder."""
    config = config.resolved()

    def make(game: LanguageGame[Any]) -> League:
        return League(
            game,
            config.make_player(game, num_planned=config.play.num_updates),
            config.play,
            seed=config.seed,
            group_size=config.learner.replies_per_prompt,
            folder=config.out / "pool",
        )

    return train_two_players(config, make, num_steps=config.play.num_updates)
