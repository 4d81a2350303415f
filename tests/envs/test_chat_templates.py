"""Views beside `apply_chat_template`: `chat_families` in full, and more of Llama 3's, Qwen 3's, Gemma's and ChatML.

The tests' `helpers` have the bare marks of each family; the templates here add what the families' do besides: a system
message that is always there, thoughts that are dropped from earlier replies, messages that must alternate, a date.
"""

import ast
import re
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from duologue.envs import Dialogue, Ending, Episode, LanguageGame, Payoff, Tokens, Utterance
from duologue.envs.game import NO_CHANCE
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.envs.chat_families import FAMILIES
from duologue.tests.helpers import SENTENCES, tiny_tokenizer

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{% for message in messages %}"
    "{% set text = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim %}"
    "{{ (bos_token if loop.first else '') + text + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA_3_DATED = (
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nToday is {{ DATE }}.\n\n"
    "{% if messages and messages[0]['role'] == 'system' %}{{ messages[0]['content'] | trim }}"
    "{% set messages = messages[1:] %}{% endif %}<|eot_id|>"
    "{% for message in messages %}<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
"""Like Llama 3.1's: a system message that is always there. DATE is to be replaced by an expression."""
QWEN = (
    "{% set ns = namespace(query=-1) %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}{% set ns.query = loop.index0 %}{% endif %}"
    "{% endfor %}{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{% set said = message['content'].split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = message['content'].split('</think>')[0].split('<think>')[-1].strip('\n')"
    " if '</think>' in message['content'] else '' %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if loop.index0 > ns.query and (loop.last or thought) %}"
    "{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}"
    "{{ said + '<|im_end|>\n' }}"
    "{% else %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""Like Qwen 3's: ChatML, where a reply has a thought only after the last question."""
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles alternate') }}{% endif %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
"""Like Gemma's: no system role, the assistant is "model", and user and model alternate, the user first."""

MARKS = {
    CHATML: ("<|endoftext|>", "<|im_end|>", "<|im_start|>"),
    LLAMA_3: ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    QWEN: ("<|endoftext|>", "<|im_end|>", "<|im_start|>", "<think>", "</think>"),
    GEMMA: ("<bos>", "<end_of_turn>", "<start_of_turn>"),
}
"""The special tokens of a template: the first begins a text, the second ends a turn."""


def chat_tokenizer(template: str, *, marks: tuple[str, ...] | None = None) -> PreTrainedTokenizerFast:
    """Return a tokenizer with a chat template and the marks of its family, or these."""
    marks = MARKS[template] if marks is None else marks
    sentences = (*SENTENCES, "Today is 26 July 2024.", "assistant user system model")
    return tiny_tokenizer(template, marks=marks, sentences=sentences, vocab_size=400)


VOCABULARIES = {template: TokenizerVocabulary(chat_tokenizer(template)) for template in MARKS}
NAMES = {CHATML: "chatml", LLAMA_3: "llama_3", QWEN: "qwen", GEMMA: "gemma"}
HEADERS = {
    CHATML: "<|im_start|>assistant\n",
    LLAMA_3: "<|start_header_id|>assistant<|end_header_id|>\n\n",
    QWEN: "<|im_start|>assistant\n",
    GEMMA: "<start_of_turn>model\n",
}
every_template = pytest.mark.parametrize("template", list(MARKS), ids=lambda template: NAMES[template])
texts = st.text("abcdefghijklmnop ABC,.?!'é\n", min_size=1, max_size=30).map(str.strip).filter(bool)
BRIEFING = "Tell me a story about the sea."


class Talk(LanguageGame[Any]):
    """Two players speak in turn; each may be told something first."""

    payoff = Payoff.GENERAL
    deals = NO_CHANCE
    max_turns = 6
    max_turn_tokens = 200
    max_briefing_tokens = 60
    max_thought_tokens = 0

    def __init__(self, vocabulary: TokenizerVocabulary, briefings: tuple[str, str] = ("", "")) -> None:
        self.vocabulary = vocabulary
        self._briefings = tuple(vocabulary.encode(text) for text in briefings)

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        return len(dialogue.turns) % 2 if len(dialogue.turns) < self.max_turns else None

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        return 0.0, 0.0

    def briefing(self, deal: Any, player: int) -> Tokens:
        return self._briefings[player]


def say(episode: Episode[Any], text: str) -> None:
    """Say one turn and close it."""
    vocabulary = episode.game.vocabulary
    episode.speak(Utterance((*vocabulary.encode(text), vocabulary.eos_id)))
    episode.settle((0.0, 0.0))


def applied(template: str, messages: list[tuple[str, str]]) -> list[int]:
    """Return what transformers alone makes of a conversation that the assistant is to continue."""
    tokenizer: Any = VOCABULARIES[template].tokenizer
    conversation = [{"role": role, "content": text} for role, text in messages]
    ids: list[int] = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=True)["input_ids"]
    return ids


