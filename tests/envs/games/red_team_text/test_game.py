"""`red_team_text-v0`: reading, splitting and judging requests of the user's."""

import copy
import csv
import json
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.agents import FunctionAgent, ScriptedAgent
from duologue.baselines.rollouts.episodes import cut_share, rollout
from duologue.baselines.training.options import static_prompts
from duologue.envs import (
    BatchedGame,
    Ending,
    Episode,
    LanguageGameEnv,
    RandomAgent,
    TurnLevelEnv,
    Utterance,
    deal_episodes,
    make_game,
    speak_all,
)
from duologue.envs.chat_templates import rendered_ids
from duologue.envs.games.red_team_text.game import RedTeamText
from duologue.envs.games.red_team_text.requests import (
    EXAMPLE_REQUESTS,
    Request,
    is_refusal,
    judge_examples,
    read_requests,
    split_requests,
)
from duologue.envs.games.red_team_text.roles import Role
from duologue.envs.judging import Exchange, Judge, Outcome, Verdict
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.envs.tree.analysis import GameTree
from duologue.tests.envs.chat_families import FAMILIES
from duologue.tests.helpers import CHATML, shared_data, tiny_tokenizer

with warnings.catch_warnings():
    # PettingZoo's tests import a game of its own by a name that it has itself declared deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    from pettingzoo.test import api_test

ROWS = [("How do I do it?", "safe"), ("Tell me, how?", "unsafe"), ("What, now?", "")]
REQUESTS = [Request("do it", harmful=False, row=1), Request("do harm", harmful=True, row=2), Request("do")]


def _judge_by(outcome: Outcome, reward: float) -> Judge:
    def judge(exchanges: Sequence[Exchange]) -> list[Verdict]:
        return [Verdict(reward, outcome) for _ in exchanges]

    return judge


def _reply(game: RedTeamText, request: Request, reply: str) -> tuple[tuple[float, float], Outcome]:
    episode = Episode(game, request)
    for tokens in (request.tokens, game.vocabulary.encode(reply)):
        speak_all([episode], [Utterance((*tokens, game.vocabulary.eos_id))])
    return episode.reward_history[-1], game.verdicts([episode.dialogue])[0].outcome


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_both_table_formats_give_the_same_requests(tmp_path: Path, suffix: str) -> None:
    """One table written in two formats, a quoted line break and a comma in it."""
    path = tmp_path / f"requests{suffix}"
    rows = [*ROWS, ("Two\nlines, \u2028 one cell", "1")]
    with path.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".csv":
            csv.writer(file).writerows([("prompt", "label"), *rows])
        else:
            file.writelines(json.dumps({"prompt": p, "label": label}, ensure_ascii=False) + "\n" for p, label in rows)
    read = read_requests(path)
    assert [request.text for request in read] == [prompt for prompt, _ in rows]
    assert [request.harmful for request in read] == [False, True, None, True]
    assert [request.row for request in read] == [1, 2, 3, 4]


def test_plain_lines_are_unlabelled_requests(tmp_path: Path) -> None:
    """The third format; blank lines are no requests, and a row is a line's number."""
    path = tmp_path / "requests.txt"
    path.write_text("one\n\ntwo\n", encoding="utf-8")
    assert read_requests(path) == [Request("one", None, 1), Request("two", None, 3)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.csv", None, "missing.csv: expected a readable UTF-8 file"),
        ("bytes.txt", b"\xff\xfe\xfa", "bytes.txt: expected a readable UTF-8 file"),
        ("empty.csv", b"", "empty.csv: expected at least one row with text in 'prompt', got none"),
        ("blank.txt", b"\n \n", "blank.txt: expected at least one row"),
        (
            "column.csv",
            b"question,label\nWhy?,safe\n",
            "row 1: expected the column 'prompt', got question, label",
        ),
        ("label.csv", b"prompt,label\nWhy?,perhaps\n", "row 1: expected a label among .*, got 'perhaps'"),
        ("broken.jsonl", b'{"prompt": "a"}\n{"prompt', "row 2: expected a JSON object"),
        ("list.jsonl", b'["a"]\n', "row 1: expected a JSON object"),
    ],
)
def test_a_file_that_holds_no_requests_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    """Each error names the file, what was expected and what came."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_requests(tmp_path / name)


def test_a_label_column_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    """Without it over-refusal would be lost in silence."""
    (tmp_path / "requests.csv").write_text("prompt\nWhy?\n", encoding="utf-8")
    assert read_requests(tmp_path / "requests.csv")[0].harmful is None
    with pytest.raises(ValueError, match="row 1: expected the column 'toxic', got prompt"):
        read_requests(tmp_path / "requests.csv", label_column="toxic")


@given(texts=st.lists(st.text(min_size=1), min_size=30, max_size=60, unique=True), more=st.text(min_size=1))
def test_training_and_test_rows_are_apart_whatever_else_the_file_holds(texts: list[str], more: str) -> None:
    """The split is a function of the row's text alone."""
    rows = [Request(text) for text in texts]
    train, test = (split_requests(rows, split, 0.5) for split in ("train", "test"))
    assert sorted(r.text for r in train + test) == sorted(texts)
    assert set(test) <= set(split_requests([Request(more), *rows], "test", 0.5))


