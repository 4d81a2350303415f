"""Rollouts: two agents play a batch of episodes through the engine, and each player's part becomes a tensor batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..envs import Dialogue, Episode, LanguageGame, Speaker, Utterance, View, deal_episodes, speak_all


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """One turn as it was spoken: by whom, after which view, and what."""

    player: int
    view: View
    utterance: Utterance


@dataclass(frozen=True, slots=True)
class PlayedEpisode:
    """One finished episode with the utterances behind its turns."""

    episode: Episode[Any]
    turns: tuple[SpokenTurn, ...]

    @property
    def dialogue(self) -> Dialogue[Any]:
        """The deal and the turns."""
        return self.episode.dialogue

    def forfeited_by(self, player: int) -> bool:
        """Whether `player` lost it by an utterance that was no legal turn."""
        return self.episode.forfeited_by == player


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
    legal_mask: Tensor | None
    """(B, T, V), True where a token was legal; None where the rules narrowed nothing."""

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
            legal_mask=None if self.legal_mask is None else self.legal_mask[rows, :width],
        )


def rollout(
    game: LanguageGame[Any], agents: Sequence[Speaker], num_episodes: int, rng: np.random.Generator
) -> list[PlayedEpisode]:
    """Play `num_episodes` to the end, turn by turn in lockstep; deals and tokens are drawn with `rng`.

    Args:
        game: the rules.
        agents: who sits at player 0 and at player 1.
        num_episodes: the batch size B.
        rng: the only source of randomness.
    """
    return play_out(deal_episodes(game, rng, num_episodes), agents, rng)


def play_out(episodes: list[Episode[Any]], agents: Sequence[Speaker], rng: np.random.Generator) -> list[PlayedEpisode]:
    """Play given episodes to the end."""
    turns: list[list[SpokenTurn]] = [[] for _ in episodes]
    while any(not episode.over for episode in episodes):
        for player in (0, 1):
            speaking = [k for k, episode in enumerate(episodes) if episode.player == player]
            if not speaking:
                continue
            views = [episodes[k].view() for k in speaking]
            utterances = agents[player].speak(views, rng)
            for k, view, utterance in zip(speaking, views, utterances, strict=True):
                turns[k].append(SpokenTurn(player, view, utterance))
            speak_all([episodes[k] for k in speaking], utterances)
    return [PlayedEpisode(episode, tuple(said)) for episode, said in zip(episodes, turns, strict=True)]


def trajectories(played: Sequence[PlayedEpisode], player: int) -> Trajectories:
    """Return one player's part as tensors; episodes in which it never spoke are left out."""
    played = [one for one in played if any(turn.player == player and turn.utterance.tokens for turn in one.turns)]
    if not played:
        raise ValueError(f"trajectories: expected an episode in which player {player} speaks, got none")
    ends = [_own_end(one, player) for one in played]
    shape = (len(played), max(ends))
    tokens, rewards = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.float32)
    own, logprobs = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=np.float32)
    for row, (one, end) in enumerate(zip(played, ends, strict=True)):
        told = one.episode.views[player, :end]
        tokens[row, : len(told)] = told
        _fill_turns(one, player, tokens[row], own[row], logprobs[row], rewards[row])
    attention = np.arange(shape[1]) < np.asarray(ends)[:, None]
    return Trajectories(
        tokens=torch.from_numpy(tokens),
        attention_mask=torch.from_numpy(attention),
        policy_token_mask=torch.from_numpy(own),
        logprobs=torch.from_numpy(logprobs),
        rewards=torch.from_numpy(rewards),
        legal_mask=_legal_masks(played, player, shape),
    )


def _own_end(one: PlayedEpisode, player: int) -> int:
    return max(len(t.view.tokens) + len(t.utterance.tokens) for t in one.turns if t.player == player)


def _fill_turns(
    one: PlayedEpisode,
    player: int,
    tokens: np.ndarray,  # (T,)
    own: np.ndarray,  # (T,)
    logprobs: np.ndarray,  # (T,)
    rewards: np.ndarray,  # (T,)
) -> None:
    unpaid, latest = 0.0, None
    for turn, pair in zip(one.turns, one.episode.reward_history, strict=True):
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


def _legal_masks(played: Sequence[PlayedEpisode], player: int, shape: tuple[int, int]) -> Tensor | None:
    turns = [(row, turn) for row, one in enumerate(played) for turn in one.turns if turn.player == player]
    if all(turn.view.unrestricted for _, turn in turns):
        return None
    masks = np.ones((*shape, played[0].episode.game.vocabulary.size), dtype=bool)
    for row, turn in turns:
        start, said = len(turn.view.tokens), turn.utterance.tokens
        for k in range(len(said)):
            masks[row, start + k] = turn.view.legal_mask(said[:k])
    return torch.from_numpy(masks)
