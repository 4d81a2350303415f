"""The benchmark of rollouts, at a size where it says nothing about speed: what is compared is the same."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from duologue.agents.language_model.micro import micro_model
from duologue.baselines.performance import rollouts as benchmark_rollouts
from duologue.baselines.performance.rival_trl import import_trl
from duologue.baselines.performance.rollouts import (
    BenchmarkConfig,
    bare_loop,
    main,
    make_model,
    never_ending,
    word_replies,
)
from duologue.envs import Episode, WordVocabulary

TINY = BenchmarkConfig(vocabulary_size=40, hidden_size=8, num_layers=1, batch_size=2, prompt_tokens=3, reply_tokens=4)


def test_both_sides_are_given_the_same_prompts() -> None:
    """Token for token: ours as views, theirs by transformers' `apply_chat_template`."""
    game = word_replies(TINY)
    for prompt in game.prompts:
        message = [{"role": "system", "content": prompt}]
        theirs: Any = game.tokenizer.apply_chat_template(message, add_generation_prompt=True, tokenize=True)
        assert Episode(game, prompt).view().tokens.tolist() == theirs["input_ids"]


def test_the_bare_loop_says_what_a_model_without_a_cache_would() -> None:
    """Greedy decoding by full forward passes."""
    game = word_replies(TINY)
    model = make_model(game, TINY).eval()
    prompts = torch.tensor([Episode(game, prompt).view().tokens.tolist() for prompt in game.prompts])
    said = bare_loop(model, prompts, 4, lambda logits: logits.argmax(-1, keepdim=True))
    for length in range(4):
        tokens = torch.cat([prompts, said[:, :length]], dim=1)
        assert torch.equal(model(input_ids=tokens).logits[:, -1].argmax(-1), said[:, length])


def test_figures_are_written_and_a_missed_goal_is_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No model is a million times as fast as the bare loop, and none is slower than nothing."""
    options = "--only decode --vocabulary-size 40 --hidden-size 8 --num-layers 1 --batch-size 2 --prompt-tokens 3"
    argv = [*options.split(), "--reply-tokens", "4", "--num-repetitions", "1", "--json", str(tmp_path / "f.json")]
    page = tmp_path / "page.md"
    argv += ["--markdown", str(page)]
    for missed, goal, expected in (("DECODE_GOAL", 1e6, 1), ("ROLLOUT_GOAL", 1e6, 1), ("DECODE_GOAL", 0.0, 0)):
        for name in ("DECODE_GOAL", "ROLLOUT_GOAL"):
            monkeypatch.setattr(benchmark_rollouts, name, 0.0)
        monkeypatch.setattr(benchmark_rollouts, missed, goal)
        assert main(argv) == expected
    figures = json.loads((tmp_path / "f.json").read_text(encoding="utf-8"))
    compared = ("vs_bare_loop", "rollout_vs_bare_loop", "rollout_vs_sampling_loop")
    assert [figure["name"] for figure in figures] == [
        f"{name}_{what}" for name in ("decoding", "micro_decoding") for what in compared
    ]
    assert all(figure["value"] > 0 for figure in figures)
    printed = capsys.readouterr().out
    assert "bare, argmax" in printed
    assert "ours, a rollout" in printed
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Performance of rollouts\n\nMeasured by")
    assert text.count("| `decoding_rollout_vs_bare_loop` |") == 1
    assert text.count("| bare, argmax |") == 2


def test_without_trl_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the comparison needs it, so the package does not ask for it."""

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"trl: expected it for the comparison.*pip install trl"):
        import_trl()


def test_an_odd_batch_is_refused() -> None:
    """RLOO compares replies in groups, of two here."""
    with pytest.raises(ValueError, match=r"batch_size: expected an even number >= 2, got 3"):
        BenchmarkConfig(batch_size=3)


def test_a_model_that_never_ends_says_else_what_it_said() -> None:
    """Only `<eos>` is out of reach; all other logits are the same."""
    vocabulary = WordVocabulary("a b c")
    plain = micro_model(vocabulary, hidden_size=8, num_layers=1, num_heads=2).eval()
    tokens = torch.arange(vocabulary.size)[None]
    with torch.no_grad():
        before = plain(tokens).logits
        after = never_ending(plain, vocabulary.eos_id)(tokens).logits
    others = torch.arange(vocabulary.size) != vocabulary.eos_id
    assert torch.equal(before[..., others], after[..., others])
    assert (after[..., vocabulary.eos_id] < -9e3).all()
