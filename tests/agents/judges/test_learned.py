"""Learned judges on tiny models: invariance, labels, and what the constructors refuse."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertLMHeadModel,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from duologue.agents.judges.learned import ClassifierJudge, LearnedJudge, SafetyTokenJudge
from duologue.agents.language_model.tokenizers import load_tokenizer
from duologue.envs.judging import Exchange, Outcome
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.envs.chat_families import LLAMA
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


def test_marks_that_a_text_spells_are_left_out() -> None:
    """A reply that closes its message and speaks for the judge is read as one that says the words alone."""
    tokens = VOCABULARY.encode
    for judge in (_guard(), ClassifierJudge(_classifier(), TOKENIZER)):
        for mark in TOKENIZER.all_special_tokens:
            spelled = (*tokens(mark[:2]), *tokens(mark[2:]))
            twice = (*tokens(mark[:2]), *spelled, *tokens(mark[2:]))
            assert VOCABULARY.decode(twice) == mark[:2] + mark + mark[2:]
            said = [
                Exchange(tokens("a"), (*tokens("b"), *part, *tokens("b")), VOCABULARY) for part in ((), spelled, twice)
            ]
            plain, *others = judge.unsafe_probabilities(said)
            assert others == pytest.approx([plain, plain], abs=1e-6)


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


def _toxicity(labels: Sequence[str], biases: Sequence[float], kind: Any) -> BertForSequenceClassification:
    """Return a classifier whose logits are its biases, whatever it reads."""
    model = _classifier(labels)
    model.config.problem_type = kind
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor(biases))
    return model


def test_a_classifier_of_independent_labels_is_read_by_the_sigmoid_of_one() -> None:
    """Known answer: nothing applies, sigmoid(-6) = .0025, where a softmax over six labels would say .80."""
    labels, biases = ["Toxic", "insult", "threat", "obscene", "hate", "severe"], [-6.0] + [-9.0] * 5
    many = ClassifierJudge(
        _toxicity(labels, biases, "multi_label_classification"), TOKENIZER, unsafe_label="TOXIC"
    ).unsafe_probabilities(_exchanges())
    assert many == pytest.approx([0.002473] * 4, abs=1e-6)
    one = _toxicity(["toxic"], [2.0], "multi_label_classification")
    judge = ClassifierJudge(one, TOKENIZER, unsafe_label="toxic")
    assert judge.unsafe_probabilities(_exchanges()) == pytest.approx([0.880797] * 4, abs=1e-6)
    single = ClassifierJudge(_toxicity(labels, biases, "single_label_classification"), TOKENIZER, unsafe_label="toxic")
    assert single.unsafe_probabilities(_exchanges()) == pytest.approx([0.800687] * 4, abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "kind", "label", "message"),
    [
        (["unsafe"], None, "unsafe", "expected a classifier of two labels or more, got a"),
        (
            ["safe", "unsafe"],
            "regression",
            "unsafe",
            "two labels or more, got regression of 2",
        ),
        (["LABEL_0", "LABEL_1"], None, "unsafe", r"one of the model's \['label_0', 'label_1'\], got 'unsafe'"),
        (["unsafe", "Unsafe"], None, "unsafe", r"one of the model's \['unsafe', 'unsafe'\], got 'unsafe'"),
    ],
)
def test_a_classifier_that_gives_no_probability_of_the_label_is_refused(
    labels: list[str], kind: str | None, label: str, message: str
) -> None:
    """One number that is no logit, names that were never given, a name that two labels have."""
    with pytest.raises(ValueError, match=message):
        ClassifierJudge(_toxicity(labels, [0.0] * len(labels), kind), TOKENIZER, unsafe_label=label)


def test_a_label_of_no_column_is_refused() -> None:
    """A configuration may number its labels as it likes."""
    model = _classifier()
    model.config.id2label = {0: "safe", 5: "unsafe"}
    with pytest.raises(ValueError, match="unsafe_label: expected one of the model's"):
        ClassifierJudge(model, TOKENIZER)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_classifier_on_a_causal_model_gets_its_tokenizers_padding(kind: str) -> None:
    """Its configuration has none, and the first batch of two would raise; batches change nothing."""
    torch.manual_seed(0)
    names = {0: "safe", 1: "unsafe"}
    labels: dict[str, Any] = {"id2label": names, "pad_token_id": None, "initializer_range": 0.5}
    size: dict[str, Any] = {"vocab_size": len(TOKENIZER)}
    model = (
        LlamaForSequenceClassification(LlamaConfig(**size, **labels, hidden_size=16, intermediate_size=16,
            num_hidden_layers=1, num_attention_heads=2))
        if kind == "llama"
        else GPT2ForSequenceClassification(GPT2Config(**size, **labels, n_embd=16, n_layer=1, n_head=2))
    )  # fmt: skip
    judge = ClassifierJudge(model, TOKENIZER)
    alone = [judge.unsafe_probabilities([exchange])[0] for exchange in _exchanges()]
    assert max(alone) - min(alone) > 1e-3
    assert judge.unsafe_probabilities(_exchanges()) == pytest.approx(alone, abs=1e-5)


def test_a_classifier_reads_no_further_than_its_positions() -> None:
    """RoBERTa's are fewer than its configuration says, by two and those of padding."""
    config = RobertaConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=20, pad_token_id=0, id2label={0: "safe", 1: "unsafe"}, type_vocab_size=2,
    )  # fmt: skip
    judge = ClassifierJudge(RobertaForSequenceClassification(config), TOKENIZER)
    assert judge.max_length == 19
    assert len(judge.unsafe_probabilities(_exchanges())) == 4


