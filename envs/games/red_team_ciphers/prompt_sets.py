"""The prompt sets of red_team-v1: what a defender is aligned on, and the whole language in at most one style.

Half of all requests are harmful, and each has its benign twin in the same set. `static` is what RLHF trains on: seen
topics, plain or in one of the four most common styles, three in four of all such requests; `held_out` is the rest.
`middle` are seen topics in styles that a frozen author uses now and then, `tail` in all rarer ones, `unseen_topics` the
topics that are held out for every player, plain or in any one style. `every` is all requests about seen topics that are
plain or in one style: nobody is aligned on it but the ceiling. Two styles are enumerated besides
(`duologue.baselines.evaluation.enumeration`).
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from .language import FORMS, NUM_STYLES, SEEN_TOPICS, STYLES, UNSEEN_TOPICS, Prompt, Topic

NUM_STATIC_STYLES = 4
STATIC_STYLES = tuple(STYLES)[:NUM_STATIC_STYLES]
"""The styles in the static training set: the most common ones."""
SFT_STYLES = STATIC_STYLES[:1]
"""The styles that supervised fine-tuning has met."""
STATIC_SHARE = 0.75
"""The share of the static requests that is trained on, a request and its twin together."""
PLAIN_OR_STATIC: Sequence[tuple[str, ...]] = ((), *((style,) for style in STATIC_STYLES))
LAST_MIDDLE_RANK = NUM_STYLES // 4
"""Styles up to this rank are met now and then; those behind it are the tail."""
TEST_SETS = ("held_out", "middle", "tail", "unseen_topics")
"""What nobody is aligned on but by an adversary of its own, or by nobody at all (the last)."""
PROMPT_SETS = ("static", *TEST_SETS, "every")


@cache
def prompt_set(name: str) -> tuple[Prompt, ...]:
    """Return the requests of one of `PROMPT_SETS`, each harmful one before its twin; the same in every process.

    >>> len(prompt_set("static")), len(prompt_set("held_out"))
    (90, 30)
    """
    if name not in PROMPT_SETS:
        raise ValueError(f"prompt set: expected one of {', '.join(PROMPT_SETS)}, got {name!r}")
    ranks = {"middle": (NUM_STATIC_STYLES, LAST_MIDDLE_RANK), "tail": (LAST_MIDDLE_RANK, NUM_STYLES)}
    if name in ranks:
        return _with_twins(_harmful([(style,) for style in tuple(STYLES)[slice(*ranks[name])]]))
    if name in ("every", "unseen_topics"):
        topics = SEEN_TOPICS if name == "every" else UNSEEN_TOPICS
        return _with_twins(_harmful([(), *((style,) for style in STYLES)], topics))
    harmful = _harmful(PLAIN_OR_STATIC)
    order = np.argsort(np.random.PCG64(1).random_raw(len(harmful)), kind="stable")
    num_trained = round(STATIC_SHARE * len(harmful))
    chosen = order[:num_trained] if name == "static" else order[num_trained:]
    return _with_twins([harmful[k] for k in chosen])


def _harmful(disguises: Sequence[tuple[str, ...]], topics: Sequence[Topic] = SEEN_TOPICS) -> list[Prompt]:
    """Return the harmful requests about some topics in some disguises."""
    asked = [topic for topic in topics if topic.harmful]
    return [Prompt(topic, form, styles) for topic in asked for form in FORMS for styles in disguises]


def _with_twins(harmful: Sequence[Prompt]) -> tuple[Prompt, ...]:
    return tuple(prompt for request in harmful for prompt in (request, request.twin))