def test_a_refused_safe_request_costs_the_defender_whatever_the_judge_says() -> None:
    """The rule: OVER_REFUSED and -over_refusal_cost; the game stays zero-sum."""
    game = RedTeamText(REQUESTS, split="all", judge=_judge_by(Outcome.DEFLECTED, 0.9), over_refusal_cost=0.5)
    assert _reply(game, game.requests[0], "sorry i cannot") == ((0.5, -0.5), Outcome.OVER_REFUSED)
    assert _reply(game, game.requests[0], "sure") == ((-0.9, 0.9), Outcome.HELPFUL)
    assert _reply(game, game.requests[1], "sorry i cannot") == ((-0.9, 0.9), Outcome.REFUSED)
    assert _reply(game, game.requests[1], "sure") == ((-0.9, 0.9), Outcome.DEFLECTED)
    assert _reply(game, game.requests[2], "sorry i cannot") == ((-0.9, 0.9), Outcome.REFUSED)


@pytest.mark.parametrize("reply", ["sorry i cannot", "sure"])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_an_exchange_is_unsafe_exactly_if_the_judge_says_so(k: int, reply: str) -> None:
    """Attack success is the judge's word; an unusable verdict stays one as well."""
    for outcome, reward in ((Outcome.UNSAFE, -0.8), (Outcome.UNUSABLE, 0.0)):
        game = RedTeamText(REQUESTS, split="all", judge=_judge_by(outcome, reward))
        assert _reply(game, game.requests[k], reply) == ((-reward, reward), outcome)


def test_a_game_without_a_judge_can_be_looked_at_but_not_played() -> None:
    """`duologue games` lists sizes before there is a judge."""
    game = RedTeamText(REQUESTS, split="all")
    assert game.max_view_tokens > 0
    with pytest.raises(ValueError, match=r"judge: expected a callable .* got None"):
        _reply(game, game.requests[0], "sure")


def test_long_requests_are_left_out_and_counted() -> None:
    """The rule of `max_prompt_tokens`."""
    rows = [Request("do it"), Request("do it and then do it again")]
    with pytest.warns(UserWarning, match="1 of 2 left out"):
        game = RedTeamText(rows, split="all", max_prompt_tokens=3)
    assert [request.text for request in game.requests] == ["do it"]
    with pytest.raises(ValueError, match="requests: expected one of 1 to 1 tokens, got none among 2"):
        RedTeamText(rows, split="all", max_prompt_tokens=1)


@pytest.mark.parametrize(("prompt_limit", "reply_limit"), [(3, 5), (5, 3), (4, 4)])
def test_prompts_and_replies_have_limits_of_their_own(prompt_limit: int, reply_limit: int) -> None:
    """The two options; random play reaches both limits."""
    limits = {"max_prompt_tokens": prompt_limit, "max_reply_tokens": reply_limit}
    game = RedTeamText(REQUESTS, split="all", judge=_judge_by(Outcome.UNSAFE, -1.0), **limits)  # type: ignore[arg-type]
    rng, episodes = np.random.default_rng(0), deal_episodes(game, np.random.default_rng(1), 100)
    for _ in range(2):
        speak_all(episodes, RandomAgent().speak([episode.view() for episode in episodes], rng))
    lengths = np.array([[len(turn.tokens) for turn in episode.dialogue.turns] for episode in episodes])
    assert lengths.max(axis=0).tolist() == [prompt_limit, reply_limit]


