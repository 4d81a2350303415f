"""The vector form: one seat against a given opponent in many episodes at once, as a `gymnasium.vector.VectorEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, Literal

import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray
from typing_extensions import override

from ..batched.arguments import check_size
from ..batched.game import BatchedGame
from ..engine.contract import the_vocabulary
from ..engine.turn import token_of
from ..engine.views import Observation, RandomAgent, Speaker, Utterance, View, check_utterances
from ..game import DealT, LanguageGame, check_player, check_whole, checked_game
from .aec import given_deal, observation_space_of
from .single_player import MAX_REDEALS

MAX_ENVS = 2**20
"""The most episodes side by side: each has a generator of its own."""

Seeds = int | Sequence[int | None] | None


class LanguageGameVectorEnv(VectorEnv[Observation, NDArray[np.int64], NDArray[Any]], Generic[DealT]):
    """What `SinglePlayerEnv` is for one episode, for `num_envs` of them, through the batched engine.

    Deals are drawn by one generator for each episode, seeded as Gymnasium seeds a stack of environments. So is a
    random opponent, and the episodes are those of the stack. Any other opponent speaks in all episodes at once and
    with one generator: if it draws, the episodes are the stack's in distribution only.

    >>> import gymnasium
    >>> import duologue.envs
    >>> envs = gymnasium.make_vec("duologue/bluff-v0", num_envs=3, player=1, opponent="random")
    >>> observations, infos = envs.reset(seed=0)
    >>> observations["action_mask"].shape
    (3, 13)
    """

    def __init__(
        self,
        game: LanguageGame[DealT],
        num_envs: int = 1,
        *,
        player: Literal[0, 1] = 0,
        opponent: Speaker | Literal["random"] = "random",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        render_mode: str | None = None,
    ) -> None:
        """Seat this player at `player` and `opponent` ("random" or any agent) opposite.

        Args:
            game: the rules.
            num_envs: how many episodes are played side by side.
            player: the seat.
            opponent: who sits opposite.
            autoreset_mode: when a finished episode is dealt anew: at the next step, whose action then counts for
                nothing ("NextStep"), in the same step ("SameStep"), or by `reset` with a `reset_mask` ("Disabled").
            render_mode: None or "ansi".

        Raises:
            TypeError: `num_envs` is no integer, or these are no rules.
            ValueError: an option is none of those above, or so many episodes would take too much memory.
        """
        check_whole("num_envs", num_envs, least=1)
        if num_envs > MAX_ENVS:
            raise ValueError(f"num_envs: expected at most {MAX_ENVS:,}, got {num_envs:,}")
        check_size(checked_game(game), int(num_envs))
        check_player(player)
        if opponent != "random" and not callable(getattr(opponent, "speak", None)):
            raise ValueError(f'opponent: expected "random" or an agent with a method speak, got {opponent!r}')
        if render_mode not in (None, "ansi"):
            raise ValueError(f'render_mode: expected None or "ansi", got {render_mode!r}')
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": ["ansi"], "autoreset_mode": self.autoreset_mode}
        self.game, self.num_envs, self.player, self.render_mode = game, int(num_envs), player, render_mode
        self.opponent: Speaker = RandomAgent() if opponent == "random" else opponent
        self.single_observation_space = observation_space_of(game, player)
        self.single_action_space = spaces.Discrete(the_vocabulary(game, type(self).__name__).size)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._plays = BatchedGame(game, self.num_envs, autoreset=False)
        self._rngs = [seeding.np_random()[0] for _ in range(self.num_envs)]
        self._opponent_rng = self.np_random.spawn(1)[0]
        self._handed_out = np.zeros(self.num_envs)
        self._ended = np.zeros(self.num_envs, dtype=bool)
        self._ready = False

    @override
    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Deal, and let the opponent speak until this player is to.

        Args:
            seed: one for each episode, or that of the first, the next one having 1 more and so on; None continues.
            options: `{"deal": ...}` sets all deals; `{"reset_mask": ...}`, (num_envs,) bool, says which are dealt anew.

        Raises:
            RuntimeError: 1,000 deals in a row ended before this player could speak.
            TypeError: the deal cannot be hashed.
            ValueError: the deal is none of those that the game lists, or a seed or the mask is of no use.
        """
        given = given_deal(self.game, options)
        mask = _reset_mask((options or {}).get("reset_mask"), self.num_envs)
        if self._ready is False and not mask.all():
            raise RuntimeError("reset: expected a reset of all episodes before one with a reset_mask")
        self._seed(seed, mask)
        self._deal(np.flatnonzero(mask), given)
        return self._ready_to_observe(), {}

    @override
    def step(self, actions: ArrayLike) -> tuple[Observation, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Say one token in each episode; return the views at this player's next decisions, and its rewards until then.

        With "SameStep", `infos["final_obs"]` holds the last observation of the episodes that ended. If the rules or
        their judge raise at one of these tokens, or an action is no token, all stands as before the call; if they or
        the opponent raise while it speaks or while episodes are dealt anew, only a reset of all episodes goes on. An
        interrupt (Ctrl-C) is no other than an error.

        Raises:
            RuntimeError: before `reset`, after a failure of the opponent, or, with "Disabled", if an episode is over.
            TypeError: the actions are no integers.
            ValueError: they are of another shape, or hold what is no token id of the vocabulary.
        """
        if not self._ready:
            raise RuntimeError("step: expected a call after reset()")
        waiting = self._ended.copy()
        if waiting.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            raise RuntimeError(f"step: expected a reset of the episodes that ended, {np.flatnonzero(waiting).tolist()}")
        plays = self._plays
        plays.step(actions)  # if that fails, all stands as before
        self._ready = False
        self._let_opponent_speak()
        returns = plays.returns[:, self.player].copy()
        rewards = returns - self._handed_out
        self._handed_out, self._ended = returns, plays.over & ~waiting
        terminations, infos = self._ended.copy(), dict[str, Any]()
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and waiting.any():
            self._deal(np.flatnonzero(waiting), None)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and terminations.any():
            infos = self._final(terminations)
            self._deal(np.flatnonzero(terminations), None)
        return self._ready_to_observe(), rewards, terminations, np.zeros(self.num_envs, dtype=bool), infos

    @override
    def render(self) -> tuple[str, ...] | None:
        """Return the transcripts of all episodes ("ansi")."""
        if self.render_mode is None:
            return None
        return tuple(self._plays.episode(k).transcript() for k in range(self.num_envs))

    def _seed(self, seed: Seeds, mask: NDArray[np.bool_]) -> None:
        if seed is None:
            return
        seeds = _seeds(seed, self.num_envs)
        super().reset(seed=seeds[0])
        self._opponent_rng = self.np_random.spawn(1)[0]
        for k in np.flatnonzero(mask).tolist():
            if seeds[k] is not None:
                self._rngs[k] = seeding.np_random(seeds[k])[0]

    def _deal(self, rows: NDArray[np.int64], given: tuple[DealT] | None) -> None:
        """Deal until this player is to speak in all of these episodes."""
        for _ in range(MAX_REDEALS):
            sample = self.game.deals.sample
            deals = [given[0] if given else sample(self._rngs[k]) for k in rows.tolist()]
            self._plays.reset(rows, deals=deals)  # if that fails, no episode has changed
            self._ready, self._ended[rows], self._handed_out[rows] = False, False, 0.0
            self._let_opponent_speak()
            rows = rows[self._plays.over[rows]]
            if not rows.size:
                return
        raise RuntimeError(f"reset: player {self.player} was never to speak in {MAX_REDEALS} deals")

    def _let_opponent_speak(self) -> None:
        while (rows := np.flatnonzero(self._plays.player == 1 - self.player)).size:
            utterances = self._utter([self._plays.view(k) for k in rows.tolist()], rows)
            check_utterances(utterances, len(rows))
            lengths = np.array([len(utterance.tokens) for utterance in utterances])
            tokens, size = np.zeros((len(rows), lengths.max()), dtype=np.int64), self.game.vocabulary.size
            tokens[np.arange(tokens.shape[1]) < lengths[:, None]] = [
                token if type(token) is int and 0 <= token < size else token_of(token, size)
                for utterance in utterances
                for token in utterance.tokens
            ]
            self._plays.speak(tokens, lengths, rows, endings=[utterance.ending for utterance in utterances])

    def _utter(self, views: list[View], rows: NDArray[np.int64]) -> list[Utterance]:
        if isinstance(self.opponent, RandomAgent):  # draws view by view, and may as well draw as in a stack
            return [self.opponent.speak([view], self._rngs[k])[0] for view, k in zip(views, rows.tolist(), strict=True)]
        return self.opponent.speak(views, self._opponent_rng)

    def _ready_to_observe(self) -> Observation:
        """Return the observations that end a call; the rules, asked for masks, may fail here too."""
        observed = self._observe()
        self._ready = True
        return observed

    def _observe(self) -> Observation:
        return {"observation": self._plays.views[:, self.player].copy(), "action_mask": self._plays.legal_masks()}

    def _final(self, ended: NDArray[np.bool_]) -> dict[str, Any]:
        infos, seen = dict[str, Any](), self._observe()
        for k in np.flatnonzero(ended).tolist():
            last = {"observation": seen["observation"][k], "action_mask": seen["action_mask"][k]}
            infos = self._add_info(infos, {"final_obs": last, "final_info": {}}, k)
        return infos


def _seeds(seed: object, num_envs: int) -> list[int | None]:
    """Return a seed for each episode, None where its stream goes on."""
    if not isinstance(seed, Sequence | np.ndarray) or isinstance(seed, str | bytes):
        check_whole("seed", seed, least=0)
        return [int(seed) + k for k in range(num_envs)]  # type: ignore[call-overload]
    if len(seed) != num_envs:
        raise ValueError(f"seed: expected an int or {num_envs} of them, got {len(seed)}")
    for one in seed:
        if one is not None:
            check_whole("seed", one, least=0)
    return [None if one is None else int(one) for one in seed]


def _reset_mask(mask: object, num_envs: int) -> NDArray[np.bool_]:
    if mask is None:
        return np.ones(num_envs, dtype=bool)
    if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (num_envs,) or not mask.any():
        raise ValueError(f"reset_mask: expected {num_envs} booleans in an array, at least one True, got {mask!r}")
    return mask
