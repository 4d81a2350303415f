"""What is cut off a distribution before it is sampled from, and turns that end at a stop string."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.agents.language_model.sampling import WHOLE, Truncation
from duologue.baselines.learners.ppo import PPOConfig, PPOLearner
from duologue.envs import Ending, deal_episodes, make_game
from duologue.envs.games.red_team_text.game import RedTeamText
from duologue.envs.games.red_team_text.requests import Request, judge_examples
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, tiny_tokenizer

CHANCES = torch.tensor([[0.15, 0.5, 0.05, 0.3], [0.25, 0.25, 0.25, 0.25]])


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        (WHOLE, [[0, 1, 2, 3], [0, 1, 2, 3]]),
        (Truncation(top_p=0.7), [[1, 3], [0, 1, 2]]),
        (Truncation(top_p=0.4), [[1], [0, 1]]),
        (Truncation(min_p=0.2), [[0, 1, 3], [0, 1, 2, 3]]),
        (Truncation(top_p=0.9, min_p=0.5), [[1, 3], [0, 1, 2, 3]]),
    ],
)
def test_what_is_kept_is_what_the_papers_keep(truncation: Truncation, kept: list[list[int]]) -> None:
    """By hand: the fewest tokens of at least `top_p` (Holtzman et al., 2020), those of a share of the likeliest's."""
    cut = truncation.cut(CHANCES.log())
    assert [np.flatnonzero(row).tolist() for row in cut.isfinite()] == kept
    expected = CHANCES.where(cut.isfinite(), 0.0)
    assert cut.softmax(-1).numpy() == pytest.approx((expected / expected.sum(-1, keepdim=True)).numpy(), abs=1e-6)


def test_gradients_pass_through_what_is_kept() -> None:
    """A cut token has probability 0 whatever its logit, so its gradient is 0 and no NaN."""
    logits = CHANCES.log().requires_grad_()
    torch.log_softmax(Truncation(top_p=0.7).cut(logits), dim=-1)[0, 1].backward()
    assert logits.grad is not None
    assert logits.grad[0].tolist() == pytest.approx([0, 3 / 8, 0, -3 / 8])


def text_game() -> RedTeamText:
    """Return a game of free text."""
    vocabulary = TokenizerVocabulary(tiny_tokenizer(CHATML))
    return RedTeamText(
        [Request("How?")], vocabulary=vocabulary, judge=judge_examples, split="all", max_prompt_tokens=40
    )


def test_a_turn_ends_where_its_text_shows_a_stop_string() -> None:
    """Never behind it, and by an end of its own where it has not reached its limit; other turns go on as they were."""
    game, rng = text_game(), np.random.default_rng
    agent = CausalLMAgent(micro_model(game.vocabulary, hidden_size=16, num_layers=1, num_heads=2), game.vocabulary)
    views = [episode.view() for episode in deal_episodes(game, rng(0), 40)]
    free = agent.speak(views, rng(1))
    agent.truncation = Truncation(stop=("e", "th"))
    stopped = 0
    for said, whole in zip(agent.speak(views, rng(1)), free, strict=True):
        text = game.vocabulary.decode(said.tokens)
        assert said.logprobs is not None
        if not agent.truncation.stops(text):
            continue
        stopped += 1
        assert not agent.truncation.stops(game.vocabulary.decode(said.tokens[:-2]))
        assert (said.tokens[-1], said.ending) == (game.vocabulary.eos_id, Ending.END_OF_TURN)
        assert said.logprobs[-1] == 0 or said.tokens == whole.tokens
    assert stopped > 10


def test_turns_that_the_rules_narrow_have_no_stop_strings() -> None:
    """There the rules say how a turn may end."""
    game = make_game("bluff-v0")
    agent = CausalLMAgent(micro_model(game.vocabulary, hidden_size=16, num_layers=1, num_heads=2), game.vocabulary)
    views = [episode.view() for episode in deal_episodes(game, np.random.default_rng(0), 4)]
    plain = agent.speak(views, np.random.default_rng(1))
    agent.truncation = Truncation(stop=("fold", "bet"))
    assert agent.speak(views, np.random.default_rng(1)) == plain


def test_a_folder_keeps_how_its_model_is_sampled(tmp_path: Path) -> None:
    """In sampling.json, and only what is not as usual."""
    game = make_game("bluff-v0")
    agent = CausalLMAgent(
        micro_model(game.vocabulary, hidden_size=16, num_layers=1, num_heads=2),
        game.vocabulary,
        temperature=0.7,
        truncation=Truncation(top_p=0.9, stop=("\n\n",)),
    )
    agent.save_pretrained(tmp_path)
    sampling = json.loads((tmp_path / "sampling.json").read_text(encoding="utf-8"))
    assert sampling == {"temperature": 0.7, "top_p": 0.9, "stop": ["\n\n"], "vocabulary_size": game.vocabulary.size}
    assert CausalLMAgent.from_pretrained(tmp_path, game.vocabulary).truncation == agent.truncation
    (tmp_path / "sampling.json").write_text(json.dumps(sampling | {"top_p": 1.5}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"sampling.json: top_p: expected a number in \(0, 1\) or None, got 1.5"):
        CausalLMAgent.from_pretrained(tmp_path, game.vocabulary)


def test_no_learner_takes_an_agent_that_cuts() -> None:
    """A token that was sampled may be cut off after a step: its ratio would be 0, and its log-probability -inf."""
    game = make_game("bluff-v0")
    head = nn.Linear(16, 1)
    model = micro_model(game.vocabulary, hidden_size=16, num_layers=1, num_heads=2)
    agent = CausalLMAgent(model, game.vocabulary, truncation=Truncation(min_p=0.1), value_head=head)
    with pytest.raises(ValueError, match=r"expected one that learns to cut nothing off .*, got .*min_p=0.1"):
        PPOLearner(agent, PPOConfig())


@pytest.mark.parametrize("wrong", [{"top_p": 1.0}, {"min_p": 0.0}, {"stop": ("",)}, {"top_p": True}])
def test_what_is_no_truncation_is_refused(wrong: dict[str, object]) -> None:
    """Naming the option."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        Truncation(**wrong)  # type: ignore[arg-type]
