from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from duologue.baselines.data.dialogues import TextDialogue, TextTurn
from duologue.baselines.functional.policy_losses import token_logprobs
from duologue.baselines.text.packing import (
    LeftOut,
    TokenCorpus,
    check_isolation,
    encode_corpus,
    epoch_rows,
    first_fit,
    next_token_logits,
    pack,
)
from duologue.envs import WordVocabulary

VOCABULARY = WordVocabulary("zero one two three four five six seven eight nine")
SIZES: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}


def micro(architecture: str, attention: str = "sdpa") -> PreTrainedModel:
    """Return a model of two layers."""
    common: dict[str, Any] = {
        "vocab_size": VOCABULARY.size,
        "max_position_embeddings": 64,
        "attn_implementation": attention,
    }
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model: PreTrainedModel
        match architecture:
            case "llama":
                model = LlamaForCausalLM(LlamaConfig(**common, **SIZES))
            case "qwen2":
                model = Qwen2ForCausalLM(Qwen2Config(**common, **SIZES, num_key_value_heads=1))
            case "bloom":
                model = BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY.size, hidden_size=16, n_layer=2, n_head=2))
            case _:
                model = GPT2LMHeadModel(GPT2Config(**common, n_embd=16, n_layer=2, n_head=2))
    nn.Module.eval(model)
    return model


def corpus_of(lengths: list[int], seed: int = 0) -> TokenCorpus:
    """Return dialogues of these lengths, tokens and speakers at random."""
    rng = np.random.default_rng(seed)
    total = sum(lengths)
    tokens = rng.integers(8, VOCABULARY.size, total).astype(np.int32)
    speaker = rng.integers(-1, 2, total).astype(np.int8)
    return TokenCorpus(tokens, speaker, np.cumsum([0, *lengths], dtype=np.int64), LeftOut(0, 0, 0))


def logprobs_by_dialogue(model: PreTrainedModel, corpus: TokenCorpus, rows: list[list[int]]) -> dict[int, torch.Tensor]:
    """Return each dialogue's log-probabilities, from the second token on, whatever row it lies in."""
    batch = pack(corpus, rows)
    with torch.no_grad():
        logprobs = token_logprobs(next_token_logits(model, batch), batch.tokens[:, 1:])
    mask, segments = batch.loss_mask("all")[:, 1:], batch.segments[:, 1:]
    return {
        index: logprobs[r][mask[r] & (segments[r] == k)] for r, row in enumerate(rows) for k, index in enumerate(row)
    }


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_a_token_has_one_loss_packed_padded_or_alone(architecture: str, attention: str) -> None:
    """What follows from attention that stays within a dialogue; three architectures, two kinds of positions."""
    model, corpus = micro(architecture, attention), corpus_of([5, 9, 2, 7, 1, 12])
    packed = logprobs_by_dialogue(model, corpus, [[1, 2, 4], [3, 0], [5]])
    together = logprobs_by_dialogue(model, corpus, [[k] for k in range(6)])
    for index, length in enumerate(corpus.lengths):
        alone = logprobs_by_dialogue(model, corpus, [[index]])[index] if length > 1 else torch.zeros(0)
        assert len(alone) == length - 1
        torch.testing.assert_close(packed[index], alone, atol=1e-5, rtol=0)
        torch.testing.assert_close(together[index], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
def test_changing_one_dialogue_changes_no_logit_of_another(architecture: str) -> None:
    """Attention never crosses dialogues, whichever way; bit for bit, as masked weights are exactly zero."""
    model, corpus = micro(architecture), corpus_of([4, 6, 5])
    changed = TokenCorpus(corpus.tokens.copy(), corpus.speaker, corpus.starts, corpus.left_out)
    changed.tokens[4:10] = (corpus.tokens[4:10] - 8 + 1) % 10 + 8
    with torch.no_grad():
        before, after = (next_token_logits(model, pack(each, [[0, 1, 2]]))[0] for each in (corpus, changed))
    segments = pack(corpus, [[0, 1, 2]]).segments[0, :-1]
    assert not torch.equal(before[segments == 1], after[segments == 1])
    assert torch.equal(before[segments != 1], after[segments != 1])


def test_what_stands_in_the_padding_changes_no_logit() -> None:
    """Padding is one more dialogue of the row."""
    model, batch = micro("llama"), pack(corpus_of([4, 6, 12]), [[0, 1], [2]])
    padded = batch.segments == -1
    assert padded.sum() == 2
    with torch.no_grad():
        before = next_token_logits(model, batch)
        batch.tokens[padded] = 9
        after = next_token_logits(model, batch)
    assert torch.equal(before[~padded[:, :-1]], after[~padded[:, :-1]])


@pytest.mark.parametrize("tokens_of", ["all", "player_0", "player_1"])
def test_batches_and_corpus_mark_the_same_tokens(tokens_of: str) -> None:
    """Equations 7 and 8 of arXiv 2402.08078: a mask of the dialogues, whatever rows they lie in."""
    corpus = corpus_of([5, 9, 2, 7])
    batch = pack(corpus, [[3, 0], [1, 2]])
    marked = corpus.tokens[corpus.loss_mask(tokens_of)]
    assert sorted(batch.tokens[batch.loss_mask(tokens_of)].tolist()) == sorted(marked.tolist())
    assert not corpus.loss_mask(tokens_of)[corpus.starts[:-1]].any()
    assert corpus.loss_mask("all").sum() == 23 - 4


def test_an_unknown_mask_is_refused() -> None:
    """The error names the masks there are."""
    with pytest.raises(ValueError, match="tokens_of: expected one of all, player_0, player_1, got 'user'"):
        corpus_of([2]).loss_mask("user")


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=60))
def test_first_fit_places_every_dialogue_once_and_leaves_no_two_rows_that_would_fit_into_one(
    lengths: list[int],
) -> None:
    """What first-fit means: a dialogue opens a row only if no row had room for it."""
    rows = first_fit(lengths, capacity=20)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= 20 for row in rows)
    filled = sorted(sum(lengths[index] for index in row) for row in rows)
    assert len(rows) == 1 or filled[0] + filled[1] > 20


