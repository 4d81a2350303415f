"""A batch in parts: the same estimates and the same gradients as at once, for every registered learner."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from duologue.agents import CausalLMAgent, EchoAgent
from duologue.agents.language_model import scoring
from duologue.agents.language_model.adapters import NewAdapter, SharedBase
from duologue.agents.language_model.legal_mask import LegalMask
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.learners import base
from duologue.baselines.learners.base import TrainedModel
from duologue.baselines.learners.optimisation import place_moments, require_full_precision
from duologue.baselines.learners.options import LearnerOptions
from duologue.baselines.learners.parts import distinct, parts_of, said_of
from duologue.baselines.learners.ppo import PPOConfig, PPOLearner
from duologue.baselines.learners.ptx import PretrainingDataOptions
from duologue.baselines.learners.registry import LEARNERS, registered_learner
from duologue.baselines.learners.shared_critic import SharedCritic
from duologue.baselines.rollouts.groups import rollout_in_groups
from duologue.baselines.rollouts.trajectories import Trajectories, trajectories
from duologue.envs import make_game
from duologue.tests.baselines.helpers import tiny_agent, weights

GAME = make_game("red_team-v0")
BUILT_IN = sorted(name for name in LEARNERS if name in LearnerOptions.__dataclass_fields__)


@pytest.fixture(scope="module")
def batch() -> Trajectories:
    """Return sixteen episodes of views and replies of several lengths, four to each prompt."""
    agent, rng = tiny_agent(GAME), np.random.default_rng(0)
    played = rollout_in_groups(GAME, (EchoAgent(), agent), 16, rng, player=1, group_size=4)
    found = trajectories(played, 1)
    assert len(set(found.attention_mask.sum(1).tolist())) > 2
    return found


def first_gradient(name: str, batch: Trajectories, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Tensor:
    """Return the gradient of the first step of an update, before it is clipped."""
    found: list[Tensor] = []

    def note(parameters: list[nn.Parameter], max_norm: float) -> Tensor:
        found.append(torch.cat([(p.grad if p.grad is not None else torch.zeros_like(p)).flatten() for p in parameters]))
        return torch.ones(())

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", note)
    kind = registered_learner(name)
    learner: Any = kind.make(tiny_agent(GAME, seed=1), kind.config(num_minibatches=1, **changes))
    _unsettle(learner)
    learner.update(batch, np.random.default_rng(0))
    return found[0]


def _unsettle(learner: TrainedModel[Any]) -> None:
    """Move a model away from its reference, so that a charge for KL has a gradient."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in learner.agent.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) / 20)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("tokens_at_once", [1, 60])
def test_gradients_add_up_to_the_whole_minibatchs(
    name: str, tokens_at_once: int, batch: Trajectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the loss divides by, tokens, replies or pairs: to 1e-5, an episode at a time and a few."""
    whole = first_gradient(name, batch, monkeypatch)
    parts = first_gradient(name, batch, monkeypatch, tokens_at_once=tokens_at_once)
    assert whole.norm() > 1e-3
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant_length"])
def test_every_way_to_one_number_has_the_same_gradient_in_parts(
    aggregation: str, batch: Trajectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of replies of several lengths, which weigh differently in each."""
    given = {"aggregation": aggregation, "constant_length": 7 if aggregation == "constant_length" else None}
    whole = first_gradient("rloo", batch, monkeypatch, **given)
    torch.testing.assert_close(
        first_gradient("rloo", batch, monkeypatch, tokens_at_once=50, **given), whole, atol=1e-5, rtol=1e-5
    )


def test_an_entropy_bonus_and_the_starts_own_data_come_in_parts_too(batch: Trajectories) -> None:
    """After two epochs of two minibatches: the same weights up to rounding, and the same report."""
    found = []
    for tokens_at_once in (0, 60):
        config = PPOConfig(
            entropy_coef=0.1, ptx_coef=0.5, ptx_batch_size=8, tokens_at_once=tokens_at_once, adam_epsilon=1.0
        )
        data = PretrainingDataOptions(num_ptx_dialogues=20).pretraining_data(GAME, 1, ptx_coef=1.0, seed=0)
        learner = PPOLearner(tiny_agent(GAME, seed=1), config, ptx=data)
        update = learner.update(batch, np.random.default_rng(0))
        found.append((torch.cat([weight.flatten() for weight in weights(learner.agent.model)]), update))
    torch.testing.assert_close(found[0][0], found[1][0], atol=1e-6, rtol=1e-5)
    for name in ("policy_loss", "value_loss", "entropy_nats", "grad_norm", "ptx_loss_nats"):
        assert getattr(found[1][1], name) == pytest.approx(getattr(found[0][1], name), abs=1e-5)


def test_a_shared_critic_is_fitted_in_parts(batch: Trajectories) -> None:
    """Its values, and its weights after a step."""
    found = []
    for tokens_at_once in (0, 60):
        agent = tiny_agent(GAME)
        critic = SharedCritic(agent.model)
        PPOLearner(agent, PPOConfig(tokens_at_once=tokens_at_once, adam_epsilon=1.0), critic=critic).update(
            batch, np.random.default_rng(0)
        )
        found.append(torch.cat([weight.detach().flatten() for weight in critic.parameters()]))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-5)


