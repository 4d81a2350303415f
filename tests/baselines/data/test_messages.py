"""Records of messages, Alpaca and preference pairs."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.data import (
    PreferencePair,
    TextDialogue,
    TextTurn,
    check_alternation,
    merge_turns,
    parse_alpaca,
    parse_hh_pair,
    parse_messages,
    parse_pair,
    read_dialogues,
    tidy,
    to_hh_pair,
    to_messages,
    to_pair,
)

WORDS = st.one_of(
    st.text(max_size=8), st.sampled_from(["<think>a</think>b", " <think></think>", "\n\nHuman: x", "<think>"])
)
SAID = st.builds(TextTurn, st.sampled_from([0, 1]), WORDS, WORDS)
TURNS = st.one_of(SAID, st.builds(TextTurn, st.none(), WORDS))


@given(turns=st.lists(TURNS, min_size=1, max_size=5))
def test_dialogue_to_messages_to_dialogue_is_exact(turns: list[TextTurn]) -> None:
    """Also where what is said looks like a thought."""
    dialogue = TextDialogue(tuple(turns))
    assert parse_messages(to_messages(dialogue)) == dialogue


@given(prompt=st.lists(TURNS, max_size=3), replies=st.tuples(WORDS, WORDS, WORDS), player=st.sampled_from([0, 1]))
def test_pair_to_record_to_pair_is_exact(prompt: list[TextTurn], replies: tuple[str, str, str], player: int) -> None:
    """TRL's conversational form; equal replies are a pair, too."""
    chosen, rejected = TextTurn(player, replies[0], replies[2]), TextTurn(player, replies[1])
    pair = PreferencePair(TextDialogue(tuple(prompt)), chosen, rejected)
    assert parse_pair(to_pair(pair)) == pair


def test_messages_carry_roles_and_thoughts() -> None:
    """`reasoning_content` as vLLM and others give it, or think tags before the words."""
    dialogue = parse_messages(
        [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": "<think>kept</think> 2 + 2?"},
            {"role": "assistant", "content": "<think>\ntwo pairs\n</think>\n\n4"},
            {"role": "assistant", "content": "So 4.", "reasoning_content": "sure", "name": "unused"},
        ]
    )
    assert dialogue.turns == (
        TextTurn(None, "Be kind."),
        TextTurn(0, "<think>kept</think> 2 + 2?"),
        TextTurn(1, "4", thought="two pairs"),
        TextTurn(1, "So 4.", thought="sure"),
    )


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ("text", "expected a list of at least one message, got \"'text'\""),
        ([], "expected a list of at least one message"),
        (["hi"], "message 0: expected an object"),
        ([{"role": "tool", "content": "5"}], "message 0: expected a role among system, .*, got 'tool'"),
        ([{"role": ["user"], "content": "5"}], "message 0: expected a role among"),
        ([{"role": "user", "content": "5"}, {"role": "assistant", "content": None}], "message 1: expected content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "message 0: expected content"),
        ([{"role": "system", "content": "5", "reasoning_content": "hm"}], "thought: expected none"),
        ([{"role": "user", "content": "\ud800"}], "surrogates not allowed"),
        ([{"from": "observation", "value": "5"}], "message 0: expected a role among .*, got 'observation'"),
        ([{"role": "user", "content": [{"type": "image_url", "text": "5"}]}], "message 0: expected content"),
        ([{"role": "user", "content": []}], "message 0: expected content"),
        ([{"role": "user", "content": [{"type": "text", "text": 5}]}], "message 0: expected content"),
        ([{"role": "assistant", "content": "", "tool_calls": [{}]}], "message 0: expected text, got a call of a tool"),
    ],
)
def test_unusable_messages_are_refused(messages: Any, message: str) -> None:
    """The error says which message, what was expected, and what came."""
    with pytest.raises(ValueError, match=message):
        parse_messages(messages)


def test_other_ways_to_write_messages_are_the_same_dialogue() -> None:
    """ShareGPT's keys and roles, capitals, and content in parts (OpenAI's), which are joined as they stand."""
    expected = (TextTurn(None, "Be kind."), TextTurn(0, "2 + 2?"), TextTurn(1, "4"))
    shared = [("system", "Be kind."), ("human", "2 + 2?"), ("gpt", "4")]
    assert parse_messages([{"from": role, "value": text} for role, text in shared]).turns == expected
    roles = [("System", ["Be ", "kind."]), ("USER", ["2 + 2?"]), ("assistant ", ["4"])]
    parts = [{"role": role, "content": [{"type": "text", "text": text} for text in texts]} for role, texts in roles]
    assert parse_messages(parts).turns == expected


@pytest.mark.parametrize("key", ["messages", "conversations", "conversation"])
def test_a_system_text_beside_the_messages_opens_the_dialogue(key: str) -> None:
    """Unless they have one themselves."""
    said = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
    exchange = (TextTurn(0, "Hi"), TextTurn(1, "Hello."))
    for system, told in (("Be kind.", (TextTurn(None, "Be kind."),)), ("", ()), (None, ())):
        assert next(read_dialogues([{key: said, "system": system}])).turns == (*told, *exchange)
    own = [{"role": "system", "content": "Be brief."}, *said]
    (dialogue,) = read_dialogues([{key: own, "system": "Be kind."}])
    assert dialogue.turns == (TextTurn(None, "Be brief."), *exchange)