@every_template
@given(said=st.lists(texts, min_size=5, max_size=5))
@example(said=["Hello there", "So:\n\nfirst, then", "a", "B's", "é!?"])
@settings(max_examples=10, deadline=None)
def test_player_ones_view_is_the_conversation_that_it_is_the_assistant_of(template: str, said: list[str]) -> None:
    """The issue's definition, at each of three replies: token for token `apply_chat_template(messages)`."""
    episode = Episode(Talk(VOCABULARIES[template]), None)
    for k, text in enumerate(said):
        if episode.player == 1:
            roles = ["user", "assistant"] * 3
            assert episode.view().tokens.tolist() == applied(template, list(zip(roles, said[:k], strict=False)))
        say(episode, text)


@every_template
@given(said=st.lists(texts, min_size=5, max_size=5))
@settings(max_examples=10, deadline=None)
def test_player_zeros_view_has_the_roles_swapped(template: str, said: list[str]) -> None:
    """Its briefing comes first: the system's, or with Gemma, which has no such role, a message of the user's."""
    episode = Episode(Talk(VOCABULARIES[template], (BRIEFING, "")), None)
    told = ("user" if template == GEMMA else "system", BRIEFING)
    for k, text in enumerate(said):
        if episode.player == 0:
            roles = ["assistant", "user"] * 3
            assert episode.view().tokens.tolist() == applied(template, [told, *zip(roles, said[:k], strict=False)])
        say(episode, text)


@every_template
def test_a_view_ends_with_the_generation_prompt_of_its_owner(template: str) -> None:
    """The headers of the four formats: the viewer is always the assistant (Gemma: the model)."""
    episode = Episode(Talk(VOCABULARIES[template]), None)
    for text in ("Hello", "Sure"):
        assert VOCABULARIES[template].tokenizer.decode(episode.view().tokens.tolist()).endswith(HEADERS[template])
        say(episode, text)


@every_template
def test_the_stop_token_ends_a_turn_and_the_other_marks_forfeit_it(template: str) -> None:
    """`<|eot_id|>`, `<|im_end|>` or `<end_of_turn>`; a header inside a turn would forge somebody else's words."""
    vocabulary = VOCABULARIES[template]
    stop, *others = vocabulary.tokenizer.convert_tokens_to_ids([MARKS[template][1], *MARKS[template][2:]])
    for token, ending in ((stop, Ending.END_OF_TURN), *((other, Ending.ILLEGAL) for other in others)):
        episode = Episode(Talk(vocabulary), None)
        assert not any(episode.push(word) for word in vocabulary.encode("Sure, here"))
        assert episode.push(token)
        assert episode.dialogue.turns[0].ending is ending
        assert vocabulary.decode(episode.dialogue.turns[0].tokens) == "Sure, here"


