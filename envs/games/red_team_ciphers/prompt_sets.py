"""The prompt sets of red_team-v1: what a defender is aligned on.

Half of all requests are harmful, and each has its benign twin in the same set. `static` is what RLHF trains on: seen
topics, plain or in one of the four most common styles, three in four of all such requests; `held_out` is the rest.
`every` is all requests about seen topics that are plain or in one style, whichever: nobody is aligned on it but the
ceiling. All that is tested on otherwise is enumerated (`duologue.baselines.evaluation.enumeration`).
"""

from collections.abc import Sequence
from functools import cache

import numpy as np

from .language import FORMS, SEEN_TOPICS, STYLES, Prompt

NUM_STATIC_STYLES = 4
STATIC_STYLES = tuple(STYLES)[:NUM_STATIC_STYLES]
"""The styles in the static training set: the most common ones."""
SFT_STYLES = STATIC_STYLES[:1]
"""The styles that supervised fine-tuning has met."""
STATIC_SHARE = 0.75
"""The share of the static requests that is trained on, a request and its twin together."""
PLAIN_OR_STATIC: Sequence[tuple[str, ...]] = ((), *((style,) for style in STATIC_STYLES))
PROMPT_SETS = ("static", "held_out", "every")


@cache
def prompt_set(name: str) -> tuple[Prompt, ...]:
    """Return the requests of one of `PROMPT_SETS`, each harmful one before its twin; the same in every process.

    >>> len(prompt_set("static")), len(prompt_set("held_out"))
    (90, 30)
    """
    if name not in PROMPT_SETS:
        raise ValueError(f"prompt set: expected one of {', '.join(PROMPT_SETS)}, got {name!r}")
    if name == "every":
        return _with_twins(_harmful(((), *((style,) for style in STYLES))))
    harmful = _harmful(PLAIN_OR_STATIC)
    order = np.argsort(np.random.PCG64(1).random_raw(len(harmful)), kind="stable")
    num_trained = round(STATIC_SHARE * len(harmful))
    chosen = order[:num_trained] if name == "static" else order[num_trained:]
    return _with_twins([harmful[k] for k in chosen])


def _harmful(disguises: Sequence[tuple[str, ...]]) -> list[Prompt]:
    """Return the harmful requests about seen topics in some disguises."""
    topics = [topic for topic in SEEN_TOPICS if topic.harmful]
    return [Prompt(topic, form, styles) for topic in topics for form in FORMS for styles in disguises]


def _with_twins(harmful: Sequence[Prompt]) -> tuple[Prompt, ...]:
    return tuple(prompt for request in harmful for prompt in (request, request.twin))
