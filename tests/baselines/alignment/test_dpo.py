"""Text pairs become rows whose replies alone are compared; the offline loop passes over them and resumes."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.agents.language_model.tokenizers import load_tokenizer
from duologue.baselines.alignment.dpo import DPO, DPOConfig, dpo, encode_pairs
from duologue.baselines.data.dialogues import PreferencePair, TextDialogue, TextTurn
from duologue.baselines.learners.preference import PreferenceConfig, PreferenceLearner
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.baselines.training.options import save_model
from duologue.baselines.training.run import read_metrics
from duologue.envs import make_game
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.baselines.helpers import VOCABULARY, Wages, same, through_a_file, tiny_agent, weights
from duologue.tests.helpers import CHATML, tiny_tokenizer

PROMPT = TextDialogue((TextTurn(None, "maybe"), TextTurn(0, "red"), TextTurn(1, "no"), TextTurn(0, "blue")))
PAIRS = [
    PreferencePair(PROMPT, TextTurn(1, "yes yes", thought="maybe"), TextTurn(1, "no")),
    PreferencePair(TextDialogue((TextTurn(0, "red"),)), TextTurn(1, "yes"), TextTurn(1, "no no no")),
]


def test_only_the_reply_is_compared_and_its_end_belongs_to_it() -> None:
    """An earlier turn of the same player's is prompt, its thought is left out, `<eos>` is the last own token."""
    pairs = encode_pairs(VOCABULARY, PAIRS)
    for batch, replies in ((pairs.first, ("yes yes", "yes")), (pairs.second, ("no", "no no no"))):
        for row, reply in enumerate(replies):
            own = batch.policy_token_mask[row]
            assert batch.tokens[row, own].tolist() == [*VOCABULARY.encode(reply), VOCABULARY.eos_id]
            assert int(own.nonzero()[-1]) == int(batch.attention_mask[row].sum()) - 1
    starts = [int(batch.policy_token_mask[0].int().argmax()) for batch in (pairs.first, pairs.second)]
    assert starts[0] == starts[1]
    assert torch.equal(pairs.first.tokens[0, : starts[0]], pairs.second.tokens[0, : starts[1]])
    assert VOCABULARY.encode("no")[0] in pairs.first.tokens[0, : starts[0]]
    assert pairs.preferences.tolist() == [1, 1]


def test_a_text_pair_is_laid_out_as_play_is() -> None:
    """A game's episode, written as text and encoded again: the same rows, token for token."""
    game, agent = make_game("red_team-v0"), tiny_agent(make_game("red_team-v0"))
    played = rollout(game, (agent, agent), 4, np.random.default_rng(0))
    batch = trajectories(played, 1)
    for row, one in enumerate(played):
        prompt, reply = (game.vocabulary.decode(turn.tokens) for turn in one.dialogue.turns)
        turn = TextTurn(1, reply)
        pairs = encode_pairs(game.vocabulary, [PreferencePair(TextDialogue((TextTurn(0, prompt),)), turn, turn)])
        length = int(batch.attention_mask[row].sum())
        ended = int(batch.tokens[row, length - 1] == game.vocabulary.eos_id)
        assert pairs.first.tokens[0, :length].tolist() == batch.tokens[row, :length].tolist()
        assert pairs.first.tokens.shape[1] == length + 1 - ended
        assert torch.equal(pairs.first.policy_token_mask[0, :length], batch.policy_token_mask[row, :length])


def test_pairs_that_do_not_fit_are_counted_and_none_left_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    """By hand: the second pair has 8 tokens, <bos> <player_0> red <eos> <player_1> no no no with <eos> 9."""
    assert len(encode_pairs(VOCABULARY, PAIRS, max_tokens=9)) == 1
    assert "1 of 2 pairs left out" in caplog.text
    with pytest.raises(ValueError, match="pairs: expected one within 3 tokens that can be said, got 2 others"):
        encode_pairs(VOCABULARY, PAIRS, max_tokens=3)


