"""Many single-player episodes at once, as Stable-Baselines3 takes them; opponents speak for all in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ...agents.population import Seat
from ...envs import Episode, LanguageGame, SinglePlayerEnv, deal_episodes, speak_all
from ...envs.extras import from_extra
from ...envs.game import PLAYERS
from ...envs.interfaces.single_player import MAX_REDEALS
from ..rollouts.episodes import draw_members, speak_seated

with from_extra("sb3", need="DialogueVecEnv: expected stable-baselines3"):
    from stable_baselines3.common.vec_env import VecEnv


class Ended(NamedTuple):
    """What the learner made of an episode."""

    earned: float
    """Its return."""
    forfeited: bool
    """Whether it lost by an illegal token."""


class DialogueVecEnv(VecEnv):
    """`SinglePlayerEnv` for a batch: the same steps, masks and rewards in every row, one opponent call for all rows.

    Rows may have different seats, and the opponent may be a `Population`, of which one member is drawn for each
    episode. One generator, `rng`, draws all deals and all that opponents say.
    """

    def __init__(
        self, game: LanguageGame[Any], players: Sequence[int], seats: Sequence[Seat], rng: np.random.Generator
    ) -> None:
        """Take the game.

        Args:
            game: the rules.
            players: the seat of the learner in each row; (B,).
            seats: who plays 0 and 1 where the learner does not; may be replaced at any time by `seats = ...`.
            rng: the only source of randomness.

        Raises:
            ValueError: no rows, or a seat that is none.
        """
        if not players or not set(players) <= set(PLAYERS):
            raise ValueError(f"players: expected 0 or 1 for each row, got {list(players)}")
        spaces = SinglePlayerEnv(game)
        self.game, self.players, self.seats, self.rng = game, np.asarray(players), tuple(seats), rng
        self._episodes: dict[int, Episode[Any]] = {}
        self._members = np.zeros((len(players), 2), dtype=np.int64)
        self._handed_out = np.zeros(len(players))
        self._actions: list[int] = []
        self._ended: list[Ended] = []
        super().__init__(len(players), spaces.observation_space, spaces.action_space)

    @override
    def reset(self) -> dict[str, NDArray[Any]]:
        """Deal anew in every row, and let opponents speak until the learner is to."""
        self._deal(list(range(self.num_envs)))
        return self._observe()

    @override
    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Take a token for each row."""
        self._actions = actions.tolist()

    @override
    def step_wait(
        self,
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Say the tokens; rows whose episode ends are dealt again, as Stable-Baselines3 expects."""
        for episode, token in zip(self._in_order(), self._actions, strict=True):
            episode.push(token)
        self._let_opponents_speak(range(self.num_envs))
        returns = np.array([e.returns[player] for e, player in zip(self._in_order(), self.players, strict=True)])
        rewards, self._handed_out = (returns - self._handed_out).astype(np.float32), returns
        dones = np.array([episode.over for episode in self._in_order()])
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        ended = np.flatnonzero(dones).tolist()
        if ended:
            last = self._observe()
            for row in ended:
                infos[row]["terminal_observation"] = {name: part[row] for name, part in last.items()}
                forfeited = self._episodes[row].forfeited_by == self.players[row]
                self._ended.append(Ended(float(returns[row]), forfeited))
            self._deal(ended)
        return self._observe(), rewards, dones, infos

    def take_ended(self) -> list[Ended]:
        """Return all episodes that ended since the last call."""
        taken, self._ended = self._ended, []
        return taken

    def action_masks(self) -> list[NDArray[np.bool_]]:
        """Return the legal mask of each row, for MaskablePPO; (V,) each."""
        return [episode.open_turn.legal_mask.astype(bool) for episode in self._in_order()]

    def _deal(self, rows: Sequence[int]) -> None:
        """Deal, draw members and let opponents open; a deal without a decision of the learner is dealt again."""
        for _ in range(MAX_REDEALS):
            for row, episode in zip(rows, deal_episodes(self.game, self.rng, len(rows)), strict=True):
                self._episodes[row] = episode
            self._members[rows] = draw_members(self.seats, len(rows), self.rng)
            self._handed_out[rows] = 0.0
            self._let_opponents_speak(rows)
            rows = [row for row in rows if self._episodes[row].over]
            if not rows:
                return
        raise RuntimeError(f"reset: player {self.players[rows[0]]} was never to speak in {MAX_REDEALS} deals")

    def _let_opponents_speak(self, rows: Sequence[int]) -> None:
        for player in PLAYERS:
            opposite = [row for row in rows if self.players[row] == 1 - player]
            while speaking := [row for row in opposite if self._episodes[row].player == player]:
                episodes = [self._episodes[row] for row in speaking]
                views = [episode.view() for episode in episodes]
                said = speak_seated(self.seats[player], self._members[speaking, player], views, self.rng)
                speak_all(episodes, said)

    def _in_order(self) -> list[Episode[Any]]:
        return [self._episodes[row] for row in range(self.num_envs)]

    def _observe(self) -> dict[str, NDArray[Any]]:
        views = [e.views[player] for e, player in zip(self._in_order(), self.players, strict=True)]
        silent = np.zeros(self.game.vocabulary.size, dtype=np.int8)
        masks = [silent if episode.over else episode.open_turn.legal_mask for episode in self._in_order()]
        return {"observation": np.stack(views), "action_mask": np.stack(masks)}

    @override
    def close(self) -> None:
        """Release nothing: there is nothing to release."""

    @override
    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return what Stable-Baselines3 asks rows for: their masks exist, and nothing is drawn on a screen."""
        if attr_name not in ("action_masks", "render_mode"):
            raise AttributeError(f"{type(self).__name__}: rows have no attribute {attr_name!r}")
        return [None] * self.num_envs

    @override
    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: a row is no object of its own."""
        raise AttributeError(f"{type(self).__name__}: rows have no attribute {attr_name!r}")

    @override
    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Call the one method that rows have, `action_masks`."""
        if method_name != "action_masks":
            raise AttributeError(f"{type(self).__name__}: rows have no method {method_name!r}")
        return list(self.action_masks())

    @override
    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Any = None
    ) -> list[bool]:
        """Return False for each row."""
        return [False] * self.num_envs
