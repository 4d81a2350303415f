"""GPO: who learns when, who stays frozen, what novelty earns, and a resumed run."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from duologue.agents.language_model.encoders import StaticWordEncoder, words_of
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.learners.options import LearnerOptions
from duologue.baselines.learners.ppo import PPOConfig, PPOLearner, PPOUpdate
from duologue.baselines.learners.shared_critic import SharedCritic
from duologue.baselines.rollouts.trajectories import Trajectories
from duologue.baselines.training.run import read_metrics
from duologue.baselines.two_player.constraint import ConstraintOptions
from duologue.baselines.two_player.diversity_reward import DiversityReward, DiversityWeights
from duologue.baselines.two_player.gpo import GPO, GPOConfig, GPOStep, first_turns
from duologue.baselines.two_player.gpo import make_gpo as build
from duologue.baselines.two_player.learner import TwoPlayerLearner
from duologue.baselines.two_player.stage_clock import GPOSchedule
from duologue.envs import Dialogue, FiniteDeals, LanguageGame, Payoff, Tokens, Turn, make_game
from duologue.tests.baselines.helpers import (
    BLUE,
    NO,
    RED,
    VOCABULARY,
    YES,
    same,
    through_a_file,
    tiny_agent,
    weights,
)

GAME = make_game("red_team-v0")
ENCODER = StaticWordEncoder(words_of(GAME))
SCHEDULE = GPOSchedule(num_rounds=2, defend_steps=2, attack_steps=1, batch_size=8, static_share=0.5)
CONFIG = PPOConfig(learning_rate=1e-2, warmup_updates=1)


class Watched(PPOLearner):
    """Remembers what it learned from."""

    def __init__(self, seed: int, critic: SharedCritic | None = None) -> None:
        """Start from random weights."""
        super().__init__(tiny_agent(GAME, seed=seed), CONFIG, critic=critic)
        self.batches: list[Trajectories] = []

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PPOUpdate:
        """Keep the batch."""
        self.batches.append(batch)
        return super().update(batch, rng)


class WatchedReward(DiversityReward):
    """Remembers the order of the calls."""

    def __init__(self) -> None:
        """Take GPO's weights."""
        super().__init__(ENCODER, DiversityWeights(bleu_weight=5.0, embedding_weight=1.0, history_window=20))
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


def make_with_one_critic(*seeds: int) -> tuple[GPO, Watched, Watched]:
    """Return the same of two players whose one critic starts as the defender."""
    critic = SharedCritic(tiny_agent(GAME, seed=seeds[1]).model)
    adversary, defender = (Watched(seed, critic) for seed in seeds)
    return GPO(GAME, adversary, defender, WatchedReward(), SCHEDULE, encoder=ENCODER, seed=0), adversary, defender


def state_of(learner: PPOLearner) -> list[torch.Tensor]:
    """Return the policy's and the critic's weights."""
    if learner.critic is not None:
        return [*weights(learner.agent.model), *weights(learner.critic.parts)]
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
    for step in first.values():
        assert isinstance(step.update, PPOUpdate)
        assert step.update.kl_nats == 0
    assert set(first) == {"defend", "attack"}
    for learner, reference in zip((adversary, defender), references, strict=True):
        assert same(weights(learner.ref_model), reference)


def test_gpo_is_a_two_player_learner() -> None:
    """Its newest players are the adversary and the defender, its result the last iterate."""
    gpo, adversary, defender = make_gpo()
    learner: TwoPlayerLearner = gpo
    assert learner.seats == (adversary.agent, defender.agent)
    assert learner.average is None


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


class Interview(LanguageGame[str]):
    """Player 1 lets player 0 speak, or says no and loses; player 0 then wins by saying red."""

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({"": 1.0})
    max_turns = 2
    max_turn_tokens = 1

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        return None if len(dialogue.turns) == 2 or dialogue.turns == (Turn((NO,)),) else 1 - len(dialogue.turns)

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens:
        return (RED, BLUE) if dialogue.turns else (YES, NO)

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        won = float(dialogue.turns[-1].tokens != (BLUE,))
        return won, -won


