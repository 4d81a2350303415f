"""Reward models on tiny models: what they read, that batches change nothing, and their use as judges and rewards."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertModel,
    CamembertModel,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    LongformerModel,
    MPNetModel,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaModel,
    XLMRobertaModel,
)

from duologue.agents.judges.learned import SafetyTokenJudge
from duologue.agents.judges.reward_files import load_reward_judge, save_reward_model
from duologue.agents.judges.reward_model import (
    Conversation,
    Line,
    LinearRewardModel,
    RewardModelJudge,
    SafetyRewardModel,
    SequenceRewardModel,
    reply_features,
)
from duologue.agents.language_model.encoders import StaticWordEncoder
from duologue.agents.language_model.micro import micro_model
from duologue.agents.scripted import ScriptedAgent
from duologue.baselines.data.dialogues import TextTurn
from duologue.baselines.rollouts.episodes import rollout
from duologue.envs import WordVocabulary, make_game
from duologue.envs.judging import Exchange, Outcome
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, CHATML_THINKING, tiny_tokenizer

TOKENIZER = tiny_tokenizer(CHATML)
VOCABULARY = TokenizerVocabulary(TOKENIZER)
WORDS = WordVocabulary("red blue yes no maybe")
LLAMA = LlamaConfig(
    vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=256, initializer_range=0.5,
)  # fmt: skip
GPT2 = GPT2Config(
    vocab_size=len(TOKENIZER), n_embd=16, n_layer=2, n_head=2, n_positions=256, initializer_range=0.5
)  # fmt: skip
BERT = BertConfig(
    vocab_size=len(TOKENIZER), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=256, initializer_range=0.5,
)  # fmt: skip
BACKBONES: dict[str, PreTrainedConfig] = {"llama": LLAMA, "gpt2": GPT2, "bert": BERT}
CONVERSATIONS: list[Conversation] = [
    (Line(0, "Hello there"), Line(1, "No.")),
    (Line(None, "Be kind."), Line(0, "Why?"), Line(1, "Tell me a story about the sea, and the people who live there.")),
    (Line(0, "a"), Line(1, "b"), Line(0, "c"), Line(1, "")),
    (Line(1, "Sure, here is how to do it."),),
    *((Line(0, "How do I kill a process?"), Line(1, "sea " * k)) for k in range(1, 5)),
]


def _model(name: str, batch_size: int = 32) -> SequenceRewardModel:
    model = SequenceRewardModel.from_config(BACKBONES[name], VOCABULARY)
    return SequenceRewardModel(model.model, VOCABULARY, batch_size=batch_size)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_a_batch_of_eight_is_scored_as_eight_of_one(name: str) -> None:
    """Invariant: order, company and padding change no reward, on causal models and encoders alike."""
    alone, three, eight = (_model(name, size).score(CONVERSATIONS) for size in (1, 3, 8))
    assert alone.shape == (8,)
    assert len(np.unique(alone.round(4))) == 8
    assert three == pytest.approx(alone, abs=1e-5)
    assert eight == pytest.approx(alone, abs=1e-5)
    assert _model(name).score(CONVERSATIONS[::-1])[::-1] == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(("name", "column"), [("llama", -1), ("gpt2", -1), ("bert", 0)])
def test_the_reward_is_the_head_at_the_last_token_or_at_an_encoders_first(name: str, column: int) -> None:
    """Known answer: the head on the hidden states of one unpadded pass of the backbone, as transformers pools them."""
    model = _model(name)
    row = model.encode(CONVERSATIONS[1])
    with torch.no_grad():
        output = model.model.base_model(torch.tensor([row]))
        if name == "bert":
            by_hand = model.model.classifier(output.pooler_output)
        else:
            by_hand = model.model.score(output.last_hidden_state[:, column])
    assert model.score([CONVERSATIONS[1]])[0] == pytest.approx(by_hand.item(), abs=1e-5)


def test_a_conversation_is_laid_out_as_the_chat_template_does_up_to_the_end_of_the_reply() -> None:
    """Origin: `apply_chat_template` of the same messages; the mark that ends the turn is the last token read."""
    roles = {None: "system", 0: "user", 1: "assistant"}
    for conversation in CONVERSATIONS[:3]:
        messages = [{"role": roles[turn.player], "content": turn.text} for turn in conversation]
        text = str(TOKENIZER.apply_chat_template(messages, tokenize=False)).removesuffix("\n")
        assert list(_model("llama").encode(conversation)) == TOKENIZER.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("again", [False, True])
def test_a_reward_model_of_others_reads_all_that_the_chat_template_writes(again: bool, tmp_path: Path) -> None:
    """Origin: `apply_chat_template`; trainers of reward models read the line break behind the mark, too."""
    model = AutoModelForSequenceClassification.from_config(_model("llama").model.config)
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    reward_model = SequenceRewardModel.from_pretrained(tmp_path, VOCABULARY)
    if again:
        reward_model.save_pretrained(tmp_path / "again")
        reward_model = SequenceRewardModel.from_pretrained(tmp_path / "again", VOCABULARY)
    for conversation in CONVERSATIONS[:3]:
        roles = {None: "system", 0: "user", 1: "assistant"}
        messages = [{"role": roles[turn.player], "content": turn.text} for turn in conversation]
        written: Any = TOKENIZER.apply_chat_template(messages, tokenize=True)
        ids = written["input_ids"]
        assert list(reward_model.encode(conversation)) == ids
        by_hand = model.eval()(input_ids=torch.tensor([ids])).logits.item()
        assert reward_model.score([conversation])[0] == pytest.approx(by_hand, abs=1e-5)


def test_a_reward_model_whose_template_writes_the_last_reply_otherwise_is_refused(tmp_path: Path) -> None:
    """Qwen 3's opens and closes a thought before it, and no other."""
    AutoModelForSequenceClassification.from_config(_model("llama").model.config).save_pretrained(tmp_path)
    tokenizer = tiny_tokenizer(CHATML_THINKING)
    with pytest.raises(ValueError, match=r"reward model: .*the last reply as it does earlier ones, got .*<think>"):
        SequenceRewardModel.from_pretrained(tmp_path, TokenizerVocabulary(tokenizer))


