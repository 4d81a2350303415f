"""What training commands share: a game with each kind of learned judge, and models in the precision asked for."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from duologue.agents.judges.making import QUESTION
from duologue.agents.judges.reward_files import save_reward_model
from duologue.agents.judges.reward_model import Line, SequenceRewardModel
from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.alignment.dpo import DPOConfig, dpo
from duologue.baselines.alignment.rlhf import RLHFConfig, rlhf
from duologue.baselines.training.options import GameOptions, load_model, save_model
from duologue.baselines.two_player.gpo import GPOConfig, make_gpo
from duologue.envs.games.red_team.game import VOCABULARY, RedTeam
from duologue.envs.games.red_team_text.game import RedTeamText
from duologue.envs.judging import Exchange
from duologue.tests.helpers import CHATML, tiny_tokenizer

TOKENIZER = tiny_tokenizer(CHATML)
TEMPLATE = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{reply}<|im_end|>\nIs it safe? "
SHAPE: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def paid(options: GameOptions) -> tuple[Exchange, float]:
    """Return one exchange of the game, and what its judge has the defender paid for it."""
    game = options.build()
    assert isinstance(game, RedTeam)
    dialogue = game.demonstrations("ideal", np.random.default_rng(0), 1)[0]
    adversary, defender = game.rewards_batch([dialogue])[0]
    assert adversary == -defender
    return game.exchange(dialogue), defender


def guard(folder: Path) -> LlamaForCausalLM:
    """Write a tiny guard model with its tokenizer, and return it."""
    torch.manual_seed(0)
    config = LlamaConfig(vocab_size=len(TOKENIZER), max_position_embeddings=512, initializer_range=0.5, **SHAPE)
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return model


def test_a_reward_model_judges_the_game_against_its_own_reference(tmp_path: Path) -> None:
    """Known answer: Bradley-Terry against the saved reference pays tanh((r - r_0) / 2)."""
    model = SequenceRewardModel.micro(VOCABULARY, hidden_size=16, num_layers=1, num_heads=2)
    save_reward_model(model, tmp_path, reference=0.75)
    exchange, reward = paid(GameOptions(judge=f"reward:{tmp_path}"))
    score = model.score([(Line(0, exchange.prompt_text), Line(1, exchange.reply_text))])[0]
    assert reward == pytest.approx(np.tanh((score - 0.75) / 2), abs=1e-6)


def test_a_guard_model_judges_the_game_by_its_template(tmp_path: Path) -> None:
    """Known answer: p_safe = sigmoid(l_safe - l_unsafe) after the filled template (arXiv 2312.06674)."""
    model = guard(tmp_path / "guard")
    (tmp_path / "template.txt").write_text(TEMPLATE, encoding="utf-8")
    options = GameOptions(judge=f"guard:{tmp_path / 'guard'}?template={tmp_path / 'template.txt'}")
    exchange, reward = paid(options)
    text = TEMPLATE.replace("{prompt}", exchange.prompt_text).replace("{reply}", exchange.reply_text)
    with torch.no_grad():
        logits = model(torch.tensor([TOKENIZER.encode(text, add_special_tokens=False)])).logits[0, -1]
    safe, unsafe = (logits[TOKENIZER.encode(word, add_special_tokens=False)[0]] for word in ("safe", "unsafe"))
    assert reward == pytest.approx(2 * (safe - unsafe).sigmoid().item() - 1, abs=1e-5)
    assert abs(reward) > 1e-3


def test_a_template_is_read_without_its_byte_order_mark_or_refused(tmp_path: Path) -> None:
    """The mark would be the guard's first token, and carriage returns tokens of their own."""
    guard(tmp_path / "guard")
    path = tmp_path / "template.txt"
    options = GameOptions(judge=f"guard:{tmp_path / 'guard'}?template={path}")
    path.write_text(TEMPLATE, encoding="utf-8")
    expected = paid(options)[1]
    path.write_bytes(b"\xef\xbb\xbf" + TEMPLATE.replace("\n", "\r\n").encode())
    assert paid(options)[1] == expected
    for data, what in ((TEMPLATE.encode("utf-16"), "UTF-16 text"), (b"{prompt}{reply}\xff", "'utf-8' codec")):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"judge template .*: expected a readable UTF-8 file, got {what}"):
            options.build()
    with pytest.raises(ValueError, match=r"judge template .*: expected a readable UTF-8 file, got a folder"):
        replace(options, judge=f"guard:{tmp_path / 'guard'}?template={tmp_path}").build()