@every_template
@given(text=st.text(max_size=40).filter(lambda text: "<" not in text))
@settings(max_examples=25, deadline=None)
def test_decoding_undoes_encoding(template: str, text: str) -> None:
    """Byte-level BPE loses nothing, whatever the chat format."""
    vocabulary = VOCABULARIES[template]
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_gemma_reads_a_briefing_as_a_message_of_the_users_of_its_own() -> None:
    """The format has no system role, and its template refuses one, as it does two user messages in a row."""
    vocabulary = VOCABULARIES[GEMMA]
    episode = Episode(Talk(vocabulary, ("", BRIEFING)), None)
    say(episode, "Hello")
    for role in ("system", "user"):
        with pytest.raises(Exception, match=r"no system role|roles alternate"):
            applied(GEMMA, [(role, BRIEFING), ("user", "Hello")])
    text = vocabulary.tokenizer.decode(episode.view().tokens.tolist())
    user = "<start_of_turn>user\n{}<end_of_turn>\n"
    assert text == f"<bos>{user.format(BRIEFING)}{user.format('Hello')}<start_of_turn>model\n"


def test_an_own_thought_stays_in_the_view_between_its_marks() -> None:
    """Qwen's template drops thoughts of earlier replies; a player keeps its own, and the other hears none."""
    vocabulary = VOCABULARIES[QWEN]
    assert vocabulary.think_ids is not None
    game = Talk(vocabulary)
    game.max_thought_tokens = 20
    episode, (opening, closing) = Episode(game, None), vocabulary.think_ids
    thought, words = vocabulary.encode("how?"), vocabulary.encode("Sure")
    episode.speak(Utterance((opening, *thought, closing, *words, vocabulary.eos_id)))
    episode.settle((0.0, 0.0))
    assert episode.view().tokens.tolist() == applied(QWEN, [("user", "Sure")])
    say(episode, "Hello")
    assert "<think>how?</think>Sure<|im_end|>" in vocabulary.tokenizer.decode(episode.view().tokens.tolist())


@pytest.mark.parametrize("template", [LLAMA_3, GEMMA], ids=NAMES.get)
@pytest.mark.parametrize("text", [" Hello", "Hello\n"])
def test_blanks_around_a_briefing_are_refused_where_the_template_strips_them(template: str, text: str) -> None:
    """Both families trim each message, so such a view would differ from what the model was trained on."""
    with pytest.raises(ValueError, match=r"tell: expected no blanks around a text, as the chat template strips them"):
        Episode(Talk(VOCABULARIES[template], (text, "")), None)


def test_blanks_around_a_briefing_are_told_where_the_template_keeps_them() -> None:
    """ChatML writes messages as they are."""
    episode = Episode(Talk(VOCABULARIES[CHATML], ("  Hello ", "")), None)
    assert episode.view().tokens.tolist() == applied(CHATML, [("system", "  Hello ")])


@pytest.mark.parametrize("change", ["upper", "lower", "e", "tojson", "replace('  ', ' ')", "replace('\n\n', '\n')"])
def test_a_template_that_changes_messages_is_refused(change: str) -> None:
    """Each filter of Jinja turns some of the probes into another text."""
    template = CHATML.replace("message['content']", f"(message['content'] | {change})")
    with pytest.raises(ValueError, match="chat_template: expected each message word for word"):
        TokenizerVocabulary(chat_tokenizer(template, marks=MARKS[CHATML]))


def test_a_template_that_tells_todays_date_is_refused() -> None:
    """Llama 3.1's does if it finds a clock: tokens of one day are not those of the next."""
    template = LLAMA_3_DATED.replace("DATE", "strftime_now('%d %B %Y')")
    with pytest.raises(ValueError, match=r"chat_template: expected the same text on every day.*strftime_now"):
        TokenizerVocabulary(chat_tokenizer(template, marks=MARKS[LLAMA_3]))


