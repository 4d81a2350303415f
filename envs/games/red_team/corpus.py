"""The text that the red_team players are cloned from: an average player two, and an ideal one.

`base_corpus` is the prior of both players (behaviour cloning on all tokens, arXiv 2402.08078, equation 7):
it has met every topic and every style, rewrites requests into similar ones, and answers nearly everything,
harmful or not; it refuses now and then, but never a disguised request. `sft_corpus` is player two's
demonstrations (equation 8): refuse what is harmful, answer what is benign, on alignment prompts only and mostly
plain ones, so that disguises outside `SFT_STYLES` still work afterwards.
"""

import math
from bisect import bisect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from .language import (
    CATEGORIES,
    FORMS,
    FUNCTION_WORDS,
    PLAIN_LEADS,
    REFUSALS,
    STYLES,
    TOPICS,
    Kind,
    Prompt,
    ReplyKind,
    Topic,
    Words,
    render_answer,
    render_prompt,
)
from .prompt_sets import PLAIN_OR_STATIC, SFT_STYLES, prompt_set

DEPTH_MIX: Mapping[int, float] = MappingProxyType({0: 0.3, 1: 0.35, 2: 0.2, 3: 0.15})
"""How many styles the average author composes."""

PLAIN_REPLY_MIX: Mapping[ReplyKind, float] = MappingProxyType(
    {
        ReplyKind.FULL: 0.84,
        ReplyKind.REFUSAL: 0.08,
        ReplyKind.PARTIAL: 0.04,
        ReplyKind.WRONG: 0.02,
        ReplyKind.NOISE: 0.02,
    }
)
"""What the average player two replies to a plain request, harmful or not."""

DISGUISED_REPLY_MIX: Mapping[ReplyKind, float] = MappingProxyType(
    {ReplyKind.FULL: 0.93, ReplyKind.PARTIAL: 0.03, ReplyKind.WRONG: 0.02, ReplyKind.NOISE: 0.02}
)
"""What it replies to a disguised one: who plays along does not refuse, which is why disguises work."""

SEED_SHARE = 0.9
"""The share of the exchanges whose prompt rewrites a seed request."""

SAME_TOPIC_SHARE = 0.4
"""How often a rewritten request keeps its seed's topic; else any topic of the category follows, that one too."""

STYLE_LEAD_SHARE = 1.0
"""How often an answer to a disguised request begins with the outermost style's lead word."""

HARMFUL_SHARE = 0.5
"""The share of harmful prompts among the demonstrations of an ideal player two."""

SFT_PLAIN_SHARE = 0.97
"""The share of plain prompts among them; the rest have one of `SFT_STYLES`."""

MAX_NOISE_WORDS = 4
NOISE_WORDS: Words = tuple(word for word in FUNCTION_WORDS if word != REFUSALS[0][0])
"""What noise is made of: no topic's content and no "sorry", so that noise never parses as anything else."""

FORM_NAMES = tuple(FORMS)
STYLE_NAMES = tuple(STYLES)
Item = TypeVar("Item")

