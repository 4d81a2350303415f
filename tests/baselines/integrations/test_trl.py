"""Episodes for TRL's GRPOTrainer: what is the learner's own, and what it was paid."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from duologue.agents import EchoAgent, RandomAgent, ScriptedAgent, Speaker
from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.integrations.trl import paid, rollout_func
from duologue.envs import LanguageGame, SinglePlayerEnv, make_game


def trainer_of(game: LanguageGame[Any]) -> Any:
    """Return the part of a trainer that is used: the model, and the accelerator that unwraps it."""
    model = micro_model(game.vocabulary, hidden_size=16, num_layers=1, num_heads=2)
    return SimpleNamespace(model=model, accelerator=SimpleNamespace(unwrap_model=lambda model: model))


@pytest.mark.parametrize(
    ("name", "opponent"),
    [("statements-v0", EchoAgent()), ("tiny_bargaining-v0", ScriptedAgent(["1", "reject", "1"]))],
)
def test_own_tokens_said_again_lead_to_the_same_view_and_return(name: str, opponent: Speaker) -> None:
    """Through the single-player form, from the same deal, against an opponent that does not draw."""
    game = make_game(name)
    out = rollout_func(game, player=1, opponent=opponent)([str(k) for k in range(12)], trainer_of(game))
    env = SinglePlayerEnv(game, player=1, opponent=opponent)
    for k in range(12):
        observation, _ = env.reset(options={"deal": game.deals.sample(np.random.default_rng(k))})
        prompt, completion, mask = out["prompt_ids"][k], out["completion_ids"][k], out["env_mask"][k]
        assert np.trim_zeros(observation["observation"]).tolist() == prompt
        assert len(completion) == len(mask) == len(out["logprobs"][k])
        assert mask[0] == mask[-1] == 1
        earned = 0.0
        for token in (token for token, mine in zip(completion, mask, strict=True) if mine):
            observation, reward, over, _, _ = env.step(token)
            earned += reward
        assert over
        assert earned == out["returns"][k]
        seen = np.trim_zeros(observation["observation"]).tolist()
        assert seen[: len(prompt + completion)] == prompt + completion


def test_opponents_tokens_are_masked_out() -> None:
    """In Kuhn poker player 0 checks and hears a bet: the word "bet" stands in the completion, not its own."""
    game = make_game("kuhn_poker-v0")
    out = rollout_func(game, player=0, opponent=RandomAgent())([str(k) for k in range(40)], trainer_of(game))
    twice = [k for k in range(40) if 0 in out["env_mask"][k]]
    assert twice
    bet = game.vocabulary.encode("bet")[0]
    for k in twice:
        others = [t for t, mine in zip(out["completion_ids"][k], out["env_mask"][k], strict=True) if not mine]
        assert bet in others
        assert all(p == 0 for p, mine in zip(out["logprobs"][k], out["env_mask"][k], strict=True) if not mine)


def test_logprobs_are_the_models_own() -> None:
    """The model's distribution over legal tokens at each prefix, by a full forward pass; fair to a float's rounding."""
    game = make_game("tiny_bargaining-v0")
    trainer = trainer_of(game)
    out = rollout_func(game, player=1, opponent=RandomAgent())(["0", "1", "2"], trainer)
    agent = CausalLMAgent(trainer.model, game.vocabulary)
    for k in range(3):
        view = np.zeros(game.max_view_tokens, dtype=np.int64)
        view[: len(out["prompt_ids"][k])] = out["prompt_ids"][k]
        mask = np.zeros(game.vocabulary.size, dtype=np.int8)
        mask[list(game.vocabulary.encode("accept reject"))] = 1
        with torch.no_grad():
            first = agent.token_probabilities([{"observation": view, "action_mask": mask}])[0]
        token, logprob = out["completion_ids"][k][0], out["logprobs"][k][0]
        assert logprob == pytest.approx(np.log(first[token]), abs=1e-5)


def test_generations_of_one_prompt_share_the_deal() -> None:
    """So that a group's returns differ by what was said alone."""
    game = make_game("statements-v0")
    out = rollout_func(game, player=1, opponent=EchoAgent())(["7"] * 8 + ["8"] * 8, trainer_of(game))
    assert len({tuple(prompt) for prompt in out["prompt_ids"][:8]}) == 1
    assert paid(out["returns"], prompts=[], completions=[]) == out["returns"]
    assert set(out["returns"]) <= {-1.0, 0.0, 1.0}


def test_tokens_are_sampled_at_the_trainers_temperature() -> None:
    """TRL divides logits by it wherever it computes log-probabilities; the model's two words tell, by a full pass."""
    game = make_game("kuhn_poker-v0")
    trainer = trainer_of(game)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.4, generator=torch.Generator().manual_seed(0))
    trainer.temperature = 0.5
    out = rollout_func(game, player=0, opponent=RandomAgent())([str(k) for k in range(8)], trainer)
    two = list(game.vocabulary.encode("check bet"))
    apart = list[float]()
    for prompt, completion, logprobs in zip(out["prompt_ids"], out["completion_ids"], out["logprobs"], strict=True):
        with torch.no_grad():
            logits = trainer.model(torch.tensor([prompt])).logits[0, -1, two]
        halved, plain = (torch.log_softmax(logits / t, -1)[two.index(completion[0])].item() for t in (0.5, 1.0))
        assert logprobs[0] == pytest.approx(halved, abs=1e-5)
        apart.append(abs(halved - plain))
    assert max(apart) > 0.01


@pytest.mark.parametrize(
    ("name", "value"),
    [("top_p", 0.9), ("top_k", 50), ("min_p", 0.1), ("repetition_penalty", 1.2), ("generation_kwargs", {"top_p": 0.5})],
)
@pytest.mark.parametrize("of_args", [False, True])
def test_a_trainer_that_samples_from_another_distribution_is_refused(name: str, value: Any, of_args: bool) -> None:
    """Its log-probabilities are those of the whole distribution; where nothing is cut off there is nothing to say."""
    game = make_game("kuhn_poker-v0")
    trainer = trainer_of(game)
    trainer.args = SimpleNamespace(
        temperature=0.9, top_p=1.0, top_k=0, min_p=None, repetition_penalty=1.0, generation_kwargs=None
    )
    play = rollout_func(game, player=0, opponent=RandomAgent())
    assert play(["0"], trainer)["returns"]
    setattr(trainer.args if of_args else trainer, name, value)
    with pytest.raises(ValueError, match=f"{name}: expected a trainer that samples from the model's own distribution"):
        play(["0"], trainer)
