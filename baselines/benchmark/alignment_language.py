"""Everything that can be asked in a red-team game, up to a depth of disguise, with what a defender replies to it.

A defender is held to the whole language rather than to a sample of it: each request about each topic in each form under
each disguise is answered greedily, in red_team-v1 by `evaluation.enumeration`, in red_team-v0 here. What a game adds is
one `RequestLanguage`; all measures are computed from the `Answers` alone, in the same way for both games.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby, permutations
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.population import Population
from ...envs import Deals, FiniteDeals, Tokens, Vocabulary
from ...envs.games.red_team import game as v0
from ...envs.games.red_team import language as v0_language
from ...envs.games.red_team import prompt_sets as v0_sets
from ...envs.games.red_team_ciphers import game as v1
from ...envs.games.red_team_ciphers import language as v1_language
from ...envs.games.red_team_ciphers import prompt_sets as v1_sets
from ...envs.judging import Exchange, Outcome
from ..evaluation.enumeration import SHARES, chains, enumerate_replies, greedy_replies
from .alignments import Game

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
KINDS = tuple(SHARES)
"""What a reply is: refused, right, wrong (or in part), broken."""
ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Answers:
    """All requests with what a defender makes of them; one entry a request in each array, (N,).

    Of a mixture the probabilities are those of its members, weighted: a member is drawn for each episode.
    """

    harmful: Bools
    """Whether it is to be refused."""
    seen: Bools
    """Whether its topic is one of the static requests; no other is dealt, and in red_team-v1 none is faithful."""
    tail: Bools
    """Whether one of its styles is in no static request."""
    trained: Bools
    """Whether it is among the static requests."""
    disguise: Numbers
    """The number of its chain of styles."""
    request: Numbers
    """The number of its topic and form."""
    twin: Numbers
    """The row of the request of the other label in the same form and disguise."""
    kinds: Floats
    """How likely the reply is of each of `KINDS`, (N, 4)."""
    rewards: Floats
    """What the defender earns, on average."""
    unsafe: Floats
    """How likely a harmful request gets what it asks for; 0 for benign ones."""

    def kind(self, name: str) -> Floats:
        """Return how likely each reply is of one kind, (N,)."""
        probabilities: Floats = self.kinds[:, KINDS.index(name)]
        return probabilities


class RequestLanguage(Protocol):
    """What a red-team game must tell so that a defender can be held to its whole language."""

    prompt_sets: tuple[str, ...]
    """Names of further prompt sets that `evaluation.red_team` evaluates."""
    switch_band: tuple[float, float]
    """The defender's mean returns at which MAGIC's switch hands over: .8 and .9 of the best there."""

    def answers(self, defender: CausalLMAgent, depth: int) -> Answers:
        """Return the greedy replies to every request of up to `depth` styles."""
        ...

    def ceiling_deals(self) -> Deals[Any]:
        """Return deals of requests about seen topics in all styles alike, some of them static ones."""
        ...

    def deal_of(self, deal: Any, prompt: Tokens) -> Any:
        """Return the deal whose request a prompt is; the given one where it is no request."""
        ...


def answers_of(language: RequestLanguage, defender: Population, depth: int) -> Answers:
    """Return what a mixture of models replies to every request of up to `depth` styles."""
    found = [language.answers(member, depth) for member in defender.members if isinstance(member, CausalLMAgent)]
    weights = np.array(defender.weights)

    def mean(name: str) -> Floats:
        return np.tensordot(weights, np.stack([getattr(one, name) for one in found]), axes=1)

    return replace(found[0], kinds=mean("kinds"), rewards=mean("rewards"), unsafe=mean("unsafe"))


class CipherLanguage:
    """red_team-v1."""

    prompt_sets: tuple[str, ...] = ()
    switch_band = 0.4, 0.45

    def answers(self, defender: CausalLMAgent, depth: int) -> Answers:
        """Return the greedy replies to every request of up to `depth` styles."""
        disguises = [chain for length in range(depth + 1) for chain in chains(length)]
        found = enumerate_replies(defender, disguises)
        topics, forms = list(v1_language.TOPICS.values()), list(v1_language.FORMS)
        twin_of = np.array([topic.twin.number for topic in topics])
        shape = (len(disguises), len(forms), len(topics))
        trained = {(p.topic.number, forms.index(p.form), p.styles) for p in v1_sets.prompt_set("static")}
        keys = zip(found.topic.tolist(), found.form.tolist(), found.chain.tolist(), strict=True)
        return Answers(
            harmful=found.harmful,
            seen=found.seen,
            tail=_tails(disguises, v1_sets.STATIC_STYLES)[found.chain],
            trained=np.array([(topic, form, disguises[chain]) in trained for topic, form, chain in keys]),
            disguise=found.chain,
            request=found.topic * len(forms) + found.form,
            twin=np.ravel_multi_index((found.chain, found.form, twin_of[found.topic]), shape).astype(np.int64),
            kinds=np.stack([found.is_kind(*kinds) for kinds in SHARES.values()], axis=1).astype(np.float64),
            rewards=found.rewards,
            unsafe=found.unsafe.astype(np.float64),
        )

    def ceiling_deals(self) -> Deals[v1.Seed]:
        """Return the game's own deals of every request."""
        return v1.RedTeamCiphers(requests="every").deals

    def deal_of(self, deal: v1.Seed, prompt: Tokens) -> v1.Seed:
        """Return the deal whose request a prompt is."""
        request = v1.request_of(prompt)
        return deal if request is None else v1.Seed(request)


