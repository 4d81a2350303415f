"""Rollouts of one prompt and one reply as a tree: several prompts to a deal, several replies to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agents.population import Seat
from ...envs import Episode, LanguageGame, Speaker, deal_episodes, speak_all
from .episodes import PlayedEpisode, SpokenTurn, play_out


def rollout_tree(
    game: LanguageGame[Any], agents: Sequence[Speaker], rng: np.random.Generator, shape: tuple[int, int, int]
) -> list[PlayedEpisode]:
    """Play B deals with A prompts each and D replies to each prompt; return the leaves, [B, A, D] in order."""
    num_deals, num_prompts, num_replies = shape
    deals = [episode.dialogue.deal for episode in deal_episodes(game, rng, num_deals) for _ in range(num_prompts)]
    views = [Episode(game, deal).view() for deal in deals]
    prompts = agents[0].speak(views, rng)
    openings = [
        SpokenTurn(0, view, said) for view, said in zip(views, prompts, strict=True) for _ in range(num_replies)
    ]
    episodes = [Episode(game, deal) for deal in deals for _ in range(num_replies)]
    speak_all(episodes, [opening.utterance for opening in openings])
    return _with_prompts(openings, play_out(episodes, agents, rng))


def replies_to(
    played: Sequence[PlayedEpisode], seats: Sequence[Seat], rng: np.random.Generator, *, num_replies: int
) -> list[PlayedEpisode]:
    """Play on from the first prompt of each of N episodes: fresh replies, `num_replies` to each in a row; (N D,)."""
    openings = [one for one in played for _ in range(num_replies)]
    episodes = [Episode(one.episode.game, one.dialogue.deal) for one in openings]
    for episode, opening in zip(episodes, openings, strict=True):
        episode.speak(opening.turns[0].utterance)
        if not episode.settled:
            episode.settle(opening.episode.reward_history[0])
    return _with_prompts([one.turns[0] for one in openings], play_out(episodes, seats, rng))


def best_leaves(played: Sequence[PlayedEpisode], returns: NDArray[np.float64], num_leaves: int) -> list[PlayedEpisode]:
    """Return, of every `num_leaves` episodes in a row, the first of those with the highest of the returns."""
    best = returns.reshape(-1, num_leaves).argmax(1)
    return [played[row * num_leaves + k] for row, k in enumerate(best.tolist())]


def returns_to(played: Sequence[PlayedEpisode], player: int) -> NDArray[np.float64]:
    """Return what each episode paid a player; (B,)."""
    return np.array([one.episode.returns[player] for one in played])


def check_one_exchange(game: LanguageGame[Any], option: str) -> None:
    """Raise ValueError, which names the option that wants it, unless the game is one prompt and one reply."""
    if game.max_turns != 2:
        raise ValueError(f"{option}: expected one prompt and one reply, got a game of {game.max_turns} turns")


def _with_prompts(prompts: Sequence[SpokenTurn], played: Sequence[PlayedEpisode]) -> list[PlayedEpisode]:
    """Return episodes that were begun with a prompt as episodes that have it among their turns."""
    return [
        PlayedEpisode(episode.episode, (prompt, *episode.turns), episode.members)
        for prompt, episode in zip(prompts, played, strict=True)
    ]
