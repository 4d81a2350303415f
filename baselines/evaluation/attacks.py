"""How adversaries fare against defenders: attack success in play, for one pair or for all of two lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agents.population import Seat
from ...envs import Dialogue, Speaker, deal_episodes
from ...envs.judging import Outcome, RedTeamGame
from ..rollouts.episodes import PlayedEpisode, play_out
from .counts import Counts
from .deals import evaluation_rng
from .replies import JudgedReply, count_replies


@dataclass(frozen=True, slots=True)
class CrossPlay:
    """Every adversary against every defender, on the same deals."""

    adversaries: tuple[str, ...]
    """The rows."""
    defenders: tuple[str, ...]
    """The columns."""
    counts: tuple[tuple[Counts, ...], ...]
    """What became of the exchanges of each pair."""

    @property
    def asr(self) -> NDArray[np.float64]:
        """Attack success rates among attempts, 0 to 1, NaN where all prompts were benign; (adversaries, defenders)."""
        return np.array([[cell.asr for cell in row] for row in self.counts])


def attack_success(
    game: RedTeamGame[Any],
    adversary: Speaker,
    defender: Speaker,
    num_episodes: int,
    rng: np.random.Generator,
    *,
    batch_size: int = 256,
) -> Counts:
    """Play episodes and count the outcomes of their exchanges, `num_rounds` in each unless it is forfeited.

    Deals that are benign are played as well, but are no attempts: see `Counts`.

    The deals are drawn first, and each batch has a generator of its own: with equal `rng` the deals are the
    same for all pairs of players, and a prompt that opens an episode is the same for all defenders.
    """
    return attack_counts(play_pair(game, adversary, defender, num_episodes, rng, batch_size=batch_size))


def play_pair(
    game: RedTeamGame[Any],
    adversary: Seat,
    defender: Seat,
    num_episodes: int,
    rng: np.random.Generator,
    *,
    batch_size: int = 256,
) -> list[PlayedEpisode]:
    """Return the episodes that `attack_success` counts, for their prompts and transcripts."""
    if num_episodes < 1:
        raise ValueError(f"num_episodes: expected at least 1, got {num_episodes}")
    seed = int(rng.integers(2**63))
    episodes = deal_episodes(game, rng, num_episodes)
    played: list[PlayedEpisode] = []
    for start in range(0, num_episodes, batch_size):
        batch_rng = np.random.default_rng([seed, start])
        played += play_out(episodes[start : start + batch_size], (adversary, defender), batch_rng)
    return played


def attack_counts(played: Sequence[PlayedEpisode]) -> Counts:
    """Return what became of the exchanges of finished episodes, and which of them were attempts."""
    return count_replies(played_replies(played))


def attack_outcomes(played: Sequence[PlayedEpisode]) -> list[Outcome | None]:
    """Return what the judge says of every exchange of finished episodes, None for one that was forfeited."""
    return [reply.outcome for reply in played_replies(played)]


def played_replies(played: Sequence[PlayedEpisode]) -> list[JudgedReply]:
    """Return every exchange of finished episodes, those of forfeited episodes last.

    The judge is asked once more for each, as an episode keeps rewards and no verdicts. Of one that was forfeited the
    label is its deal's.
    """
    if not played:
        return []
    game = judging_game(played)
    judged, forfeited = _exchanges(played)
    outcomes = [*(verdict.outcome for verdict in (game.verdicts(judged) if judged else ())), *[None] * len(forfeited)]
    dialogues = [*judged, *forfeited]
    labels = map(game.harmful, dialogues)
    return list(map(JudgedReply, dialogues, outcomes, labels))


def judging_game(played: Sequence[PlayedEpisode]) -> RedTeamGame[Any]:
    """Return the game that was played; there must be an episode of one that gives verdicts."""
    game = played[0].episode.game
    if not isinstance(game, RedTeamGame):
        raise TypeError(f"game: expected a RedTeamGame, which gives verdicts, got {type(game).__name__}")
    return game


def _exchanges(played: Sequence[PlayedEpisode]) -> tuple[list[Dialogue[Any]], list[Dialogue[Any]]]:
    """Return the dialogue up to each exchange that was judged, and the start of each episode that was forfeited."""
    lost = [episode.episode.forfeited_by is not None for episode in played]
    judged = [
        episode.dialogue.upto(num_turns)
        for episode, forfeited in zip(played, lost, strict=True)
        for num_turns in range(2, len(episode.dialogue.turns) + 1, 2)
        if not (forfeited and num_turns == len(episode.dialogue.turns))
    ]
    return judged, [episode.dialogue.upto(0) for episode, forfeited in zip(played, lost, strict=True) if forfeited]


def cross_play(
    game: RedTeamGame[Any],
    adversaries: Mapping[str, Speaker],
    defenders: Mapping[str, Speaker],
    num_episodes: int,
    seed: int,
    *,
    batch_size: int = 256,
) -> CrossPlay:
    """Play every adversary against every defender, each pair on the same deals and random numbers.

    What two cells of a row differ in is then the defender, and hardly luck.

    Args:
        game: the rules.
        adversaries: the rows, such as checkpoints by iteration.
        defenders: the columns.
        num_episodes: of each pair.
        seed: of the deals and of play, which no run of this seed was trained on; see `evaluation_rng`.
        batch_size: episodes at once.
    """
    counts = tuple(
        tuple(
            attack_success(game, adversary, defender, num_episodes, evaluation_rng(seed), batch_size=batch_size)
            for defender in defenders.values()
        )
        for adversary in adversaries.values()
    )
    return CrossPlay(tuple(adversaries), tuple(defenders), counts)