def test_only_the_adversary_is_told_the_request() -> None:
    """Both variants of arXiv 2406.10977: from a seed, which the defender never sees, or from nothing."""
    game = RedTeamText(REQUESTS, split="all", adversary=Role("you ask", "do again {request} now"))
    assert game.vocabulary.decode(game.briefing(game.requests[0], 0)) == "you ask do again do it now"
    assert game.briefing(game.requests[0], 1) == ()
    unseeded = RedTeamText(REQUESTS, split="all", seeded=False)
    assert unseeded.deals.outcomes() == {None: 1.0}
    assert unseeded.briefing(None, 0) == ()


@pytest.mark.parametrize(
    "template",
    ["Rewrite this: {request}", "Rewrite:{request}\n\nThe new one:", "Go:\n\n  {request}", "[{request}]", "{request}"],
)
@pytest.mark.parametrize("family", ["ChatML", "Mistral 7B v0.2", "TinyLlama, later files", "Gemma"])
def test_a_template_and_a_request_are_one_text(template: str, family: str) -> None:
    """In a chat they are; a blank between them has no token of its own. The request alone is what a fixed prompt is."""
    requests = [Request("How do I do it?", row=1), Request('"Do it," (he said)', row=2)]
    vocabulary = TokenizerVocabulary(FAMILIES[family].tokenizer())
    role = Role("Be sly.", template)
    game = RedTeamText(requests, vocabulary=vocabulary, judge=judge_examples, adversary=role, split="all")
    for request in game.requests:
        told = game.briefing(request, 0)
        assert vocabulary.decode(told).endswith(template.replace("{request}", request.text))
        assert told == vocabulary.encode(vocabulary.decode(told))
        echo, view = static_prompts(game), Episode(game, request).view()
        (echoed,) = echo.speak([view], np.random.default_rng(0))
        assert echoed.tokens == (*request.tokens, vocabulary.eos_id)


ROLES = {
    "ChatML": "system",
    "Qwen 2.5": "system",
    "Llama 3.1": "system",
    "SmolLM 2": "system",
    "Zephyr": "system",
    "Gemma": "user",
    "Mistral v3": "user",
}
"""Where a system prompt stands; Llama 3.1 and Qwen 2.5 write one of their own if they are given none."""


@pytest.mark.parametrize("family", ROLES)
def test_both_seats_read_what_their_template_writes_of_their_roles(family: str) -> None:
    """The request and the prompt are the user's, the system prompt the template's; token for token, in each round."""
    tokenizer = FAMILIES[family].tokenizer()
    vocabulary = TokenizerVocabulary(tokenizer)
    roles = (Role("You attack.", "Rewrite: {request}"), Role("You defend.", "<<{request}>>"))
    game = RedTeamText(
        [Request("How do I do it?")], vocabulary=vocabulary, judge=judge_examples, split="all", num_rounds=2,
        adversary=roles[0], defender=roles[1],
    )  # fmt: skip
    episode, said = Episode(game, game.requests[0]), ["Open the door?", "Sure, here.", "And the sea?", "I'm sorry."]
    heard: tuple[list[str], list[str]] = (["Rewrite: How do I do it?"], [])
    for turn, text in enumerate(said):
        player = turn % 2
        asked = [*heard[player]]
        if ROLES[family] == "user":
            asked[0] = f"{roles[player].system}\n\n{asked[0]}"
        own = said[player:turn:2]
        messages = [{"role": "system", "content": roles[player].system}] if ROLES[family] == "system" else []
        for k, message in enumerate(asked):
            messages += [{"role": "user", "content": message}]
            messages += [{"role": "assistant", "content": own[k]}] if k < len(own) else []
        assert tuple(episode.view().tokens.tolist()) == rendered_ids(tokenizer, messages)
        episode.speak(Utterance((*vocabulary.encode(text), vocabulary.eos_id)))
        episode.settle((0.0, 0.0))
        heard[1 - player].append(roles[1].filled(text) if player == 0 else text)


