"""Recorded episodes: random ones, and variants in which something changed that a player may not know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..game import LanguageGame
from ..vocabulary import Tokens
from .episode import Episode
from .views import Utterance


@dataclass(frozen=True, slots=True)
class Play:
    """A recorded episode: everything needed to play it again."""

    deal: Any
    tokens: Tokens
    """All tokens in the order said, `<eos>`, thoughts and a forfeiting token included."""
    speakers: Tokens
    """Who said each of them."""


def random_play(
    game: LanguageGame[Any],
    deal: Any,
    rng: np.random.Generator,
    *,
    eos_share: float = 0.25,
    forfeits: bool = False,
) -> Play:
    """Return one random play of legal tokens.

    Args:
        game: the rules.
        deal: what chance drew.
        rng: draws the tokens.
        eos_share: how often `<eos>` is said where words are legal; 0 makes every turn as long as may be.
        forfeits: say an illegal token at some point, if the episode gets there.
    """
    episode, recorder = Episode(game, deal), _Recorder()
    forfeit_at = (int(rng.integers(game.max_turns)), int(rng.integers(min(2, game.max_turn_tokens))))
    while episode.player is not None:
        illegal = np.flatnonzero(episode.open_turn.legal_mask == 0)
        here = (len(episode.dialogue.turns), len(episode.open_turn.spoken))
        if forfeits and here == forfeit_at and len(illegal):
            recorder.say(episode, int(rng.choice(illegal)))
        else:
            recorder.say(episode, draw_token(episode, rng, eos_share=eos_share))
    return recorder.play(deal)


def random_plays(game: LanguageGame[Any], seed: int, num_plays: int) -> list[Play]:
    """Return random plays of a game: turns short and as long as can be, every fourth play with a forfeit."""
    rng = np.random.default_rng(seed)
    return [
        random_play(game, game.deals.sample(rng), rng, eos_share=(k % 3) / 4, forfeits=k % 4 == 3)
        for k in range(num_plays)
    ]


def draw_token(episode: Episode[Any], rng: np.random.Generator, *, eos_share: float) -> int:
    """Return a legal token; `<eos>` or the end of a thought with `eos_share`, a thought half the time."""
    vocabulary = episode.game.vocabularies[episode.player or 0]
    opening, closing = vocabulary.think_ids or (-1, -1)
    legal = np.flatnonzero(episode.open_turn.legal_mask)
    if opening in legal and rng.random() < 0.5:
        return opening
    enders = [int(token) for token in legal if token in (vocabulary.eos_id, closing)]
    words = [int(token) for token in legal if token not in (vocabulary.eos_id, closing, opening)]
    if enders and (not words or rng.random() < eos_share):
        return enders[0]
    return int(rng.choice(words))


def replayed(game: LanguageGame[Any], play: Play) -> Episode[Any]:
    """Return the episode of a play, at its end."""
    episode = Episode(game, play.deal)
    for token in play.tokens:
        episode.push(token)
    return episode


def utterances_of(game: LanguageGame[Any], play: Play) -> Iterator[tuple[int, Utterance]]:
    """Yield the turns of a play: who spoke, and what."""
    episode, said = Episode(game, play.deal), list[int]()
    for token, speaker in zip(play.tokens, play.speakers, strict=True):
        said.append(token)
        if episode.push(token):
            yield speaker, Utterance(tuple(said), ending=episode.dialogue.turns[-1].ending)
            said = []


def with_other_deals(game: LanguageGame[Any], play: Play, rng: np.random.Generator, most: int) -> Iterator[Play]:
    """Yield the play under at most `most` other deals; its tokens may be illegal there."""
    outcomes = game.deals.outcomes()
    deals = list(outcomes) if outcomes is not None else [game.deals.sample(rng) for _ in range(most)]
    for index in rng.permutation(len(deals))[:most]:
        yield replace(play, deal=deals[int(index)])


def with_other_words(game: LanguageGame[Any], play: Play, player: int, rng: np.random.Generator) -> Play:
    """Return the play with one turn of a player said anew, then the recorded tokens as far as they go."""
    turns = list(utterances_of(game, play))
    own = [k for k, (speaker, _) in enumerate(turns) if speaker == player]
    if not own:
        return play
    changed, episode, recorder = int(rng.choice(own)), Episode(game, play.deal), _Recorder()
    for k, (_, utterance) in enumerate(turns):
        recorded = iter(() if k == changed else utterance.tokens)
        while episode.player is not None and len(episode.dialogue.turns) == k:
            drawn = draw_token(episode, rng, eos_share=0.25)
            recorder.say(episode, next(recorded, drawn))
    return recorder.play(play.deal)


def with_other_thoughts(game: LanguageGame[Any], play: Play, player: int, rng: np.random.Generator) -> Play:
    """Return the play with another thought before every turn of a player; the words stay."""
    if not game.max_thought_tokens or game.vocabulary.think_ids is None:
        return play
    opening, closing = game.vocabularies[player].think_ids or (-1, -1)
    words = np.flatnonzero(game.vocabularies[player].sayable_mask)
    episode, recorder = Episode(game, play.deal), _Recorder()
    for speaker, utterance in utterances_of(game, play):
        spoken = utterance.tokens
        if speaker == player and not utterance.ending.forfeits:
            end = spoken.index(closing) + 1 if spoken[0] == opening else 0
            thought = rng.choice(words, int(rng.integers(game.max_thought_tokens + 1)))
            spoken = (opening, *(int(token) for token in thought), closing, *spoken[end:])
        for token in spoken:
            if episode.player is not None:
                recorder.say(episode, token)
    return recorder.play(play.deal)


class _Recorder:
    """Writes down what is said in an episode, and by whom."""

    def __init__(self) -> None:
        self._tokens: list[int] = []
        self._speakers: list[int] = []

    def say(self, episode: Episode[Any], token: int) -> None:
        assert episode.player is not None
        self._tokens.append(token)
        self._speakers.append(episode.player)
        episode.push(token)

    def play(self, deal: Any) -> Play:
        return Play(deal, tuple(self._tokens), tuple(self._speakers))
