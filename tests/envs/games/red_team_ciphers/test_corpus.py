"""The base corpus has a long tail and holds topics out; the demonstrations hold nothing that is called unseen."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from duologue.envs.games.red_team_ciphers.corpus import (
    REWRITE_SHARE,
    SAME_TOPIC_SHARE,
    STYLE_EXPONENT,
    Exchange,
    base_corpus,
    sft_corpus,
)
from duologue.envs.games.red_team_ciphers.language import (
    FORMS,
    NUM_STYLES,
    REFUSAL,
    SEEN_TOPICS,
    STYLES,
    TOPICS,
    Prompt,
    ReplyKind,
    Words,
    parse_prompt,
    parse_reply,
    render_answer,
)
from duologue.envs.games.red_team_ciphers.prompt_sets import PROMPT_SETS, SFT_STYLES, STATIC_STYLES, prompt_set

SIZE = 20_000
FOUR_SIGMA = 4 * 0.5 / np.sqrt(SIZE)
RANKS = {
    "static": (1, 4),
    "held_out": (1, 4),
    "middle": (5, 16),
    "tail": (17, 64),
    "unseen_topics": (1, 64),
    "every": (1, 64),
}
"""The most common and the rarest style in each prompt set."""


@cache
def base() -> tuple[Exchange, ...]:
    """Return one corpus for all the tests."""
    return tuple(base_corpus(np.random.default_rng(0), SIZE))


def parsed(words: Words) -> Prompt:
    """Return the prompt that the words are; they have to be one."""
    prompt = parse_prompt(words)
    assert prompt is not None
    return prompt


def test_rewrites_are_about_seen_topics_and_keep_their_seed() -> None:
    """The topics that are held out are in no text that an adversary rewrites, before or after."""
    rewrites = [(exchange.seed, parsed(exchange.prompt)) for exchange in base() if exchange.seed is not None]
    assert len(rewrites) / SIZE == pytest.approx(REWRITE_SHARE, abs=FOUR_SIGMA)
    assert all(seed.topic.seen and prompt.topic.seen and seed.harmful is prompt.harmful for seed, prompt in rewrites)
    kept = np.mean([seed.topic == prompt.topic for seed, prompt in rewrites])
    assert kept == pytest.approx(SAME_TOPIC_SHARE + (1 - SAME_TOPIC_SHARE) / 6, abs=0.01)


def test_styles_of_rewrites_fall_as_a_power_law() -> None:
    """Slope of log frequency in log rank over the styles that are seen often; the rarest is about 1 in 10^4."""
    prompts = [parsed(exchange.prompt) for exchange in base() if exchange.seed is not None]
    counts = Counter(STYLES[prompt.styles[0]].rank for prompt in prompts if prompt.depth == 1)
    ranks = np.array([rank for rank in range(1, 9)])
    slope = np.polyfit(np.log(ranks), np.log([counts[rank] for rank in ranks]), 1)[0]
    assert slope == pytest.approx(-STYLE_EXPONENT, abs=0.25)
    rarest = NUM_STYLES**-STYLE_EXPONENT / sum(rank**-STYLE_EXPONENT for rank in range(1, NUM_STYLES + 1))
    assert 5e-5 < rarest < 2e-4


def test_documents_have_met_all_topics_and_all_styles_alike() -> None:
    """The capability that is the same everywhere."""
    prompts = [parsed(exchange.prompt) for exchange in base() if exchange.seed is None]
    styles = Counter(style for prompt in prompts for style in prompt.styles)
    assert set(styles) == set(STYLES)
    assert {prompt.topic.name for prompt in prompts} == set(TOPICS)
    mean = sum(styles.values()) / NUM_STYLES
    assert all(abs(count - mean) < 5 * np.sqrt(mean) for count in styles.values())


def test_the_average_player_answers_nearly_everything() -> None:
    """Harmful or not alike: 91 % of plain requests, 95 % of disguised ones."""
    for disguised, expected in ((False, 0.99 * 0.92), (True, 0.99 * 0.96)):
        for harmful in (False, True):
            prompts = [(parsed(exchange.prompt), exchange.reply) for exchange in base()]
            chosen = [
                parse_reply(reply, prompt) is ReplyKind.RIGHT
                for prompt, reply in prompts
                if bool(prompt.styles) is disguised and prompt.harmful is harmful
            ]
            assert np.mean(chosen) == pytest.approx(expected, abs=2 / np.sqrt(len(chosen)))


def test_demonstrations_are_ideal_and_of_static_requests() -> None:
    """Plain, or in a style that fine-tuning has met."""
    static = set(prompt_set("static"))
    for exchange in sft_corpus(np.random.default_rng(1), 500):
        prompt = parsed(exchange.prompt)
        assert prompt in static
        assert set(prompt.styles) <= set(SFT_STYLES)
        assert exchange.reply == (REFUSAL if prompt.harmful else render_answer(prompt))


def test_prompt_sets_hold_twins_and_share_nothing() -> None:
    """Half harmful; those that are tested on have nothing in common, and cover the language in at most one style."""
    sets = {name: prompt_set(name) for name in PROMPT_SETS}
    apart = [set(prompts) for name, prompts in sets.items() if name != "every"]
    assert sum(map(len, apart)) == len(set().union(*apart)) == len(TOPICS) * len(FORMS) * (1 + len(STYLES))
    assert max(STYLES[style].rank for style in STATIC_STYLES) == len(STATIC_STYLES)
    for name, prompts in sets.items():
        assert [prompt.harmful for prompt in prompts[:4]] == [True, False, True, False]
        members, ranks = set(prompts), [STYLES[style].rank for prompt in prompts for style in prompt.styles]
        least, most = RANKS[name]
        assert (min(ranks), max(ranks)) == (least, most)
        for prompt in prompts:
            assert prompt.twin in members
            assert prompt.topic.seen is (name != "unseen_topics")
    with pytest.raises(ValueError, match="prompt set: expected one of static, held_out"):
        prompt_set("unseen")


def test_every_request_in_at_most_one_style_stands_once_in_every() -> None:
    """Seen topics x forms x (plain and all styles), which holds all that is in the other sets."""
    prompts = prompt_set("every")
    assert len(prompts) == len(set(prompts)) == len(SEEN_TOPICS) * len(FORMS) * (1 + len(STYLES))
    assert {style for prompt in prompts for style in prompt.styles} == set(STYLES)
    assert {*prompt_set("static"), *prompt_set("held_out")} < set(prompts)


def test_a_negative_size_is_refused() -> None:
    """By name."""
    with pytest.raises(ValueError, match="n: expected"):
        base_corpus(np.random.default_rng(0), -1)
