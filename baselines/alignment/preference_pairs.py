"""Preference pairs to learn a reward model from: split by prompt, and drawn in a game whose oracle knows better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from ...agents import Speaker
from ...envs import Dialogue, Episode, LanguageGame
from ...envs.engine.episode import deal_episodes
from ..data.dialogues import ASSISTANT, PreferencePair, TextDialogue, TextTurn
from ..rollouts.episodes import PlayedEpisode, play_out
from ..training.checks import check_count
from ..training.options import static_prompts

PAIRS_AT_ONCE = 256
MAX_TRIES = 50
"""Games are played for pairs at most this many times the number asked for."""


class PairSplit(NamedTuple):
    """Pairs to learn from, to choose by, and to measure on; no prompt is in two of them."""

    train: list[PreferencePair]
    validation: list[PreferencePair]
    test: list[PreferencePair]


def oracle_pairs(
    game: LanguageGame[Any],
    replier: Speaker,
    num_pairs: int,
    rng: np.random.Generator,
    *,
    temperature: float = 0.25,
) -> list[PreferencePair]:
    """Return pairs of player 1's last replies to prompts that the game deals, ordered by its rewards with some noise.

    Player 0 says its briefing as it stands, as in RLHF. Of two replies with returns R and S the first is chosen with
    probability sigmoid((R - S) / temperature), so that a reward model of these pairs should tell R / temperature up to
    a number per prompt. Pairs of equal replies, and of forfeits, are not used.

    Raises:
        ValueError: the replies to one prompt hardly ever differ, or player 1 does not have the last turn.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: expected a number > 0, got {temperature}")
    check_count("num_pairs", num_pairs)
    pairs: list[PreferencePair] = []
    agents = (static_prompts(game), replier)
    for _ in range(1 + MAX_TRIES * num_pairs // PAIRS_AT_ONCE):
        if len(pairs) >= num_pairs:
            break
        first = deal_episodes(game, rng, PAIRS_AT_ONCE)
        second = [Episode(game, episode.dialogue.deal) for episode in first]
        for episode, twin in zip(play_out(first, agents, rng), play_out(second, agents, rng), strict=True):
            gain = (episode.episode.returns[1] - twin.episode.returns[1]) / temperature
            chosen, rejected = (episode, twin) if rng.random() < expit(gain) else (twin, episode)
            if _comparable(episode, twin):
                pairs.append(_pair(game, chosen.dialogue, rejected.dialogue))
    if len(pairs) < num_pairs:
        raise ValueError(
            f"pairs: expected {num_pairs} prompts with two different last replies of player 1, got {len(pairs)} of "
            f"{MAX_TRIES} times as many"
        )
    return pairs[:num_pairs]


def split_by_prompt(
    pairs: Sequence[PreferencePair],
    *,
    seed: int,
    fold: int = 0,
    validation_share: float = 0.1,
    test_share: float = 0.2,
) -> PairSplit:
    """Return the pairs in three parts; those whose prompts begin with the same turn of a player are in the same part.

    Args:
        pairs: to be split.
        seed: orders the prompts.
        fold: which of the parts of `test_share` is tested on; folds of one seed have no prompt in common.
        validation_share: of the prompts, those that follow the tested ones.
        test_share: of the prompts.

    Raises:
        ValueError: shares that leave nothing to learn from, no such fold, or too few prompts for three parts.
    """
    if not (validation_share > 0 and test_share > 0 and validation_share + test_share < 1):
        shares = f"{validation_share} and {test_share}"
        raise ValueError(f"validation_share, test_share: expected numbers > 0 with a sum below 1, got {shares}")
    if not 0 <= fold <= round(1 / test_share, 6) - 1:
        raise ValueError(f"fold: expected 0 to {int(round(1 / test_share, 6)) - 1}, got {fold}")
    openings = [next((turn.text for turn in pair.prompt.turns if turn.player is not None), "") for pair in pairs]
    distinct = list(dict.fromkeys(openings))
    order = np.random.default_rng(seed).permutation(len(distinct))
    bounds = np.array([fold * test_share, (fold + 1) * test_share, validation_share]) * len(distinct)
    start, end, num_validation = np.ceil(bounds.round(9)).astype(int).tolist()  # 3 * 0.2 is more than 0.6
    num_test = end - start
    turned = enumerate(np.roll(order, -start))
    part_of = {distinct[k]: (rank >= num_test) + (rank >= num_test + num_validation) for rank, k in turned}
    test, validation, train = (
        [pair for pair, opening in zip(pairs, openings, strict=True) if part_of[opening] == part] for part in range(3)
    )
    if not (train and validation and test):
        raise ValueError(f"pairs: expected enough prompts for three parts, got {len(distinct)}")
    return PairSplit(train, validation, test)


def _comparable(episode: PlayedEpisode, twin: PlayedEpisode) -> bool:
    turns, twin_turns = episode.dialogue.turns, twin.dialogue.turns
    played = episode.episode.forfeited_by is None and twin.episode.forfeited_by is None
    return played and turns[-1].player == ASSISTANT and turns[:-1] == twin_turns[:-1] and turns[-1] != twin_turns[-1]


def _pair(game: LanguageGame[Any], chosen: Dialogue[Any], rejected: Dialogue[Any]) -> PreferencePair:
    """Return two plays as what player 1 was told and said, in words."""
    decode = game.vocabularies[ASSISTANT].decode
    told = decode(game.briefing(chosen.deal, ASSISTANT))
    briefing = [TextTurn(None, told)] if told else []
    heard = [
        turn.tokens if turn.player == ASSISTANT else game.hears(chosen.upto(k + 1), ASSISTANT) or ()
        for k, turn in enumerate(chosen.turns[:-1])
    ]
    spoken = [TextTurn(turn.player, decode(said)) for turn, said in zip(chosen.turns, heard, strict=False)]
    replies = (TextTurn(ASSISTANT, decode(dialogue.turns[-1].tokens)) for dialogue in (chosen, rejected))
    return PreferencePair(TextDialogue((*briefing, *spoken)), *replies)
