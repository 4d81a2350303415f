"""Whose turn it is to learn: stages of fixed lengths, or ended by how the players fare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..training.checks import Count, Finite, Options, Rows, Share, ShareBelowOne, Whole
from ..training.presets import usual
from ..training.state import Stateful

Stage = Literal["defend", "attack"]


@dataclass(frozen=True, kw_only=True)
class GPOSchedule(Options):
    """Who learns when."""

    num_rounds: Count = 10
    """Rounds of one defend and one attack stage; with `band` only the number of batches follows from it."""
    defend_steps: Whole = 12
    """Batches in a defend stage; MAGIC: 15."""
    attack_steps: Whole = 6
    """Batches in an attack stage; MAGIC: 15."""
    band: tuple[Finite, Finite] | None = None
    """A stage ends early once the defender's mean return is above the upper number, if it learns, or below the lower
    one, if the adversary does (MAGIC: 0.80 0.90); None: never."""
    band_window: Rows = 3
    """The batches of a stage over which that mean is taken."""
    batch_size: Rows = usual(192)
    """Episodes in a batch."""
    static_share: ShareBelowOne = 0.5
    """Share of a defend batch, 0 to 1, whose prompts are the seed requests as they stand."""
    replay_share: Share = 0.0
    """Share of the other prompts of a defend batch, 0 to 1, that past adversaries write: as they were after each round,
    all alike."""
    best_of: Rows = 1
    """Prompts that the adversary writes for each one that the defender learns from: the one whose reply paid the
    defender least, replied to anew. With 0 attack steps an adversary that searches and never learns."""
    reset_adversary: bool = False
    """Whether the adversary begins each attack stage as it was at the start."""
    attack_replies: Rows = 1
    """Replies to each prompt in an attack batch; the adversary is paid for the one that pays it most (AdvGame)."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            ValueError: a field is out of its range; the message names it.
        """
        super().__post_init__()
        if self.defend_steps + self.attack_steps < 1:
            raise ValueError("defend_steps, attack_steps: expected numbers >= 0, one of them > 0, got 0 and 0")
        if round(self.batch_size * (1 - self.static_share)) < 1:
            raise ValueError(f"static_share: expected one in [0, 1) that leaves an episode, got {self.static_share}")
        if self.band is not None and not self.band[0] <= self.band[1]:
            raise ValueError(f"band: expected a lower and an upper number, got {self.band[0]} and {self.band[1]}")

    @property
    def num_static(self) -> int:
        """Episodes of a defend batch with static prompts."""
        return round(self.batch_size * self.static_share)

    @property
    def num_replayed(self) -> int:
        """Episodes of a defend batch that past adversaries prompt, once there are some."""
        return round((self.batch_size - self.num_static) * self.replay_share)

    @property
    def num_steps(self) -> int:
        """Batches in all."""
        return self.num_rounds * (self.defend_steps + self.attack_steps)


class StageClock(Stateful):
    """Says who learns from the next batch; the defender goes first.

    The switch by a band is that of MAGIC's released code (arXiv 2602.01539), which watches the mean harm reward; here
    it is the defender's mean return, which any game has, and a stage is never longer than its number of batches.

    >>> clock = StageClock(GPOSchedule(num_rounds=1, defend_steps=2, attack_steps=1))
    >>> stages = []
    >>> for _ in range(4):
    ...     stages.append((clock.round, clock.stage))
    ...     clock.advance(0.0)
    >>> stages
    [(1, 'defend'), (1, 'defend'), (1, 'attack'), (2, 'defend')]
    """

    saved = ("stage", "round", "_returns")

    def __init__(self, schedule: GPOSchedule) -> None:
        """Start with the first stage that has a batch."""
        self.schedule = schedule
        self.stage: Stage = "defend" if schedule.defend_steps else "attack"
        self.round = 1
        """The round of the next batch, from 1."""
        self._returns: list[float] = []

    def advance(self, defender_return: float) -> None:
        """Take note of a batch that was learned from, and of the defender's mean return in it."""
        self._returns.append(defender_return)
        if len(self._returns) >= self._length or self._left_band():
            self._switch()

    @property
    def begins_stage(self) -> bool:
        """Whether the next batch is the first of its stage."""
        return not self._returns

    @property
    def _length(self) -> int:
        return self.schedule.defend_steps if self.stage == "defend" else self.schedule.attack_steps

    def _left_band(self) -> bool:
        band, latest = self.schedule.band, self._returns[-self.schedule.band_window :]
        if band is None or len(latest) < self.schedule.band_window:
            return False
        mean = sum(latest) / len(latest)
        return mean > band[1] if self.stage == "defend" else mean < band[0]

    def _switch(self) -> None:
        self.round += self.stage == "attack"
        self.stage = "attack" if self.stage == "defend" else "defend"
        self._returns = []
        if not self._length:
            self._switch()