def loop(*, seed: int = 0, num_steps: int = 6) -> DPO:
    """Return a loop over eight pairs."""
    learner = PreferenceLearner(tiny_agent(Wages(), seed=seed), PreferenceConfig(learning_rate=1e-2, warmup_updates=1))
    return DPO(learner, encode_pairs(VOCABULARY, PAIRS * 4), num_steps=num_steps, batch_size=3, seed=0)


def test_the_preferred_replies_gain() -> None:
    """From a margin of 0 nats, on the pairs that are learnt."""
    steps = [step.update for step in loop()]
    assert steps[0].margin_nats == pytest.approx(0, abs=1e-5)
    assert steps[-1].margin_nats > 1
    assert steps[-1].accuracy == 1


def test_it_resumes_bit_for_bit(tmp_path: Path) -> None:
    """Put down after three of six steps, in the midst of a pass."""
    whole = loop()
    steps = list(whole)
    first = loop()
    resumed = list(islice(first, 3))
    second = loop(seed=7)
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    assert same(weights(whole.learner.agent.model), weights(second.learner.agent.model))


def test_a_batch_larger_than_the_data_is_refused() -> None:
    """A pass would be empty."""
    with pytest.raises(ValueError, match="batch_size: expected from 1 to the number of pairs, 2, got 3"):
        DPO(loop().learner, encode_pairs(VOCABULARY, PAIRS), num_steps=1, batch_size=3, seed=0)


def test_a_run_draws_its_pairs_and_leaves_a_model(tmp_path: Path) -> None:
    """The command, from a model folder, on replies of its own labelled by the game's rewards."""
    agent = tiny_agent(make_game("red_team-v0"))
    agent.save_pretrained(tmp_path / "start")
    config = DPOConfig(
        defender=tmp_path / "start", out=tmp_path / "run", num_pairs=8, num_steps=2, batch_size=4, num_threads=1
    )
    folder = dpo(config)
    assert (folder / "model" / "model.safetensors").is_file()
    assert len((tmp_path / "run/metrics.jsonl").read_text().splitlines()) == 2


def test_bad_rows_of_a_file_are_fatal_or_skipped_by_choice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The message names the row; what is skipped is said although not all rows are asked for."""
    game = make_game("red_team-v0")
    tiny_agent(game).save_pretrained(tmp_path / "start")
    words = game.vocabulary.decode(np.flatnonzero(game.vocabulary.sayable_mask)[:3].tolist()).split()
    pair = {"prompt": words[0], "chosen": words[1], "rejected": words[2]}
    rows = [*[json.dumps(pair)] * 2, '{"prompt": 5}', *[json.dumps(pair)] * 9]
    (tmp_path / "pairs.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = DPOConfig(
        defender=tmp_path / "start", pairs=tmp_path / "pairs.jsonl", out=tmp_path / "run", num_pairs=4, num_steps=1,
        batch_size=4, num_threads=1,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"pairs.jsonl, line 3: record: expected the keys chosen and rejected"):
        dpo(config)
    folder = dpo(replace(config, on_error="skip", out=tmp_path / "other"))
    assert (folder / "model" / "model.safetensors").is_file()
    assert "skipped 1 of 5 rows" in caplog.text


def test_pairs_of_real_text_need_no_game(tmp_path: Path) -> None:
    """`duologue train dpo --defender FOLDER --pairs FILE`: as the model's own template writes them."""
    vocabulary = TokenizerVocabulary(tiny_tokenizer(CHATML))
    save_model(
        CausalLMAgent(micro_model(vocabulary, hidden_size=16, num_layers=1, num_heads=2), vocabulary), tmp_path / "m"
    )
    rows = [{"prompt": "What can I do?", "chosen": "Sure, here.", "rejected": "I'm sorry."}] * 4
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    config = DPOConfig(
        defender=tmp_path / "m", pairs=tmp_path / "pairs.jsonl", out=tmp_path / "run", num_steps=2, batch_size=2
    )
    left = dpo(config) / "model"
    assert load_tokenizer(left).chat_template == CHATML
    updates = [row["update"] for row in read_metrics(tmp_path / "run")]
    assert len(updates) == 2
