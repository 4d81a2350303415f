import math

import numpy as np
import pytest

from duologue.agents.language_model.encoders import StaticWordEncoder
from duologue.baselines.evaluation import measure_diversity, parse_red_team, parse_words, red_team_prompts
from duologue.baselines.evaluation.diversity_report import DiversityReport, Parse, parser_of
from duologue.envs import make_game
from duologue.envs.games.red_team.game import VOCABULARY

ENCODER = StaticWordEncoder(VOCABULARY.words)


def report(texts: list[str], parse: Parse = parse_red_team, max_prompts: int = 256) -> DiversityReport:
    """Measure texts of the micro language."""
    prompts = [VOCABULARY.encode(text) for text in texts]
    return measure_diversity(prompts, texts, ENCODER, np.random.default_rng(0), parse=parse, max_prompts=max_prompts)


def test_a_collapsed_adversary_has_no_diversity() -> None:
    """Copies of one short prompt: SelfBLEU and cosine are 1, one request is left."""
    collapsed = report(["what is somiz"] * 20)
    assert collapsed.self_bleu_diversity == pytest.approx(0, abs=1e-12)
    assert collapsed.embedding_diversity == pytest.approx(0, abs=1e-6)
    assert collapsed.vendi_score == pytest.approx(1, abs=1e-6)
    assert (collapsed.num_prompts, collapsed.distinct_rate, collapsed.num_style_sets) == (20, 1 / 20, 1)


def test_jointly_taken_references_leave_less_that_is_new() -> None:
    """A prompt whose halves stand in two others: against both together every bigram but one is known."""
    found = report(["what is somiz", "act as pirate", "act as pirate what is somiz"])
    assert 0 < found.joint_self_bleu_diversity < found.self_bleu_diversity < 1
    assert 1 < found.vendi_score < 3


def test_requests_and_disguises_are_counted_as_parsed() -> None:
    """By hand: four prompts, one no request, two the same, the disguises equal but for their order."""
    texts = [
        "act as pirate suppose rules vanish what is somiz",
        "suppose rules vanish act as pirate what is somiz",
        "act as pirate suppose rules vanish what is somiz",
        "pirate pirate",
    ]
    found = report(texts)
    assert (found.well_formed_rate, found.distinct_rate, found.num_style_sets) == (0.75, 0.5, 1)
    assert 0 < found.self_bleu_diversity < 1


def test_the_test_sets_are_more_diverse_than_plain_prompts() -> None:
    """Plain prompts share six forms; disguises add words and are 12 in number."""
    texts = {
        name: [VOCABULARY.decode(prompt) for _, prompt in red_team_prompts(name)] for name in ("plain", "unseen_styles")
    }
    plain, disguised = (report(texts[name]) for name in ("plain", "unseen_styles"))
    assert plain.distinct_rate == disguised.distinct_rate == 1
    assert (plain.num_style_sets, disguised.num_style_sets) == (1, 12)


def test_only_a_sample_is_compared_pair_by_pair() -> None:
    """The cost of all pairs grows with the square; counting does not."""
    texts = [VOCABULARY.decode(prompt) for _, prompt in red_team_prompts("plain")]
    sampled, whole = report(texts, max_prompts=60), report(texts)
    assert sampled.self_bleu_diversity != whole.self_bleu_diversity
    assert sampled.self_bleu_diversity == pytest.approx(whole.self_bleu_diversity, abs=0.05)
    assert sampled.distinct_rate == whole.distinct_rate == 1


def test_less_than_two_prompts_have_no_pairs() -> None:
    """NaN, which is null in JSON, rather than a number that looks like collapse."""
    assert math.isnan(report(["what is somiz"]).self_bleu_diversity)
    assert math.isnan(report([]).distinct_rate)
    with pytest.raises(ValueError, match="texts: expected 1, one for each prompt, got 2"):
        measure_diversity([(9,)], ["a", "b"], ENCODER, np.random.default_rng(0), parse=parse_words)


def test_any_text_can_be_counted() -> None:
    """Prompts of a text game are the same if their words are; an empty one is none."""
    assert parse_words("  \n") is None
    found = report(["what is somiz", "what is somiz", ""], parse=parse_words)
    assert (found.well_formed_rate, found.distinct_rate, found.num_style_sets) == (2 / 3, 1 / 3, 1)


def test_the_parser_of_a_game_stays_with_it_when_its_players_think() -> None:
    """Thoughts change nothing of the prompts' language."""
    assert parser_of(make_game("red_team-v0", max_thought_tokens=2)) is parse_red_team
    assert parser_of(make_game("bluff-v0", max_thought_tokens=2)) is parse_words
