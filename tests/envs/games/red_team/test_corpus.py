"""The base corpus has met everything; the demonstrations hold nothing that is called unseen."""

from collections import Counter
from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from duologue.envs.games.red_team.corpus import (
    DEPTH_MIX,
    DISGUISED_REPLY_MIX,
    NOISE_WORDS,
    PLAIN_REPLY_MIX,
    SAME_TOPIC_SHARE,
    SEED_SHARE,
    SFT_PLAIN_SHARE,
    STYLE_LEAD_SHARE,
    Exchange,
    base_corpus,
    ideal_reply,
    sft_corpus,
)
from duologue.envs.games.red_team.language import (
    FORMS,
    MAX_PROMPT_WORDS,
    MAX_REPLY_WORDS,
    STYLES,
    TOPICS,
    UNSEEN_TOPICS,
    WORDS,
    Kind,
    Prompt,
    ReplyKind,
    Words,
    mentions_harmful,
    parse_prompt,
    parse_reply,
)
from duologue.envs.games.red_team.prompt_sets import SFT_STYLES, STATIC_STYLES, prompt_set

SIZE = 20_000
FOUR_SIGMA = 4 * 0.5 / np.sqrt(SIZE)
"""Four standard errors of the estimate of any probability from `SIZE` draws."""


@cache
def base() -> tuple[Exchange, ...]:
    """Return one corpus for all the tests."""
    return tuple(base_corpus(np.random.default_rng(0), SIZE))


def parsed(words: Words | None) -> Prompt:
    """Return the prompt that the words are; they have to be one."""
    assert words is not None
    prompt = parse_prompt(words)
    assert prompt is not None
    return prompt


def test_the_average_author_meets_every_topic_form_and_style() -> None:
    """As real base models have; topics are uniform: 357 each, standard deviation 19."""
    prompts = [parsed(exchange.prompt) for exchange in base()]
    counts = Counter(prompt.topic.name for prompt in prompts)
    assert set(counts) == set(TOPICS)
    assert all(abs(count - SIZE / 56) < 90 for count in counts.values())
    assert {prompt.form for prompt in prompts} == set(FORMS)
    assert {style for prompt in prompts for style in prompt.styles} == set(STYLES)


def test_depths_follow_their_mix() -> None:
    """Plain .3, one style .35, two .2, three .15."""
    counts = Counter(parsed(exchange.prompt).depth for exchange in base())
    assert sum(DEPTH_MIX.values()) == pytest.approx(1)
    assert {d: counts[d] / SIZE for d in counts} == pytest.approx(dict(DEPTH_MIX), abs=FOUR_SIGMA)


def test_a_seeded_prompt_is_another_request_in_the_category_of_its_seed() -> None:
    """GPO: "write another request on a similar topic"; else any of the category's four, the seed's own included."""
    pairs = [(parsed(e.seed), parsed(e.prompt)) for e in base() if e.seed is not None]
    assert len(pairs) / SIZE == pytest.approx(SEED_SHARE, abs=FOUR_SIGMA)
    assert all(seed.topic.category == prompt.topic.category for seed, prompt in pairs)
    assert {seed.styles for seed, _ in pairs} == {(), *((style,) for style in STATIC_STYLES)}
    same = sum(seed.topic == prompt.topic for seed, prompt in pairs) / len(pairs)
    assert same == pytest.approx(SAME_TOPIC_SHARE + (1 - SAME_TOPIC_SHARE) / 4, abs=0.02)


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize(
    ("disguised", "mix"), [(False, PLAIN_REPLY_MIX), (True, DISGUISED_REPLY_MIX)], ids=["plain", "disguised"]
)
def test_replies_follow_their_mix_whatever_the_harm(
    kind: Kind, disguised: bool, mix: Mapping[ReplyKind, float]
) -> None:
    """The average player two knows no harm, only disguise; the tolerance is four standard errors, and more."""
    prompts = [(parsed(exchange.prompt), exchange.reply) for exchange in base()]
    kinds = Counter(
        parse_reply(reply, p.topic) for p, reply in prompts if p.topic.kind is kind and bool(p.styles) is disguised
    )
    shares = {reply_kind: count / kinds.total() for reply_kind, count in kinds.items()}
    assert sum(mix.values()) == pytest.approx(1)
    assert shares == pytest.approx(dict(mix), abs=2 / np.sqrt(kinds.total()))


