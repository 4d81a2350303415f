"""Two agents play a batch of episodes through the engine; what was said stays with its log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agents.population import Population, Seat
from ...envs import Dialogue, Episode, LanguageGame, Utterance, View, deal_episodes, speak_all
from ...envs.engine.views import check_utterances
from ...envs.game import PLAYERS
from .seconds import part


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


def cut_share(played: Sequence[PlayedEpisode], player: int) -> float:
    """Return the share of a player's turns, 0 to 1, that were cut at their limit; 0 without any."""
    turns = [(one.episode, k) for one in played for k, turn in enumerate(one.dialogue.turns) if turn.player == player]
    return float(np.mean([episode.was_cut(k) for episode, k in turns])) if turns else 0.0


def rollout(
    game: LanguageGame[Any], seats: Sequence[Seat], num_episodes: int, rng: np.random.Generator
) -> list[PlayedEpisode]:
    """Play `num_episodes` to the end, turn by turn in lockstep; deals and tokens are drawn with `rng`.

    Args:
        game: the rules.
        seats: who sits at player 0 and at player 1; of a population one member is drawn for each episode.
        num_episodes: the batch size B.
        rng: the only source of randomness.

    Raises:
        TypeError: an utterance is none, or holds what is no integer.
        ValueError: there are not two seats, or an agent says what cannot be said; see `Episode.speak`.
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
    with part("rollout"):
        _play(episodes, seats, members, turns, rng)
    return played_episodes(episodes, turns, members)


def _play(
    episodes: list[Episode[Any]],
    seats: Sequence[Seat],
    members: NDArray[np.int64],
    turns: list[list[SpokenTurn]],
    rng: np.random.Generator,
) -> None:
    """Play episodes to the end, and put down what is said in `turns`."""
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


def played_episodes(
    episodes: Sequence[Episode[Any]], turns: Sequence[Sequence[SpokenTurn]], members: NDArray[np.int64]
) -> list[PlayedEpisode]:
    """Return finished episodes with what was said in them, and by which members (B, 2)."""
    parts = zip(episodes, turns, members.tolist(), strict=True)
    return [PlayedEpisode(episode, tuple(said), (first, second)) for episode, said, (first, second) in parts]


def draw_members(seats: Sequence[Seat], num_episodes: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw which member of each population sits in each episode; 0, and nothing drawn, for an agent; (B, 2)."""
    if len(seats) != len(PLAYERS) or not all(isinstance(s, Population) or hasattr(s, "speak") for s in seats):
        raise ValueError(f"seats: expected two agents or populations, one for each player, got {seats!r}")
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
    said = seat.speak_as(seated, views, rng) if isinstance(seat, Population) else seat.speak(views, rng)
    check_utterances(said, len(views))
    return said