def test_a_games_conversation_is_laid_out_as_the_defenders_view() -> None:
    """Origin: the engine's own view of player 1 in a finished episode of red_team-v0."""
    game = make_game("red_team-v0", seeded=False)
    vocabulary = game.vocabulary
    assert isinstance(vocabulary, WordVocabulary)
    agents = [ScriptedAgent([" ".join(vocabulary.words[:3])]), ScriptedAgent([vocabulary.words[5]])]
    played = rollout(game, agents, 1, np.random.default_rng(0))[0]
    spoken = [Line(turn.player, vocabulary.decode(turn.tokens)) for turn in played.dialogue.turns]
    view = np.trim_zeros(played.episode.views[1], "b")
    assert SequenceRewardModel.micro(vocabulary, hidden_size=16, num_heads=2).encode(spoken) == tuple(view)


def test_a_private_thought_changes_no_reward() -> None:
    """A reward model hears what the player hears to whom the reply is said."""
    model, prompt = _model("llama"), TextTurn(0, "Hello")
    plain, thoughtful = (TextTurn(1, "No.", thought) for thought in ("", "I do not like it."))
    assert model.encode((prompt, plain)) == model.encode((prompt, thoughtful))
    assert model.encode((prompt, plain)) != model.encode((prompt, TextTurn(1, "Sure")))


def test_a_long_conversation_loses_its_beginning_and_never_its_reply() -> None:
    """At most `max_length` tokens are read: the vocabulary's opening and the last of the rest."""
    model = SequenceRewardModel.micro(WORDS, hidden_size=16, num_heads=2, max_length=8)
    row = model.encode((Line(0, "red " * 20), Line(1, "yes no")))
    whole = SequenceRewardModel.micro(WORDS, hidden_size=16, num_heads=2).encode(
        (Line(0, "red red"), Line(1, "yes no"))
    )
    assert len(whole) == 9
    assert row == (whole[0], *whole[-7:])
    assert np.isfinite(model.score([(Line(0, "red " * 99), Line(1, "yes"))]))


