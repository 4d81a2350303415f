"""Per-player transitions of an AEC stream: a player's next state is its own next decision, not the opponent's token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from typing_extensions import TypeVar

ObservationT = TypeVar("ObservationT")
ActionT = TypeVar("ActionT")


@dataclass(frozen=True, slots=True)
class PlayerTransition(Generic[ObservationT, ActionT]):
    """One decision of one player, and what came of it until its next one."""

    agent_id: str
    observation: ObservationT
    """What it saw when it decided."""
    action: ActionT
    reward: float
    """All it earned from this decision to its next one, the other player's turns between them included; the first
    also has what was earned before it, so that an episode's rewards sum to its return, as in `SinglePlayerEnv`."""
    next_observation: ObservationT
    """What it sees at its next decision, or at the end."""
    terminated: bool
    """Whether the episode ended, so that nothing may be expected of `next_observation`."""


class PlayerTransitions(Generic[ObservationT, ActionT]):
    """Turns the stream of an AEC environment, in which players alternate, into transitions of each player.

    Each player's transitions are those of a Markov decision process in which the other player is part of the world
    (arXiv 2402.08078, eq. 5). Any AEC form will do: in the token form a decision is a token, in the turn form a turn.

    >>> import duologue.envs
    >>> from duologue.envs.games.bluff import BET, CALL
    >>> env, stream, words = duologue.envs.make("bluff-v0"), PlayerTransitions(), iter([*BET, *CALL])
    >>> env.reset(options={"deal": "ace"})
    >>> for agent_id in env.agent_iter():
    ...     observation, reward, terminated, truncated, info = env.last()
    ...     action = None if terminated or truncated else next(words)
    ...     transition = stream.add(agent_id, observation, reward, terminated, action)
    ...     if transition is not None:
    ...         print(transition.agent_id, transition.reward, transition.terminated)
    ...     env.step(action)
    player_0 2.0 True
    player_1 -2.0 True
    """

    def __init__(self) -> None:
        """Begin with an episode's first decision."""
        self._open: dict[str, tuple[ObservationT, ActionT, float]] = {}

    def reset(self) -> None:
        """Forget open decisions, where an episode is broken off; one played to its end leaves none."""
        self._open.clear()

    def add(
        self, agent_id: str, observation: ObservationT, reward: float, terminated: bool, action: ActionT | None
    ) -> PlayerTransition[ObservationT, ActionT] | None:
        """Take what `last()` said and what is then done; return the transition which that completes, if any.

        Args:
            agent_id: whose turn it is.
            observation: its view now, in an array that nobody writes to afterwards.
            reward: what it has earned since its last decision, as `last()` has it.
            terminated: whether the episode has ended; False at a truncation, where the future counts.
            action: what it does; None: it is removed, the episode being over.
        """
        before = self._open.pop(agent_id, None)
        early = reward if before is None else 0.0
        if action is not None:
            self._open[agent_id] = (observation, action, early)
        if before is None:
            return None
        seen, done, owed = before
        return PlayerTransition(agent_id, seen, done, owed + reward, observation, terminated)