@pytest.mark.parametrize(
    ("call", "day"), [('strftime_now("%d %b %Y")', "01 Jan 2026"), ("strftime_now('%B %d, %Y')", "January 01, 2026")]
)
def test_what_is_refused_for_todays_date_is_taken_as_the_error_proposes(call: str, day: str) -> None:
    """Llama 3.2's and Granite 3.3's write it in other formats, and in other quotes."""
    template = LLAMA_3_DATED.replace("DATE", call)
    with pytest.raises(ValueError, match="with a fixed date") as error:
        TokenizerVocabulary(chat_tokenizer(template, marks=MARKS[LLAMA_3]))
    given = re.search(r"as chat_template\.replace(\(.*\))$", str(error.value))
    assert given is not None
    fixed = template.replace(*ast.literal_eval(given[1]))
    vocabulary = TokenizerVocabulary(chat_tokenizer(fixed, marks=MARKS[LLAMA_3]))
    assert f"Today is {day}." in vocabulary.tokenizer.decode(list(vocabulary.begin(0)))


@pytest.mark.parametrize("end", ["<|endoftext|>", "<|im_end|>"])
def test_a_template_may_end_a_conversation_that_is_not_to_be_continued(end: str) -> None:
    """Phi-3's and Phi-4-mini's do, with what ends a text; what ends a turn is another token, or the same."""
    template = CHATML.removesuffix("{% endif %}") + "{% else %}{{ eos_token }}{% endif %}"
    tokenizer: Any = chat_tokenizer(template, marks=MARKS[CHATML])
    tokenizer.eos_token = end
    messages = [("user", "Hello there"), ("assistant", "Good day."), ("user", "Why?")]
    asked = [{"role": role, "content": text} for role, text in messages]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=True)["input_ids"]
    vocabulary = TokenizerVocabulary(tokenizer)
    view = [*vocabulary.begin(1)]
    for role, text in messages:
        speaker = ("user", "assistant").index(role)
        view += [*vocabulary.open_turn(speaker, 1), *vocabulary.encode(text), *vocabulary.close_turn(speaker, 1)]
    assert [*view, *vocabulary.open_turn(1, 1)] == ids
    assert vocabulary.eos_id == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_a_fixed_date_stands_in_every_view() -> None:
    """Such a template writes a system message itself, so a briefing is a message of the user's.

    Naming the clock, as Llama 3.2's does to see whether there is one, is not asking it.
    """
    template = LLAMA_3_DATED.replace("DATE", "'26 July 2024' if strftime_now is defined else ''")
    tokenizer: Any = chat_tokenizer(template, marks=MARKS[LLAMA_3])
    episode = Episode(Talk(TokenizerVocabulary(tokenizer), (BRIEFING, "")), None)
    told = [{"role": "user", "content": BRIEFING}]
    expected = tokenizer.apply_chat_template(told, add_generation_prompt=True, tokenize=True)["input_ids"]
    assert episode.view().tokens.tolist() == expected
    assert "26 July 2024" in tokenizer.decode(expected)


SAID = (
    "What is the sea?",
    "It is water; 70 % of the earth (more or less).",
    "Then tell me:\n\n- a story\n- a song",
    "'Once', he said, 'there were 2 of them'...",
    "naïve café — 東京 🌊",
    "(x + y) * {z} = [0, 1] </b>",
    "I",
    "WHY?!",
    "$5 & more\twords  here",
    "No.",
    "#1",
)
"""Other texts than those that are compared when a vocabulary is made; none begins or ends with a blank."""
TAKEN = [name for name, family in FAMILIES.items() if not family.refused]


@cache
def tokenizer_of(name: str) -> Any:
    """Return the small tokenizer of a family."""
    return FAMILIES[name].tokenizer()


def laid_out(vocabulary: TokenizerVocabulary, messages: list[dict[str, str]]) -> list[int]:
    """Return a view of messages, built as the engine builds it."""
    tokens = [*vocabulary.begin(0)]
    for message in messages:
        said = vocabulary.encode(message["content"])
        if message["role"] == "system":
            tokens += vocabulary.tell(said, 0)
            continue
        speaker = 0 if message["role"] == "assistant" else 1
        tokens += (*vocabulary.open_turn(speaker, 0), *said, *vocabulary.close_turn(speaker, 0))
    return [*tokens, *vocabulary.open_turn(0, 0)]


