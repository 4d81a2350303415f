"""DPO recovers the rewards behind preferences; online IPO finds the equilibrium of a preference game, offline not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from duologue.baselines.learners.preference import (
    Preference,
    PreferenceConfig,
    PreferenceLearner,
    ReplyPairs,
    bradley_terry_preference,
    pair_rows,
    prefer_higher_return,
)
from duologue.baselines.rollouts.trajectories import Trajectories
from duologue.tests.baselines.helpers import (
    RED,
    WORDS,
    YES,
    Menu,
    by_prompt,
    distance,
    draw,
    every_reply,
    gibbs,
    learnt,
    reply_probabilities,
    start,
    weights,
)

CONFIG = PreferenceConfig(learning_rate=2e-2, warmup_updates=1, final_learning_rate_share=0.0, kl_coef=0.5)
CYCLE = torch.tensor([[0.5, 0.9, 0.4], [0.1, 0.5, 0.9], [0.6, 0.1, 0.5]], dtype=torch.float64)
"""Each word of `WORDS` beats the next, with probability .9, .9 and .6."""


def said(batch: Trajectories) -> Tensor:
    """Return the first own token of each reply."""
    first = batch.policy_token_mask.int().argmax(1, keepdim=True)
    return batch.tokens.gather(1, first).squeeze(1)


def beats(table: Tensor) -> Preference:
    """Return the preference function of a table over `WORDS`."""

    def preference(first: Trajectories, second: Trajectories) -> Tensor:
        rows, columns = ([WORDS.index(int(token)) for token in said(batch)] for batch in (first, second))
        return table[rows, columns]

    return preference


def equilibrium(ref: Tensor, table: Tensor, kl_coef: float) -> Tensor:
    """Return pi with log pi/ref - P pi / beta constant, by small steps of mirror descent."""
    logits = ref.log()
    for _ in range(4000):
        logits = 0.99 * logits + 0.01 * (ref.log() + table @ logits.softmax(0) / kl_coef)
    return logits.softmax(0)


def offline_pairs(
    game: Menu, start_probabilities: Tensor, preference: Preference, num_pairs: int, rng: np.random.Generator
) -> ReplyPairs:
    """Return pairs of independent replies of the reference to each prompt, with labels drawn by the preference."""
    everything = every_reply(game)
    probabilities = by_prompt(game, start_probabilities).numpy()
    width = probabilities.shape[1]
    rows = np.concatenate(
        [k * width + rng.choice(width, (num_pairs, 2), p=row / row.sum()) for k, row in enumerate(probabilities)]
    )
    first, second = (everything.select(torch.from_numpy(column)) for column in rows.T)
    wins = torch.from_numpy(rng.random(len(rows))) < preference(first, second)
    return ReplyPairs(first, second, wins.double())


def fitted(learner: PreferenceLearner, pairs: ReplyPairs, *, num_updates: int, rng: np.random.Generator) -> None:
    """Take updates on batches of the pairs."""
    for _ in range(num_updates):
        rows = torch.from_numpy(rng.choice(len(pairs), 256, replace=False))
        learner.fit(pairs.select(rows), rng)


@pytest.mark.parametrize("seed", range(3))
def test_offline_dpo_recovers_the_closed_form_optimum(seed: int) -> None:
    """4000 pairs a prompt, labelled by Bradley-Terry with rewards r: pi goes to ref exp(r / beta), .5 away."""
    game, rng = Menu(), np.random.default_rng(seed)
    agent, ref = start(game, seed=seed)
    learner = PreferenceLearner(agent, CONFIG, num_planned=60)
    pairs = offline_pairs(game, ref, bradley_terry_preference, 4000, rng)
    fitted(learner, pairs, num_updates=60, rng=rng)
    policy = by_prompt(game, reply_probabilities(agent, every_reply(game)))
    assert distance(policy, gibbs(game, ref, every_reply(game).returns, kl_coef=0.5)) < 0.1


def test_online_dpo_goes_there_too() -> None:
    """Bradley-Terry preferences, known as probabilities, of fresh pairs: the same minimum as from given ones."""
    game = Menu()
    agent, ref = start(game)
    learner = PreferenceLearner(agent, CONFIG, preference=bradley_terry_preference, num_planned=40)
    policy = learnt(game, learner, num_updates=40, size=128, seed=0)
    assert distance(policy, gibbs(game, ref, every_reply(game).returns, kl_coef=0.5)) < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_online_ipo_of_two_replies_settles_at_the_closed_form(seed: int) -> None:
    """Preference games with KL: pi(1) = sigmoid(logit ref(1) + (p - 1/2) / beta), p .7 and beta .2."""
    game, table = Menu(prompts=1, words=(RED, YES)), torch.tensor([[0.5, 0.7], [0.3, 0.5]], dtype=torch.float64)
    agent, ref = start(game, seed=seed)
    config = replace(CONFIG, loss="ipo", kl_coef=0.2)
    learner = PreferenceLearner(agent, config, preference=beats(table), num_planned=40)
    policy = learnt(game, learner, num_updates=40, size=64, seed=seed)
    assert float(policy[0, 0]) == pytest.approx(float(torch.sigmoid(ref.logit()[0] + 1)), abs=0.02)
    assert abs(float(policy[0, 0] - ref[0])) > 0.15


def test_online_ipo_finds_the_equilibrium_and_offline_ipo_does_not() -> None:
    """A cycle of three, beta .3: the NE of the KL game, against ref exp(P(y > mu) / beta) for pairs from mu."""
    game = Menu(prompts=1)
    config = replace(CONFIG, loss="ipo", learning_rate=1e-2, kl_coef=0.3)
    agent, ref = start(game)
    mu = torch.tensor([0.05, 0.05, 0.9], dtype=torch.float64)
    nash, elsewhere = equilibrium(ref, CYCLE, 0.3)[None], gibbs(game, ref, CYCLE @ mu, kl_coef=0.3)
    assert distance(nash, elsewhere) > 0.3
    assert distance(ref[None], nash) > 0.08
    online = PreferenceLearner(agent, config, preference=beats(CYCLE), num_planned=50)
    assert distance(learnt(game, online, num_updates=50, size=128, seed=0), nash) < 0.05
    other, _ = start(game)
    rng = np.random.default_rng(0)
    offline = PreferenceLearner(other, config, num_planned=50)
    fitted(offline, offline_pairs(game, mu, beats(CYCLE), 4000, rng), num_updates=50, rng=rng)
    policy = by_prompt(game, reply_probabilities(other, every_reply(game)))
    assert distance(policy, elsewhere) < 0.07
    assert distance(policy, nash) > 0.25


@pytest.mark.parametrize("pairing", ["random", "best_worst"])
def test_a_pair_answers_one_prompt(pairing: str) -> None:
    """Of 7 replies to each of two prompts: 3 random pairs each, or one of the best and the worst."""
    game = Menu()
    agent, _ = start(game)
    batch = draw(game, agent, every_reply(game), 7, np.random.default_rng(1))
    first, second = pair_rows(batch, np.random.default_rng(0), pairing=pairing)  # type: ignore[arg-type]
    assert torch.equal(batch.tokens[first, :3], batch.tokens[second, :3])
    assert not batch.policy_token_mask[:, :3].any()
    used = [*first.tolist(), *second.tolist()]
    assert len(used) == len(set(used)) == (12 if pairing == "random" else 4)
    if pairing == "best_worst":
        for rows in (range(7), range(7, 14)):
            pair = [k for k in range(2) if int(first[k]) in rows]
            best, worst = batch.returns[first[pair]], batch.returns[second[pair]]
            assert (best == batch.returns[list(rows)].max()).all()
            assert (worst == batch.returns[list(rows)].min()).all()


def test_returns_label_pairs_and_a_tie_is_a_half() -> None:
    """By hand: r of the three replies to red are .91, -.76 and -.28."""
    batch = every_reply(Menu(prompts=1))
    first, second = batch.select(torch.tensor([0, 1, 2])), batch.select(torch.tensor([1, 2, 2]))
    assert prefer_higher_return(first, second).tolist() == [1, 0, 0.5]
    expected = torch.sigmoid(first.returns - second.returns)
    assert torch.equal(bradley_terry_preference(first, second), expected)


def test_swapping_a_pair_and_its_label_changes_no_update() -> None:
    """The loss is that of an unordered pair; the reports agree as well."""
    game, updates, after = Menu(), [], []
    for swapped in (False, True):
        agent, ref = start(game)
        pairs = offline_pairs(game, ref, bradley_terry_preference, 8, np.random.default_rng(0))
        if swapped:
            pairs = ReplyPairs(pairs.second, pairs.first, 1 - pairs.preferences)
        learner = PreferenceLearner(agent, CONFIG)
        updates.append([learner.fit(pairs, np.random.default_rng(0)) for _ in range(3)][-1])
        after.append(torch.cat([part.flatten() for part in weights(agent.model)]))
    torch.testing.assert_close(after[0], after[1], atol=1e-4, rtol=0)
    assert updates[0].margin_nats == pytest.approx(updates[1].margin_nats, abs=1e-4)
    assert updates[0].margin_nats > 0
    assert updates[0].accuracy == updates[1].accuracy


def test_the_first_report_is_of_a_policy_that_has_gained_nothing() -> None:
    """At the start pi = ref: margin 0, accuracy 1/2, DPO's loss ln 2 and IPO's (1 / 2 beta)^2 = 1."""
    game = Menu()
    for loss, expected in (("dpo", np.log(2)), ("ipo", 1.0)):
        agent, ref = start(game)
        pairs = offline_pairs(game, ref, bradley_terry_preference, 8, np.random.default_rng(0))
        update = PreferenceLearner(agent, replace(CONFIG, loss=loss)).fit(pairs, np.random.default_rng(0))  # type: ignore[arg-type]
        assert update.loss == pytest.approx(expected, rel=1e-5)
        assert update.margin_nats == pytest.approx(0, abs=1e-5)
        assert update.num_pairs == 16


def test_prompts_with_one_reply_each_are_refused() -> None:
    """There is nothing to compare."""
    game = Menu()
    agent, _ = start(game)
    with pytest.raises(ValueError, match="two replies or more to some prompt, got 2 prompts"):
        PreferenceLearner(agent, CONFIG).update(
            every_reply(game).select(torch.tensor([0, 3])), np.random.default_rng(0)
        )


def test_contradictions_are_refused() -> None:
    """IPO divides by kl_coef, and each pair has one preference."""
    with pytest.raises(ValueError, match="kl_coef: expected a finite number above 0, got 0"):
        PreferenceConfig(kl_coef=0.0)
    one = every_reply(Menu()).select(torch.tensor([0]))
    with pytest.raises(ValueError, match=r"as many first and second replies as preferences, got \(1, 1, 2\)"):
        ReplyPairs(one, one, torch.tensor([1.0, 0.0]))
