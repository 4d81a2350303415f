"""Text dialogues as token rows: whose tokens are in the loss, how long rows are, and that views are the engine's."""

import logging
from typing import Any

import numpy as np
import pytest
import torch

from duologue.baselines.data import (
    TextDialogue,
    TextTurn,
    encode_text_dialogue,
    encode_text_dialogues,
    episode_dialogue,
)
from duologue.baselines.rollouts.demonstrations import Demonstrations, encode_dialogues
from duologue.envs import Ending, WordVocabulary, make_game
from duologue.envs.engine.plays import random_plays, replayed
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, CHATML_THINKING, tiny_tokenizer

WORDS = WordVocabulary([f"w{k}" for k in range(30)])
EOS, THINK, END_THINK = 2, 6, 7


def words(first: int, last: int) -> str:
    """Return a text of numbered words."""
    return " ".join(f"w{k}" for k in range(first, last))


QUESTION, ANSWER = TextTurn(0, words(0, 5)), TextTurn(1, words(5, 17))


def test_figure_5_counts_6_question_and_13_answer_tokens() -> None:
    """ArXiv 2402.08078, figure 5 and equation 8: a_1..a_6 and a_7..a_19, each with the `<eos>` of its turn."""
    data = encode_text_dialogues(WORDS, [TextDialogue((QUESTION, ANSWER))])
    counts = {of: int(data.loss_mask(of).sum()) for of in ("player_0", "player_1", "all")}
    assert (counts["player_0"], counts["player_1"]) == (6, 13)
    assert counts["all"] == data.tokens.shape[1] - 1 == 6 + 13 + 2, "equation 7: every token but the first"
    assert data.tokens[0][data.loss_mask("player_1")[0]].tolist() == [*WORDS.encode(ANSWER.text), EOS]


def test_a_reasoning_is_answered_for_by_its_thinker_only() -> None:
    """Q-C-A, section 5.1: C with its marks is in player 1's loss and unheard by player 0."""
    talk = TextDialogue((TextTurn(None, words(20, 22)), QUESTION, TextTurn(1, ANSWER.text, words(17, 20))))
    own, other = (encode_text_dialogues(WORDS, [talk], viewer=viewer) for viewer in (1, 0))
    thought = [THINK, *WORDS.encode(words(17, 20)), END_THINK]
    assert own.tokens[0][own.loss_mask("player_1")[0]].tolist() == [*thought, *WORDS.encode(ANSWER.text), EOS]
    assert other.tokens[0][other.loss_mask("player_1")[0]].tolist() == [*WORDS.encode(ANSWER.text), EOS]
    told = len(WORDS.begin(1)) + len(WORDS.tell(WORDS.encode("w20 w21"), 1))
    assert own.speaker[0, :told].tolist() == [-1] * told


def test_rows_are_those_of_the_chat_template() -> None:
    """ChatML: the view of the assistant is token for token what the tokenizer's template gives."""
    tokenizer = tiny_tokenizer(CHATML)
    vocabulary = TokenizerVocabulary(tokenizer)
    turns = TextTurn(None, "Be kind."), TextTurn(0, "How do I?"), TextTurn(1, "Sure, first."), TextTurn(0, "And?")
    row = encode_text_dialogue(vocabulary, TextDialogue(turns))
    roles = ("system", "user", "assistant", "user")
    messages = [{"role": role, "content": turn.text} for role, turn in zip(roles, turns, strict=True)]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert row is not None
    assert row.tokens.tolist() == tokenizer.encode(text, add_special_tokens=False)
    said = [tokenizer.decode(row.tokens[row.speaker == player]) for player in (0, 1)]
    assert said == ["How do I?<|im_end|>And?<|im_end|>", "Sure, first.<|im_end|>"]


def test_rows_of_episodes_are_those_of_the_engine() -> None:
    """Through text and back: the same tokens and speakers as `encode_dialogues`, where players closed their turns."""
    game = make_game("red_team-v0")
    episodes = [replayed(game, play) for play in random_plays(game, 0, 80)]
    closed = [one for one in episodes if all(turn.ending is Ending.END_OF_TURN for turn in one.dialogue.turns)]
    assert len(closed) > 10
    for viewer in (0, 1):
        ours = encode_text_dialogues(game.vocabulary, [episode_dialogue(one, viewer) for one in closed], viewer=viewer)
        theirs = encode_dialogues(game, [one.dialogue for one in closed], viewers=(viewer,))
        for part in ("tokens", "attention_mask", "speaker"):
            assert torch.equal(getattr(ours, part), getattr(theirs, part)), part


@pytest.mark.parametrize(("max_tokens", "length"), [(22, 22), (24, 22), (30, 30), (None, 30)])
def test_long_dialogues_are_cut_between_turns(max_tokens: int | None, length: int) -> None:
    """`<bos>`, 7 tokens of question, 14 of answer, 8 of a second question; never through a turn."""
    talk = TextDialogue((QUESTION, ANSWER, TextTurn(0, words(0, 6))))
    row = encode_text_dialogue(WORDS, talk, max_tokens=max_tokens)
    assert row is not None
    assert (len(row.tokens), row.num_cut_turns) == (length, 0 if length == 30 else 1)


def test_what_does_not_fit_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """Cut, dropped as too long, dropped for want of a turn of the viewer's, and a thought without tokens for it."""
    long = TextDialogue((QUESTION, ANSWER, QUESTION))
    talks = [
        TextDialogue((QUESTION, ANSWER)),
        long,
        TextDialogue((QUESTION, TextTurn(1, words(0, 30)))),
        TextDialogue(()),
    ]
    with caplog.at_level(logging.WARNING):
        data = encode_text_dialogues(WORDS, talks, max_tokens=22)
    assert (len(data), data.num_cut, data.num_dropped, data.num_thoughts_left_out) == (2, 1, 2, 0)
    assert "2 dialogues encoded, 1 of them cut; 2 dropped; 0 thoughts left out" in caplog.text
    with pytest.raises(ValueError, match="expected one with a turn of player 1 within 5 tokens, got 1 without"):
        encode_text_dialogues(WORDS, [long], max_tokens=5)


@pytest.mark.parametrize(("template", "left_out"), [(CHATML, 1), (CHATML_THINKING, 0)])
def test_thoughts_need_tokens_of_the_vocabulary(template: str, left_out: int) -> None:
    """`<think>` and `</think>`; without them the thought is left out, and counted."""
    vocabulary = TokenizerVocabulary(tiny_tokenizer(template))
    data = encode_text_dialogues(vocabulary, [TextDialogue((TextTurn(0, "Hi"), TextTurn(1, "So.", "first open")))])
    assert data.num_thoughts_left_out == left_out
    own = vocabulary.tokenizer.decode(data.tokens[0][data.loss_mask("player_1")[0]].tolist())
    assert own == ("So.<|im_end|>" if left_out else "<think>first open</think>So.<|im_end|>")


def test_rows_are_padded_and_selected_like_demonstrations() -> None:
    """A batch of the shorter row alone is the row alone."""
    short, long = TextDialogue((QUESTION, TextTurn(1, "w1"))), TextDialogue((QUESTION, ANSWER))
    both, alone = encode_text_dialogues(WORDS, iter([long, short])), encode_text_dialogues(WORDS, [short])
    picked: Any = both.select(torch.tensor([1]))
    assert isinstance(picked, Demonstrations)
    assert torch.equal(picked.tokens, alone.tokens)
    assert torch.equal(picked.speaker, alone.speaker)
    assert np.array_equal(both.attention_mask.sum(1), [22, 11])
    assert not both.loss_mask("all")[1, 11:].any()