def test_prompts_are_what_the_adversary_said_where_it_spoke() -> None:
    """The defender begins and may end it at once: each prompt is of a row that is learned from, with its own score."""
    encoder = StaticWordEncoder(words_of(Interview()))
    reward = DiversityReward(encoder, DiversityWeights(embedding_weight=1.0))
    first, second = (PPOLearner(tiny_agent(Interview(), seed=seed), CONFIG) for seed in (1, 2))
    gpo = GPO(Interview(), first, second, reward, replace(SCHEDULE, static_share=0.0), encoder=encoder, seed=0)
    silent = 0
    for step in gpo:
        said = [one.dialogue.turns[1].tokens for one in gpo.last_played if len(one.dialogue.turns) == 2]
        silent += len(gpo.last_played) - len(said)
        assert first_turns(gpo.last_played) == said
        assert step.prompts.num_prompts == len(said)
        if step.stage == "attack":
            assert step.num_policy_tokens == len(said)
    assert silent > 0
    assert gpo.produced <= {(RED,), (BLUE,)}


def test_a_batch_without_a_prompt_is_scored_0_and_the_defender_learns_from_it() -> None:
    """A defender that always says no; there is nothing that could be novel."""

    class Refused(Interview):
        def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens:
            return (NO,)

    reward = WatchedReward()
    first, second = (PPOLearner(tiny_agent(Refused(), seed=seed), CONFIG) for seed in (1, 2))
    schedule = replace(SCHEDULE, static_share=0.0, attack_steps=0)
    gpo = GPO(Refused(), first, second, reward, schedule, encoder=ENCODER, seed=0)
    assert [step.diversity_score for step in gpo] == [0.0] * 4
    assert not gpo.produced


@pytest.mark.parametrize("one_critic", [False, True])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(one_critic: bool, tmp_path: Path) -> None:
    """Put down after the first attack and taken up by players that start from other weights: weights and metrics."""

    def make(*seeds: int) -> tuple[GPO, Watched, Watched]:
        return make_with_one_critic(*seeds) if one_critic else make_gpo(seeds=(seeds[0], seeds[1]))

    whole, *players = make(1, 2)
    steps = list(whole)
    first, *_ = make(1, 2)
    resumed = list(islice(first, 3))
    second, *copies = make(7, 8)
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    for ours, theirs in zip(players, copies, strict=True):
        assert same(state_of(ours), state_of(theirs))


def test_one_critic_follows_both_players_and_neither_policy_does() -> None:
    """It moves in every stage, on the rows of whoever learns; the other policy stays as it was."""
    gpo, adversary, defender = make_with_one_critic(1, 2)
    critic = adversary.critic
    assert critic is not None
    assert defender.critic is critic
    before = [weights(part) for part in (critic.parts, adversary.agent.model, defender.agent.model)]
    for step in gpo:
        after = [weights(part) for part in (critic.parts, adversary.agent.model, defender.agent.model)]
        stayed = [same(*pair) for pair in zip(before, after, strict=True)]
        assert stayed == [False, step.stage == "defend", step.stage == "attack"]
        before = after
    assert {int(one) for batch in defender.batches for one in batch.players} == {1}
    assert {int(one) for batch in adversary.batches for one in batch.players} == {0}


def test_one_policy_plays_both_roles_and_learns_in_every_stage(tmp_path: Path) -> None:
    """Self-RedTeam (arXiv 2506.07468): one learner at both places, which a resumed run finds again."""

    def make(seed: int) -> tuple[GPO, Watched]:
        player = Watched(seed)
        reward = DiversityReward(ENCODER, DiversityWeights())
        return GPO(GAME, player, player, reward, SCHEDULE, encoder=ENCODER, seed=0), player

    whole, player = make(1)
    before, steps = state_of(player), []
    for step in whole:
        steps.append(step)
        assert not same(before, state_of(player))
        before = state_of(player)
    assert whole.seats[0] is whole.seats[1]
    assert len(player.batches) == SCHEDULE.num_steps
    first, _ = make(1)
    resumed = list(islice(first, 4))
    second, copy = make(7)
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    assert same(state_of(player), state_of(copy))


