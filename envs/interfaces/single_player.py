"""The single-player form: one seat against a given opponent, as a Gymnasium environment (eq. 5, the induced MDP)."""

from __future__ import annotations

from typing import Any, Generic, Literal

import gymnasium
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from ..engine.episode import Episode, speak_all
from ..engine.turn import masks_of
from ..engine.views import Observation, RandomAgent, Speaker
from ..game import DealT, LanguageGame, check_player, checked_game
from .aec import given_deal, observation_space_of

MAX_REDEALS = 1_000


class SinglePlayerEnv(gymnasium.Env[Observation, np.int64], Generic[DealT]):
    """One player's Markov decision process, the other player fixed (arXiv 2402.08078, eq. 5).

    The opponent speaks whole turns inside `step`; what this player earns in them belongs to the step. A deal in which
    the episode ends before this player speaks is dealt again: no decision of this player's reaches it.
    """

    metadata = {"render_modes": ["human", "ansi"], "render_fps": 1}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self,
        game: LanguageGame[DealT],
        *,
        player: Literal[0, 1] = 0,
        opponent: Speaker | Literal["random"] = "random",
        render_mode: str | None = None,
    ) -> None:
        """Seat this player at `player` and `opponent` ("random" or any agent) opposite."""
        check_player(player)
        if opponent != "random" and not callable(getattr(opponent, "speak", None)):
            raise ValueError(f'opponent: expected "random" or an agent with a method speak, got {opponent!r}')
        if render_mode not in (None, "ansi", "human"):
            raise ValueError(f'render_mode: expected None, "ansi" or "human", got {render_mode!r}')
        self.game = checked_game(game)
        self.player = player
        self.opponent: Speaker = RandomAgent() if opponent == "random" else opponent
        self.render_mode = render_mode
        self.observation_space = observation_space_of(game, player)
        self.action_space = gymnasium.spaces.Discrete(game.vocabularies[player].size)
        self._silent = masks_of(game, player).none
        self.episode: Episode[DealT] | None = None
        """The episode that is being played; None before `reset`, and after a failure of the opponent or a judge."""
        self._handed_out = 0.0

    @override
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Deal, and let the opponent speak until this player is to.

        Args:
            seed: seeds the environment's generator, which draws the deals and the opponent's tokens.
            options: `{"deal": ...}` sets the deal.

        If that fails, or somebody interrupts it, all stands as before the call, the generator too.

        Raises:
            RuntimeError: 1,000 deals in a row ended before this player could speak.
            TypeError: the deal cannot be hashed.
            ValueError: the deal is none of those that the game lists.
        """
        given, generator, np_random_seed = given_deal(self.game, options), self.np_random, self._np_random_seed
        state = generator.bit_generator.state
        try:
            super().reset(seed=seed)
            episode = self._begun(given)
        except BaseException:
            generator.bit_generator.state = state
            self._np_random, self._np_random_seed = generator, np_random_seed
            raise
        self.episode, self._handed_out = episode, 0.0
        return self._observe(episode), {}

    def _begun(self, given: tuple[DealT] | None) -> Episode[DealT]:
        """Return an episode in which this player is to speak."""
        for _ in range(MAX_REDEALS):
            (deal,) = given or (self.game.deals.sample(self.np_random),)
            episode = Episode(self.game, deal)
            self._let_opponent_speak(episode)
            if not episode.over:
                return episode
        raise RuntimeError(f"reset: player {self.player} was never to speak in {MAX_REDEALS} deals")

    @override
    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Say one token; return the view at this player's next decision, and all it earned until then.

        What the opponent's opening turns paid belongs to the first step, so that rewards sum to the return. If the
        rules or their judge raise or are interrupted at this player's token, all stands as before it; if they or the
        opponent do while it speaks, only a reset goes on.

        Raises:
            RuntimeError: before `reset`, after the end, or after a failure of the opponent.
            TypeError: the action is no integer.
            ValueError: the action is no token id of the vocabulary.
        """
        episode = self.episode
        if episode is None or episode.over:
            when = "before reset()" if episode is None else "after the end of the episode"
            raise RuntimeError(f"step: expected a call between reset() and the end, got one {when}")
        if episode.push(action, what="action"):  # type: ignore[arg-type]
            self.episode = None  # an episode whose opponent or judge fails is absent, not half-played
            self._let_opponent_speak(episode)
            self.episode = episode
        if self.render_mode == "human":
            self.render()
        reward = episode.returns[self.player] - self._handed_out
        self._handed_out = episode.returns[self.player]
        return self._observe(episode), reward, episode.over, False, {}

    def action_masks(self) -> NDArray[np.bool_]:
        """Return the legal mask in the form that sb3-contrib's MaskablePPO asks for; shape (V,)."""
        if self.episode is None:
            raise RuntimeError("action_masks: expected a call after reset()")
        return self._observe(self.episode)["action_mask"].astype(bool)

    @override
    def render(self) -> str | None:
        """Return the transcript ("ansi") or print it ("human")."""
        if self.episode is None:
            raise RuntimeError("render: expected a call after reset()")
        if self.render_mode == "human":
            print(self.episode.transcript(), end="\n\n")
            return None
        return self.episode.transcript()

    def _let_opponent_speak(self, episode: Episode[DealT]) -> None:
        while episode.player == 1 - self.player:
            speak_all([episode], self.opponent.speak([episode.view()], self.np_random))

    def _observe(self, episode: Episode[DealT]) -> Observation:
        mask = self._silent if episode.over else episode.open_turn.legal_mask
        return {"observation": episode.views[self.player].copy(), "action_mask": mask.copy()}
