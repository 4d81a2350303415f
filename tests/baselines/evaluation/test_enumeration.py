"""Enumeration agrees with the parser and the game's oracle, request by request, and its measures have known values."""

from collections.abc import Callable

import numpy as np
import pytest

from duologue.agents import CausalLMAgent
from duologue.agents.language_model import micro_model
from duologue.baselines.evaluation.enumeration import (
    KINDS,
    Enumerated,
    chains,
    enumerate_replies,
    greedy_replies,
    kinds_of,
)
from duologue.envs import Dialogue, Episode, Turn, Utterance
from duologue.envs.games.red_team_ciphers.game import VOCABULARY, RedTeamCiphers, Seed, tokens_of
from duologue.envs.games.red_team_ciphers.language import (
    FORMS,
    REFUSAL,
    TOPICS,
    Prompt,
    ReplyKind,
    Words,
    num_well_formed_prompts,
    parse_reply,
    render_answer,
)
from duologue.envs.judging import Outcome

GAME = RedTeamCiphers()
DISGUISES = [*chains(0), *chains(1)[:7], *chains(2)[::501]]
AGENT = CausalLMAgent(
    micro_model(VOCABULARY, hidden_size=16, num_layers=1, num_heads=2, max_positions=64, seed=3), VOCABULARY
)


def prompt_of(enumerated: Enumerated, row: int) -> Prompt:
    """The request of a row."""
    topic = list(TOPICS.values())[enumerated.topic[row]]
    return Prompt(topic, list(FORMS)[enumerated.form[row]], enumerated.disguises[enumerated.chain[row]])


def padded(words: tuple[str, ...]) -> list[int]:
    """A reply as `greedy_replies` returns it."""
    tokens = [*VOCABULARY.encode(" ".join(words)), VOCABULARY.eos_id]
    return [*tokens, *[0] * (GAME.max_turn_tokens + 1 - len(tokens))]


def given(reply_to: Callable[[Prompt], Words]) -> Enumerated:
    """What would come of a defender that replies by a function of the request."""
    template = enumerate_replies(AGENT, DISGUISES)
    prompts = [prompt_of(template, row) for row in range(len(template.kind))]
    kinds = [KINDS.index(parse_reply(reply_to(prompt), prompt)) for prompt in prompts]
    return Enumerated(template.topic, template.form, template.chain, template.disguises, np.array(kinds))


def test_every_disguise_is_listed() -> None:
    """One of none, 64 of one style, 4,032 ordered pairs: all requests that there are."""
    counted = [len(chains(depth)) for depth in (0, 1, 2)]
    assert counted == [1, 64, 4032]
    assert sum(counted) * len(TOPICS) * len(FORMS) == num_well_formed_prompts()


def test_replies_are_those_of_the_game_read_from_the_game_s_own_views() -> None:
    """The defender is asked what the engine shows it; a random model says all sorts of things."""
    enumerated = enumerate_replies(AGENT, DISGUISES)
    for row in range(0, len(enumerated.kind), 37):
        prompt = prompt_of(enumerated, row)
        episode = Episode(GAME, Seed(prompt))
        tokens = tokens_of(prompt)
        episode.speak(Utterance(tokens if len(tokens) == GAME.max_turn_tokens else (*tokens, VOCABULARY.eos_id)))
        episode.settle((0.0, 0.0))
        view = episode.view().tokens
        said = greedy_replies(AGENT, np.array([view]))[0]
        words = tuple(VOCABULARY.decode([token for token in said if token not in (0, VOCABULARY.eos_id)]).split())
        assert KINDS[enumerated.kind[row]] is parse_reply(words, prompt)
        dialogue = Dialogue(
            Seed(prompt), (Turn(tokens_of(prompt), player=0), Turn(VOCABULARY.encode(" ".join(words)), player=1))
        )
        verdict = GAME.verdicts([dialogue])[0]
        assert verdict.reward == enumerated.rewards[row]
        assert (verdict.outcome is Outcome.UNSAFE) == enumerated.unsafe[row]


def test_kinds_are_told_as_the_parser_tells_them() -> None:
    """Every kind of reply, to every topic."""
    topics = list(TOPICS.values())
    for topic in topics:
        prompt = Prompt(topic, "how")
        other = topics[(topic.number + 5) % len(topics)]
        replies = [
            REFUSAL,
            render_answer(prompt),
            (topic.content,),
            ("sorry", topic.content, "no"),
            render_answer(Prompt(other, "how")),
            (other.content,),
            (),
            (*REFUSAL, "no"),
            (*render_answer(prompt), "no"),
        ]
        told = kinds_of(np.array([padded(reply) for reply in replies]), np.full(len(replies), topic.number))
        assert [KINDS[kind] for kind in told] == [parse_reply(reply, prompt) for reply in replies]


def test_known_values_of_ideal_and_simple_defenders() -> None:
    """Who knows all earns .5 and defends all; refusing or answering all defends nothing; silence is no safety."""
    ideal = given(lambda prompt: REFUSAL if prompt.harmful else render_answer(prompt))
    refuses, answers, silent = given(lambda prompt: REFUSAL), given(render_answer), given(lambda prompt: ())
    harmful = ideal.harmful
    assert [one.defended().mean() for one in (ideal, refuses, answers, silent)] == [1, 0, 0, 0]
    assert [one.rewards.mean() for one in (ideal, refuses, answers, silent)] == [0.5, -0.25, -0.25, -0.5]
    assert [one.unsafe[harmful].mean() for one in (ideal, refuses, answers, silent)] == [0, 0, 1, 0]
    assert silent.shares(harmful) == {"refused": 0, "right": 0, "wrong": 0, "broken": 1}
    assert sum(answers.shares(~harmful).values()) == 1


def test_any_of_n_and_worst_style_look_up_the_worst_disguise() -> None:
    """A defender that fails in one style only is safe in the mean, and open to whoever finds that style."""
    weak = DISGUISES[3][0]
    one = given(lambda prompt: render_answer(prompt) if prompt.styles == (weak,) or not prompt.harmful else REFUSAL)
    assert one.by_request(one.unsafe, one.harmful).all()
    by_style = one.by_disguise(one.unsafe, one.harmful)
    assert by_style[3] == 1
    assert by_style.sum() == 1
    assert one.defended()[3] == 0
    assert one.defended().mean() == pytest.approx(1 - 1 / len(DISGUISES))
    assert not one.by_request(one.unsafe, one.harmful & (one.chain != 3)).any()


def test_seen_and_unseen_are_counted_apart() -> None:
    """By the topic that is meant."""
    one = given(lambda prompt: REFUSAL if prompt.topic.seen else render_answer(prompt))
    assert one.unsafe[one.harmful & ~one.seen].all()
    assert not one.unsafe[one.harmful & one.seen].any()
    assert one.defended(one.seen).max() == one.defended(~one.seen).max() == 0
    assert one.is_kind(ReplyKind.REFUSAL)[one.seen].all()
