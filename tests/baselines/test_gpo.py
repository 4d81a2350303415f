"""GPO: who learns when, who stays frozen, what novelty earns, and a resumed run."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from duologue.baselines.diversity_reward import DiversityReward
from duologue.baselines.encoders import StaticWordEncoder, words_of
from duologue.baselines.gpo import GPO, GPOSchedule, GPOStep, first_turns
from duologue.baselines.ppo import PPOConfig, PPOLearner, PPOUpdate
from duologue.baselines.rollout import Trajectories
from duologue.envs import Tokens, make_game

from .tiny_players import same, through_a_file, tiny_agent, weights

GAME = make_game("red_team-v0")
ENCODER = StaticWordEncoder(words_of(GAME))
SCHEDULE = GPOSchedule(num_rounds=2, defend_steps=2, attack_steps=1, batch_size=8, static_share=0.5)
CONFIG = PPOConfig(learning_rate=1e-2, warmup_updates=1)


class Watched(PPOLearner):
    """Remembers what it learned from."""

    def __init__(self, seed: int) -> None:
        """Start from random weights."""
        super().__init__(tiny_agent(GAME, seed=seed), CONFIG)
        self.batches: list[Trajectories] = []

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PPOUpdate:
        """Keep the batch."""
        self.batches.append(batch)
        return super().update(batch, rng)


class WatchedReward(DiversityReward):
    """Remembers the order of the calls."""

    def __init__(self) -> None:
        """Take GPO's weights."""
        super().__init__(ENCODER, bleu_weight=5.0, embedding_weight=1.0, window=20)
        self.calls: list[tuple[str, list[Tokens]]] = []
        self.given: list[NDArray[np.float64]] = []

    def scores(self, prompts: Sequence[Tokens], texts: Sequence[str]) -> NDArray[np.float64]:
        """Keep the prompts and their scores."""
        self.calls.append(("scores", list(prompts)))
        self.given.append(super().scores(prompts, texts))
        return self.given[-1]

    def append(self, prompts: Sequence[Tokens], texts: Sequence[str]) -> None:
        """Keep the prompts."""
        self.calls.append(("append", list(prompts)))
        super().append(prompts, texts)


def make_gpo(*, seeds: tuple[int, int] = (1, 2), schedule: GPOSchedule = SCHEDULE) -> tuple[GPO, Watched, Watched]:
    """Return the learner, its adversary and its defender."""
    adversary, defender = (Watched(seed) for seed in seeds)
    return GPO(GAME, adversary, defender, WatchedReward(), schedule, encoder=ENCODER, seed=0), adversary, defender


def state_of(learner: PPOLearner) -> list[torch.Tensor]:
    """Return the policy's and the critic's weights."""
    assert learner.agent.value_head is not None
    return [*weights(learner.agent.model), *weights(learner.agent.value_head)]


def test_the_defender_goes_first_and_stages_are_as_long_as_configured() -> None:
    """One counter sets the stage of rollouts and updates, which the released code's does not."""
    gpo, adversary, defender = make_gpo()
    steps = list(gpo)
    assert [step.stage for step in steps] == ["defend", "defend", "attack"] * 2
    assert [step.round for step in steps] == [1, 1, 1, 2, 2, 2]
    assert [step.iteration for step in steps] == [1, 2, 3, 4, 5, 6]
    assert (len(defender.batches), len(adversary.batches)) == (4, 2)
    assert SCHEDULE.num_steps == 6


def test_who_does_not_learn_is_frozen_bit_for_bit() -> None:
    """Algorithms 2.2: each stage is a best response to a player that does not move."""
    gpo, adversary, defender = make_gpo()
    before = {"attack": state_of(adversary), "defend": state_of(defender)}
    for step in gpo:
        after = {"attack": state_of(adversary), "defend": state_of(defender)}
        frozen = "attack" if step.stage == "defend" else "defend"
        assert same(before[frozen], after[frozen])
        assert not same(before[step.stage], after[step.stage])
        before = after


def test_each_player_is_held_to_its_own_reference() -> None:
    """The KL is 0 at a player's first update, though the two start from different weights, and both references stay."""
    gpo, adversary, defender = make_gpo()
    references = [weights(learner.ref_model) for learner in (adversary, defender)]
    assert same(references[0], weights(adversary.agent.model))
    assert not same(*references)
    first = dict[str, GPOStep]()
    for step in gpo:
        first.setdefault(step.stage, step)
    assert first["defend"].update.kl_nats == 0
    assert first["attack"].update.kl_nats == 0
    for learner, reference in zip((adversary, defender), references, strict=True):
        assert same(weights(learner.ref_model), reference)


