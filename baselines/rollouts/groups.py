"""Rollouts in groups: several replies to one prompt, as RLOO and GRPO want them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...agents.population import Seat
from ...envs import Episode, LanguageGame, deal_episodes, speak_all
from ...envs.game import check_player
from .episodes import PlayedEpisode, SpokenTurn, draw_members, play_out, played_episodes, rollout, speak_seated


def check_groups(batch_size: int, group_size: int) -> None:
    """Raise ValueError unless a batch makes whole groups, at least one."""
    if group_size < 1 or batch_size < 1 or batch_size % group_size:
        raise ValueError(f"batch_size: expected whole groups of {group_size}, at least one, got {batch_size}")


def rollout_in_groups(
    game: LanguageGame[Any],
    seats: Sequence[Seat],
    num_episodes: int,
    rng: np.random.Generator,
    *,
    player: int,
    group_size: int,
) -> list[PlayedEpisode]:
    """Play `num_episodes` in groups that share the game, the deal and all that precedes `player`'s first turn.

    Whatever the opponent says first is said once and copied, so that a group's replies answer one prompt. Of a
    population one member is drawn for each group.

    Args:
        game: the rules.
        seats: who sits at player 0 and at player 1.
        num_episodes: the batch size B, a multiple of `group_size`.
        rng: the only source of randomness.
        player: whose replies form the groups.
        group_size: how many replies each prompt gets.

    Raises:
        ValueError: the episodes do not fill whole groups, or there is no such player.
    """
    check_player(player)
    if group_size < 1 or num_episodes < 1 or num_episodes % group_size:
        raise ValueError(f"num_episodes: expected a positive multiple of group_size={group_size}, got {num_episodes}")
    if group_size == 1:
        return rollout(game, seats, num_episodes, rng)
    openings = _play_openings(deal_episodes(game, rng, num_episodes // group_size), seats, rng, player)
    copies = [(_replay(opening), opening.turns) for opening in openings for _ in range(group_size)]
    members = np.array([opening.members for opening in openings], dtype=np.int64).repeat(group_size, axis=0)
    played = play_out([episode for episode, _ in copies], seats, rng, members=members)
    return [
        PlayedEpisode(episode.episode, (*said, *episode.turns), episode.members)
        for episode, (_, said) in zip(played, copies, strict=True)
    ]


def _play_openings(
    episodes: list[Episode[Any]], seats: Sequence[Seat], rng: np.random.Generator, player: int
) -> list[PlayedEpisode]:
    """Play until `player` is to speak, or to the end if it never is."""
    opponent = 1 - player
    turns: list[list[SpokenTurn]] = [[] for _ in episodes]
    members = draw_members(seats, len(episodes), rng)
    while speaking := [k for k, episode in enumerate(episodes) if episode.player == opponent]:
        views = [episodes[k].view() for k in speaking]
        utterances = speak_seated(seats[opponent], members[speaking, opponent], views, rng)
        for k, view, utterance in zip(speaking, views, utterances, strict=True):
            turns[k].append(SpokenTurn(opponent, view, utterance))
        speak_all([episodes[k] for k in speaking], utterances)
    return played_episodes(episodes, turns, members)


def _replay(opening: PlayedEpisode) -> Episode[Any]:
    """Return a new episode that stands where the opening ended; its rewards are those that were paid."""
    episode = Episode(opening.episode.game, opening.dialogue.deal)
    for turn, rewards in zip(opening.turns, opening.episode.reward_history, strict=True):
        episode.speak(turn.utterance)
        if not episode.settled:
            episode.settle(rewards)
    return episode
