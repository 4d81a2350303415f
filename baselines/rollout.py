"""Rollouts: two agents play a batch of episodes through the engine, and each player's part becomes a tensor batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..agents.legal_mask import USUAL, LegalMask
from ..agents.population import Population, Seat
from ..envs import Dialogue, Episode, LanguageGame, Utterance, View, deal_episodes, speak_all
from ..envs.game import PLAYERS


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
    members: tuple[int, int] = (0, 0)
    """Which member of a population sat at each place; 0 where an agent sits."""

    @property
    def dialogue(self) -> Dialogue[Any]:
        """The deal and the turns."""
        return self.episode.dialogue

    def spoken_by(self, player: int) -> bool:
        """Whether `player` said a token, so that there is something to learn from; see `trajectories`."""
        return any(turn.player == player and turn.utterance.tokens for turn in self.turns)

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


def rollout(
    game: LanguageGame[Any], seats: Sequence[Seat], num_episodes: int, rng: np.random.Generator
) -> list[PlayedEpisode]:
    """Play `num_episodes` to the end, turn by turn in lockstep; deals and tokens are drawn with `rng`.

    Args:
        game: the rules.
        seats: who sits at player 0 and at player 1; of a population one member is drawn for each episode.
        num_episodes: the batch size B.
        rng: the only source of randomness.
    """
    return play_out(deal_episodes(game, rng, num_episodes), seats, rng)


def play_out(
    episodes: list[Episode[Any]],
    seats: Sequence[Seat],
    rng: np.random.Generator,
    *,
    members: NDArray[np.int64] | None = None,
) -> list[PlayedEpisode]:
    """Play given episodes to the end.

    Args:
        episodes: fresh, or begun.
        seats: who sits at player 0 and at player 1.
        rng: the only source of randomness.
        members: which member of a population sits in each episode, (B, 2), for episodes that are begun; None: drawn.
    """
    members = draw_members(seats, len(episodes), rng) if members is None else members
    turns: list[list[SpokenTurn]] = [[] for _ in episodes]
    while any(not episode.over for episode in episodes):
        for player in (0, 1):
            speaking = [k for k, episode in enumerate(episodes) if episode.player == player]
            if not speaking:
                continue
            views = [episodes[k].view() for k in speaking]
            utterances = speak_seated(seats[player], members[speaking, player], views, rng)
            for k, view, utterance in zip(speaking, views, utterances, strict=True):
                turns[k].append(SpokenTurn(player, view, utterance))
            speak_all([episodes[k] for k in speaking], utterances)
    return played_episodes(episodes, turns, members)


def played_episodes(
    episodes: Sequence[Episode[Any]], turns: Sequence[Sequence[SpokenTurn]], members: NDArray[np.int64]
) -> list[PlayedEpisode]:
    """Return finished episodes with what was said in them, and by which members (B, 2)."""
    parts = zip(episodes, turns, members.tolist(), strict=True)
    return [PlayedEpisode(episode, tuple(said), (first, second)) for episode, said, (first, second) in parts]


def draw_members(seats: Sequence[Seat], num_episodes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw which member of each population sits in each episode; 0, and nothing drawn, for an agent; (B, 2)."""
    members = np.zeros((num_episodes, 2), dtype=np.int64)
    for player in PLAYERS:
        seat = seats[player]
        if isinstance(seat, Population):
            members[:, player] = seat.draw(num_episodes, rng)
    return members


def speak_seated(
    seat: Seat, seated: NDArray[np.int64], views: Sequence[View], rng: np.random.Generator
) -> list[Utterance]:
    """Return one utterance for each view, said by the agent or by the members that sit there; `seated` is (N,)."""
    return seat.speak_as(seated, views, rng) if isinstance(seat, Population) else seat.speak(views, rng)


def trajectories(played: Sequence[PlayedEpisode], player: int) -> Trajectories:
    """Return one player's part as tensors; episodes in which it never spoke are left out."""
    played = [one for one in played if one.spoken_by(player)]
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
        legal_mask=_legal_mask(played, player, shape),
        players=torch.full(shape[:1], player),
    )


def joined(first: Trajectories, second: Trajectories) -> Trajectories:
    """Return the episodes of two batches as one, as for one policy that sat at both places."""
    width = max(first.tokens.shape[1], second.tokens.shape[1])
    names = ("tokens", "attention_mask", "policy_token_mask", "logprobs", "rewards")
    parts = {name: torch.cat([_widened(getattr(one, name), width) for one in (first, second)]) for name in names}
    players = torch.cat([first.players, second.players])
    return Trajectories(**parts, legal_mask=_joined_masks(first, second, width), players=players)


def _widened(columns: Tensor, width: int) -> Tensor:
    """Return (B, T) as (B, width), with 0 on the right."""
    return torch.nn.functional.pad(columns, (0, width - columns.shape[1]))


def _joined_masks(first: Trajectories, second: Trajectories, width: int) -> LegalMask | None:
    if first.legal_mask is None and second.legal_mask is None:
        return None
    return LegalMask.joined([_wide_mask(one, width) for one in (first, second)])


def _wide_mask(one: Trajectories, width: int) -> LegalMask:
    mask = LegalMask.usual(one.tokens.shape) if one.legal_mask is None else one.legal_mask
    return mask.widened(width)


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


def _legal_mask(played: Sequence[PlayedEpisode], player: int, shape: tuple[int, int]) -> LegalMask | None:
    turns = [(row, turn) for row, one in enumerate(played) for turn in one.turns if turn.player == player]
    if all(turn.view.unrestricted for _, turn in turns):
        return None
    said = [(row, turn.view, turn.utterance.tokens) for row, turn in turns]
    asked = (view.legal_tokens(tokens[:k]) for _, view, tokens in said for k in range(len(tokens)))
    legal = LegalMask.of(asked, played[0].episode.game.vocabulary)
    sets = torch.full(shape, USUAL)
    places = [(row, len(view.tokens) + k) for row, view, tokens in said for k in range(len(tokens))]
    sets[tuple(torch.tensor(places).T)] = legal.sets
    return replace(legal, sets=sets)
