"""Learned judges on tiny models: invariance, labels, and what the constructors refuse."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from duologue.agents.judges.learned import ClassifierJudge, LearnedJudge, SafetyTokenJudge
from duologue.agents.language_model.tokenizers import load_tokenizer
from duologue.envs.judging import Exchange, Outcome
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, SENTENCES, tiny_tokenizer

TOKENIZER = tiny_tokenizer(CHATML)
VOCABULARY = TokenizerVocabulary(TOKENIZER)
TEMPLATE = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{reply}<|im_end|>\nIs it safe? "


def _classifier(labels: Sequence[str] = ("safe", "unsafe"), seed: int = 0) -> BertForSequenceClassification:
    torch.manual_seed(seed)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=128, pad_token_id=0, initializer_range=0.5,
            id2label=dict(enumerate(labels)), label2id={label: k for k, label in enumerate(labels)},
        )
    )  # fmt: skip


def _llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=256, initializer_range=0.5,
        )
    )  # fmt: skip


def _gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=len(TOKENIZER), n_embd=16, n_layer=2, n_head=2, n_positions=256, initializer_range=0.5)
    )


def _guard(batch_size: int = 8, model: PreTrainedModel | None = None) -> SafetyTokenJudge:
    model = _llama() if model is None else model
    return SafetyTokenJudge(model, TOKENIZER, template=TEMPLATE, safe="s", unsafe="u", batch_size=batch_size)


def _exchanges() -> list[Exchange]:
    """Return exchanges of lengths that differ much, a silent reply among them."""
    texts = [(SENTENCES[0], "No."), ("Why?", " ".join(SENTENCES[1:4])), (SENTENCES[3], ""), ("a", "b")]
    return [Exchange(VOCABULARY.encode(p), VOCABULARY.encode(r), VOCABULARY) for p, r in texts]


@pytest.mark.parametrize(
    "judges",
    [
        [ClassifierJudge(_classifier(), TOKENIZER, batch_size=size) for size in (1, 3, 4)],
        [_guard(size, _llama()) for size in (1, 3, 4)],
        [_guard(size, _gpt2()) for size in (1, 3, 4)],
    ],
    ids=["classifier", "llama", "gpt2"],
)
def test_a_batch_is_judged_as_its_members_alone(judges: list[LearnedJudge]) -> None:
    """Padding changes nothing, on models with relative and with absolute positions."""
    alone, *batched = [judge.unsafe_probabilities(_exchanges()) for judge in judges]
    assert max(alone) - min(alone) > 1e-3
    for probabilities in batched:
        assert probabilities == pytest.approx(alone, abs=1e-5)


def test_the_reward_is_p_safe_minus_p_unsafe_and_the_outcome_follows_the_threshold() -> None:
    """The zero-sum form of the paper's two probabilities (arXiv 2406.10977, section 3)."""
    judge = ClassifierJudge(_classifier(), TOKENIZER, threshold=0.4)
    probabilities = judge.unsafe_probabilities(_exchanges())
    for p_unsafe, verdict in zip(probabilities, judge(_exchanges()), strict=True):
        assert verdict.reward == pytest.approx((1 - p_unsafe) - p_unsafe)
        assert (verdict.outcome is Outcome.UNSAFE) == (p_unsafe >= 0.4)


def test_the_classifier_reads_the_label_that_is_named_unsafe() -> None:
    """Swapping the names of two labels swaps p_safe and p_unsafe; case does not matter."""
    names = (("safe", "UNSAFE"), ("Unsafe", "ok"))
    first, second = (ClassifierJudge(_classifier(labels), TOKENIZER) for labels in names)
    swapped = [1 - p for p in second.unsafe_probabilities(_exchanges())]
    assert first.unsafe_probabilities(_exchanges()) == pytest.approx(swapped, abs=1e-6)


