"""Whom a player learns against: its opponent as it is now, or frozen snapshots of it, chosen in one of five ways.

| choice | who sits opposite | source |
| --- | --- | --- |
| latest | the opponent as it is now | naive self-play |
| uniform | a snapshot, all alike | fictitious self-play over checkpoints |
| pfsp | a snapshot, by how often it wins | AlphaStar (Vinyals et al., 2019) |
| fixed | the opponent as it was at the start | RLHF's frozen player |
| ema | the exponential average of its parameters | a heuristic: no mixture of its past policies |

One snapshot is drawn for each episode and seated for all of it (`Population`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.population import Population, Seat
from ..rollouts.episodes import PlayedEpisode
from ..training.checks import Count, Options, Positive, Rows, Share, check_count
from ..training.files import replacing
from ..training.options import save_model
from ..training.state import Stateful, StateValue
from .matchmaking import PFSPWeighting, pfsp_probabilities

OpponentChoice = Literal["latest", "uniform", "pfsp", "fixed", "ema"]


@dataclass(frozen=True, kw_only=True)
class OpponentOptions(Options):
    """Whom a player learns against."""

    choice: OpponentChoice = "latest"
    """The opponent as it is now, a snapshot of it (all alike, or by PFSP), its start, or its parameters' average."""
    capacity: Rows = 16
    """Snapshots kept; the oldest goes first."""
    snapshot_every: Count = 5
    """Updates between two snapshots; the first is the start."""
    pfsp_weighting: PFSPWeighting = "hard"
    """PFSP's f(x) of the win rate x: (1 - x)^power, or x (1 - x)."""
    pfsp_power: Positive = 1.0
    """The power of "hard"."""
    win_rate_decay: Share = 0.9
    """What earlier episodes weigh in a win rate once a new batch has come; 1: all weigh alike."""
    ema_decay: Share = 0.9
    """The share of averaged parameters that stays at an update."""


def frozen_copy(agent: CausalLMAgent) -> CausalLMAgent:
    """Return an agent that speaks as this one does now and never changes; it has no value head."""
    return agent.with_model(copy.deepcopy(agent.model).eval().requires_grad_(False))


@torch.no_grad()
def ema_update(average: nn.Module, newest: nn.Module, *, decay: float) -> None:
    """Move averaged parameters: theta_ema <- decay theta_ema + (1 - decay) theta.

    A heuristic: the network of averaged parameters is no average of the networks' policies.
    """
    for mean, now in zip(average.parameters(), newest.parameters(), strict=True):
        mean.lerp_(now.to(mean.dtype), 1 - decay)


