"""What the benchmark plays: a game of any size with next to no rules, and an environment that only copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import AECEnv
from typing_extensions import override

from ...envs.engine.views import Observation
from ...envs.game import Dialogue, FiniteDeals, LanguageGame, Payoff
from ...envs.interfaces.aec import AGENT_IDS
from ...envs.vocabulary import SPECIAL_TOKENS, Tokens, WordVocabulary

NUM_DEALS = 16


class Chat(LanguageGame[int]):
    """The players talk in turn, nothing is narrowed, and who is dealt an odd number wins a point at the end."""

    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({deal: 1 / NUM_DEALS for deal in range(NUM_DEALS)})

    def __init__(
        self, *, vocabulary_size: int = 200, num_turns: int = 2, turn_tokens: int = 32, briefing_tokens: int = 1
    ) -> None:
        """Choose the sizes; `vocabulary_size` counts special tokens too."""
        self.vocabulary = WordVocabulary([f"w{k}" for k in range(vocabulary_size - len(SPECIAL_TOKENS))])
        self.max_turns, self.max_turn_tokens, self.max_briefing_tokens = num_turns, turn_tokens, briefing_tokens

    @override
    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        """Return the players in turn."""
        num_turns = len(dialogue.turns)
        return None if num_turns == self.max_turns else num_turns % 2

    @override
    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        """Return the point at the end."""
        if len(dialogue.turns) < self.max_turns:
            return 0.0, 0.0
        return (1.0, -1.0) if dialogue.deal % 2 else (-1.0, 1.0)

    @override
    def briefing(self, deal: int, player: int) -> Tokens:
        """Return the word of the deal, as often as fits."""
        return (len(SPECIAL_TOKENS) + deal,) * self.max_briefing_tokens


class BareEnv(AECEnv[str, Observation, np.int64]):
    """Appends each token to an array, and copies that and a mask; two turns of a fixed length make an episode.

    What no environment of this kind can do without: the least that `last` and `step` may cost.
    """

    metadata = {"render_modes": [], "name": "bare_v0"}  # noqa: RUF012 - as PettingZoo declares it

    def __init__(self, vocabulary_size: int, view_tokens: int, turn_tokens: int) -> None:
        """Choose the sizes."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.possible_agents = list(AGENT_IDS)
        view = spaces.Box(0, vocabulary_size - 1, (view_tokens,), np.int64)
        space: spaces.Space[Any] = spaces.Dict(
            {"observation": view, "action_mask": spaces.Box(0, 1, (vocabulary_size,), np.int8)}
        )
        self.observation_spaces = dict.fromkeys(AGENT_IDS, space)
        self.action_spaces = dict.fromkeys(AGENT_IDS, spaces.Discrete(vocabulary_size))
        self._mask = np.ones(vocabulary_size, dtype=np.int8)
        self._view_tokens, self._turn_tokens = view_tokens, turn_tokens

    @override
    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        self.agents = list(AGENT_IDS)
        self.rewards = dict.fromkeys(AGENT_IDS, 0.0)
        self._cumulative_rewards = dict.fromkeys(AGENT_IDS, 0.0)
        self.terminations = dict.fromkeys(AGENT_IDS, False)
        self.truncations = dict.fromkeys(AGENT_IDS, False)
        self.infos = {agent_id: {} for agent_id in AGENT_IDS}
        self.agent_selection = AGENT_IDS[0]
        self._view: NDArray[np.int64] = np.zeros(self._view_tokens, dtype=np.int64)
        self._said = 0

    @override
    def step(self, action: np.int64 | int | None) -> None:
        self._view[self._said] = action  # type: ignore[assignment]
        self._said += 1
        if self._said == self._turn_tokens:
            self.agent_selection = AGENT_IDS[1]
        elif self._said == 2 * self._turn_tokens:
            self.terminations = dict.fromkeys(AGENT_IDS, True)

    @override
    def observe(self, agent: str) -> Observation:
        return {"observation": self._view.copy(), "action_mask": self._mask.copy()}


def scripted_turns(game: LanguageGame[Any], num_scripts: int, seed: int = 0) -> Sequence[NDArray[np.int64]]:
    """Return some turns of the greatest length, in random words; each is (T,)."""
    words = np.flatnonzero(game.vocabulary.sayable_mask)
    return list(np.random.default_rng(seed).choice(words, (num_scripts, game.max_turn_tokens)))