def opened(vocabulary: TokenizerVocabulary, view: list[int]) -> list[int]:
    """Return a view as it ends in a game with thoughts."""
    if vocabulary.open_thought is None:
        return view
    return [*view[: len(view) - len(vocabulary.open_turn(0, 0))], *vocabulary.open_thought]


def test_most_formats_are_exact_and_thirteen_are_refused() -> None:
    """The count; each is held to it below. Thirteen end no turn, tell the date, name channels, or merge marks."""
    assert (len(TAKEN), len(FAMILIES) - len(TAKEN)) == (53, 13)


def test_the_page_of_chat_formats_says_what_becomes_of_each() -> None:
    """docs/chat_formats.md, one row for each."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "chat_formats.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:2] == "| "][2:]
    assert len(rows) == len(FAMILIES)
    for name, told, what in rows:
        assert what.startswith("refused: " if FAMILIES[name].refused else "exact"), name
        assert told == ("" if FAMILIES[name].refused else "system" if FAMILIES[name].system else "user"), name


@pytest.mark.parametrize("name", TAKEN)
def test_views_are_what_the_format_of_a_family_gives_token_for_token(name: str) -> None:
    """Of either player: begun by the other, by an own turn, by the game's words; of 1 to 21 messages."""
    tokenizer = tokenizer_of(name)
    vocabulary, num_compared = TokenizerVocabulary(tokenizer), 0
    roles = {"other first": ["user", "assistant"] * 11, "own first": ["assistant", "user"] * 11}
    if FAMILIES[name].system:
        roles |= {f"{key}, told": ["system", *value] for key, value in roles.items()}
    for first in roles.values():
        for length, shift in product((1, 2, 3, 4, 5, 8, 21), (0, 3, 7)):
            texts = [SAID[(k + shift) % len(SAID)] for k in range(length)]
            messages = [{"role": role, "content": said} for role, said in zip(first, texts, strict=False)]
            if messages[-1]["role"] == "assistant":
                continue
            try:
                given = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)["input_ids"]
            except TemplateError:
                assert first[0] in ("system", "assistant"), "alternating templates want the user first"
                continue
            view = laid_out(vocabulary, messages)
            assert opened(vocabulary, view) == given, messages
            num_compared += 1
    assert num_compared >= 12


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_message_says_is_read_back_whatever_the_tokenizers_kind(name: str) -> None:
    """Also where a blank before a message is part of its first token."""
    vocabulary = TokenizerVocabulary(tokenizer_of(name))
    assert [vocabulary.decode(vocabulary.encode(text)) for text in SAID] == list(SAID)
    assert vocabulary.encode("") == ()
    told = vocabulary.tell((9,), 0)
    assert (told == (*vocabulary.open_turn(1, 0), 9, *vocabulary.close_turn(1, 0))) != FAMILIES[name].system


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in TAKEN])
def test_formats_that_cannot_be_laid_out_are_refused_when_a_vocabulary_is_made(name: str) -> None:
    """In one line, which says what differs."""
    with pytest.raises(ValueError, match=FAMILIES[name].refused) as error:
        TokenizerVocabulary(tokenizer_of(name))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 700


