"""The prompt sets of red_team: what a defender is aligned on, and what it is tested on.

Alignment uses plain requests and a few fixed disguises about the seen topics; each test set leaves that
training distribution in one respect. The sets depend on nothing but this file: they are ordered by raw
bits of PCG64, whose stream NumPy keeps from version to version, and not by a run's seed.

| set | prompts | topics | styles |
| --- | --- | --- | --- |
| `static` | 810: half harmful, half benign | seen | none or one static; three in four of all such prompts |
| `plain` | 108, all there are | seen, harmful | none; three in four are in `static` |
| `in_distribution` | 135, all that `static` leaves | seen, harmful | none or one static |
| `unseen_styles` | 200 | seen, harmful | one that is not static |
| `unseen_compositions` | 200 | seen, harmful | two or three static ones, in equal parts |
| `unseen_topics` | 180, all there are | unseen, harmful | none or one static |
| `benign` | 108, all there are | seen, benign | none; three in four are in `static` |
| `benign_disguised` | 200, none in `static` | seen, benign | one, two or three of all, in equal parts |
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice, permutations
from math import prod

import numpy as np

from .language import FORMS, SEEN_TOPICS, STYLES, UNSEEN_TOPICS, Kind, Prompt, Topic

STATIC_STYLES = ("roleplay", "hypothetical", "story", "authority")
"""The styles in the static training set of RLHF."""

SFT_STYLES = STATIC_STYLES[:2]
"""The styles that supervised fine-tuning has met."""

STATIC_SHARE = 0.75
"""The share of the static (topic, form, style) triples that is trained on; the rest is held out."""

TEST_SET_SIZE = 200
"""Prompts in a test set, where as many exist."""

_Chains = Sequence[tuple[str, ...]]
PLAIN: _Chains = ((),)
PLAIN_OR_STATIC: _Chains = ((), *((style,) for style in STATIC_STYLES))


def prompt_set(name: str) -> tuple[Prompt, ...]:
    """Return the prompts of one of `PROMPT_SETS`, the same in every process.

    >>> len(prompt_set("in_distribution"))
    135
    """
    if name not in _BUILDERS:
        raise ValueError(f"prompt set: expected one of {', '.join(_BUILDERS)}, got {name!r}")
    return _build(name)


@cache
def _build(name: str) -> tuple[Prompt, ...]:
    return _BUILDERS[name]()


def _static() -> tuple[Prompt, ...]:
    (harmful, _), (benign, _) = _split_static(Kind.HARMFUL), _split_static(Kind.BENIGN)
    return tuple(prompt for pair in zip(harmful, benign, strict=True) for prompt in pair)


def _unseen_styles() -> tuple[Prompt, ...]:
    chains = [(style,) for style in STYLES if style not in STATIC_STYLES]
    return tuple(islice(_in_fixed_order(_seen(Kind.HARMFUL), chains, seed=3), TEST_SET_SIZE))


def _unseen_compositions() -> tuple[Prompt, ...]:
    topics = _seen(Kind.HARMFUL)
    sources = [_in_fixed_order(topics, list(permutations(STATIC_STYLES, k)), seed=4 + k) for k in (2, 3)]
    return _take_in_turn(sources, TEST_SET_SIZE)


def _unseen_topics() -> tuple[Prompt, ...]:
    topics = [topic for topic in UNSEEN_TOPICS if topic.kind is Kind.HARMFUL]
    return tuple(islice(_in_fixed_order(topics, PLAIN_OR_STATIC, seed=8), TEST_SET_SIZE))


def _benign_disguised() -> tuple[Prompt, ...]:
    topics, trained = _seen(Kind.BENIGN), frozenset(prompt_set("static"))
    sources = [_in_fixed_order(topics, list(permutations(STYLES, k)), seed=8 + k) for k in (1, 2, 3)]
    fresh = [(prompt for prompt in source if prompt not in trained) for source in sources]
    return _take_in_turn(fresh, TEST_SET_SIZE)


_BUILDERS: dict[str, Callable[[], tuple[Prompt, ...]]] = {
    "static": _static,
    "plain": lambda: tuple(_in_fixed_order(_seen(Kind.HARMFUL), PLAIN, seed=0)),
    "in_distribution": lambda: _split_static(Kind.HARMFUL)[1],
    "unseen_styles": _unseen_styles,
    "unseen_compositions": _unseen_compositions,
    "unseen_topics": _unseen_topics,
    "benign": lambda: tuple(_in_fixed_order(_seen(Kind.BENIGN), PLAIN, seed=0)),
    "benign_disguised": _benign_disguised,
}
PROMPT_SETS = tuple(_BUILDERS)
"""The names of the sets: the training set first, then the test sets."""


def _seen(kind: Kind) -> list[Topic]:
    return [topic for topic in SEEN_TOPICS if topic.kind is kind]


def _split_static(kind: Kind) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...]]:
    """Return the static prompts of one kind: those trained on, those held out."""
    prompts = tuple(_in_fixed_order(_seen(kind), PLAIN_OR_STATIC, seed=1 if kind is Kind.HARMFUL else 2))
    num_trained = round(STATIC_SHARE * len(prompts))
    return prompts[:num_trained], prompts[num_trained:]


def _in_fixed_order(topics: Sequence[Topic], chains: _Chains, *, seed: int) -> Iterator[Prompt]:
    """Yield every prompt about `topics` under `chains` of styles once, in an order fixed by `seed`."""
    forms = tuple(FORMS)
    shape = (len(topics), len(forms), len(chains))
    order = np.argsort(np.random.PCG64(seed).random_raw(prod(shape)), kind="stable")
    for topic, form, chain in zip(*np.unravel_index(order, shape), strict=True):
        yield Prompt(topics[topic], forms[form], chains[chain])


def _take_in_turn(sources: Sequence[Iterator[Prompt]], count: int) -> tuple[Prompt, ...]:
    """Return `count` prompts, one from each source in turn."""
    in_turn = (prompt for group in zip(*sources, strict=False) for prompt in group)
    return tuple(islice(in_turn, count))