def test_alpaca_is_an_exchange_with_input_history_and_system() -> None:
    """Stanford Alpaca's three keys and the two that others added."""
    record = {"instruction": "Add.", "input": "2 2", "output": "4", "system": "Be brief.", "history": [["Hi", "Hello"]]}
    assert parse_alpaca(record).turns == (
        TextTurn(None, "Be brief."),
        TextTurn(0, "Hi"),
        TextTurn(1, "Hello"),
        TextTurn(0, "Add.\n\n2 2"),
        TextTurn(1, "4"),
    )
    assert parse_alpaca({"instruction": "Go.", "input": "", "output": "ok"}).turns[0].text == "Go."
    with pytest.raises(ValueError, match="output: expected text, got '3'"):
        parse_alpaca({"instruction": "Go.", "output": 3})
    with pytest.raises(ValueError, match="history: expected pairs of texts"):
        parse_alpaca({"instruction": "Go.", "output": "3", "history": ["Hi"]})


def test_hh_pairs_part_where_the_replies_differ() -> None:
    """anthropics/hh-rlhf: both sides repeat the prompt."""
    record = {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: So.",
        "rejected": "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why?\n\nAssistant: No.",
    }
    pair = parse_hh_pair(record)
    assert [turn.text for turn in pair.prompt.turns] == ["Hi", "Yes?", "Why?"]
    assert (pair.chosen, pair.rejected) == (TextTurn(1, "So."), TextTurn(1, "No."))
    assert to_hh_pair(pair) == record
    assert parse_pair(record) == pair


def test_a_reply_in_two_turns_is_merged() -> None:
    """Rows 1255, 1689, 1951, 1953 and 2037 of the harmless test set are of this kind."""
    record = {"chosen": "\n\nHuman: Hi\n\nAssistant: A\n\nAssistant: B", "rejected": "\n\nHuman: Hi\n\nAssistant: C"}
    assert parse_hh_pair(record).chosen == TextTurn(1, "A\n\nB")


def test_pairs_with_a_prompt_of_their_own() -> None:
    """TRL takes text or messages, with the prompt repeated or not."""
    expected = PreferencePair(TextDialogue((TextTurn(0, "Hi"),)), TextTurn(1, "A"), TextTurn(1, "B"))
    asked = [{"role": "user", "content": "Hi"}]
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in "AB")
    assert parse_pair({"prompt": "Hi", "chosen": "A", "rejected": "B"}) == expected
    assert parse_pair({"prompt": asked, "chosen": chosen, "rejected": rejected}) == expected
    assert parse_pair({"chosen": [*asked, *chosen], "rejected": [*asked, *rejected]}) == expected
    assert parse_pair({"prompt": asked, "chosen": [*asked, *chosen], "rejected": [*asked, *rejected]}) == expected
    assert parse_pair({"prompt": "\n\nHuman: Hi", "chosen": "A", "rejected": "B"}) == expected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: c\n\nAssistant: d"}, "after 0 turns"),
        ({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nHuman: d"}, "after 1 turns"),
        ({"prompt": "a", "chosen": "b", "rejected": 3}, "rejected: messages: expected a list"),
    ],
)
def test_sides_that_do_not_answer_the_same_prompt_are_refused(record: dict[str, object], message: str) -> None:
    """A preference between different prompts says nothing about replies."""
    with pytest.raises(ValueError, match=message):
        parse_pair(record)


def test_alternation_is_checked_turn_by_turn() -> None:
    """The game may speak anywhere."""
    asked, told, said = TextTurn(0, "a"), TextTurn(None, "rain"), TextTurn(1, "b")
    check_alternation(TextDialogue((told, asked, told, said)), last=1)
    check_alternation(TextDialogue((said, asked)), first=None, last=0)
    for turns, message in [
        ((asked, told, asked), "turn 2: expected player 1 to speak, got player 0"),
        ((said,), "turn 0: expected player 0 to speak, got player 1"),
        ((asked, TextTurn(1, " ")), "turn 1: expected words, got ' '"),
        ((told,), "expected at least one turn of a player"),
        ((asked,), "expected player 1 to have the last turn, got player 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            check_alternation(TextDialogue(turns), last=1)


def test_neighbouring_turns_are_merged_and_blanks_tidied() -> None:
    """Thoughts are joined like texts; a turn without either goes."""
    turns = TextTurn(0, " a\n"), TextTurn(0, " "), TextTurn(1, "b", "x "), TextTurn(1, "c", "y")
    assert tidy(TextDialogue(turns)).turns == (TextTurn(0, "a"), TextTurn(1, "b", "x"), TextTurn(1, "c", "y"))
    assert merge_turns(TextDialogue(turns[2:])).turns == (TextTurn(1, "b\n\nc", "x \n\ny"),)


@pytest.mark.parametrize("player", [2, -1, "user"])
def test_only_two_players_and_the_game_speak(player: Any) -> None:
    """A wrong number would be cloned from silently."""
    with pytest.raises(ValueError, match="player: expected 0"):
        TextTurn(player, "a")
    with pytest.raises(ValueError, match="expected both replies by one player, got them by 0 and 1"):
        PreferencePair(TextDialogue(()), TextTurn(0, "a"), TextTurn(1, "a"))