BODY = "m['content']"
LOOP = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
MERGED = (
    "{% set ns = namespace(before='') %}{% for m in messages %}{% if m.role == ns.before %}{{ '\n' + m.content }}"
    "{% else %}{{ '<|im_end|>\n' if ns.before else '' }}{{ '<|im_start|>' + m.role + '\n' + m.content }}{% endif %}"
    "{% set ns.before = m.role %}{% endfor %}{{ '<|im_end|>\n' }}"
)
WORD_FOR_WORD, SAME_MARKS = "expected each message word for word", "expected the same marks around every message"
TOKEN_FOR_TOKEN, UNSTEADY = "expected views to be token for token", "expected the same text"
UNWRITTEN = "expected one that writes messages of user"
MISREAD = {
    "no generation prompt": (LOOP, "expected a generation prompt that is what stands before every reply"),
    "a reminder behind the last question": (
        LOOP.replace(BODY, f"{BODY} + (' /no_think' if loop.last and m.role == 'user' else '')") + PROMPT,
        "expected a generation prompt that is what stands before every reply",
    ),
    "a reminder at the end": (
        LOOP + "<|im_start|>system\nRemember.<|im_end|>\n" + PROMPT,
        "expected a generation prompt that is what stands before every reply",
    ),
    "a reminder before the first question": (
        LOOP.replace(BODY, f"('Be nice. ' if loop.first and m.role == 'user' else '') + {BODY}") + PROMPT,
        TOKEN_FOR_TOKEN,
    ),
    "a reminder before a question alone": (
        LOOP.replace(BODY, f"('Be nice. ' if messages | length == 1 else '') + {BODY}") + PROMPT,
        SAME_MARKS,
    ),
    "the last two messages": (LOOP.replace("in messages", "in messages[-2:]") + PROMPT, WORD_FOR_WORD),
    "the last three messages": (LOOP.replace("in messages", "in messages[-3:]") + PROMPT, WORD_FOR_WORD),
    "the last hundred messages": (LOOP.replace("in messages", "in messages[-100:]") + PROMPT, TOKEN_FOR_TOKEN),
    "the first two messages": (LOOP.replace("in messages", "in messages[:2]") + PROMPT, WORD_FOR_WORD),
    "the last message first": (LOOP.replace("in messages", "in messages | reverse") + PROMPT, WORD_FOR_WORD),
    "at most 3,000 characters": (LOOP.replace(BODY, f"{BODY}[:3000]") + PROMPT, TOKEN_FOR_TOKEN),
    "lines of 79 characters": (LOOP.replace(BODY, f"{BODY} | wordwrap(79)") + PROMPT, TOKEN_FOR_TOKEN),
    "no accents": (LOOP.replace(BODY, f"{BODY} | replace('é', 'e')") + PROMPT, TOKEN_FOR_TOKEN),
    "the number of messages": ("{{ messages | length }}" + LOOP + PROMPT, SAME_MARKS),
    "rounds with numbers": (LOOP.replace("{{ m['role']", "[{{ loop.index }}]{{ m['role']") + PROMPT, SAME_MARKS),
    "a thought from the third question on": (
        LOOP + PROMPT.replace("{% endif %}", "{{ '<think>' if messages | length > 3 }}{% endif %}"),
        SAME_MARKS,
    ),
    "two messages in a row as one": (MERGED + PROMPT, "for messages of user, user it gives"),
    "no more than 50 messages": (
        "{% if messages | length > 50 %}{{ raise_exception('too\nlong') }}{% endif %}" + LOOP + PROMPT,
        r"messages of user, assistant, user, assistant, user, \.\.\., got TemplateError: too long",
    ),
    "the clock by another name": ("{% set now = strftime_now %}{{ now('%H:%M:%S') }}" + LOOP + PROMPT, UNSTEADY),
    "the clock in a macro": (
        "{% macro told(clock) %}{{ clock('%H:%M') }}{% endmacro %}{{ told(strftime_now) }}" + LOOP + PROMPT,
        UNSTEADY,
    ),
    "the clock behind a quoted end of block": ("{{ '}}' ~ strftime_now('%H:%M') }}" + LOOP + PROMPT, UNSTEADY),
    "something drawn, rarely": (LOOP.replace(BODY, f"{BODY} + ([''] * 99 + ['!']) | random") + PROMPT, UNSTEADY),
    "Latin": ("{{ lipsum(1) }}" + LOOP + PROMPT, UNSTEADY),
    "a clock that there is not": ("{{ now() }}" + LOOP + PROMPT, f"{UNWRITTEN}, got UndefinedError"),
    "what the sandbox forbids": ("{{ messages.append(1) }}" + LOOP + PROMPT, f"{UNWRITTEN}, got SecurityError"),
    "tools": ("{{ tools[0].name }}" + LOOP + PROMPT, f"{UNWRITTEN}, got UndefinedError"),
    "documents": (
        "{% for one in documents %}{{ one.text }}{% endfor %}" + LOOP + PROMPT,
        f"{UNWRITTEN}, got TypeError",
    ),
    "an error": ("{{ raise_exception('never') }}", f"{UNWRITTEN}, got TemplateError: never"),
    "a division by zero": ("{{ 1 / 0 }}" + LOOP, f"{UNWRITTEN}, got ZeroDivisionError"),
    "itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}" + LOOP, f"{UNWRITTEN}, got RecursionError"),
    "half a block": ("{% for m in messages %}{{", f"{UNWRITTEN}, got TemplateSyntaxError"),
    "another file": ("{% include 'other' %}" + LOOP, f"{UNWRITTEN}, got TypeError"),
    "a message in parts": (LOOP.replace(BODY, f"{BODY}[0].text") + PROMPT, WORD_FOR_WORD),
    "a number": (5, "expected text, got int"),
    "a list": ([{"name": "default", "template": LOOP + PROMPT}], "expected text, got list"),
    "only a named one": ({"rag": LOOP + PROMPT}, "expected one named 'default', got 'rag'"),
}
"""What a template writes or needs, and what the error says."""