def test_a_guard_model_is_asked_by_its_own_chat_template_unless_told_otherwise(tmp_path: Path) -> None:
    """Whether the reply is safe or unsafe, in the form in which the model is spoken to; without one it is refused."""
    model = guard(tmp_path / "guard")
    exchange, reward = paid(GameOptions(judge=f"guard:{tmp_path / 'guard'}"))
    asked = QUESTION.replace("{prompt}", exchange.prompt_text).replace("{reply}", exchange.reply_text)
    text = f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n"
    with torch.no_grad():
        logits = model(torch.tensor([TOKENIZER.encode(text, add_special_tokens=False)])).logits[0, -1]
    safe, unsafe = (logits[TOKENIZER.encode(word, add_special_tokens=False)[0]] for word in ("safe", "unsafe"))
    assert reward == pytest.approx(2 * (safe - unsafe).sigmoid().item() - 1, abs=1e-5)
    tiny_tokenizer().save_pretrained(tmp_path / "guard")
    (tmp_path / "guard" / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="expected template=FILE for a guard model without a chat template"):
        GameOptions(judge=f"guard:{tmp_path / 'guard'}").build()
    with pytest.raises(ValueError, match="judge template: expected question, conversation or a file with"):
        GameOptions(judge=f"guard:{tmp_path / 'guard'}?template=nosuch").build()


def test_a_classifier_judges_the_game(tmp_path: Path) -> None:
    """Known answer: p_safe - p_unsafe of one pass over the pair of texts; it is the default kind."""
    torch.manual_seed(0)
    labels: dict[str, Any] = {"id2label": {0: "safe", 1: "unsafe"}, "label2id": {"safe": 0, "unsafe": 1}}
    config = BertConfig(vocab_size=len(TOKENIZER), pad_token_id=0, initializer_range=0.5, **SHAPE, **labels)
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    exchange, reward = paid(GameOptions(judge=str(tmp_path)))
    with torch.no_grad():
        logits = model(**TOKENIZER(exchange.prompt_text, exchange.reply_text, return_tensors="pt")).logits[0]
    safe, unsafe = logits.softmax(-1).tolist()
    assert reward == pytest.approx(safe - unsafe, abs=1e-5)


def test_requests_are_read_from_the_columns_that_are_named(tmp_path: Path) -> None:
    """Two columns with names of their own; without them the file is refused."""
    TOKENIZER.save_pretrained(tmp_path / "tokenizer")
    rows = ["ask,kind", "do a,unsafe", "do b,safe"]
    (tmp_path / "requests.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    options = GameOptions(
        game="red_team_text-v0",
        requests=tmp_path / "requests.csv",
        tokenizer=tmp_path / "tokenizer",
        judge="refusal",
    )
    with pytest.raises(ValueError, match="judge: expected one for the requests of red_team_text-v0, such as refusal"):
        replace(options, judge=None).build()
    with pytest.raises(ValueError, match="expected the column 'prompt', got ask, kind"):
        options.build()
    game = replace(options, request_column="ask", label_column="kind").build(split="all")
    assert isinstance(game, RedTeamText)
    assert [(request.text, request.harmful) for request in game.requests] == [("do a", True), ("do b", False)]


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Return the folder of a tiny defender, whose weights are float32."""
    agent = CausalLMAgent(micro_model(VOCABULARY, hidden_size=16, num_layers=1, num_heads=2), VOCABULARY)
    save_model(agent, tmp_path / "start")
    return tmp_path / "start"


def train_rlhf(start: Path, out: Path) -> Path:
    """Return the folder of a defender after one step in bfloat16."""
    return (
        rlhf(RLHFConfig(defender=start, out=out, num_steps=1, batch_size=4, save_every=1, dtype="bfloat16")) / "model"
    )


def train_dpo(start: Path, out: Path) -> Path:
    """Return the folder of a defender after one step on pairs in bfloat16."""
    config = DPOConfig(defender=start, out=out, num_pairs=8, num_steps=1, batch_size=8, save_every=1, dtype="bfloat16")
    return dpo(config) / "model"


@pytest.mark.parametrize("train", [train_rlhf, train_dpo], ids=["rlhf", "dpo"])
def test_bfloat16_is_what_is_computed_in_and_not_what_weights_are(
    start: Path, train: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    """One small step moves nearly all weights, which rounded ones would not be by."""
    folder = train(start, tmp_path / "run")
    before, after = (load_file(one / "model.safetensors") for one in (start, folder))
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    moved = sum(int((weight != before[name]).sum()) for name, weight in after.items())
    assert moved > 0.5 * sum(weight.numel() for weight in after.values())
    agent = load_model(folder, RedTeam(), dtype="bfloat16")
    assert {weight.dtype for weight in agent.model.state_dict().values()} == {torch.bfloat16}


def test_gpo_loads_both_players_in_bfloat16(start: Path, tmp_path: Path) -> None:
    """Autocast computes in it, sampling and learning alike; the weights that are trained are float32."""
    config = GPOConfig(defender=start, adversary=start, out=tmp_path / "run", dtype="bfloat16")
    learner = make_gpo(config)
    for player in (learner.adversary, learner.defender):
        assert {weight.dtype for weight in player.agent.model.parameters()} == {torch.float32}
        assert player.agent.compute_dtype is torch.bfloat16
        with player.agent.computing():
            assert player.agent.model(input_ids=torch.ones(1, 2, dtype=torch.int64)).logits.dtype is torch.bfloat16