def test_first_fit_leaves_little_padding() -> None:
    """Lengths drawn as in dialogues, 3 to 60 tokens in rows of 256: less than 1 % of the positions is padding."""
    lengths = np.random.default_rng(0).integers(3, 60, 1000)
    assert lengths.sum() / (256 * len(first_fit(lengths, 256))) > 0.99


def test_a_dialogue_longer_than_a_row_is_refused() -> None:
    """Otherwise it would be cut without a word."""
    with pytest.raises(ValueError, match="lengths: expected 1 to 8"):
        first_fit([3, 9], capacity=8)


def test_an_epoch_holds_every_dialogue_once_in_an_order_of_the_generator() -> None:
    """One pass over the data, packed or not."""
    corpus = corpus_of([5, 9, 2, 7, 1, 12] * 5)
    for pack_rows in (True, False):
        first, again, other = (
            epoch_rows(corpus, 16, np.random.default_rng(seed), pack=pack_rows) for seed in (0, 0, 1)
        )
        assert first == again != other
        assert sorted(index for row in first for index in row) == list(range(30))
    assert all(len(row) == 1 for row in first)


def test_long_dialogues_are_cut_and_the_cut_is_counted() -> None:
    """<bos>, then header, thought, word and <eos> of each turn; the dialogue without the assistant is left out."""
    turn = TextTurn(0, "one"), TextTurn(1, "two", thought="three four")
    corpus = encode_corpus([TextDialogue(turn), TextDialogue(turn[:1])], VOCABULARY, max_tokens=7)
    whole = encode_corpus([TextDialogue(turn)], VOCABULARY, max_tokens=99)
    assert whole.speaker.tolist() == [-1, -1, 0, 0, -1, 1, 1, 1, 1, 1, 1]  # <think> three four </think> two <eos>
    assert corpus.left_out == LeftOut(num_dialogues=1, num_cut_tokens=4, num_thoughts=0)
    assert corpus.tokens.tolist() == whole.tokens[:7].tolist()


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen2"])
def test_models_that_keep_dialogues_apart_pass_the_check(architecture: str) -> None:
    """The check runs before training; it leaves the model's mode alone."""
    model = micro(architecture).train()
    check_isolation(model)
    assert model.training


def test_a_model_that_cannot_keep_dialogues_apart_is_refused() -> None:
    """BLOOM counts positions by ALiBi over the whole row and takes no position_ids."""
    with pytest.raises(ValueError, match=r"BloomForCausalLM: expected .*"):
        check_isolation(micro("bloom"))


def test_a_leak_is_refused() -> None:
    """A model told that all is one dialogue lets the second see the first."""

    class Leaky(LlamaForCausalLM):
        def forward(
            self, input_ids: torch.Tensor, position_ids: torch.Tensor | None = None, **kwargs: object
        ) -> object:
            return super().forward(input_ids=input_ids, **kwargs)

    with pytest.raises(ValueError, match="leave each other's logits alone"):
        check_isolation(Leaky(LlamaConfig(vocab_size=VOCABULARY.size, **SIZES)))