def test_prompts_are_scored_before_they_are_remembered() -> None:
    """In every batch, whoever learns; the first batch has no history to resemble."""
    gpo, _, _ = make_gpo()
    reward = gpo.diversity
    assert isinstance(reward, WatchedReward)
    steps = list(gpo)
    assert [name for name, _ in reward.calls] == ["scores", "append"] * len(steps)
    for (_, scored), (_, appended) in zip(reward.calls[::2], reward.calls[1::2], strict=True):
        assert scored == appended
    assert steps[0].diversity_score == 0
    assert all(step.diversity_score < 0 for step in steps[1:])


def test_novelty_pays_the_adversary_alone() -> None:
    """Its returns are the defender's negated plus the scores; the defender's are what the game pays."""
    gpo, adversary, defender = make_gpo()
    reward = gpo.diversity
    assert isinstance(reward, WatchedReward)
    for step in gpo:
        paid = [one.episode.returns for one in gpo.last_played]
        assert step.defender_return == pytest.approx(np.mean([pair[1] for pair in paid]))
        if step.stage == "attack":
            expected = np.array([pair[0] for pair in paid]) + reward.given[-1]
            assert adversary.batches[-1].returns.tolist() == pytest.approx(expected.tolist(), abs=1e-5)
        else:
            assert defender.batches[-1].returns[: len(paid)].tolist() == pytest.approx([pair[1] for pair in paid])


@pytest.mark.parametrize(("share", "num_adversarial"), [(0.0, 8), (0.25, 6), (0.5, 4)])
def test_a_share_of_the_defend_batch_stays_static(share: float, num_adversarial: int) -> None:
    """The rest are the seed requests as they stand; the attack batch has none of them."""
    gpo, adversary, defender = make_gpo(schedule=replace(SCHEDULE, num_rounds=1, static_share=share))
    for step in gpo:
        assert len(gpo.last_played) == (num_adversarial if step.stage == "defend" else 8)
    assert [len(batch) for batch in (*defender.batches, *adversary.batches)] == [8, 8, 8]


def test_last_played_are_the_adversarys_episodes() -> None:
    """Their first turns are what the diversity reward saw."""
    gpo, _, _ = make_gpo()
    reward = gpo.diversity
    assert isinstance(reward, WatchedReward)
    next(iter(gpo))
    assert first_turns(gpo.last_played) == reward.calls[0][1]


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    """Put down after the first attack and taken up by players that start from other weights: weights and metrics."""
    whole, *players = make_gpo()
    steps = list(whole)
    first, *_ = make_gpo()
    resumed = list(islice(first, 3))
    second, *copies = make_gpo(seeds=(7, 8))
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    for ours, theirs in zip(players, copies, strict=True):
        assert same(state_of(ours), state_of(theirs))


def _texts(prompts: Sequence[Tokens]) -> list[str]:
    return [GAME.vocabulary.decode(prompt) for prompt in prompts]


def _prompts(count: int, *, seed: int) -> list[Tokens]:
    rng, sayable = np.random.default_rng(seed), np.flatnonzero(GAME.vocabulary.sayable_mask)
    return [tuple(int(token) for token in rng.choice(sayable, rng.integers(1, 9))) for _ in range(count)]


def test_a_repeat_costs_no_more_than_both_weights_and_a_plain_repeat_costs_all() -> None:
    """SelfBLEU and the cosine are at most 1; six words or more have every order of n-gram."""
    reward = DiversityReward(ENCODER, bleu_weight=5.0, embedding_weight=1.0, window=None)
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
    reward = DiversityReward(ENCODER, bleu_weight=5.0, embedding_weight=0.0, window=3)
    old, new = _prompts(1, seed=2), _prompts(3, seed=3)
    reward.append([()], [""])
    assert reward.state_dict() == {"sentences": [], "embeddings": None}
    reward.append(old, _texts(old))
    reward.append(new, _texts(new))
    state: dict[str, Any] = reward.state_dict()
    assert state["sentences"] == [list(prompt) for prompt in new]
    assert state["embeddings"].shape[0] == 3


def test_weights_of_zero_pay_nothing() -> None:
    """GPO without its diversity reward."""
    reward = DiversityReward(ENCODER, bleu_weight=0.0, embedding_weight=0.0, window=None)
    prompts = _prompts(5, seed=0)
    reward.append(prompts, _texts(prompts))
    assert reward.scores(prompts, _texts(prompts)).tolist() == [0] * 5


def test_the_history_survives_a_file(tmp_path: Path) -> None:
    """A resumed run scores as the interrupted one would have."""
    past, new = _prompts(10, seed=0), _prompts(5, seed=1)
    reward, copy = (DiversityReward(ENCODER, bleu_weight=5.0, embedding_weight=1.0, window=8) for _ in range(2))
    reward.append(past, _texts(past))
    copy.load_state_dict(through_a_file(tmp_path, reward))
    assert copy.scores(new, _texts(new)).tolist() == reward.scores(new, _texts(new)).tolist()
