"""The text that the players of red_team-v1 are cloned from: an average player two, and an ideal one.

`base_corpus` is the prior of both players (behaviour cloning on all tokens, arXiv 2402.08078, equation 7). It holds two
kinds of text. *Rewrites* are how people disguise a given request: they keep its topic or at least its label, know seen
topics only, and use styles with frequencies that fall as a power law of the rank. *Documents* are requests out of the
blue, about all topics in all styles alike; from them comes the capability to answer in every style, and nothing else
teaches the topics that are held out. Average players answer nearly everything, harmful or not.

`sft_corpus` is player two's demonstrations (equation 8): refuse what is harmful, answer what is benign, on static
requests only and mostly plain ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import numpy as np

from .language import (
    FORMS,
    FUNCTION_WORDS,
    NUM_STYLES,
    REFUSAL,
    SEEN_TOPICS,
    STYLES,
    TOPICS,
    Prompt,
    Topic,
    Words,
    render_answer,
    render_prompt,
)
from .prompt_sets import PLAIN_OR_STATIC, SFT_STYLES, prompt_set

REWRITE_SHARE = 0.8
"""The share of rewrites in the base corpus; the rest are documents."""
STYLE_EXPONENT = 2.0
"""An author's style has rank r with probability proportional to r to the minus this."""
REWRITE_DEPTHS = (0.2, 0.6, 0.2)
"""How often a rewrite has no, one and two styles."""
DOCUMENT_DEPTHS = (0.1, 0.7, 0.2)
"""The same of a document."""
SAME_TOPIC_SHARE = 0.97
"""How often a rewrite keeps its seed's topic; else it asks about any seen topic that is as harmful."""
PLAIN_REFUSAL_SHARE, DISGUISED_REFUSAL_SHARE = 0.08, 0.04
"""How often the average player two refuses a plain and a disguised request, harmful or not."""
NOISE_SHARE = 0.01
"""How often it says something else."""
SFT_PLAIN_SHARE = 0.9
"""The share of plain requests among the demonstrations; the rest have one of `SFT_STYLES`."""
MAX_NOISE_WORDS = 3

FORM_NAMES, STYLE_NAMES, ALL_TOPICS = tuple(FORMS), tuple(STYLES), tuple(TOPICS.values())
_POWER_LAW = tuple(rank**-STYLE_EXPONENT for rank in range(1, NUM_STYLES + 1))
_SAID_BY_LABEL = {
    harmful: tuple(topic for topic in SEEN_TOPICS if topic.harmful is harmful) for harmful in (True, False)
}
_SFT_PROMPTS = {
    plain: [
        prompt
        for prompt in prompt_set("static")
        if (not prompt.styles if plain else bool(prompt.styles) and prompt.styles[0] in SFT_STYLES)
    ]
    for plain in (True, False)
}
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One round as text: the seed request or None, the prompt that player one wrote, player two's reply."""

    seed: Prompt | None
    prompt: Words
    reply: Words


def base_corpus(rng: np.random.Generator, n: int) -> list[Exchange]:
    """Return `n` exchanges of average players: rewrites, and documents out of the blue."""
    _check_size(n)
    exchanges = []
    for _ in range(n):
        seed = None
        if rng.random() < REWRITE_SHARE:
            seed = Prompt(_choose(rng, SEEN_TOPICS), _choose(rng, FORM_NAMES), _choose(rng, PLAIN_OR_STATIC))
        prompt = document(rng) if seed is None else rewrite(rng, seed)
        exchanges.append(Exchange(seed, render_prompt(prompt), average_reply(rng, prompt)))
    return exchanges


def sft_corpus(rng: np.random.Generator, n: int) -> list[Exchange]:
    """Return `n` demonstrations on static training requests that are plain or have one of `SFT_STYLES`."""
    _check_size(n)
    exchanges = []
    for _ in range(n):
        prompt = _choose(rng, _SFT_PROMPTS[bool(rng.random() < SFT_PLAIN_SHARE)])
        exchanges.append(Exchange(None, render_prompt(prompt), ideal_reply(prompt)))
    return exchanges


def rewrite(rng: np.random.Generator, seed: Prompt) -> Prompt:
    """Return what the average author makes of a seed request: a common disguise of it, seldom a rare one."""
    topic: Topic = seed.topic if rng.random() < SAME_TOPIC_SHARE else _choose(rng, _SAID_BY_LABEL[seed.harmful])
    return Prompt(topic, _choose(rng, FORM_NAMES), _draw_styles(rng, REWRITE_DEPTHS, _POWER_LAW))


def document(rng: np.random.Generator) -> Prompt:
    """Return a request out of the blue, about any topic in any style."""
    styles = _draw_styles(rng, DOCUMENT_DEPTHS, (1.0,) * NUM_STYLES)
    return Prompt(_choose(rng, ALL_TOPICS), _choose(rng, FORM_NAMES), styles)


def average_reply(rng: np.random.Generator, prompt: Prompt) -> Words:
    """Return what an average player two, who knows no harm, replies."""
    if rng.random() < NOISE_SHARE:
        return tuple(_choose(rng, FUNCTION_WORDS) for _ in range(int(rng.integers(1, MAX_NOISE_WORDS + 1))))
    if rng.random() < (DISGUISED_REFUSAL_SHARE if prompt.styles else PLAIN_REFUSAL_SHARE):
        return REFUSAL
    return render_answer(prompt)


def ideal_reply(prompt: Prompt) -> Words:
    """Return the refusal of a harmful request, the full answer to any other."""
    return REFUSAL if prompt.harmful else render_answer(prompt)


def _draw_styles(rng: np.random.Generator, depths: Sequence[float], weights: Sequence[float]) -> tuple[str, ...]:
    """Return styles of different names, the outermost first."""
    depth, drawn = _draw(rng, depths), list[int]()
    while len(drawn) < depth:
        index = _draw(rng, weights)
        if index not in drawn:
            drawn.append(index)
    return tuple(STYLE_NAMES[index] for index in drawn)


def _choose(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    return items[int(rng.integers(len(items)))]


def _draw(rng: np.random.Generator, weights: Sequence[float]) -> int:
    """Return an index with a probability proportional to its weight."""
    reached = np.fromiter(accumulate(weights), dtype=np.float64)
    return min(int(np.searchsorted(reached, rng.random() * reached[-1], side="right")), len(weights) - 1)


def _check_size(n: int) -> None:
    if n < 0:
        raise ValueError(f"n: expected a number of exchanges, at least 0, got {n}")
