"""The diversity reward: what each term pays, what the window forgets, and a history that survives a file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from duologue.agents.language_model.encoders import StaticWordEncoder, words_of
from duologue.baselines.functional.diversity import marginal_vendi, nearest_neighbour_novelty, self_bleu_to_history
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.baselines.two_player.diversity_reward import DiversityReward, DiversityWeights
from duologue.envs import Tokens, make_game
from duologue.tests.baselines.helpers import through_a_file, tiny_agent

GAME = make_game("red_team-v0")
ENCODER = StaticWordEncoder(words_of(GAME))
ALL_TERMS = DiversityWeights(
    bleu_weight=5.0, embedding_weight=1.0, nearest_weight=0.5, num_neighbors=3, vendi_weight=0.25, entropy_weight=0.1
)


def _texts(prompts: Sequence[Tokens]) -> list[str]:
    return [GAME.vocabulary.decode(prompt) for prompt in prompts]


def _prompts(count: int, *, seed: int) -> list[Tokens]:
    rng, sayable = np.random.default_rng(seed), np.flatnonzero(GAME.vocabulary.sayable_mask)
    return [tuple(int(token) for token in rng.choice(sayable, rng.integers(1, 9))) for _ in range(count)]


def test_a_repeat_costs_no_more_than_both_weights_and_a_plain_repeat_costs_all() -> None:
    """SelfBLEU and the cosine are at most 1; six words or more have every order of n-gram."""
    reward = DiversityReward(ENCODER, DiversityWeights(bleu_weight=5.0, embedding_weight=1.0, history_window=0))
    prompt = [tuple(int(token) for token in np.flatnonzero(GAME.vocabulary.sayable_mask)[:6])]
    assert reward.scores(prompt, _texts(prompt)).tolist() == [0]
    reward.append(prompt, _texts(prompt))
    assert reward.scores(prompt, _texts(prompt)).tolist() == pytest.approx([-6.0], abs=1e-5)
    past, new = _prompts(40, seed=0), _prompts(40, seed=1)
    reward.append(past, _texts(past))
    scores = reward.scores(new, _texts(new))
    assert bool((scores >= -6 - 1e-6).all())
    assert bool((scores <= 1 + 1e-6).all())


def test_the_window_forgets_and_empty_prompts_are_not_remembered() -> None:
    """An empty prompt has no words to resemble."""
    reward = DiversityReward(ENCODER, DiversityWeights(bleu_weight=5.0, history_window=3))
    old, new = _prompts(1, seed=2), _prompts(3, seed=3)
    reward.append([()], [""])
    assert reward.state_dict() == {"_bleu": [], "_embeddings": None}
    reward.append(old, _texts(old))
    reward.append(new, _texts(new))
    state: dict[str, Any] = reward.state_dict()
    assert state["_bleu"] == [list(prompt) for prompt in new]
    assert state["_embeddings"].shape[0] == 3


def test_weights_of_zero_pay_nothing() -> None:
    """GPO without its diversity reward."""
    reward = DiversityReward(ENCODER, DiversityWeights())
    prompts = _prompts(5, seed=0)
    reward.append(prompts, _texts(prompts))
    assert reward.scores(prompts, _texts(prompts)).tolist() == [0] * 5


def scores_of(weights: DiversityWeights) -> list[float]:
    """Return what five prompts score against a history of ten others."""
    past, new = _prompts(10, seed=0), _prompts(5, seed=1)
    reward = DiversityReward(ENCODER, weights)
    reward.append(past, _texts(past))
    scores: list[float] = reward.scores(new, _texts(new)).tolist()
    return scores


def test_each_term_is_its_formula_and_terms_add_up() -> None:
    """The functional parts, which have known answers of their own, with their weights and signs."""
    past, new = _prompts(10, seed=0), _prompts(5, seed=1)
    vectors, history = ENCODER.encode(_texts(new)), ENCODER.encode(_texts(past))
    expected = {
        "bleu_weight": -self_bleu_to_history(new, past),
        "embedding_weight": -(vectors @ history.T).mean(axis=1),
        "nearest_weight": nearest_neighbour_novelty(vectors, history, num_neighbors=3),
        "vendi_weight": marginal_vendi(vectors, history),
    }
    total = np.zeros(5)
    for name, formula in expected.items():
        one = DiversityWeights(num_neighbors=3, **{name: 2.0})  # type: ignore[arg-type]
        assert scores_of(one) == pytest.approx((2 * formula).tolist(), abs=1e-5)
        total += getattr(ALL_TERMS, name) * formula
    assert scores_of(ALL_TERMS) == pytest.approx(total.tolist(), abs=1e-5)


@pytest.mark.parametrize("k", [0.0, 1.0, 5.0, 10.0])
def test_the_intensity_multiplies_all_terms(k: float) -> None:
    """GPO's k (arXiv 2406.10977): k (R_SelfBLEU + R_Embed) / 2 with weights of one half."""
    weights = DiversityWeights(bleu_weight=0.5, embedding_weight=0.5)
    once = scores_of(weights)
    assert scores_of(replace(weights, intensity=k)) == pytest.approx([k * score for score in once])


def test_the_entropy_bonus_pays_minus_log_pi_at_each_own_token() -> None:
    """CRT (arXiv 2402.19464): -w_E log pi per token, the score at the end, and nothing off the own tokens."""
    agent = tiny_agent(GAME)
    batch = trajectories(rollout(GAME, (agent, agent), 6, np.random.default_rng(0)), 0)
    scores = np.arange(6.0)
    weights = DiversityWeights(entropy_weight=0.1, intensity=2.0)
    paid = DiversityReward(ENCODER, weights).paid(batch, scores)
    assert torch.allclose(paid.rewards, batch.with_bonus(scores).rewards - 0.2 * batch.logprobs)
    assert bool((paid.rewards[~batch.policy_token_mask] == 0).all())
    assert bool((paid.returns > batch.with_bonus(scores).returns).all())


@pytest.mark.parametrize("name", ["bleu_weight", "vendi_weight", "intensity", "num_neighbors", "history_window"])
def test_negative_weights_are_refused(name: str) -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match=f"{name}: expected"):
        DiversityWeights(**{name: -1})


def test_the_history_survives_a_file(tmp_path: Path) -> None:
    """A resumed run scores as the interrupted one would have, by every term."""
    past, new = _prompts(10, seed=0), _prompts(5, seed=1)
    reward, copy = (DiversityReward(ENCODER, replace(ALL_TERMS, history_window=8)) for _ in range(2))
    reward.append(past, _texts(past))
    copy.load_state_dict(through_a_file(tmp_path, reward))
    assert copy.scores(new, _texts(new)).tolist() == reward.scores(new, _texts(new)).tolist()