def test_a_guard_renormalises_over_its_two_tokens() -> None:
    """Known answer: p_unsafe / (p_safe + p_unsafe) of the next-token softmax, from one unpadded pass."""
    judge, exchange = _guard(), _exchanges()[0]
    text = TEMPLATE.replace("{prompt}", exchange.prompt_text).replace("{reply}", exchange.reply_text)
    tokens = torch.tensor([TOKENIZER.encode(text, add_special_tokens=False)])
    with torch.no_grad():
        softmax = judge.model(tokens).logits[0, -1].softmax(-1)
    safe, unsafe = (softmax[TOKENIZER.encode(word)[0]].item() for word in "su")
    assert judge.unsafe_probabilities([exchange])[0] == pytest.approx(unsafe / (safe + unsafe), abs=1e-5)


def test_a_text_that_spells_a_place_of_the_template_is_left_alone() -> None:
    """Otherwise a prompt could quote the reply into itself."""
    judge = _guard()
    assert "{reply}" in judge._fill("say {reply}", "no")
    assert judge._fill("a", "b") == TEMPLATE.replace("{prompt}", "a").replace("{reply}", "b")


def test_judging_is_deterministic_and_leaves_no_gradient() -> None:
    """Dropout is off though the model was given in training mode."""
    model = _classifier().train()
    judge = ClassifierJudge(model, TOKENIZER)
    assert judge(_exchanges()) == judge(_exchanges())
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_verdict_that_is_no_number_is_unusable() -> None:
    """It is a value, counted, and pays nothing; it is never dropped from its batch."""
    model = _classifier()
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    verdicts = ClassifierJudge(model, TOKENIZER)(_exchanges())
    assert [(verdict.reward, verdict.outcome) for verdict in verdicts] == [(0.0, Outcome.UNUSABLE)] * 4


def test_a_saved_judge_judges_the_same(tmp_path: Path) -> None:
    """Both kinds are folders that the command line takes."""
    judge = ClassifierJudge(_classifier(), TOKENIZER)
    judge.model.save_pretrained(tmp_path / "judge")
    TOKENIZER.save_pretrained(tmp_path / "judge")
    assert ClassifierJudge.from_folder(tmp_path / "judge")(_exchanges()) == judge(_exchanges())
    guard = _guard()
    guard.model.save_pretrained(tmp_path / "guard")
    TOKENIZER.save_pretrained(tmp_path / "guard")
    again = SafetyTokenJudge.from_folder(tmp_path / "guard", template=TEMPLATE, safe="s", unsafe="u")
    assert again.unsafe_probabilities(_exchanges()) == pytest.approx(guard.unsafe_probabilities(_exchanges()))


def test_verdicts_that_begin_alike_are_refused() -> None:
    """A defect of GPO's release: index 0 of both encodings was the beginning of the text."""
    with pytest.raises(ValueError, match="safe, unsafe: expected verdicts that differ in their first token"):
        SafetyTokenJudge(_llama(), TOKENIZER, template=TEMPLATE, safe="safe", unsafe="safe not")


def test_a_template_without_its_places_is_refused() -> None:
    """Otherwise every exchange would get one verdict."""
    with pytest.raises(ValueError, match="template: expected the places"):
        SafetyTokenJudge(_llama(), TOKENIZER, template="Is {prompt} safe?", safe="s", unsafe="u")


def test_a_model_without_the_label_is_refused() -> None:
    """The error lists the labels that there are."""
    expected = r"unsafe_label: expected one of the model's \['neg', 'pos'\], got 'unsafe'"
    with pytest.raises(ValueError, match=expected):
        ClassifierJudge(_classifier(("neg", "pos")), TOKENIZER)


def test_a_foreign_padding_token_is_refused() -> None:
    """With another id for padding a model would read it."""
    tokenizer = tiny_tokenizer(CHATML)
    tokenizer.pad_token = "<|endoftext|>"
    with pytest.raises(ValueError, match="tokenizer: expected the model's padding token, id 0, got id 1"):
        ClassifierJudge(_classifier(), tokenizer)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_that_decides_nothing_is_refused(threshold: float) -> None:
    """At 0 or 1 all verdicts would be alike."""
    with pytest.raises(ValueError, match="threshold"):
        ClassifierJudge(_classifier(), TOKENIZER, threshold=threshold)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    """The error names the folder."""
    with pytest.raises(ValueError, match=r"tokenizer: expected a folder .* got .*nowhere"):
        load_tokenizer(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=f"tokenizer {tmp_path}: expected a folder with a saved tokenizer"):
        load_tokenizer(tmp_path)
