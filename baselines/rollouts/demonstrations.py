"""Demonstrations: finished dialogues as token batches that say who spoke each token, for behaviour cloning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...envs import Dialogue, Episode, LanguageGame, utterance_of
from ...envs.game import check_player
from ...envs.solutions import HasDemonstrations

NOBODY = -1


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """Dialogues as one player's views, right-padded."""

    tokens: Tensor
    """(B, T), int64."""
    attention_mask: Tensor
    """(B, T), True where there is a token."""
    speaker: Tensor
    """(B, T), int8: 0 or 1 where a player said the token (`<eos>` belongs to the turn it ends), else -1."""

    def __len__(self) -> int:
        """Return the number of dialogues B."""
        return len(self.tokens)

    def select(self, rows: Tensor) -> Demonstrations:
        """Return some of the dialogues, trimmed to their own longest."""
        width = int(self.attention_mask[rows].sum(1).max())
        return Demonstrations(*(part[rows, :width] for part in (self.tokens, self.attention_mask, self.speaker)))

    def loss_mask(self, tokens_of: str) -> Tensor:
        """Return (B, T), True where a token is cloned: "all" (eq. 7), "player_0" or "player_1" (eq. 8).

        The first token of a sequence is never predicted and never cloned.
        """
        masks = {"all": self.attention_mask, "player_0": self.speaker == 0, "player_1": self.speaker == 1}
        if tokens_of not in masks:
            raise ValueError(f"tokens_of: expected one of {', '.join(masks)}, got {tokens_of!r}")
        mask = masks[tokens_of].clone()
        mask[:, 0] = False
        return mask


def demonstrations_of(
    game: LanguageGame[Any], source: str, rng: np.random.Generator, num_dialogues: int
) -> list[Dialogue[Any]]:
    """Return dialogues that the game generates: of "average" players or of the "ideal" player two.

    Raises:
        ValueError: the game generates none; models must then be given.
    """
    if not isinstance(game, HasDemonstrations):
        name = type(game).__name__
        raise ValueError(
            f"{name}: expected a game that generates demonstrations, or folders of trained models; got neither"
        )
    return game.demonstrations(source, rng, num_dialogues)


def encode_dialogues(
    game: LanguageGame[Any], dialogues: Sequence[Dialogue[Any]], viewers: Sequence[int] = (0, 1)
) -> Demonstrations:
    """Replay dialogues through the engine and return their views, all of the first viewer's, then the next's."""
    for viewer in viewers:
        check_player(viewer)
    rows = [_view_row(game, dialogue, viewer) for viewer in viewers for dialogue in dialogues]
    width = max(len(tokens) for tokens, _ in rows)
    tokens = np.zeros((len(rows), width), dtype=np.int64)
    speaker = np.full((len(rows), width), NOBODY, dtype=np.int8)
    for k, (view, who) in enumerate(rows):
        tokens[k, : len(view)] = view
        speaker[k, : len(who)] = who
    lengths = np.array([len(view) for view, _ in rows])
    attention = np.arange(width) < lengths[:, None]
    return Demonstrations(torch.from_numpy(tokens), torch.from_numpy(attention), torch.from_numpy(speaker))


def _view_row(game: LanguageGame[Any], dialogue: Dialogue[Any], viewer: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the viewer's final view and who said each of its tokens; both (n,). Rewards are not asked for."""
    episode = Episode(game, dialogue.deal)
    speaker = np.full(episode.views.shape[1], NOBODY, dtype=np.int8)
    for turn in dialogue.turns:
        player = episode.player
        if player is None:
            raise ValueError(f"dialogue: expected its rules to end it after the last turn, got more: {dialogue!r}")
        utterance = utterance_of(game, episode.dialogue, turn)
        opening = 0 if player == viewer else len(game.vocabularies[viewer].open_turn(player, viewer))
        start = episode.lengths[viewer] + opening
        episode.speak(utterance)
        said = utterance.tokens if player == viewer else (game.hears(episode.dialogue, viewer) or ())
        closed = player != viewer and bool(said)
        speaker[start : start + len(said) + closed] = player
        if not episode.settled:
            episode.settle((0.0, 0.0))
    end = episode.lengths[viewer]
    return episode.views[viewer, :end], speaker[:end]