def test_the_band_ends_stages_early_and_batches_stay_the_same_number() -> None:
    """A band that every mean return leaves: stages are one window long (MAGIC, arXiv 2602.01539)."""
    schedule = replace(SCHEDULE, defend_steps=3, attack_steps=3, num_rounds=1, band=(-2.0, -2.0), band_window=1)
    gpo, _, _ = make_gpo(schedule=schedule)
    assert [step.stage for step in gpo] == ["defend", "attack", "attack", "attack", "defend", "attack"]


def test_under_a_constraint_the_adversary_learns_the_weighed_sum_and_the_price_moves(tmp_path: Path) -> None:
    """DiveR-CT (arXiv 2405.19026), against a defender that does not move; the first price is 1; resumed as well."""
    schedule = replace(SCHEDULE, defend_steps=0, attack_steps=3, num_rounds=1)
    constraint = ConstraintOptions(threshold=-0.5, learning_rate=0.1)

    def make(seed: int) -> tuple[GPO, Watched]:
        adversary, defender = Watched(seed), Watched(2)
        reward = WatchedReward()
        return GPO(
            GAME, adversary, defender, reward, schedule, encoder=ENCODER, seed=0, constraint=constraint
        ), adversary

    gpo, adversary = make(1)
    steps: list[GPOStep] = []
    for step in gpo:
        price = 1.0 if not steps else steps[-1].price
        assert price is not None
        assert isinstance(gpo.diversity, WatchedReward)
        game = np.array([one.episode.returns[0] for one in gpo.last_played])
        expected = (gpo.diversity.given[-1] + price * game) / (1 + price)
        assert adversary.batches[-1].returns.tolist() == pytest.approx(expected.tolist(), abs=1e-5)
        steps.append(step)
    assert len({step.price for step in steps}) == 3
    first, _ = make(1)
    resumed = list(islice(first, 2))
    second, _ = make(5)
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps


def test_the_successors_are_options_of_the_command(tmp_path: Path) -> None:
    """One policy, a band, a constraint and another reward of novelty, by their flags, down to the saved players."""
    tiny_agent(GAME, seed=1).save_pretrained(tmp_path / "model")
    argv = f"--defender {tmp_path}/model --out {tmp_path}/run --num-threads 1 --one-policy"
    argv += " --nearest-weight 1 --intensity 5"
    argv += " --schedule.band 0.8 0.9 --schedule.num-rounds 1 --schedule.defend-steps 1 --schedule.attack-steps 1"
    argv += " --schedule.batch-size 4 --constraint.threshold 0 --no-keep-checkpoints"
    TRAINERS["gpo"].run(argv.split())
    steps = read_metrics(tmp_path / "run")
    assert [step["stage"] for step in steps] == ["defend", "attack"]
    assert steps[-1]["price"] != 1
    written = [(tmp_path / "run" / name / "model.safetensors").read_bytes() for name in ("adversary", "defender")]
    assert written[0] == written[1]
    with pytest.raises(ValueError, match="shared_critic: expected two policies, got --one-policy"):
        GPOConfig(one_policy=True, shared_critic=True)
    model = tmp_path / "model"
    found = build(GPOConfig(defender=model, adversary=model, shared_critic=True))
    assert isinstance(found.adversary, PPOLearner)
    assert isinstance(found.defender, PPOLearner)
    assert found.adversary.critic is found.defender.critic is not None


def test_groups_come_out_even_and_one_policy_has_one_size(tmp_path: Path) -> None:
    """RLOO in both roles by one model compares four prompts to a deal as well; parts of a batch make whole groups."""
    tiny_agent(GAME, seed=1).save_pretrained(tmp_path / "model")
    argv = f"--defender {tmp_path}/model --out {tmp_path}/run --one-policy --defender-learner.learner rloo"
    argv += " --schedule.num-rounds 1 --schedule.defend-steps 1 --schedule.attack-steps 1 --schedule.batch-size 8"
    TRAINERS["gpo"].run(argv.split())
    assert [step["stage"] for step in read_metrics(tmp_path / "run")] == ["defend", "attack"]
    model = tmp_path / "model"
    schedule = GPOSchedule(batch_size=16, static_share=0.3)
    grpo = LearnerOptions(learner="grpo")
    with pytest.raises(ValueError, match=r"static_share: expected parts of batch_size=16 .* groups of 4, got 5 static"):
        build(GPOConfig(defender=model, adversary=model, schedule=schedule, defender_learner=grpo))