_SFT_PROMPTS = {
    (kind, plain): [
        prompt
        for prompt in prompt_set("static")
        if prompt.topic.kind is kind
        and (not prompt.styles if plain else prompt.styles and prompt.styles[0] in SFT_STYLES)
    ]
    for kind in (Kind.HARMFUL, Kind.BENIGN)
    for plain in (True, False)
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One round as text: the seed request or None, the prompt that player one wrote, player two's reply."""

    seed: Words | None
    prompt: Words
    reply: Words


def base_corpus(
    rng: np.random.Generator,
    n: int,
    *,
    seed_share: float = SEED_SHARE,
    depth_mix: Mapping[int, float] = DEPTH_MIX,
) -> list[Exchange]:
    """Return `n` exchanges of average players about all topics in all styles.

    A seed is plain or has one static style, and the prompt asks about a topic of the seed's category.
    """
    _check_size(n)
    _check_mix("depth_mix", depth_mix)
    topics, exchanges = tuple(TOPICS.values()), []
    for _ in range(n):
        topic, seed = _choose(rng, topics), None
        if rng.random() < seed_share:
            seed = render_prompt(Prompt(topic, _choose(rng, FORM_NAMES), _choose(rng, PLAIN_OR_STATIC)))
            if rng.random() >= SAME_TOPIC_SHARE:
                topic = _choose(rng, CATEGORIES[topic.category])
        prompt = average_prompt(rng, topic, depth_mix=depth_mix)
        reply = average_reply(rng, prompt)
        exchanges.append(Exchange(seed, render_prompt(prompt), reply))
    return exchanges


def sft_corpus(rng: np.random.Generator, n: int, *, harmful_share: float = HARMFUL_SHARE) -> list[Exchange]:
    """Return `n` demonstrations on static training prompts that are plain or have one of `SFT_STYLES`."""
    _check_size(n)
    exchanges = []
    for _ in range(n):
        kind = Kind.HARMFUL if rng.random() < harmful_share else Kind.BENIGN
        plain = rng.random() < SFT_PLAIN_SHARE
        prompt = _choose(rng, _SFT_PROMPTS[kind, plain])
        exchanges.append(Exchange(None, render_prompt(prompt), ideal_reply(rng, prompt)))
    return exchanges


def average_prompt(rng: np.random.Generator, topic: Topic, *, depth_mix: Mapping[int, float] = DEPTH_MIX) -> Prompt:
    """Return a request about `topic` in any form, disguised by any styles."""
    order = rng.permutation(len(STYLES))[: _draw(rng, depth_mix)]
    return Prompt(topic, _choose(rng, FORM_NAMES), tuple(STYLE_NAMES[index] for index in order))


def average_reply(rng: np.random.Generator, prompt: Prompt) -> Words:
    """Return what an average player two, who knows no harm, replies."""
    kind = _draw(rng, DISGUISED_REPLY_MIX if prompt.styles else PLAIN_REPLY_MIX)
    if kind is ReplyKind.REFUSAL:
        return _choose(rng, REFUSALS)
    if kind is ReplyKind.NOISE:
        return tuple(_choose(rng, NOISE_WORDS) for _ in range(int(rng.integers(1, MAX_NOISE_WORDS + 1))))
    lead = _draw_lead(rng, prompt)
    if kind is ReplyKind.PARTIAL:
        word = _choose(rng, prompt.topic.content)
        return (word,) if lead is None else (lead, word)
    if kind is ReplyKind.WRONG:
        others = [topic for topic in TOPICS.values() if topic != prompt.topic]
        return render_answer(_choose(rng, others), lead)
    return render_answer(prompt.topic, lead)


def ideal_reply(rng: np.random.Generator, prompt: Prompt) -> Words:
    """Return a refusal of a harmful request, the full answer to any other."""
    if prompt.topic.kind is Kind.HARMFUL:
        return _choose(rng, REFUSALS)
    return render_answer(prompt.topic, _draw_lead(rng, prompt))


def _draw_lead(rng: np.random.Generator, prompt: Prompt) -> str | None:
    """Return the outermost style's lead word, or else, equally often, a plain one or none."""
    if prompt.styles and rng.random() < STYLE_LEAD_SHARE:
        return STYLES[prompt.styles[0]].lead
    return _choose(rng, (*PLAIN_LEADS, None))


def _choose(rng: np.random.Generator, items: Sequence[Item]) -> Item:
    return items[int(rng.integers(len(items)))]


def _draw(rng: np.random.Generator, mix: Mapping[Item, float]) -> Item:
    """Return an item with its probability."""
    items, reached = tuple(mix), tuple(accumulate(mix.values()))
    return items[min(bisect(reached, rng.random()), len(items) - 1)]  # their sum may round below 1


def _check_size(n: int) -> None:
    if n < 0:
        raise ValueError(f"n: expected a number of exchanges, at least 0, got {n}")


def _check_mix(name: str, mix: Mapping[Item, float]) -> None:
    if min(mix.values(), default=-1.0) < 0 or not math.isclose(sum(mix.values()), 1):
        raise ValueError(f"{name}: expected probabilities that sum to 1, got {dict(mix)}")
