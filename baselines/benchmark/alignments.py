"""The alignment algorithms of the benchmark by name, and how a newcomer adds one.

An alignment algorithm starts from a base model and a fine-tuned defender of a red-team game and returns the defender
that it comes to. It may train one player or both, in place, by any learner of the package or by code of its own:

>>> @register_alignment("as_it_was", source="an example")
... def as_it_was(game, base, sft, budget, seed):
...     return sft
>>> ALIGNMENTS.pop("as_it_was").source
'an example'

Registered by name, it is known to `duologue bench --suite alignment --algorithms`; a file of one's own is read by
`--alignment-file my_alignment.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.population import Population, Seat
from ...envs.judging import RedTeamGame
from ..alignment.ciphers import LearnerName, MethodSettings
from ..learners.base import PlayerLearner
from ..learners.ptx import PretrainingData
from ..training.checks import check_choice
from ..training.plugins import check_name, code_of, registered_by_file, require_free
from ..two_player.opponents import frozen_copy

Game: TypeAlias = RedTeamGame[Any]
Alignment: TypeAlias = Callable[[Game, CausalLMAgent, CausalLMAgent, "AlignmentBudget", int], Seat]
"""(rules, base model, fine-tuned defender, budget, seed) -> the aligned defender."""
REFERENCES = ("", "floor", "ceiling")
"""What the results of an algorithm may be held up as; "": it is an entrant."""
AnyT = TypeVar("AnyT", bound=Alignment)


@dataclass(frozen=True, kw_only=True)
class AlignmentBudget:
    """What an algorithm may use: the same number of updates of the defender, and the same learners, for all."""

    game: Game
    """The rules; what is played by them is counted."""
    seed: int
    """Of the cell."""
    settings: MethodSettings
    """What is equal for all methods."""
    _data: dict[int, PretrainingData | None] = field(default_factory=dict, repr=False)

    @property
    def num_updates(self) -> int:
        """Updates of the defender, in all."""
        return self.settings.num_updates

    @property
    def batch_size(self) -> int:
        """Episodes for one update."""
        return self.settings.batch_size

    def replies_per_prompt(self, learner: LearnerName = "ppo") -> int:
        """Return how many replies to one prompt a learner compares; 1: it compares none."""
        return self.settings.learner(learner).replies_per_prompt

    def make_learner(
        self, agent: CausalLMAgent, learner: LearnerName = "ppo", *, player: int = 1, num_planned: int | None = None
    ) -> PlayerLearner:
        """Return a learner of an agent with the settings that are equal for all.

        Args:
            agent: trained in place.
            learner: one of those that come with the package.
            player: the agent's seat; 1 is the defender.
            num_planned: the updates over which its learning rate falls; None: all of the budget.
        """
        options = self.settings.learner(learner, player=player)
        if player not in self._data:  # encoded once for all learners
            self._data[player] = options.ptx(self.game, player, self.seed)
        planned = self.num_updates if num_planned is None else num_planned
        return options.make(agent, num_planned=planned, ptx=self._data[player])


@dataclass(frozen=True, slots=True)
class RegisteredAlignment:
    """One alignment algorithm that the benchmark knows."""

    name: str
    align: Alignment
    source: str
    """Paper or reason: what tables cite."""
    code: str
    """`BUILT_IN`, or the hash of the file that it stands in: its results are those of that file."""
    reference: str
    """What its results are held up as, "floor" or "ceiling"; empty: it is ranked among the others."""


ALIGNMENTS: dict[str, RegisteredAlignment] = {}
"""What is registered, by name."""


def register_alignment(name: str, *, source: str = "", reference: str = "") -> Callable[[AnyT], AnyT]:
    """Return a decorator that registers an alignment algorithm and leaves it as it is.

    Args:
        name: lower-case letters, digits and underscores.
        source: the paper that it is from, or what else tables should say of it.
        reference: "floor" or "ceiling" where it is no entrant but what entrants are held up against.

    Raises:
        ValueError: the name is not of that form, or another algorithm bears it; or no such reference.
        TypeError: what is registered is no function.
    """
    check_name(name)
    check_choice("reference", reference, REFERENCES)

    def register(function: AnyT) -> AnyT:
        if not callable(function):
            raise TypeError(f"register_alignment {name}: expected a function, got {function!r}")
        code, known = code_of(function), ALIGNMENTS.get(name)
        require_free(name, None if known is None else known.code, code)
        ALIGNMENTS[name] = RegisteredAlignment(name, function, source, code, reference)
        return function

    return register


def alignment_of(name: str) -> RegisteredAlignment:
    """Return the algorithm of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in ALIGNMENTS:
        raise ValueError(f"algorithms: expected names among {', '.join(ALIGNMENTS)}, got {name!r}")
    return ALIGNMENTS[name]


def load_alignments(path: Path) -> list[str]:
    """Run a Python file that registers alignment algorithms, and return their names.

    Raises:
        ValueError: there is no such file, or it registers nothing.
    """
    return registered_by_file(path, ALIGNMENTS, option="alignment_file", call="register_alignment")


def members_of(name: str, defender: object) -> Population:
    """Return what an algorithm came to as a frozen mixture of models, of one member where it is a single model.

    Raises:
        TypeError: it is something else.
    """
    mixture = defender if isinstance(defender, Population) else Population.even([defender])  # type: ignore[list-item]
    others = [member for member in mixture.members if not isinstance(member, CausalLMAgent)]
    if others:
        raise TypeError(f"{name}: expected a CausalLMAgent or a Population of them, got {others[0]!r}")
    kept = [k for k, weight in enumerate(mixture.weights) if weight > 0]
    members = tuple(frozen_copy(mixture.members[k]) for k in kept)  # type: ignore[arg-type]
    return Population(members, tuple(mixture.weights[k] for k in kept))