def test_parts_hold_every_row_once_and_no_more_tokens_than_asked(batch: Trajectories) -> None:
    """Padding counts; a row that is longer than that stands alone."""
    lengths = batch.attention_mask.sum(1)
    for tokens_at_once in (1, 30, 60, 200, 10_000):
        parts = parts_of(batch.attention_mask, tokens_at_once)
        assert sorted(torch.cat(parts).tolist()) == list(range(len(batch)))
        assert all(len(rows) == 1 or len(rows) * int(lengths[rows].max()) <= tokens_at_once for rows in parts)
    assert len(parts_of(batch.attention_mask, 1)) == len(batch)
    assert len(parts_of(batch.attention_mask, 0)) == 1


def test_estimates_in_parts_are_those_of_the_whole(batch: Trajectories) -> None:
    """Log-probabilities, entropies and values, each at its place."""
    agent = tiny_agent(GAME, values=True)

    def outputs(part: Trajectories) -> tuple[Tensor, ...]:
        return agent.evaluate(part.tokens, part.attention_mask, part.policy_token_mask, part.legal_mask)

    for whole, parts in zip(said_of(outputs, batch, 0), said_of(outputs, batch, 60), strict=True):
        torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-5)


def test_equal_episodes_are_read_once_and_count_as_often_as_they_were_played(
    batch: Trajectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each twice and some three times: estimates and the gradient are those of all rows, the model reads a half."""
    told, _ = distinct(batch)
    often = told.select(torch.cat([torch.arange(len(told)), torch.arange(len(told)), torch.arange(3)]))
    read: list[int] = []
    evaluate = CausalLMAgent.evaluate

    def noted(agent: CausalLMAgent, tokens: Tensor, *given: Any, **options: Any) -> Any:
        read.append(len(tokens))
        return evaluate(agent, tokens, *given, **options)

    monkeypatch.setattr(CausalLMAgent, "evaluate", noted)
    whole = first_gradient("ppo", often, monkeypatch)
    assert set(read) == {len(often)}
    read.clear()
    shared = first_gradient("ppo", often, monkeypatch, tokens_at_once=10**6)
    assert set(read) == {len(told)}
    assert whole.norm() > 1e-3
    torch.testing.assert_close(shared, whole, atol=1e-5, rtol=1e-5)
    in_parts = first_gradient("ppo", often, monkeypatch, tokens_at_once=60)
    torch.testing.assert_close(in_parts, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tokens_at_once", [0, 10**6, 60])
@pytest.mark.parametrize("name", ["ppo", "rloo"])
def test_where_the_first_step_is_on_the_whole_batch_one_pass_serves_both(
    name: str, tokens_at_once: int, batch: Trajectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model is read once, and its reference; in parts it is read for estimates, for the loss and for gradients."""
    read: list[bool] = []
    evaluate = CausalLMAgent.evaluate

    def noted(agent: CausalLMAgent, *given: Any, **options: Any) -> Any:
        read.append(torch.is_grad_enabled())
        return evaluate(agent, *given, **options)

    monkeypatch.setattr(CausalLMAgent, "evaluate", noted)
    given = {"tokens_at_once": tokens_at_once} | ({"num_epochs": 1} if name == "ppo" else {})
    once = first_gradient(name, batch, monkeypatch, **given)
    num_parts = len(parts_of(distinct(batch)[0].attention_mask, tokens_at_once))
    assert sorted(read) == [False] * (1 if num_parts == 1 else 3 * num_parts) + [True] * num_parts
    monkeypatch.setattr(base, "said_at_once", lambda *given: None)
    read.clear()
    apart = first_gradient(name, batch, monkeypatch, **given)
    assert sorted(read) == [False] * (2 if num_parts == 1 else 3 * num_parts) + [True] * num_parts
    assert apart.norm() > 1e-3
    torch.testing.assert_close(once, apart, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("tokens_at_once", [0, 10**6])
@pytest.mark.parametrize("name", ["ppo", "rloo"])
def test_an_adapter_s_first_pass_is_computed_again_with_it_on(
    name: str, tokens_at_once: int, batch: Trajectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference, the base alone, has spoken in between, and another adapter while advantages are asked for."""
    pytest.importorskip("peft")
    base_model = SharedBase(tiny_agent(GAME, seed=1).model)
    other = base_model.new(NewAdapter(rank=2, seed=5))
    found = []
    for checkpointing in (False, True):
        model = base_model.new(NewAdapter(rank=2))
        with torch.no_grad():
            for mine, others in zip(model.parameters(), other.parameters(), strict=True):
                mine.fill_(0.1)
                others.fill_(0.3)
        agent = CausalLMAgent(model, GAME.vocabulary, gradient_checkpointing=checkpointing)
        learner: Any = registered_learner(name).make(
            agent,
            registered_learner(name).config(
                num_minibatches=1, tokens_at_once=tokens_at_once, **({"num_epochs": 1} if name == "ppo" else {})
            ),
        )
        said_before = learner.said_before

        def then_another(*given: Any, said_before: Any = said_before, **options: Any) -> Any:
            said = said_before(*given, **options)
            other(input_ids=torch.ones(1, 3, dtype=torch.int64))
            return said

        monkeypatch.setattr(learner, "said_before", then_another)
        gradient: list[Tensor] = []

        def note(parameters: list[nn.Parameter], max_norm: float, gradient: list[Tensor] = gradient) -> Tensor:
            gradient.append(torch.cat([p.grad.flatten() for p in parameters if p.grad is not None]))
            return torch.ones(())

        monkeypatch.setattr(nn.utils, "clip_grad_norm_", note)
        learner.update(batch, np.random.default_rng(0))
        assert learner._first is None
        found.append(gradient[0])
    assert found[0].norm() > 1e-3
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4)


def test_rows_that_may_say_other_things_are_not_one(batch: Trajectories) -> None:
    """Though the same was seen and said, as in a game whose rules look at what its player does not know."""
    twice = batch.select(torch.zeros(2, dtype=torch.int64))
    masks = [[np.array([5, 6]), np.array([5])][row] for row in range(2) for _ in range(twice.tokens.shape[1])]
    mask = LegalMask.of(masks, GAME.vocabulary)
    apart = replace(twice, legal_mask=replace(mask, sets=mask.sets.reshape(twice.tokens.shape)))
    assert len(distinct(twice)[0]) == 1
    assert len(distinct(apart)[0]) == 2


@pytest.mark.parametrize("name", ["tokens", "attention_mask", "policy_token_mask", "players"])
def test_episodes_that_differ_in_anything_read_are_not_one(name: str, batch: Trajectories) -> None:
    """One entry changed keeps two rows apart; their order is the batch's, and rewards make no difference."""
    twice = batch.select(torch.zeros(3, dtype=torch.int64))
    same, number = distinct(replace(twice, rewards=torch.arange(3.0)[:, None] * torch.ones_like(twice.rewards)))
    assert len(same) == 1
    assert number.tolist() == [0, 0, 0]
    other = getattr(twice, name).clone()
    entry = (0,) if other.ndim == 1 else (0, 1)
    other[entry] = ~other[entry] if other.dtype == torch.bool else other[entry] + 1
    changed: dict[str, Any] = {name: other}
    told, number = distinct(replace(twice, **changed))
    assert len(told) == 2
    assert number.tolist() == [0, 1, 1]


def evaluated(agent: CausalLMAgent, batch: Trajectories, **options: Any) -> tuple[list[Tensor], Tensor]:
    """Return what an agent says of a batch, and a gradient of it."""
    agent.model.zero_grad()
    said = agent.evaluate(batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask, **options)
    (said.logprobs.square().sum() + said.values.square().sum()).backward()
    gradient = torch.cat([weight.grad.flatten() for weight in agent.model.parameters() if weight.grad is not None])
    return [part.detach() for part in said], gradient


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("adapted", [False, True])
def test_a_chunked_head_and_layers_computed_twice_say_the_same(
    adapted: bool, checkpointing: bool, batch: Trajectories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients, of a whole model and of an adapter, with the legal tokens of each position."""
    agent = tiny_agent(GAME, values=True)
    if adapted:
        pytest.importorskip("peft")
        model = SharedBase(agent.model).new(NewAdapter(rank=2))
        agent = CausalLMAgent(model, GAME.vocabulary, value_head=agent.value_head)
        with torch.no_grad():
            for weight in model.parameters():
                weight.fill_(0.1)
    whole, gradient = evaluated(agent, batch)
    agent.gradient_checkpointing = checkpointing
    monkeypatch.setattr("duologue.agents.language_model.causal_lm.LOGITS_AT_ONCE", 3 * GAME.vocabulary.size)
    chunks: list[int] = []
    score = scoring.score

    def noted(logits: Tensor, said: Tensor, **given: Any) -> tuple[Tensor, Tensor]:
        chunks.append(len(logits))
        return score(logits, said, **given)

    monkeypatch.setattr("duologue.agents.language_model.causal_lm.score", noted)
    parts, again = evaluated(agent, batch)
    assert max(chunks) == 3
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradient, again, atol=1e-4, rtol=1e-4)


def test_entropies_have_a_graph_only_where_they_are_charged(batch: Trajectories) -> None:
    """Two more tensors as large as the logits would be kept for nothing."""
    agent = tiny_agent(GAME)
    given = (batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask)
    assert not agent.evaluate(*given).entropies.requires_grad
    assert agent.evaluate(*given, entropy_grad=True).entropies.requires_grad
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    sizes = []
    for entropy_grad in (False, True):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            agent.evaluate(*given, entropy_grad=entropy_grad)
        sizes.append(sum(kept))
    num_logits = batch.num_policy_tokens * GAME.vocabulary.size
    assert sizes[1] - sizes[0] >= num_logits


def test_layers_computed_twice_keep_less(batch: Trajectories) -> None:
    """What is saved for the backward pass, in numbers."""
    agent = CausalLMAgent(micro_model(GAME.vocabulary, hidden_size=16, num_layers=6, num_heads=2), GAME.vocabulary)
    given = (batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask)
    sizes, kept = list[int](), list[int]()

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    for asked in (False, True):
        agent.gradient_checkpointing = asked
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            agent.evaluate(*given)
        sizes.append(sum(kept))
        assert not any("forward" in vars(module) for module in agent.model.modules())
    assert sizes[1] < sizes[0] / 2


def test_half_precision_is_not_trained() -> None:
    """An update of 1e-6 would move hardly a weight; frozen ones may be so."""
    agent = tiny_agent(GAME)
    agent.model.bfloat16()
    with pytest.raises(ValueError, match=r"model: expected weights in float32 to be trained, got bfloat16"):
        PPOLearner(agent, PPOConfig())
    require_full_precision(agent.model.requires_grad_(False))


def test_moments_move_with_the_turn() -> None:
    """From the device of who learns, and back; on one device they are left as they are."""
    weight = nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    before = copy.deepcopy(optimizer.state_dict())
    place_moments(optimizer, torch.device("meta"))
    assert optimizer.state[weight]["exp_avg"].device.type == "meta"
    assert optimizer.state[weight]["step"].device.type == "cpu"
    optimizer.load_state_dict(before)
    place_moments(optimizer, torch.device("cpu"))
    assert torch.equal(optimizer.state[weight]["exp_avg"], before["state"][0]["exp_avg"])
