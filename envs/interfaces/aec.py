"""The AEC form: one token a step, through PettingZoo's standard interface."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Generic

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import AECEnv
from typing_extensions import override

from ..engine.episode import Episode
from ..engine.turn import masks_of
from ..engine.views import Observation, View
from ..game import DealT, Dialogue, LanguageGame

AGENT_IDS = ("player_0", "player_1")


class LanguageGameEnv(AECEnv[str, Observation, np.int64], Generic[DealT]):
    """A language game as a PettingZoo environment; an action is a token.

    It checks order and bounds itself, so that no wrapper is needed. A masked token forfeits the turn: both players
    end on that step, the offender pays the game's `forfeit_cost`, and `transcript()` says so.

    >>> import duologue.envs
    >>> env = duologue.envs.make("bluff-v0")
    >>> env.reset(seed=1)
    >>> observation, reward, termination, truncation, info = env.last()
    >>> sorted(observation)
    ['action_mask', 'observation']
    """

    def __init__(self, game: LanguageGame[DealT], *, name: str = "", render_mode: str | None = None) -> None:
        """Wrap the rules; `name` is the registered name and `render_mode` None, "ansi" or "human"."""
        if render_mode not in (None, "ansi", "human"):
            raise ValueError(f'render_mode: expected None, "ansi" or "human", got {render_mode!r}')
        super().__init__()  # type: ignore[no-untyped-call]
        self.game = game
        self.render_mode = render_mode
        self.metadata = {
            "render_modes": ["human", "ansi"],
            "name": (name or type(game).__name__.lower()).replace("-v", "_v"),
            "is_parallelizable": False,
        }
        self.possible_agents = list(AGENT_IDS)
        self.agents = []
        size = game.vocabulary.size
        self.observation_spaces = {agent_id: observation_space_of(game) for agent_id in AGENT_IDS}
        self.action_spaces = {agent_id: spaces.Discrete(size) for agent_id in AGENT_IDS}
        self.state_space = spaces.Box(0, size - 1, (2 * game.max_view_tokens,), np.int64)
        self._size = size
        self._silent = masks_of(game).none
        self._rng = np.random.default_rng()
        self.episode: Episode[DealT] | None = None
        """The episode that is being played; None before `reset`."""
        self._paid = False

    @override
    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Deal a new episode. `options={"deal": ...}` sets the deal; other options are ignored, as the API has it.

        Args:
            seed: seeds this environment's own generator; None continues its stream.
            options: see above.
        """
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self.episode = Episode(self.game, deal_of(self.game, options, self._rng))
        self.agents = list(AGENT_IDS)
        self.rewards = dict.fromkeys(AGENT_IDS, 0.0)
        self._cumulative_rewards = dict.fromkeys(AGENT_IDS, 0.0)
        self.terminations = dict.fromkeys(AGENT_IDS, False)
        self.truncations = dict.fromkeys(AGENT_IDS, False)
        self.infos = {agent_id: {} for agent_id in AGENT_IDS}
        self._skip_agent_selection = None  # type: ignore[assignment]
        self._paid = False
        self.agent_selection = AGENT_IDS[self.episode.player or 0]
        if self.episode.over:
            self._end()

    @override
    def step(self, action: np.int64 | int | None) -> None:
        """Say one token as `agent_selection`; None removes an agent that has ended.

        If the rules or their judge raise, all stands as before the token, rewards not yet read by `last` among it.

        Raises:
            RuntimeError: before `reset` or after both agents have been removed.
            TypeError: the action is no integer.
            ValueError: the action is no token id of the vocabulary.
        """
        episode = self.episode
        if episode is None or not self.agents:
            when = "before reset()" if episode is None else "after the end of the episode"
            raise RuntimeError(f"step: expected a call between reset() and the end, got one {when}")
        if episode.player is None:
            self._was_dead_step(action)  # type: ignore[arg-type]
            return
        self._push(episode, action)
        if self.render_mode == "human":
            self.render()

    def say(self, tokens: Sequence[int]) -> None:
        """Say tokens as `agent_selection` until its turn is over; those behind it count for nothing.

        If one of them is no token id, or the rules or their judge raise, all stands as before the first, rewards not
        yet read by `last` among it.
        """
        episode = self._playing("say")
        if episode.over:
            raise RuntimeError("say: the episode is over, nobody is to speak")
        saved, books = episode.saved(), (dict(self.rewards), dict(self._cumulative_rewards), self._paid)
        try:
            for token in tokens:
                if self._push(episode, token):
                    break
        except Exception:
            episode.restore(saved)
            self.rewards, self._cumulative_rewards, self._paid = books
            raise
        if self.render_mode == "human":
            self.render()

    @override
    def observe(self, agent: str) -> Observation:
        """Return the agent's view and legal mask in fresh arrays; the mask is all zero unless it is to speak."""
        episode = self.episode
        if episode is None:
            raise RuntimeError("observe: expected a call after reset()")
        player = 0 if agent == "player_0" else 1
        mask = episode.open_turn.legal_mask if player == episode.player else self._silent
        return {"observation": episode.views[player].copy(), "action_mask": mask.copy()}

    def view(self, agent: str) -> View:
        """Return the `View` of the agent to speak, for agents that say whole turns."""
        if self.episode is None or self.episode.player is None or agent != self.agent_selection:
            raise RuntimeError(f"view: expected the agent to speak, got {agent!r}")
        return self.episode.view()

    @override
    def state(self) -> NDArray[np.int64]:
        """Return both players' views, one after the other; shape (2 L,)."""
        return self._playing("state").views.reshape(-1).copy()

    @property
    def dialogue(self) -> Dialogue[DealT]:
        """The deal and the finished turns."""
        return self._playing("dialogue").dialogue

    def transcript(self) -> str:
        """Return the episode so far as readable text."""
        return self._playing("transcript").transcript()

    @override
    def render(self) -> str | None:
        """Return the transcript ("ansi") or print it ("human")."""
        text = self.transcript()
        if self.render_mode == "human":
            print(text, end="\n\n")
            return None
        return text

    @override
    def close(self) -> None:
        """Release nothing: there is nothing to release."""

    @override
    def observation_space(self, agent: str) -> spaces.Space[Any]:
        """Return the agent's observation space, always the same object."""
        return self.observation_spaces[agent]

    @override
    def action_space(self, agent: str) -> spaces.Space[np.int64]:
        """Return the agent's action space, always the same object."""
        return self.action_spaces[agent]

    def _push(self, episode: Episode[DealT], action: object) -> bool:
        """Say one token and keep the books; return whether that ended the turn."""
        token = action if type(action) is int and 0 <= action < self._size else token_of(action, self._size)
        agent_id, turn_ended = self.agent_selection, episode.push(token)
        if self._paid:
            self.rewards = {"player_0": 0.0, "player_1": 0.0}
            self._paid = False
        self._cumulative_rewards[agent_id] = 0.0
        if turn_ended:
            self._after_turn(episode)
        return turn_ended

    def _after_turn(self, episode: Episode[DealT]) -> None:
        first, second = episode.reward_history[-1]
        self.rewards = {"player_0": first, "player_1": second}
        self._paid = True
        self._cumulative_rewards["player_0"] += first
        self._cumulative_rewards["player_1"] += second
        if episode.player is None:
            self._end()
        else:
            self.agent_selection = AGENT_IDS[episode.player]

    def _end(self) -> None:
        self.terminations = dict.fromkeys(AGENT_IDS, True)
        self._deads_step_first()

    def _playing(self, what: str) -> Episode[DealT]:
        if self.episode is None:
            raise RuntimeError(f"{what}: expected a call after reset()")
        return self.episode


def observation_space_of(game: LanguageGame[DealT]) -> spaces.Space[Any]:
    """Return the space of what one player observes."""
    length, size = game.max_view_tokens, game.vocabulary.size
    view = spaces.Box(0, size - 1, (length,), np.int64)
    return spaces.Dict({"observation": view, "action_mask": spaces.Box(0, 1, (size,), np.int8)})


def deal_of(game: LanguageGame[DealT], options: dict[str, Any] | None, rng: np.random.Generator) -> DealT:
    """Return the deal that the options of a `reset` set, or else one drawn with `rng`."""
    if options and "deal" in options:
        deal: DealT = options["deal"]
        return deal
    return game.deals.sample(rng)


def token_of(action: object, size: int) -> int:
    """Return the token that an action is.

    Raises:
        TypeError: it is no integer.
        ValueError: it is no token id of a vocabulary of this size.
    """
    try:
        token = operator.index(action)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"action: expected a token id, an integer in [0, {size}), got {action!r}") from None
    if not 0 <= token < size:
        raise ValueError(f"action: expected a token id in [0, {size}), got {token}")
    return token