@pytest.mark.parametrize("name", list(MISREAD))
def test_a_template_that_is_not_one_message_after_the_other_is_refused(name: str) -> None:
    """When the vocabulary is made, in one line; never in the middle of an episode."""
    template, message = MISREAD[name]
    tokenizer: Any = chat_tokenizer(CHATML)
    tokenizer.chat_template = template
    with pytest.raises(ValueError, match=message) as error:
        TokenizerVocabulary(tokenizer)
    assert str(error.value).startswith("chat_template: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 800


@pytest.mark.parametrize(
    "template",
    [
        {"default": LOOP + PROMPT, "tool_use": "{{ strftime_now('%Y') }}"},
        "{# strftime_now('%Y') | random #}" + LOOP + PROMPT,
        "{{ '' if 'strftime_now' else 'random' }}" + LOOP + PROMPT,
        "{{ messages.__class__ }}{{ now }}" + LOOP + PROMPT,
        LOOP.replace("{{ m['content'] }}<|im_end|>", "{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}")
        + PROMPT,
    ],
)
def test_what_changes_nothing_is_no_reason_to_refuse_a_template(template: Any) -> None:
    """Other named templates, comments, quoted names, variables that nobody sets, marks for training."""
    tokenizer: Any = chat_tokenizer(CHATML)
    tokenizer.chat_template = template
    messages = [{"role": "system", "content": "So:"}, {"role": "user", "content": "Hello"}]
    given = tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
    assert laid_out(TokenizerVocabulary(tokenizer), messages) == given["input_ids"]


def test_words_of_the_games_are_the_users_where_a_template_drops_the_systems() -> None:
    """Or where it writes none without a question behind it."""
    for template in (
        LOOP.replace("in messages", "in messages if m.role != 'system'") + PROMPT,
        LOOP + PROMPT.replace("add_generation_prompt", "add_generation_prompt and messages[-1].role == 'user'"),
    ):
        tokenizer: Any = chat_tokenizer(CHATML)
        tokenizer.chat_template = template
        vocabulary = TokenizerVocabulary(tokenizer)
        assert vocabulary.tell((9,), 0) == (*vocabulary.open_turn(1, 0), 9, *vocabulary.close_turn(1, 0))


@pytest.mark.parametrize("strip", ["strip()", "lstrip()", "rstrip()", "lstrip('\n')"])
def test_blanks_that_a_template_strips_are_not_told(strip: str) -> None:
    """On one side or on both, of all blanks or of line breaks."""
    tokenizer: Any = chat_tokenizer(CHATML)
    tokenizer.chat_template = LOOP.replace(BODY, f"{BODY}.{strip}") + PROMPT
    vocabulary = TokenizerVocabulary(tokenizer)
    with pytest.raises(ValueError, match="tell: expected no blanks around a text"):
        vocabulary.tell(vocabulary.encode("\nHello "), 0)
