"""The AEC form: one token a step, through PettingZoo's standard interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import AECEnv
from typing_extensions import override

from ..engine.episode import Episode
from ..engine.turn import masks_of
from ..engine.views import Observation, View
from ..game import PLAYERS, DealT, Dialogue, LanguageGame, check_deal, checked_game, generator_of

AGENT_IDS = ("player_0", "player_1")
_PLAYERS = {agent_id: player for player, agent_id in enumerate(AGENT_IDS)}


class _AfterReset:
    """An attribute that there is only once an episode has been dealt: until then it says so, as `hasattr` expects."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, env: object, owner: type | None = None) -> Any:
        if env is None:
            return self
        raise AttributeError(f"{self._name}: expected an access after reset()")


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

    agent_selection: str = _AfterReset()  # type: ignore[assignment]
    rewards: dict[str, float] = _AfterReset()  # type: ignore[assignment]
    terminations: dict[str, bool] = _AfterReset()  # type: ignore[assignment]
    truncations: dict[str, bool] = _AfterReset()  # type: ignore[assignment]
    infos: dict[str, dict[str, Any]] = _AfterReset()  # type: ignore[assignment]

    def __init__(self, game: LanguageGame[DealT], *, name: str = "", render_mode: str | None = None) -> None:
        """Wrap the rules; `name` is the registered name and `render_mode` None, "ansi" or "human"."""
        if render_mode not in (None, "ansi", "human"):
            raise ValueError(f'render_mode: expected None, "ansi" or "human", got {render_mode!r}')
        super().__init__()  # type: ignore[no-untyped-call]
        self.game = checked_game(game)
        self.render_mode = render_mode
        self.metadata = {
            "render_modes": ["human", "ansi"],
            "name": (name or type(game).__name__.lower()).replace("-v", "_v"),
            "is_parallelizable": False,
        }
        self.possible_agents = list(AGENT_IDS)
        self.agents = []
        sizes = [vocabulary.size for vocabulary in game.vocabularies]
        self.observation_spaces = {
            agent_id: observation_space_of(game, player) for player, agent_id in enumerate(AGENT_IDS)
        }
        self.action_spaces = {agent_id: spaces.Discrete(size) for agent_id, size in zip(AGENT_IDS, sizes, strict=True)}
        self.state_space = spaces.Box(0, max(sizes) - 1, (2 * game.max_view_tokens,), np.int64)
        self._silent = [masks_of(game, player).none for player in PLAYERS]
        self._rng = np.random.default_rng()
        self.episode: Episode[DealT] | None = None
        """The episode that is being played; None before `reset`."""
        self._drawn: tuple[DealT] | None = None
        """A deal whose episode failed to begin; the next `reset` deals it, as if nothing had failed."""
        self._paid = False

    @override
    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Deal a new episode. `options={"deal": ...}` sets the deal; other options are ignored, as the API has it.

        Args:
            seed: seeds this environment's own generator; None continues its stream.
            options: see above.

        Raises:
            TypeError: the seed is no integer, or the deal cannot be hashed.
            ValueError: the seed is negative, or the deal none of those that the game lists.
        """
        rng = self._rng if seed is None else generator_of(seed)
        given = given_deal(self.game, options) if options else None
        drawn = given or (self._drawn if seed is None else None) or (self.game.deals.sample(rng),)
        if given is None and seed is None:
            self._drawn = drawn
        self.episode = Episode(self.game, drawn[0])
        self._rng = rng
        if given is None or seed is not None:
            self._drawn = None
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

        If the rules or their judge raise or are interrupted, all stands as before the token, rewards not yet read by
        `last` among it.

        Raises:
            RuntimeError: before `reset` or after both agents have been removed.
            TypeError: the action is no integer.
            ValueError: the action is no token id of the vocabulary, or not None where the agent has ended.
        """
        episode = self.episode
        if episode is None or not self.agents:
            episode = self._between("step")
        if episode.player is None:
            self._was_dead_step(action)  # type: ignore[arg-type]
            return
        self._push(episode, action)
        if self.render_mode == "human":
            self.render()

    def say(self, tokens: Sequence[int]) -> None:
        """Say tokens as `agent_selection` until its turn is over; those behind it count for nothing.

        If one of them is no token id, or the rules or their judge raise or are interrupted, all stands as before the
        first, rewards not yet read by `last` among it.
        """
        episode = self._playing("say")
        if episode.over:
            raise RuntimeError("say: the episode is over, nobody is to speak")
        saved, books = episode.saved(), (dict(self.rewards), dict(self._cumulative_rewards), self._paid)
        try:
            for token in tokens:
                if self._push(episode, token):
                    break
        except BaseException:
            episode.restore(saved)
            self.rewards, self._cumulative_rewards, self._paid = books
            raise
        if self.render_mode == "human":
            self.render()

    @override
    def last(self, observe: bool = True) -> tuple[Observation | None, float, bool, bool, dict[str, Any]]:
        """Return the observation, the reward since its last step, both ends and the info of `agent_selection`.

        Raises:
            RuntimeError: before `reset` or after both agents have been removed.
        """
        self._between("last")
        return super().last(observe)

    @override
    def observe(self, agent: str) -> Observation:
        """Return the agent's view and legal mask in fresh arrays; the mask is all zero unless it is to speak.

        Raises:
            RuntimeError: before `reset`.
            KeyError: there is no such agent.
        """
        episode = self.episode
        if episode is None:
            raise RuntimeError("observe: expected a call after reset()")
        try:
            player = _PLAYERS[agent]
        except (KeyError, TypeError):
            player = player_of(agent)  # says what was expected
        mask = episode.open_turn.legal_mask if player == episode.player else self._silent[player]
        return {"observation": episode.views[player].copy(), "action_mask": mask.copy()}

    def view(self, agent: str) -> View:
        """Return the `View` of the agent to speak, for agents that say whole turns.

        Raises:
            RuntimeError: it is not to speak.
            KeyError: there is no such agent.
        """
        player_of(agent)
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
        """Return the agent's observation space, always the same object; KeyError if there is no such agent."""
        return self.observation_spaces[AGENT_IDS[player_of(agent)]]

    @override
    def action_space(self, agent: str) -> spaces.Space[np.int64]:
        """Return the agent's action space, always the same object; KeyError if there is no such agent."""
        return self.action_spaces[AGENT_IDS[player_of(agent)]]

    def _push(self, episode: Episode[DealT], action: object) -> bool:
        """Say one token and keep the books; return whether that ended the turn."""
        agent_id = AGENT_IDS[episode.player]  # type: ignore[index]
        turn_ended = episode.push(action, what="action")  # type: ignore[arg-type]
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

    def _between(self, what: str) -> Episode[DealT]:
        """Return the episode, of which an agent is left."""
        episode = self.episode
        if episode is None or not self.agents:
            when = "before reset()" if episode is None else "after the end of the episode"
            raise RuntimeError(f"{what}: expected a call between reset() and the end, got one {when}")
        return episode

    def _playing(self, what: str) -> Episode[DealT]:
        if self.episode is None:
            raise RuntimeError(f"{what}: expected a call after reset()")
        return self.episode