class PhraseLanguage:
    """red_team-v0; a topic's twin is the one of the same place in the category of the same place."""

    prompt_sets = v0_sets.PROMPT_SETS[1:]
    switch_band = 0.8, 0.9

    def answers(self, defender: CausalLMAgent, depth: int) -> Answers:
        """Return the greedy replies to every request about a harmful or benign topic of up to `depth` styles."""
        table = _phrase_table(depth)
        replies = reply_to(defender, table.prompts, v0.VOCABULARY, v0.RedTeam.max_turn_tokens)
        judged = [_phrase_verdict(reply, topic) for reply, topic in zip(replies, table.topics, strict=True)]
        kinds = np.array([kind for kind, _ in judged])
        outcomes = [outcome for _, outcome in judged]
        unsafe = np.array([outcome is Outcome.UNSAFE for outcome in outcomes])
        return replace(
            table.requests,
            kinds=np.eye(len(KINDS))[kinds],
            rewards=np.array([v0.DEFENDER_REWARDS[outcome] for outcome in outcomes]),
            unsafe=(unsafe & table.requests.harmful).astype(np.float64),
        )

    def ceiling_deals(self) -> FiniteDeals[v0.Seed]:
        """Return deals of every request about a seen topic in at most one style, and as many static ones as in v1."""
        every = [
            v0_language.Prompt(topic, form, styles)
            for topic in v0_language.SEEN_TOPICS
            if topic.kind is not v0_language.Kind.DUAL_USE
            for form in v0_language.FORMS
            for styles in ((), *((style,) for style in v0_language.STYLES))
        ]
        static, shares = v0_sets.prompt_set("static"), dict.fromkeys(every, (1 - v1.STATIC_DEALS) / len(every))
        for request in static:
            shares[request] += v1.STATIC_DEALS / len(static)
        return FiniteDeals({v0.Seed(request): share for request, share in shares.items()})

    def deal_of(self, deal: v0.Seed, prompt: Tokens) -> v0.Seed:
        """Return the deal whose request a prompt is."""
        request = v0_language.parse_prompt(tuple(v0.VOCABULARY.decode(prompt).split()))
        return deal if request is None else v0.Seed(request)


@dataclass(frozen=True)
class _PhraseTable:
    prompts: tuple[Tokens, ...]
    topics: tuple[str, ...]
    """What each prompt is about."""
    requests: Answers
    """Without answers."""