class OpponentPool:
    """Frozen snapshots of one model over its training, oldest first.

    With a folder each snapshot is a model folder there, named by its iteration, and a saved state names it instead of
    holding its weights. What the pool drops stays in the folder: a run that was killed may go on from a state that
    still names it.
    """

    def __init__(self, template: CausalLMAgent, *, capacity: int | None = None, folder: Path | None = None) -> None:
        """Start without a snapshot.

        Args:
            template: an agent with the architecture and the temperature of all snapshots.
            capacity: how many are kept; None: all.
            folder: where they are written; None: nowhere.
        """
        if capacity is not None:
            check_count("capacity", capacity)
        self._template, self._capacity, self._folder = template, capacity, folder
        self.iterations: tuple[int, ...] = ()
        """When each member was added."""
        self.members: tuple[CausalLMAgent, ...] = ()

    def __len__(self) -> int:
        """Return the number of snapshots."""
        return len(self.members)

    def add(self, agent: CausalLMAgent, iteration: int) -> int:
        """Freeze an agent as it is now; return how many of the oldest had to go.

        Raises:
            ValueError: there is a snapshot of that iteration or a later one.
        """
        if self.iterations and iteration <= self.iterations[-1]:
            raise ValueError(f"iteration: expected one after {self.iterations[-1]}, got {iteration}")
        frozen = frozen_copy(agent)
        if self._folder is not None:
            with replacing(self._path(iteration), folder=True) as written:
                save_model(frozen, written)
        members, iterations = (*self.members, frozen), (*self.iterations, iteration)
        dropped = 0 if self._capacity is None else max(0, len(members) - self._capacity)
        self.members, self.iterations = members[dropped:], iterations[dropped:]
        return dropped

    def population(self) -> Population:
        """Return the mixture in which all snapshots are equally likely."""
        return Population.even(self.members)

    def state_dict(self) -> dict[str, StateValue]:
        """Return when the members were added, and their weights unless they lie in the folder."""
        held: list[StateValue] = (
            [] if self._folder is not None else [member.model.state_dict() for member in self.members]
        )
        return {"iterations": list(self.iterations), "models": held}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the members of a saved state.

        Raises:
            ValueError: the folder lacks a snapshot.
        """
        self.iterations = tuple(state["iterations"])
        if self._folder is None:
            self.members = tuple(self._revived(weights) for weights in state["models"])
        else:
            self.members = tuple(self._read(iteration) for iteration in self.iterations)

    def _revived(self, weights: dict[str, torch.Tensor]) -> CausalLMAgent:
        agent = frozen_copy(self._template)
        agent.model.load_state_dict(weights)
        return agent

    def _read(self, iteration: int) -> CausalLMAgent:
        model, vocabulary = self._template.model, self._template.vocabulary
        dtype: Any = str(model.dtype).removeprefix("torch.")
        attention: Any = model.config._attn_implementation
        read = CausalLMAgent.from_pretrained(
            self._path(iteration),
            vocabulary,
            device=str(model.device),
            dtype=dtype,
            attn_implementation=attention,
        )
        return self._template.with_model(read.model.requires_grad_(False))

    def _path(self, iteration: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{iteration:06d}"


class Opponents(Stateful):
    """Whom the other player meets where `agent` sits: `seat`, for the next batch of episodes."""

    saved = ("pool", "_wins", "_games", "_average_model")

    def __init__(self, agent: CausalLMAgent, options: OpponentOptions, *, folder: Path | None = None) -> None:
        """Take the agent whose snapshots are met, as it is at the start.

        Args:
            agent: trained on elsewhere, in place.
            options: who is met.
            folder: where snapshots are written; None: nowhere.
        """
        self.agent, self.options = agent, options
        self.pool = OpponentPool(agent, capacity=options.capacity, folder=folder)
        self._wins, self._games = [0.0], [0.0]
        self._average = frozen_copy(agent) if options.choice == "ema" else None
        self._average_model = None if self._average is None else self._average.model
        if options.choice in ("uniform", "pfsp", "fixed"):
            self.pool.add(agent, 0)

    @property
    def seat(self) -> Seat:
        """Who sits there for the next batch."""
        match self.options.choice:
            case "latest":
                return self.agent
            case "ema":
                assert self._average is not None
                return self._average
            case "pfsp":
                return Population(self.pool.members, tuple(self.probabilities().tolist()))
            case "uniform" | "fixed":
                return self.pool.population()

    def win_rates(self) -> NDArray[np.float64]:
        """Return how often each snapshot was beaten, ties as half, 1/2 for one that was never met; shape (K,)."""
        wins, games = np.array(self._wins), np.array(self._games)
        return np.where(games > 0, wins / np.where(games > 0, games, 1.0), 0.5)

    def probabilities(self) -> NDArray[np.float64]:
        """Return PFSP's probability of each snapshot; shape (K,)."""
        options = self.options
        return pfsp_probabilities(self.win_rates(), weighting=options.pfsp_weighting, power=options.pfsp_power)

    def record(self, played: Sequence[PlayedEpisode], *, seat: int) -> None:
        """Remember how the learner did against each snapshot that sat at player `seat`, its own return against theirs.

        Without snapshots nothing is remembered.
        """
        if self.options.choice != "pfsp":
            return
        self._wins = [self.options.win_rate_decay * wins for wins in self._wins]
        self._games = [self.options.win_rate_decay * games for games in self._games]
        for episode in played:
            ours, theirs = episode.episode.returns[1 - seat], episode.episode.returns[seat]
            self._wins[episode.members[seat]] += 0.5 * (1 + np.sign(ours - theirs))
            self._games[episode.members[seat]] += 1

    def follow(self, iteration: int) -> None:
        """Take note that the agent has been updated for the `iteration`-th time: average it, or take a snapshot."""
        if self._average_model is not None:
            ema_update(self._average_model, self.agent.model, decay=self.options.ema_decay)
        due = self.options.choice in ("uniform", "pfsp") and iteration % self.options.snapshot_every == 0
        if due:
            dropped = self.pool.add(self.agent, iteration)
            self._wins, self._games = [*self._wins, 0.0][dropped:], [*self._games, 0.0][dropped:]
