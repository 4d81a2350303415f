"""The turn-level form: one whole turn a step, for large vocabularies, through PettingZoo's standard interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray
from pettingzoo.utils import BaseWrapper
from typing_extensions import override

from ..engine.contract import the_vocabulary
from ..engine.turn import array_of, token_of
from ..game import DealT, LanguageGame
from ..vocabulary import Tokens
from .aec import AGENT_IDS, LanguageGameEnv, player_of

Ids = NDArray[np.int64]


class TurnLevelEnv(BaseWrapper[str, Ids, Ids], Generic[DealT]):
    """A language game as a PettingZoo environment; an action is an utterance, an observation a view.

    An action holds T token ids: as many as the longest turn with its thought. They are said one by one, as in
    `LanguageGameEnv`, until the turn is over; those behind it count for nothing, so that any padding will do. A turn
    that is cut short without `<eos>` says its padding, id 0, which no game lets be said, and so forfeits. `pad` makes
    an action of what an agent says.

    There is no mask: one over whole turns cannot be written down, and one over the vocabulary would be the largest
    part of an observation. Agents that need to know what is legal ask `view(agent)`.

    >>> import duologue.envs
    >>> env = duologue.envs.make_turn_level("bluff-v0")
    >>> env.reset(options={"deal": "ace"})
    >>> env.step(env.pad(env.game.vocabulary.encode("bet")))
    >>> env.agent_selection, env.observe("player_1").shape
    ('player_1', (10,))
    """

    env: LanguageGameEnv[DealT]  # type: ignore[assignment]
    """The token form inside, which keeps the books."""

    def __init__(self, game: LanguageGame[DealT], *, name: str = "", render_mode: str | None = None) -> None:
        """Wrap the rules; `name` is the registered name and `render_mode` None, "ansi" or "human"."""
        super().__init__(LanguageGameEnv(game, name=name, render_mode=render_mode))  # type: ignore[arg-type]
        thought = game.max_thought_tokens + 2 if game.max_thought_tokens else 0  # with its two delimiters
        self.num_action_tokens = thought + game.max_turn_tokens
        """T, the length of an action."""
        self._size = size = the_vocabulary(game, type(self).__name__).size
        utterance = [size] * self.num_action_tokens
        self.observation_spaces = {
            agent_id: spaces.Box(0, size - 1, (game.max_view_tokens,), np.int64) for agent_id in AGENT_IDS
        }
        self.action_spaces = {agent_id: spaces.MultiDiscrete(utterance, dtype=np.int64) for agent_id in AGENT_IDS}

    @property
    def game(self) -> LanguageGame[DealT]:
        """The rules."""
        return self.env.game

    def pad(self, tokens: Sequence[int]) -> Ids:
        """Return the action (T,) that says these tokens, such as those of an `Utterance`: thought, words, `<eos>`.

        Raises:
            TypeError: a token is no integer.
            ValueError: there are more than T, or one is no token id of the vocabulary.
        """
        if len(tokens) > self.num_action_tokens:
            raise ValueError(f"tokens: expected at most {self.num_action_tokens}, got {len(tokens)}")
        action = np.zeros(self.num_action_tokens, dtype=np.int64)
        action[: len(tokens)] = [token_of(token, self._size) for token in tokens]
        return action

    @override
    def last(self, observe: bool = True) -> tuple[Ids | None, float, bool, bool, dict[str, Any]]:
        """Return the view, the reward since its last step, both ends and the info of `agent_selection`.

        Raises:
            RuntimeError: before `reset` or after both agents have been removed.
        """
        _, reward, terminated, truncated, info = self.env.last(observe=False)
        return self.observe(self.agent_selection) if observe else None, reward, terminated, truncated, info

    @override
    def step(self, action: ArrayLike | None) -> None:
        """Say one turn as `agent_selection`; None removes an agent that has ended.

        If the rules or their judge raise, all stands as before the turn, rewards not yet read by `last` among it.

        Raises:
            RuntimeError: before `reset` or after both agents have been removed.
            TypeError: the action holds no integers.
            ValueError: it is of another length, or holds what is no token id of the vocabulary.
        """
        episode = self.env.episode
        if episode is None or episode.over:
            self.env.step(action)  # type: ignore[arg-type]
        else:
            self.env.say(self._tokens(action))

    @override
    def observe(self, agent: str) -> Ids:
        """Return the agent's view in a fresh array, padded with 0, (L,); KeyError if there is no such agent."""
        episode = self.env.episode
        if episode is None:
            raise RuntimeError("observe: expected a call after reset()")
        view: Ids = episode.views[player_of(agent)].copy()
        return view

    @override
    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return the agent's observation space, always the same object."""
        return self.observation_spaces[AGENT_IDS[player_of(agent)]]

    @override
    def action_space(self, agent: str) -> spaces.Space[Any]:
        """Return the agent's action space, always the same object."""
        return self.action_spaces[AGENT_IDS[player_of(agent)]]

    def _tokens(self, action: ArrayLike | None) -> Tokens:
        ids, length = array_of(action, "action"), self.num_action_tokens
        if not np.issubdtype(ids.dtype, np.integer):
            raise TypeError(f"action: expected {length} token ids, integers in [0, {self._size}), got {action!r}")
        if ids.shape != (length,):
            raise ValueError(f"action: expected shape ({length},), got {ids.shape}; `pad` makes one of it")
        if ids.min() < 0 or ids.max() >= self._size:
            raise ValueError(f"action: expected token ids in [0, {self._size}), got {ids.min()} to {ids.max()}")
        return tuple(ids.tolist())
