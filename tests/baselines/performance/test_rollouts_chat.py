"""The benchmark of rollouts on a chat model, on one of a few thousand weights: what is compared is the same."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.performance import rollouts_chat
from duologue.baselines.performance.rival_trl import Step
from duologue.baselines.performance.rollouts_chat import (
    ChatBenchmarkConfig,
    Learned,
    chat_replies,
    generated,
    learn_ours,
    learn_trl,
    left_padded,
    main,
    messages_of,
)
from duologue.envs import Episode
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, tiny_tokenizer


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> ChatBenchmarkConfig:
    """Write a chat model whose replies are drawn uniformly, and say how it is measured."""
    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = tiny_tokenizer(CHATML)
    model = micro_model(TokenizerVocabulary(tokenizer), hidden_size=8, num_layers=1, num_heads=2, max_positions=256)
    torch.nn.init.zeros_(model.get_output_embeddings().weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ChatBenchmarkConfig(model=folder, lora_rank=2, batch_size=2, reply_tokens=5, num_repetitions=2)


def test_both_sides_see_the_same_tokens(tiny: ChatBenchmarkConfig) -> None:
    """As views here and as `apply_chat_template` writes the messages there; a template that adds a word is refused."""
    game = chat_replies(tiny)
    assert [message["content"] for message in messages_of(game)] == list(game.prompts)
    game.tokenizer.chat_template = f"{CHATML}a"
    with pytest.raises(ValueError, match="model: expected a chat template by which both sides see the same tokens"):
        messages_of(game)


def test_generate_samples_the_whole_distribution(tiny: ChatBenchmarkConfig) -> None:
    """Of uniform replies 16 times 32 tokens are more than the 50 likeliest, which `generate` may keep unless told."""
    game = chat_replies(tiny)
    agent = CausalLMAgent.from_pretrained(tiny.model, game.vocabulary)
    tokens, mask = left_padded([Episode(game, prompt).view() for prompt in game.prompts])
    torch.manual_seed(0)
    said = generated(agent, tokens, mask, 32)
    assert torch.equal(said[:, : tokens.shape[1]], tokens)
    assert len(said[:, tokens.shape[1] :].unique()) > 100


@pytest.mark.parametrize("side", [learn_ours, learn_trl])
def test_as_many_steps_are_measured_as_asked(
    side: Callable[[ChatBenchmarkConfig, int], Learned], tiny: ChatBenchmarkConfig
) -> None:
    """With the tokens of their replies, at least one and at most five of each."""
    pytest.importorskip("peft")
    if side is learn_trl:
        pytest.importorskip("trl", reason="trl: the other side of the comparison")
    learned = side(tiny, 3)
    assert len(learned.steps) == 3
    assert all(2 <= step.num_tokens <= 10 and step.seconds > 0 for step in learned.steps)
    assert learned.peak_bytes >= learned.before_bytes > 2**20


def test_figures_are_ours_over_theirs_in_speed_and_theirs_over_ours_in_memory(
    tiny: ChatBenchmarkConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Medians of 20 and 10 tokens a second, 3 and 6 MiB; turned round, both goals are missed."""
    ours = Learned([Step(1.0, 20), Step(1.0, 10), Step(0.1, 20)], 3 * 2**20, 2**20)
    theirs = Learned([Step(1.0, 10)], 6 * 2**20, 2**20)
    monkeypatch.setattr(rollouts_chat, "import_trl", lambda: SimpleNamespace(__version__="1.16.0"))
    monkeypatch.setattr(rollouts_chat, "DECODED_BATCHES", (2,))
    monkeypatch.setattr(rollouts_chat, "GENERATE_GOAL", 0.0)
    argv = ["--model", str(tiny.model), "--reply-tokens", "3", "--num-repetitions", "1"]
    argv += ["--json", str(tmp_path / "f.json"), "--markdown", str(tmp_path / "page.md")]
    for pair, memory, expected in (((ours, theirs), 2.0, 0), ((theirs, ours), 0.5, 1)):
        monkeypatch.setattr(rollouts_chat, "measure_learning", lambda _, pair=pair: pair)
        assert main(argv) == expected
        figures = {f["name"]: f["value"] for f in json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))}
        assert figures["chat_lora_trl_peak_over_ours"] == memory
        assert figures["chat_lora_ppo_vs_trl_rloo"] == memory
        assert figures["chat_decoding_vs_generate_batch_2"] > 0
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page.startswith("# Performance on a chat model\n\nMeasured by")
    assert "| TRL 1.16.0, RLOOTrainer | 20.00 | 1.0 | 3 | 1 |" in page
    assert "tokens per second" in capsys.readouterr().out


def test_an_odd_batch_is_refused(tmp_path: Path) -> None:
    """RLOO compares replies in groups, of two here."""
    with pytest.raises(ValueError, match=r"batch_size: expected an even number, got 3"):
        ChatBenchmarkConfig(model=tmp_path, batch_size=3)