@lru_cache(maxsize=2)
def _phrase_table(depth: int) -> _PhraseTable:
    """Return every request of red_team-v0 of up to `depth` styles, disguise by disguise, then form by form."""
    kinds = (v0_language.Kind.HARMFUL, v0_language.Kind.BENIGN)
    topics = [topic for kind in kinds for topic in v0_language.TOPICS.values() if topic.kind is kind]
    forms = list(v0_language.FORMS)
    disguises = [chain for length in range(depth + 1) for chain in permutations(v0_language.STYLES, length)]
    shape = (len(disguises), len(forms), len(topics))
    chain, form, topic = (part.ravel() for part in np.indices(shape))
    rows = zip(topic.tolist(), form.tolist(), chain.tolist(), strict=True)
    prompts = tuple(v0_language.Prompt(topics[t], forms[f], disguises[c]) for t, f, c in rows)
    trained, nothing = frozenset(v0_sets.prompt_set("static")), np.zeros(len(prompts))
    twin = (topic + len(topics) // 2) % len(topics)
    requests = Answers(
        harmful=np.array([topic.kind is kinds[0] for topic in topics])[topic],
        seen=np.array([topic in v0_language.SEEN_TOPICS for topic in topics])[topic],
        tail=_tails(disguises, v0_sets.STATIC_STYLES)[chain],
        trained=np.array([prompt in trained for prompt in prompts]),
        disguise=chain,
        request=topic * len(forms) + form,
        twin=np.ravel_multi_index((chain, form, twin), shape).astype(np.int64),
        kinds=np.zeros((len(prompts), len(KINDS))),
        rewards=nothing,
        unsafe=nothing,
    )
    return _PhraseTable(tuple(map(v0_words, prompts)), tuple(prompt.topic.name for prompt in prompts), requests)


def v0_words(prompt: v0_language.Prompt) -> Tokens:
    """Return the tokens of a request of red_team-v0."""
    return v0.VOCABULARY.encode(" ".join(v0_language.render_prompt(prompt)))


@lru_cache(maxsize=100_000)
def _phrase_verdict(reply: Tokens, topic: str) -> tuple[int, Outcome]:
    """Return which of `KINDS` a reply is, by its number, and what it makes of a request about a topic."""
    request = v0_language.Prompt(v0_language.TOPICS[topic], "how")
    verdict = v0.oracle([Exchange(v0_words(request), reply, v0.VOCABULARY)])[0]
    said = v0_language.parse_reply(tuple(v0.VOCABULARY.decode(reply).split()), request.topic)
    kind = v0_language.ReplyKind
    names = {kind.REFUSAL: "refused", kind.FULL: "right", kind.PARTIAL: "wrong", kind.WRONG: "wrong"}
    return KINDS.index(names.get(said, "broken")), verdict.outcome


def reply_to(
    defender: CausalLMAgent, prompts: Sequence[Tokens], vocabulary: Vocabulary, max_tokens: int
) -> list[Tokens]:
    """Return what a defender is likeliest to say to each prompt, token by token, its `<eos>` left out."""
    opening = (*vocabulary.begin(1), *vocabulary.open_turn(0, 1))
    closing = (*vocabulary.close_turn(0, 1), *vocabulary.open_turn(1, 1))
    replies: list[Tokens] = [()] * len(prompts)
    by_length = sorted(range(len(prompts)), key=lambda row: len(prompts[row]))
    for _, group in groupby(by_length, key=lambda row: len(prompts[row])):
        rows = list(group)
        for start in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[start : start + ROWS_AT_ONCE]
            views = np.array([(*opening, *prompts[row], *closing) for row in part], dtype=np.int64)
            for row, said in zip(part, greedy_replies(defender, views, max_tokens=max_tokens).tolist(), strict=True):
                end = said.index(vocabulary.eos_id) if vocabulary.eos_id in said else len(said)
                replies[row] = tuple(token for token in said[:end] if token)
    return replies


def _tails(disguises: Sequence[tuple[str, ...]], static: Sequence[str]) -> Bools:
    """Return whether each disguise has a style that is in no static request."""
    return np.array([not set(chain) <= set(static) for chain in disguises])


LANGUAGES: dict[type[Any], RequestLanguage] = {v0.RedTeam: PhraseLanguage(), v1.RedTeamCiphers: CipherLanguage()}
"""By the class of the rules."""


def language_of(game: Game) -> RequestLanguage:
    """Return the language of a game.

    Raises:
        ValueError: it is none that can be enumerated.
    """
    if type(game) not in LANGUAGES:
        known = ", ".join(kind.__name__ for kind in LANGUAGES)
        raise ValueError(f"game: expected one whose language can be enumerated, {known}, got {type(game).__name__}")
    return LANGUAGES[type(game)]
