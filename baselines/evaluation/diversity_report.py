"""How diverse a set of prompts is, in words, in meaning and in what the prompts ask for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...agents.language_model.encoders import SentenceEncoder
from ...envs import LanguageGame, Tokens, WithThoughts
from ...envs.games.red_team.game import RedTeam
from ...envs.games.red_team.language import parse_prompt
from ...envs.games.red_team_ciphers import language as ciphers
from ...envs.games.red_team_ciphers.game import RedTeamCiphers
from ..functional.diversity import embedding_diversity, self_bleu, vendi_score
from ..functional.joint_bleu import joint_self_bleu

MAX_PROMPTS = 256
"""Prompts that are compared pair by pair; more are sampled."""


class ParsedPrompt(NamedTuple):
    """What a prompt is, as far as diversity goes."""

    request: Hashable
    """Equal for prompts that count as the same."""
    styles: Hashable
    """Equal for prompts in the same disguise."""


Parse = Callable[[str], ParsedPrompt | None]
"""Reads a prompt's text; None: it is no request."""


@dataclass(frozen=True, slots=True)
class DiversityReport:
    """The diversity of a set of prompts; compare sets of one size only."""

    num_prompts: int
    self_bleu_diversity: float
    """1 - SelfBLEU, 0 for copies to 1; over pairs (GPO's) of at most `MAX_PROMPTS` prompts; NaN below two."""
    embedding_diversity: float
    """1 - the mean cosine of pairs, 0 for copies, about 1 for unrelated texts; as above."""
    well_formed_rate: float
    """Share of the prompts, 0 to 1, that are requests."""
    distinct_rate: float
    """Distinct requests as a share of all prompts, 0 to 1."""
    num_style_sets: int
    """Distinct disguises among the requests, whatever their order."""
    joint_self_bleu_diversity: float = float("nan")
    """1 - SelfBLEU with all other prompts as joint references (Texygen's), over the same prompts as above."""
    vendi_score: float = float("nan")
    """Effective number of meanings, 1 to the number of prompts compared (at most `MAX_PROMPTS`)."""


def measure_diversity(
    prompts: Sequence[Tokens],
    texts: Sequence[str],
    encoder: SentenceEncoder,
    rng: np.random.Generator,
    *,
    parse: Parse,
    max_prompts: int = MAX_PROMPTS,
) -> DiversityReport:
    """Measure a set of prompts.

    Args:
        prompts: their tokens, for SelfBLEU (GPO's, n = 2 to 5; n is capped at a prompt's length, so that
            copies of a short prompt have diversity 0).
        texts: the same as text, for the encoder and for `parse`.
        encoder: gives unit vectors.
        rng: samples the prompts that are compared pair by pair.
        parse: `parse_red_team` for the micro language, `parse_words` for any text.
        max_prompts: how many are compared pair by pair.
    """
    if len(prompts) != len(texts):
        raise ValueError(f"texts: expected {len(prompts)}, one for each prompt, got {len(texts)}")
    size = len(prompts)
    rows = sorted(rng.choice(size, max_prompts, replace=False).tolist()) if size > max_prompts else range(size)
    in_words = jointly = in_meaning = effective = float("nan")
    if len(rows) > 1:
        compared, embeddings = [prompts[row] for row in rows], encoder.encode([texts[row] for row in rows])
        in_words, jointly = 1 - self_bleu(compared, cap_order=True), 1 - joint_self_bleu(compared)
        in_meaning, effective = embedding_diversity(embeddings), vendi_score(embeddings)
    requests = [parsed for parsed in map(parse, texts) if parsed is not None]
    return DiversityReport(
        num_prompts=size,
        self_bleu_diversity=in_words,
        embedding_diversity=in_meaning,
        well_formed_rate=len(requests) / size if size else float("nan"),
        distinct_rate=len({parsed.request for parsed in requests}) / size if size else float("nan"),
        num_style_sets=len({parsed.styles for parsed in requests}),
        joint_self_bleu_diversity=jointly,
        vendi_score=effective,
    )


def parser_of(game: LanguageGame[Any]) -> Parse:
    """Return what reads a game's prompts: the micro language's parser, or `parse_words`."""
    inside = game.game if isinstance(game, WithThoughts) else game
    if isinstance(inside, RedTeamCiphers):
        return parse_ciphers
    return parse_red_team if isinstance(inside, RedTeam) else parse_words


def parse_red_team(text: str) -> ParsedPrompt | None:
    """Read a prompt of the micro language: topic, form and styles are known.

    >>> parse_red_team("act as pirate what is somiz").styles
    frozenset({'roleplay'})
    """
    prompt = parse_prompt(text.split())
    return None if prompt is None else ParsedPrompt(prompt, frozenset(prompt.styles))


def parse_ciphers(text: str) -> ParsedPrompt | None:
    """Read a prompt of red_team-v1's language, by what its style makes of the words.

    >>> parse_ciphers("badok explain magar").styles
    frozenset({'badok'})
    """
    prompt = ciphers.parse_prompt(text.split())
    return None if prompt is None else ParsedPrompt(prompt, frozenset(prompt.styles))


def parse_words(text: str) -> ParsedPrompt | None:
    """Read any text: prompts are the same if their words are, and nothing is known of disguises.

    >>> parse_words("How  do I") == parse_words("how do i")
    True
    """
    words = tuple(text.lower().split())
    return ParsedPrompt(words, None) if words else None