def observation_space_of(game: LanguageGame[DealT], player: int) -> spaces.Space[Any]:
    """Return the space of what a player observes, in its own tokens."""
    length, size = game.max_view_tokens, game.vocabularies[player].size
    view = spaces.Box(0, size - 1, (length,), np.int64)
    return spaces.Dict({"observation": view, "action_mask": spaces.Box(0, 1, (size,), np.int8)})


def player_of(agent: object) -> int:
    """Return which player an agent is; KeyError, as PettingZoo has it, if there is no such agent."""
    try:
        return _PLAYERS[agent]  # type: ignore[index]
    except (KeyError, TypeError):
        raise KeyError(f"agent: expected one of {', '.join(AGENT_IDS)}, got {agent!r}") from None


def given_deal(game: LanguageGame[DealT], options: dict[str, Any] | None) -> tuple[DealT] | None:
    """Return the deal that the options of a `reset` set, alone in a tuple, None where they set none.

    Raises:
        TypeError: the options are no dict, or the deal cannot be hashed.
        ValueError: the deal is none of those that the game lists.
    """
    if options is None:
        return None
    if type(options) is not dict and not isinstance(options, Mapping):
        raise TypeError(f"options: expected a dict or None, got {options!r}")
    if "deal" not in options:
        return None
    check_deal(game, options["deal"])
    return (options["deal"],)