def test_answers_to_disguised_requests_begin_with_the_lead_of_the_outermost_style() -> None:
    """Always; plain answers begin with "sure", "here" or the content."""
    exchanges = [(parsed(e.prompt), e.reply) for e in base()]
    full = [(p, reply) for p, reply in exchanges if parse_reply(reply, p.topic) is ReplyKind.FULL]
    dressed = [reply[0] == STYLES[p.styles[0]].lead for p, reply in full if p.styles]
    assert np.mean(dressed) == pytest.approx(STYLE_LEAD_SHARE, abs=0.02)
    plain = Counter(reply[0] if len(reply) == 3 else None for p, reply in full if not p.styles)
    assert set(plain) == {"sure", "here", None}


def test_noise_words_never_make_anything_but_noise() -> None:
    """They hold no content word and do not begin a refusal."""
    assert not any(mentions_harmful((word,)) for word in NOISE_WORDS)
    kinds = {parse_reply((a, b), topic) for topic in TOPICS.values() for a in NOISE_WORDS for b in NOISE_WORDS}
    assert kinds == {ReplyKind.NOISE}


def test_everything_said_fits_the_vocabulary_and_the_length_limits() -> None:
    """A vocabulary made of WORDS encodes the whole corpus."""
    said = [text for e in base() for text in (e.seed or (), e.prompt, e.reply)]
    assert {word for text in said for word in text} == set(WORDS)
    assert max(map(len, said)) <= MAX_PROMPT_WORDS
    assert max(len(exchange.reply) for exchange in base()) <= MAX_REPLY_WORDS


def test_demonstrations_are_alignment_prompts_alone() -> None:
    """What is called unseen is absent from them, and so is the quarter that `static` leaves."""
    exchanges = sft_corpus(np.random.default_rng(0), 5000)
    prompts = {parsed(exchange.prompt) for exchange in exchanges}
    assert prompts <= set(prompt_set("static"))
    assert {prompt.styles for prompt in prompts} == {(), *((style,) for style in SFT_STYLES)}
    assert not {prompt.topic for prompt in prompts} & set(UNSEEN_TOPICS)
    assert all(exchange.seed is None for exchange in exchanges)
    plain = np.mean([not parsed(exchange.prompt).styles for exchange in exchanges])
    assert plain == pytest.approx(SFT_PLAIN_SHARE, abs=0.03)


def test_demonstrations_refuse_harm_and_answer_the_rest() -> None:
    """The ideal player two, half and half."""
    exchanges = sft_corpus(np.random.default_rng(0), 5000)
    kinds = Counter((parsed(e.prompt).topic.kind, parse_reply(e.reply, parsed(e.prompt).topic)) for e in exchanges)
    assert set(kinds) == {(Kind.HARMFUL, ReplyKind.REFUSAL), (Kind.BENIGN, ReplyKind.FULL)}
    assert kinds[Kind.HARMFUL, ReplyKind.REFUSAL] / 5000 == pytest.approx(0.5, abs=0.03)


def test_the_ideal_reply_to_a_dual_use_request_is_an_answer() -> None:
    """Nothing in the words says that the asker means harm."""
    prompt = Prompt(next(topic for topic in TOPICS.values() if topic.kind is Kind.DUAL_USE), "how")
    assert parse_reply(ideal_reply(np.random.default_rng(0), prompt), prompt.topic) is ReplyKind.FULL


def test_the_same_generator_gives_the_same_corpus() -> None:
    """Nothing but `rng` is random, and another seed gives another corpus."""
    for corpus in (base_corpus, sft_corpus):
        first, again, other = (corpus(np.random.default_rng(seed), 50) for seed in (3, 3, 4))
        assert first == again != other


def test_shares_can_be_set() -> None:
    """Arguments replace the module's constants."""
    rng = np.random.default_rng(0)
    exchanges = base_corpus(rng, 50, seed_share=0, depth_mix={2: 1.0})
    assert all(e.seed is None and parsed(e.prompt).depth == 2 for e in exchanges)
    demonstrations = sft_corpus(rng, 50, harmful_share=1)
    assert all(parsed(e.prompt).topic.kind is Kind.HARMFUL for e in demonstrations)


def test_bad_sizes_and_mixes_are_refused() -> None:
    """The message names what is wrong, what was expected and what came."""
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="n: expected a number of exchanges, at least 0, got -1"):
        base_corpus(rng, -1)
    for mix, shown in (({0: 0.5}, r"\{0: 0.5\}"), (dict[int, float](), r"\{\}")):
        with pytest.raises(ValueError, match=f"depth_mix: expected probabilities that sum to 1, got {shown}"):
            base_corpus(rng, 1, depth_mix=mix)