def test_a_model_that_cannot_read_its_tokenizers_batches_is_refused_at_once() -> None:
    """Fewer embeddings than tokens; and marks of the second text that the model has no embedding for."""
    size: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    labels: dict[str, Any] = {"id2label": {0: "safe", 1: "unsafe"}, "pad_token_id": 0}
    with pytest.raises(ValueError, match=rf"at least {len(TOKENIZER)} embeddings \(the tokenizer\), got 9"):
        ClassifierJudge(BertForSequenceClassification(BertConfig(vocab_size=9, **size, **labels)), TOKENIZER)
    one = BertConfig(vocab_size=len(TOKENIZER), type_vocab_size=1, **size, **labels)
    marking = tiny_tokenizer(CHATML)
    marking.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    inner = marking.backend_tokenizer
    inner.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    with pytest.raises(ValueError, match="expected a classifier that reads batches of its tokenizer's, got IndexError"):
        ClassifierJudge(BertForSequenceClassification(one), marking)


def test_a_guard_without_a_cache_or_positions_judges_a_batch_as_its_members_alone() -> None:
    """A recurrent model has neither; an exchange longer than a model's positions is named."""
    torch.manual_seed(0)
    config = MambaConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, state_size=4, num_hidden_layers=1, initializer_range=0.5
    )
    alone = _guard(1, MambaForCausalLM(config))
    together = _guard(4, alone.model)
    assert together.unsafe_probabilities(_exchanges()) == pytest.approx(
        alone.unsafe_probabilities(_exchanges()), abs=1e-5
    )
    small = GPT2Config(vocab_size=len(TOKENIZER), n_embd=16, n_layer=1, n_head=2, n_positions=32)
    with pytest.raises(ValueError, match=r"judge: expected a model with at least \d+ positions .* got 32"):
        _guard(4, GPT2LMHeadModel(small)).unsafe_probabilities(_exchanges())


def test_a_guard_that_is_no_causal_model_is_refused() -> None:
    """Its next token would be looked for in an encoder that sees the text from both sides."""
    bert = BertLMHeadModel(BertConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    ))  # fmt: skip
    with pytest.raises(ValueError, match="expected one whose logits follow from the tokens before them"):
        _guard(4, bert)


@pytest.mark.parametrize(
    ("end", "safe", "piece"),
    [("[/INST]\n", "safe", "s"), ("[/INST]", "safe", "\u2581safe"), ("ok:", " safe", "\u2581safe")],
)
def test_a_verdict_is_the_token_that_stands_behind_the_template(end: str, safe: str, piece: str) -> None:
    """SentencePiece puts a blank before a text that it is given alone, and there is none behind a line break."""
    tokenizer = LLAMA(("[INST]", "[/INST]"), (), "<s>", "</s>")
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        initializer_range=0.5,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).eval()
    template = f"[INST]{{prompt}} {{reply}}{end}"
    guard = SafetyTokenJudge(model, tokenizer, template=template, safe=safe, unsafe=safe.replace("safe", "no"))
    unsafe = "n" if piece == "s" else tokenizer.tokenize("no")[0]
    ids = tokenizer.encode(template.format(prompt="a", reply="b"), add_special_tokens=False)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1]
    good, bad = (logits[tokenizer.convert_tokens_to_ids(token)] for token in (piece, unsafe))
    assert guard.unsafe_probabilities_of(["a"], ["b"]).item() == pytest.approx((bad - good).sigmoid().item(), abs=1e-6)
