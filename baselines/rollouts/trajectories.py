"""One player's part of many episodes as a batch of tensors: what every learner reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...agents.language_model.legal_mask import USUAL, LegalMask
from ...envs.game import check_player
from .episodes import PlayedEpisode


@dataclass(frozen=True, slots=True)
class Trajectories:
    """One player's part of a batch of episodes, right-padded; every learner reads this.

    A position is a token of the player's view; T is the longest view up to a player's last own token.
    """

    tokens: Tensor
    """(B, T), int64; what the player was told and said."""
    attention_mask: Tensor
    """(B, T), True where there is a token."""
    policy_token_mask: Tensor
    """(B, T), True where the player chose the token itself."""
    logprobs: Tensor
    """(B, T), nats; under the sampling distribution, 0 off the policy tokens."""
    rewards: Tensor
    """(B, T); what the player earned, credited to its latest own token (to its first, if it had none yet)."""
    legal_mask: LegalMask | None
    """The legal tokens of each position (B, T); None where the rules narrowed nothing."""
    players: Tensor
    """(B,), int64; whose part each row is: 0 or 1, and both only where batches are joined."""

    def __len__(self) -> int:
        """Return the number of episodes B."""
        return len(self.tokens)

    @property
    def returns(self) -> Tensor:
        """Each episode's return to the player; (B,)."""
        return self.rewards.sum(1)

    @property
    def num_policy_tokens(self) -> int:
        """How many tokens the player chose."""
        return int(self.policy_token_mask.sum())

    def with_bonus(self, bonus: NDArray[np.float64]) -> Trajectories:
        """Return the same episodes, each paid `bonus` (B,) more at the player's last own token."""
        if bonus.shape != (len(self),):
            raise ValueError(f"bonus: expected one number for each of {len(self)} episodes, got shape {bonus.shape}")
        rewards = self.rewards.clone()
        last = self.attention_mask.sum(1) - 1
        rewards[torch.arange(len(self)), last] += torch.from_numpy(bonus).to(rewards.dtype)
        return replace(self, rewards=rewards)

    def to(self, device: torch.device) -> Trajectories:
        """Return the same episodes on a device, such as the learner's."""
        return Trajectories(
            tokens=self.tokens.to(device),
            attention_mask=self.attention_mask.to(device),
            policy_token_mask=self.policy_token_mask.to(device),
            logprobs=self.logprobs.to(device),
            rewards=self.rewards.to(device),
            legal_mask=None if self.legal_mask is None else self.legal_mask.to(device),
            players=self.players.to(device),
        )

    def select(self, rows: Tensor) -> Trajectories:
        """Return some of the episodes, trimmed to their own longest."""
        width = int(self.attention_mask[rows].sum(1).max())
        return Trajectories(
            tokens=self.tokens[rows, :width],
            attention_mask=self.attention_mask[rows, :width],
            policy_token_mask=self.policy_token_mask[rows, :width],
            logprobs=self.logprobs[rows, :width],
            rewards=self.rewards[rows, :width],
            legal_mask=None if self.legal_mask is None else self.legal_mask.at((rows, slice(width))),
            players=self.players[rows],
        )


def trajectories(played: Sequence[PlayedEpisode], player: int) -> Trajectories:
    """Return one player's part as tensors; episodes in which it never spoke are left out."""
    check_player(player)
    played = [episode for episode in played if episode.spoken_by(player)]
    if not played:
        raise ValueError(f"trajectories: expected an episode in which player {player} speaks, got none")
    ends = [_own_end(episode, player) for episode in played]
    shape = (len(played), max(ends))
    tokens, rewards = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
    own, logprobs = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.float32)
    for row, (episode, end) in enumerate(zip(played, ends, strict=True)):
        told = episode.episode.views[player, :end]
        tokens[row, : len(told)] = told
        _fill_turns(episode, player, tokens[row], own[row], logprobs[row], rewards[row])
    attention = np.arange(shape[1]) < np.asarray(ends)[:, None]
    return Trajectories(
        tokens=torch.from_numpy(tokens),
        attention_mask=torch.from_numpy(attention),
        policy_token_mask=torch.from_numpy(own),
        logprobs=torch.from_numpy(logprobs),
        rewards=torch.from_numpy(rewards),
        legal_mask=_legal_mask(played, player, shape),
        players=torch.full(shape[:1], player),
    )


def joined(first: Trajectories, second: Trajectories) -> Trajectories:
    """Return the episodes of two batches as one, as for one policy that sat at both places."""
    width = max(first.tokens.shape[1], second.tokens.shape[1])
    names = ("tokens", "attention_mask", "policy_token_mask", "logprobs", "rewards")
    parts = {name: torch.cat([_widened(getattr(batch, name), width) for batch in (first, second)]) for name in names}
    players = torch.cat([first.players, second.players])
    return Trajectories(**parts, legal_mask=_joined_masks(first, second, width), players=players)


def _widened(columns: Tensor, width: int) -> Tensor:
    """Return (B, T) as (B, width), with 0 on the right."""
    return torch.nn.functional.pad(columns, (0, width - columns.shape[1]))


def _joined_masks(first: Trajectories, second: Trajectories, width: int) -> LegalMask | None:
    if first.legal_mask is None and second.legal_mask is None:
        return None
    return LegalMask.joined([_wide_mask(batch, width) for batch in (first, second)])


def _wide_mask(batch: Trajectories, width: int) -> LegalMask:
    mask = LegalMask.usual(batch.tokens.shape) if batch.legal_mask is None else batch.legal_mask
    return mask.widened(width)


def _own_end(episode: PlayedEpisode, player: int) -> int:
    return max(len(t.view.tokens) + len(t.utterance.tokens) for t in episode.turns if t.player == player)


def _fill_turns(
    episode: PlayedEpisode,
    player: int,
    tokens: np.ndarray,  # (T,)
    own: np.ndarray,  # (T,)
    logprobs: np.ndarray,  # (T,)
    rewards: np.ndarray,  # (T,)
) -> None:
    unpaid, latest = 0.0, None
    for turn, pair in zip(episode.turns, episode.episode.reward_history, strict=True):
        if turn.player == player and turn.utterance.tokens:
            start = len(turn.view.tokens)
            end = start + len(turn.utterance.tokens)
            tokens[start:end] = turn.utterance.tokens  # an illegal one stands in no view, but was chosen
            own[start:end] = True
            logprobs[start:end] = turn.utterance.logprobs or 0.0
            rewards[start] += unpaid
            unpaid, latest = 0.0, end - 1
        if latest is None:
            unpaid += pair[player]
        else:
            rewards[latest] += pair[player]


def _legal_mask(played: Sequence[PlayedEpisode], player: int, shape: tuple[int, int]) -> LegalMask | None:
    turns = [(row, turn) for row, episode in enumerate(played) for turn in episode.turns if turn.player == player]
    if all(turn.view.unrestricted for _, turn in turns):
        return None
    said = [(row, turn.view, turn.utterance.tokens) for row, turn in turns]
    asked = (view.legal_tokens(tokens[:k]) for _, view, tokens in said for k in range(len(tokens)))
    legal = LegalMask.of(asked, played[0].episode.game.vocabularies[player])
    sets = torch.full(shape, USUAL)
    places = [(row, len(view.tokens) + k) for row, view, tokens in said for k in range(len(tokens))]
    sets[tuple(torch.tensor(places).T)] = legal.sets
    return replace(legal, sets=sets)