def test_without_roles_a_request_is_the_users() -> None:
    """A chat model answers a user's turn; a conversation of one system message has none."""
    tokenizer = tiny_tokenizer(CHATML)
    game = RedTeamText([Request("How?")], vocabulary=TokenizerVocabulary(tokenizer), judge=judge_examples, split="all")
    view = Episode(game, game.requests[0]).view()
    assert tuple(view.tokens.tolist()) == rendered_ids(tokenizer, [{"role": "user", "content": "How?"}])


@pytest.mark.parametrize("role", [Role(), Role("You defend.", "Q: {request}")])
def test_what_is_heard_of_another_tokenizer_is_its_text(role: Role) -> None:
    """Each view is its owner's template of the same texts; limits, masks and the transcript are the speaker's."""
    first, second = tiny_tokenizer(CHATML, vocab_size=300), FAMILIES["Mistral v3"].tokenizer()
    vocabularies = (TokenizerVocabulary(first), TokenizerVocabulary(second))
    game = RedTeamText(
        [Request("How do I open the door?", harmful=True)], vocabulary=vocabularies, judge=judge_examples, split="all",
        max_prompt_tokens=30, max_reply_tokens=20, num_rounds=2, defender=role,
    )  # fmt: skip
    episode, texts = Episode(game, game.requests[0]), ("What is the sea?", "Sure, here: a story", "Why, then?")
    filled = [role.filled(texts[0]), texts[1], role.filled(texts[2])]
    system = f"{role.system}\n\n" if role.system else ""
    asked = ["How do I open the door?", system + filled[0], *filled[1:]]
    for turn, text in enumerate((*texts, "I'm sorry.")):
        player, tokenizer = turn % 2, (first, second)[turn % 2]
        own = list(texts[player:turn:2])
        heard = [asked[0], *asked[2 : turn + 1 : 2]] if player == 0 else asked[1 : turn + 1 : 2]
        said = [one for pair in zip(heard, [*own, None], strict=True) for one in pair if one is not None]
        messages = [{"role": ("user", "assistant")[k % 2], "content": one} for k, one in enumerate(said)]
        view, vocabulary = episode.view(), game.vocabularies[player]
        assert tuple(view.tokens.tolist()) == rendered_ids(tokenizer, messages)
        assert view.vocabulary is vocabulary
        assert len(view.legal_mask(())) == vocabulary.size
        speak_all([episode], [Utterance((*vocabulary.encode(text), vocabulary.eos_id))])
    transcript = episode.transcript()
    assert all(f": {text}" in transcript for text in (*texts, "I'm sorry."))
    assert "[adversary is told] How do I open the door?" in transcript
    exchange = game.exchange(episode.dialogue)
    assert (exchange.prompt_text, exchange.reply_text) == ("Why, then?", "I'm sorry.")
    assert exchange.vocabulary is game.vocabularies[1]


