"""The prompt sets are what their table says, and the same everywhere."""

import hashlib
from collections import Counter

import pytest

from duologue.envs.games.red_team.language import FORMS, SEEN_TOPICS, STYLES, UNSEEN_TOPICS, Kind, Prompt, render_prompt
from duologue.envs.games.red_team.prompt_sets import PROMPT_SETS, SFT_STYLES, STATIC_STYLES, prompt_set


def seen(kind: Kind) -> set[str]:
    """Return the names of the topics that alignment uses."""
    return {topic.name for topic in SEEN_TOPICS if topic.kind is kind}


def names(prompts: tuple[Prompt, ...]) -> set[str]:
    """Return the names of the topics asked about."""
    return {prompt.topic.name for prompt in prompts}


@pytest.mark.parametrize(
    ("name", "size", "digest"),
    [
        ("static", 810, "4ec1036dd05cb416"),
        ("plain", 108, "a1963891e1da0942"),
        ("in_distribution", 135, "ef766541fbe0b2d8"),
        ("unseen_styles", 200, "74c4ccf3440fc96d"),
        ("unseen_compositions", 200, "cd4c9fd0f512de4d"),
        ("unseen_topics", 180, "9482ad22f7134f12"),
        ("benign", 108, "4a7a4228499f0a44"),
        ("benign_disguised", 200, "0d3a7ac09c59037b"),
    ],
)
def test_a_set_has_its_stated_size_and_golden_order(name: str, size: int, digest: str) -> None:
    """Recorded when the game was written: another digest is another benchmark, hence another version."""
    prompts = prompt_set(name)
    text = "\n".join(" ".join(render_prompt(prompt)) for prompt in prompts)
    assert len(prompts) == len(set(prompts)) == size
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_the_goldens_cover_every_set() -> None:
    """A new set needs a line above."""
    assert len(PROMPT_SETS) == 8


def test_static_is_half_harmful_and_half_benign_with_static_styles_uncomposed() -> None:
    """The training set of RLHF, and the seeds of GPO: 3/4 of 18 topics x 6 forms x 5 dresses of each kind."""
    prompts = prompt_set("static")
    assert Counter(prompt.topic.kind for prompt in prompts) == {Kind.HARMFUL: 405, Kind.BENIGN: 405}
    assert names(prompts) == seen(Kind.HARMFUL) | seen(Kind.BENIGN)
    assert {prompt.styles for prompt in prompts} == {(), *((style,) for style in STATIC_STYLES)}


def test_in_distribution_is_the_harmful_quarter_that_static_leaves() -> None:
    """Together they are every harmful (topic, form, style) triple, and they share none."""
    trained = {prompt for prompt in prompt_set("static") if prompt.topic.kind is Kind.HARMFUL}
    held_out = set(prompt_set("in_distribution"))
    assert not trained & held_out
    assert len(trained | held_out) == 18 * len(FORMS) * 5
    assert {prompt.topic.kind for prompt in held_out} == {Kind.HARMFUL}


def test_unseen_styles_are_single_styles_outside_the_static_ones() -> None:
    """Every one of the twelve occurs."""
    prompts = prompt_set("unseen_styles")
    assert {prompt.styles for prompt in prompts} == {(style,) for style in STYLES if style not in STATIC_STYLES}
    assert names(prompts) <= seen(Kind.HARMFUL)


def test_unseen_compositions_are_pairs_and_triples_of_static_styles() -> None:
    """Each part was trained on, no combination was."""
    prompts = prompt_set("unseen_compositions")
    assert Counter(prompt.depth for prompt in prompts) == {2: 100, 3: 100}
    assert {style for prompt in prompts for style in prompt.styles} == set(STATIC_STYLES)
    assert names(prompts) <= seen(Kind.HARMFUL)


def test_unseen_topics_are_asked_about_as_in_training() -> None:
    """Only the topic is new: all 6 topics x 6 forms x 5 dresses."""
    prompts = prompt_set("unseen_topics")
    assert names(prompts) == {topic.name for topic in UNSEEN_TOPICS if topic.kind is Kind.HARMFUL}
    assert {prompt.styles for prompt in prompts} == {(), *((style,) for style in STATIC_STYLES)}


@pytest.mark.parametrize(("name", "kind"), [("plain", Kind.HARMFUL), ("benign", Kind.BENIGN)])
def test_plain_sets_hold_every_seen_topic_in_every_form(name: str, kind: Kind) -> None:
    """18 topics x 6 forms."""
    prompts = prompt_set(name)
    assert {(prompt.topic.name, prompt.form) for prompt in prompts} == {(t, f) for t in seen(kind) for f in FORMS}
    assert {prompt.depth for prompt in prompts} == {0}


def test_benign_disguised_wears_one_to_three_of_all_styles_and_was_not_trained_on() -> None:
    """Over-refusal is measured on what merely looks suspicious."""
    prompts = prompt_set("benign_disguised")
    assert Counter(prompt.depth for prompt in prompts) == {1: 67, 2: 67, 3: 66}
    assert {style for prompt in prompts for style in prompt.styles} == set(STYLES)
    assert names(prompts) <= seen(Kind.BENIGN)
    assert not set(prompts) & set(prompt_set("static"))


@pytest.mark.parametrize(
    "name", ["in_distribution", "unseen_styles", "unseen_compositions", "unseen_topics", "benign_disguised"]
)
def test_held_out_sets_share_nothing_with_the_training_set(name: str) -> None:
    """`plain` and `benign` alone hold prompts that were trained on."""
    assert not set(prompt_set(name)) & set(prompt_set("static"))


def test_the_three_out_of_distribution_sets_are_disjoint() -> None:
    """Each leaves the training distribution in one respect of its own."""
    sets = [set(prompt_set(f"unseen_{what}")) for what in ("styles", "compositions", "topics")]
    assert len(set.union(*sets)) == sum(map(len, sets))


def test_supervised_styles_are_some_of_the_static_ones() -> None:
    """SFT has met fewer disguises than RLHF."""
    assert set(SFT_STYLES) < set(STATIC_STYLES) < set(STYLES)


def test_an_unknown_set_is_named_in_the_error() -> None:
    """The message lists what exists."""
    with pytest.raises(ValueError, match=r"prompt set: expected one of static, .*, got 'training'"):
        prompt_set("training")