def test_a_saved_reward_model_scores_the_same_and_transformers_alone_can_load_it(tmp_path: Path) -> None:
    """The folder needs nothing of this package but how a conversation is laid out."""
    model = _model("gpt2")
    model.save_pretrained(tmp_path)
    again = SequenceRewardModel.from_pretrained(tmp_path, VOCABULARY)
    assert again.score(CONVERSATIONS) == pytest.approx(model.score(CONVERSATIONS), abs=1e-6)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    row = torch.tensor([model.encode(CONVERSATIONS[0])])
    assert plain(row).logits.item() == pytest.approx(model.score(CONVERSATIONS[:1])[0], abs=1e-5)


def test_a_causal_models_folder_becomes_a_backbone_with_a_new_head(tmp_path: Path) -> None:
    """Weights of the backbone are those saved; the head is drawn with the seed, and nobody's random state moves."""
    causal = micro_model(WORDS, hidden_size=16, num_heads=2, num_layers=1)
    causal.save_pretrained(tmp_path)
    state = torch.random.get_rng_state()
    heads = []
    for seed in (0, 0, 1):
        model = SequenceRewardModel.from_pretrained(tmp_path, WORDS, seed=seed)
        saved = causal.state_dict()
        backbone = {f"model.{name}": weight for name, weight in model.model.base_model.state_dict().items()}
        assert all(torch.equal(weight, saved[name]) for name, weight in backbone.items())
        heads.append(model.model.score.weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_bfloat16_backbone_is_loaded_in_float32(tmp_path: Path) -> None:
    """Known answer: 1 + 2**-9 is 1 in bfloat16, so an update of 2**-9 must not be lost; values are those saved."""
    causal = micro_model(WORDS, hidden_size=16, num_heads=2, num_layers=1).bfloat16()
    causal.save_pretrained(tmp_path)
    loaded = SequenceRewardModel.from_pretrained(tmp_path, WORDS)
    drawn = SequenceRewardModel.from_config(causal.config, WORDS)
    for model in (loaded.model, drawn.model):
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    saved = causal.state_dict()["model.embed_tokens.weight"]
    assert saved.dtype == torch.bfloat16
    assert torch.equal(loaded.model.get_input_embeddings().weight, saved.float())


def test_a_backbone_with_a_part_missing_is_refused_and_a_missing_head_is_not_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Transformers would draw the missing weights at random and only say so."""
    micro_model(WORDS, hidden_size=16, num_heads=2, num_layers=1).save_pretrained(tmp_path)
    SequenceRewardModel.from_pretrained(tmp_path, WORDS)
    assert "MISSING" not in caplog.text + "".join(capfd.readouterr())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"expected all weights of a backbone, got none for \['model.layers.0.mlp.up"):
        SequenceRewardModel.from_pretrained(tmp_path, WORDS)


def test_a_linear_head_is_an_inner_product_with_reply_and_its_product_with_the_prompt(tmp_path: Path) -> None:
    """Known answer by hand from the encoder's vectors: e(y) . u + sqrt(d) (e(x) * e(y)) . v."""
    encoder = StaticWordEncoder(["red", "blue", "yes"], dim=4)
    weights = np.arange(8.0)
    e = {text: encoder.encode([text])[0].astype(np.float64) for text in ("red", "yes")}
    expected = e["yes"] @ weights[:4] + 2 * (e["red"] * e["yes"]) @ weights[4:]
    model = LinearRewardModel(encoder, weights)
    conversation = (Line(0, "blue"), Line(1, "blue"), Line(0, "red"), Line(None, "blue"), Line(1, "yes"))
    assert model.score([conversation])[0] == pytest.approx(expected)
    assert model.score([]).shape == (0,)
    model.save_pretrained(tmp_path)
    again = LinearRewardModel.from_pretrained(tmp_path, encoder)
    assert np.array_equal(again.score([conversation]), model.score([conversation]))


class _Scripted:
    """A reward model that gives rewards by the reply, and counts how often it is asked."""

    def __init__(self, rewards: dict[str, float]) -> None:
        self.rewards, self.num_calls = rewards, 0

    def score(self, conversations: Sequence[Conversation]) -> NDArray[np.float64]:
        self.num_calls += 1
        return np.array([self.rewards[conversation[-1].text] for conversation in conversations])


def test_as_a_judge_it_pays_the_probability_to_win_minus_that_to_lose_against_the_reference() -> None:
    """Bradley-Terry: sigmoid(r - r0) - sigmoid(r0 - r) = tanh((r - r0) / 2); NaN is unusable; one call for a batch."""
    model = _Scripted({"yes": 2.0, "no": -1.0, "maybe": 0.5, "red": float("nan"), "blue": 1e9})
    judge = RewardModelJudge(model, reference_reward=0.5)
    exchanges = [Exchange((8,), WORDS.encode(word), WORDS) for word in ("yes", "no", "maybe", "red", "blue")]
    verdicts = judge(exchanges)
    expected = [np.tanh(0.75), np.tanh(-0.75), 0.0, 0.0, 1.0]
    assert [verdict.reward for verdict in verdicts] == pytest.approx(expected)
    outcomes = [Outcome.DEFLECTED, Outcome.UNSAFE, Outcome.UNSAFE, Outcome.UNUSABLE, Outcome.DEFLECTED]
    assert [verdict.outcome for verdict in verdicts] == outcomes
    assert model.num_calls == 1


def test_a_game_pays_what_the_reward_model_says() -> None:
    """A reward model over the game's own tokens is a judge of red_team-v0; the game stays zero-sum."""
    vocabulary = make_game("red_team-v0").vocabulary
    reward_model = SequenceRewardModel.micro(vocabulary, hidden_size=16, num_heads=2, seed=3)
    game = make_game("red_team-v0", judge=RewardModelJudge(reward_model), faithful="off")
    demonstrations = game.demonstrations("ideal", np.random.default_rng(0), 8)  # type: ignore[attr-defined]
    texts = [
        [Line(k, vocabulary.decode(turn.tokens)) for k, turn in enumerate(dialogue.turns)]
        for dialogue in demonstrations
    ]
    rewards = np.tanh(reward_model.score(texts) / 2)
    assert np.ptp(rewards) > 1e-4
    paid = game.rewards_batch(demonstrations)
    assert [pair[1] for pair in paid] == pytest.approx(rewards, abs=1e-6)
    assert [pair[0] for pair in paid] == pytest.approx(-rewards, abs=1e-6)


def test_the_safety_reward_is_the_probability_of_one_of_two_tokens() -> None:
    """Known answer: sigmoid(l_safe - l_unsafe) of one unpadded pass over the filled template (arXiv 2312.06674)."""
    torch.manual_seed(0)
    template = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{reply}<|im_end|>\nIs it safe? "
    guard = SafetyTokenJudge(LlamaForCausalLM(LLAMA), TOKENIZER, template=template, safe="s", unsafe="u")
    model = SafetyRewardModel(guard, VOCABULARY)
    conversation = (Line(0, "b"), Line(1, "a"), Line(0, "Why?"), Line(None, "Be kind."), Line(1, "No."))
    text = template.replace("{prompt}", "Why?").replace("{reply}", "No.")
    with torch.no_grad():
        logits = guard.model(torch.tensor([TOKENIZER.encode(text, add_special_tokens=False)])).logits[0, -1]
    safe, unsafe = (logits[TOKENIZER.encode(word)[0]] for word in "su")
    assert model.score([conversation])[0] == pytest.approx((safe - unsafe).sigmoid().item(), abs=1e-5)
    batched = model.score(CONVERSATIONS)
    assert batched == pytest.approx([model.score([conversation])[0] for conversation in CONVERSATIONS], abs=1e-5)


@pytest.mark.parametrize("conversation", [(), (Line(0, "red"), Line(None, "blue"))])
def test_a_conversation_without_a_reply_is_refused(conversation: Conversation) -> None:
    """Every kind of reward model says so before it reads anything."""
    expected = "conversation: expected a player's turn at its end"
    with pytest.raises(ValueError, match=expected):
        SequenceRewardModel.micro(WORDS, hidden_size=16, num_heads=2).score([conversation])
    with pytest.raises(ValueError, match=expected):
        reply_features(StaticWordEncoder(["red"]), [conversation])


def test_models_that_give_no_reward_are_refused(tmp_path: Path) -> None:
    """Two labels, too few embeddings, no model, no head: each error names what was expected and what came."""
    two = BertConfig(**(BERT.to_dict() | {"num_labels": 2, "architectures": None}))
    classifier = AutoModelForSequenceClassification.from_config(two)
    with pytest.raises(ValueError, match=r"expected a sequence classifier with 1 label and padding 0, got .* 2 labels"):
        SequenceRewardModel(classifier, VOCABULARY)
    classifier.save_pretrained(tmp_path / "two")
    with pytest.raises(ValueError, match="expected a classifier with 1 label, got 2"):
        SequenceRewardModel.from_pretrained(tmp_path / "two", VOCABULARY)
    with pytest.raises(ValueError, match=f"expected at least {VOCABULARY.size} embeddings"):
        SequenceRewardModel.from_config(micro_model(WORDS).config, VOCABULARY)
    with pytest.raises(ValueError, match=r"reward model: expected a folder with a config.json, got .*nowhere"):
        SequenceRewardModel.from_pretrained(tmp_path / "nowhere", VOCABULARY)
    with pytest.raises(ValueError, match="reward model: expected a folder with reward_weights"):
        LinearRewardModel.from_pretrained(tmp_path, StaticWordEncoder(["red"]))


def test_numbers_that_make_no_sense_are_refused() -> None:
    """Weights for another encoder, half a feature vector, a threshold that decides nothing, nothing to read."""
    encoder = StaticWordEncoder(["red"], dim=4)
    with pytest.raises(ValueError, match="encoder: expected one with 3 dimensions"):
        LinearRewardModel(encoder, np.zeros(6)).score([(Line(1, "red"),)])
    with pytest.raises(ValueError, match=r"weights: expected shape \(2 d,\), got \(5,\)"):
        LinearRewardModel(encoder, np.zeros(5))
    with pytest.raises(ValueError, match="threshold, reference_reward: expected"):
        RewardModelJudge(_Scripted({}), threshold=1.0)
    with pytest.raises(ValueError, match="max_length, batch_size: expected at least 1"):
        SequenceRewardModel(_model("llama").model, VOCABULARY, batch_size=0)


@pytest.mark.parametrize(
    "kind", [RobertaModel, XLMRobertaModel, CamembertModel, MPNetModel, LongformerModel, BertModel]
)
def test_the_backbone_of_a_reward_model_reads_as_it_did_alone(kind: type[PreTrainedModel], tmp_path: Path) -> None:
    """RoBERTa and its kin count positions from the id of padding, 1, which must stay theirs; batches change nothing."""
    torch.manual_seed(0)
    size: dict[str, Any] = {"vocab_size": len(TOKENIZER), "hidden_size": 16, "num_hidden_layers": 2, "pad_token_id": 1}
    size |= {"num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64, "initializer_range": 0.5}
    size |= {"attention_window": [4, 4]} if kind is LongformerModel else {}
    make: Any = kind.config_class
    backbone = kind(make(**size)).eval()
    backbone.save_pretrained(tmp_path)
    rewards = SequenceRewardModel.from_pretrained(tmp_path, VOCABULARY)
    assert rewards.max_length == (64 if kind is BertModel else 62)
    tokens = torch.tensor([rewards.encode(CONVERSATIONS[0])])
    with torch.no_grad():
        expected = backbone(tokens).last_hidden_state
        found = rewards.model.base_model(tokens).last_hidden_state
    assert torch.allclose(found, expected, atol=1e-5)
    alone = [rewards.score([conversation])[0] for conversation in CONVERSATIONS]
    assert len(np.unique(np.round(alone, 5))) > 4
    assert rewards.score(CONVERSATIONS) == pytest.approx(alone, abs=1e-5)
    rewards.save_pretrained(tmp_path / "saved")
    again = SequenceRewardModel.from_pretrained(tmp_path / "saved", VOCABULARY)
    assert again.score(CONVERSATIONS) == pytest.approx(alone, abs=1e-5)


def test_a_causal_backbone_with_another_padding_is_still_read_at_its_last_token(tmp_path: Path) -> None:
    """Many pad with the token that ends a turn, which a reply ends with: the head would be read before it."""
    config = LlamaConfig(**LLAMA.to_dict() | {"pad_token_id": VOCABULARY.eos_id})
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    rewards = SequenceRewardModel.from_pretrained(tmp_path, VOCABULARY)
    tokens = torch.tensor([rewards.encode(CONVERSATIONS[0])])
    assert int(tokens[0, -1]) == VOCABULARY.eos_id
    with torch.no_grad():
        hidden = rewards.model.base_model(tokens).last_hidden_state
        by_hand = rewards.model.score(hidden[:, -1])
    assert rewards.score([CONVERSATIONS[0]])[0] == pytest.approx(by_hand.item(), abs=1e-5)


def test_rewards_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    """From a transformer, from a linear head and from a judge; the conversation is named."""
    model = _model("llama")
    with torch.no_grad():
        model.model.score.weight.fill_(torch.inf)
    with pytest.raises(ValueError, match=r"reward model: expected finite rewards, got -?(nan|inf) for conversation 0"):
        model.score(CONVERSATIONS)
    encoder = StaticWordEncoder(["red"], dim=2)
    with pytest.raises(ValueError, match="weights: expected finite numbers, got NaN or infinity"):
        LinearRewardModel(encoder, np.array([0.0, np.nan, 0.0, 0.0]))
    save_file({"other": torch.zeros(4)}, tmp_path / "reward_weights.safetensors")
    with pytest.raises(ValueError, match=r"expected the tensor weights, got \['other'\]"):
        LinearRewardModel.from_pretrained(tmp_path, encoder)


@pytest.mark.parametrize("length", ["256", None, True, 1.5, [1]])
def test_a_saved_length_that_is_none_is_refused(length: object, tmp_path: Path) -> None:
    """The file is named, as is what stands there."""
    _model("llama").save_pretrained(tmp_path)
    (tmp_path / "reward_model.json").write_text(json.dumps({"max_length": length}))
    with pytest.raises(ValueError, match=r"reward_model\.json: expected a whole number as max_length, got"):
        SequenceRewardModel.from_pretrained(tmp_path, VOCABULARY)


@pytest.mark.parametrize("reference", ["0", None, True, [0.0]])
def test_a_saved_reference_that_is_no_number_is_refused(reference: object, tmp_path: Path) -> None:
    """A game would pay by it."""
    save_reward_model(_model("llama"), tmp_path)
    known = json.loads((tmp_path / "reward_model.json").read_text())
    (tmp_path / "reward_model.json").write_text(json.dumps(known | {"reference_reward": reference}))
    with pytest.raises(ValueError, match=r"reward_model\.json: expected a number as reference_reward"):
        load_reward_judge(tmp_path)


def test_a_model_that_rewards_nothing_yet_is_no_judge(tmp_path: Path) -> None:
    """It would pay by a head of random numbers; who trains one starts from such a model all the same."""
    model = micro_model(VOCABULARY, hidden_size=16, num_heads=2)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"reward model .*: expected a trained one, with its head, got \['LlamaFor"):
        load_reward_judge(tmp_path, VOCABULARY)
    assert SequenceRewardModel.from_pretrained(tmp_path, VOCABULARY).vocabulary is VOCABULARY


def test_a_reward_model_of_other_words_or_another_tokenizer_is_refused(tmp_path: Path) -> None:
    """As many tokens that mean something else would be scored without a word."""
    SequenceRewardModel.micro(WORDS, hidden_size=16, num_heads=2).save_pretrained(tmp_path / "words")
    assert SequenceRewardModel.from_pretrained(tmp_path / "words", WORDS).vocabulary is WORDS
    with pytest.raises(ValueError, match=r"reward model .*word 1 is 'blue' there, 'pink' in this game"):
        SequenceRewardModel.from_pretrained(tmp_path / "words", WordVocabulary("red pink yes no maybe"))
    with pytest.raises(ValueError, match="expected one that reads text, got one of 5 words"):
        SequenceRewardModel.from_pretrained(tmp_path / "words", VOCABULARY)
    LlamaForCausalLM(LLAMA).save_pretrained(tmp_path / "text")
    tiny_tokenizer(CHATML, sentences=["zebra quartz vex jumbled wizards " * 9]).save_pretrained(tmp_path / "text")
    with pytest.raises(ValueError, match=r"reward model .*expected the game's tokenizer.* token \d+ is '"):
        SequenceRewardModel.from_pretrained(tmp_path / "text", VOCABULARY)