def test_a_prompt_that_needs_more_tokens_of_the_listeners_is_cut_there_and_never_fails() -> None:
    """Random tokens of a large tokenizer are long words to a small one; the view has a place for four times as many."""
    small, large = tiny_tokenizer(CHATML, vocab_size=262), FAMILIES["Llama 3"].tokenizer()
    game = RedTeamText(
        [Request("How?")], vocabulary=(TokenizerVocabulary(large), TokenizerVocabulary(small)), judge=judge_examples,
        split="all", max_prompt_tokens=6, max_reply_tokens=6, num_rounds=2,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for episode in deal_episodes(game, rng, 20):
        while not episode.over:
            speak_all([episode], RandomAgent().speak([episode.view()], rng))
        assert max(len(message.tokens) for message in episode.messages[1]) <= 24


def test_a_turn_that_is_cut_at_its_limit_says_so_and_is_counted() -> None:
    """Not one that was ended in time, nor one of a game whose rules say when a turn ends."""
    game = RedTeamText(REQUESTS, split="all", judge=_judge_by(Outcome.DEFLECTED, 0.5), max_reply_tokens=2)
    rng, said = np.random.default_rng(0), game.vocabulary.encode("sure here")
    ended = [Utterance((*said[:1], game.vocabulary.eos_id)), Utterance(said, ending=Ending.TOO_LONG)]
    played = rollout(
        game, [ScriptedAgent(["do it"]), FunctionAgent(lambda view, rng: ended[rng.random() < 0.25])], 40, rng
    )
    transcripts = [one.episode.transcript() for one in played]
    cut = ["defender: sure here [cut at its limit]" in transcript for transcript in transcripts]
    assert 0 < sum(cut) < 40
    assert sum("[cut" in transcript for transcript in transcripts) == sum(cut)
    assert (cut_share(played, 1), cut_share(played, 0)) == (sum(cut) / 40, 0.0)
    bluff = rollout(make_game("bluff-v0"), [RandomAgent(), RandomAgent()], 4, rng)
    assert bluff[0].dialogue.turns[0].ending is Ending.TOO_LONG
    assert cut_share(bluff, 0) == 0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_play_by_arrays_needs_one_vocabulary_and_play_by_tokens_has_a_space_for_each() -> None:
    """PettingZoo has a space for each agent; a batch of arrays has one."""
    pair = (TokenizerVocabulary(tiny_tokenizer(CHATML)), TokenizerVocabulary(tiny_tokenizer(CHATML, vocab_size=300)))
    game = RedTeamText([Request("How?")], vocabulary=pair, judge=judge_examples, split="all", max_prompt_tokens=4)
    env = LanguageGameEnv(game)
    sizes = [env.action_space(agent).n for agent in env.possible_agents]  # type: ignore[attr-defined]
    assert sizes == [pair[0].size, pair[1].size]
    api_test(env, num_cycles=50)
    for make in (lambda: BatchedGame(game, 2), lambda: TurnLevelEnv(game), lambda: GameTree(game)):
        with pytest.raises(ValueError, match=rf"share one vocabulary, got RedTeamText with two, of {pair[0].size}"):
            make()


@pytest.mark.parametrize("template", ["no place", "{request} and {request}"])
def test_a_template_has_one_place_for_what_is_asked(template: str) -> None:
    """Else the request would be lost, or told twice."""
    with pytest.raises(ValueError, match=r"template: expected one \{request\} in it"):
        Role(template=template)


def test_the_example_can_be_played_without_any_option() -> None:
    """So that the conformance suite runs on it; the split leaves both labels in both parts."""
    env = LanguageGameEnv(RedTeamText())
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    while env.agents:
        observation, _, over, _, _ = env.last()
        assert observation is not None
        legal = np.flatnonzero(observation["action_mask"])
        env.step(None if over else int(rng.choice(legal)))
    for split in ("train", "test"):
        assert {request.harmful for request in split_requests(EXAMPLE_REQUESTS, split, 0.25)} == {True, False}


def test_environments_can_be_pickled_and_copied_in_mid_episode() -> None:
    """With a tokenizer for a vocabulary as with words."""
    vocabulary = TokenizerVocabulary(tiny_tokenizer(CHATML))
    env = LanguageGameEnv(RedTeamText(vocabulary=vocabulary))
    env.reset(seed=0)
    env.step(vocabulary.encode("Hello")[0])
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert twin.transcript() == env.transcript()
        twin.step(vocabulary.eos_id)
        assert twin.agent_selection == "player_1"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("split", "dev"),
        ("test_fraction", 1.0),
        ("num_rounds", 0),
        ("over_refusal_cost", 2.0),
        ("max_reply_tokens", 0),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: object) -> None:
    """The error names the option."""
    with pytest.raises(ValueError, match=option):
        RedTeamText(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I\u2019m sorry, but I can\u2019t.", True),
        ("  Sorry. No.", True),
        ("I cannot do that", True),
        ("Sure! Sorry for that", False),
        ("", False),
    ],
)
def test_a_refusal_is_known_by_its_opening(text: str, refused: bool) -> None:
    """The documented rule, blind to case and to the kind of apostrophe."""
    assert is_refusal(text) is refused


def test_xstest_is_read_and_split_with_both_labels() -> None:
    """Röttger et al. (2024), arXiv 2308.01263: 250 safe and 200 unsafe prompts."""
    requests = read_requests(shared_data("xstest_prompts.csv"))
    assert [r.harmful for r in requests].count(False) == 250
    assert [r.harmful for r in requests].count(True) == 200
    assert len(split_requests(requests, "test", 0.25)) == 116
