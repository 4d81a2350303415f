"""Language models as agents: what they sample, what they say it cost, and what a folder keeps of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModelForCausalLM

from duologue.agents import CausalLMAgent, View
from duologue.agents.language_model.causal_lm import evaluating
from duologue.agents.language_model.legal_mask import LegalMask
from duologue.agents.language_model.micro import micro_model
from duologue.agents.language_model.sampling import WHOLE, Truncation
from duologue.envs import (
    Dialogue,
    Ending,
    Episode,
    LanguageGame,
    Payoff,
    Tokens,
    Utterance,
    WordVocabulary,
    deal_episodes,
    make,
    make_game,
    speak_all,
)
from duologue.envs.games.bluff import Bluff

SMALL = WordVocabulary("yes no maybe")


class Chat(LanguageGame[Any]):
    """Three turns of up to four words with thoughts of up to two, the last turn narrowed to one word."""

    vocabulary = SMALL
    payoff = Payoff.GENERAL
    max_turns = 3
    max_turn_tokens = 4
    max_thought_tokens = 2
    deals = make_game("bluff-v0").deals

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        return None if len(dialogue.turns) == 3 else len(dialogue.turns) % 2

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        return 0.0, 0.0

    def legal_tokens(self, dialogue: Dialogue[Any], prefix: Tokens) -> Tokens | None:
        return None if len(dialogue.turns) < 2 else (SMALL.eos_id,) if prefix else SMALL.encode("yes no")


def games() -> list[LanguageGame[Any]]:
    """Return a game that narrows every turn, one that narrows none, and one with thoughts."""
    return [make_game("bluff-v0"), make_game("red_team-v0", num_rounds=2), Chat()]


def agent_of(
    game: LanguageGame[Any], *, seed: int = 0, temperature: float = 1.0, values: bool = False
) -> CausalLMAgent:
    """Return a tiny model with random weights, drawn larger than usual so that contexts matter."""
    model = micro_model(game.vocabulary, hidden_size=16, num_layers=2, num_heads=2, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    head = None
    if values:
        torch.manual_seed(seed)
        head = nn.Linear(16, 1)
    return CausalLMAgent(model, game.vocabulary, temperature=temperature, value_head=head)


def spoken(
    game: LanguageGame[Any], agent: CausalLMAgent, num_episodes: int = 12, *, seed: int = 0
) -> list[tuple[View, Utterance]]:
    """Return every turn of some episodes in which the agent sits on both chairs."""
    rng, said = np.random.default_rng(seed), list[tuple[View, Utterance]]()
    episodes = deal_episodes(game, rng, num_episodes)
    while live := [episode for episode in episodes if not episode.over]:
        views = [episode.view() for episode in live]
        utterances = agent.speak(views, rng)
        said += zip(views, utterances, strict=True)
        speak_all(live, utterances)
    return said


def as_batch(turns: Sequence[tuple[View, Utterance]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, LegalMask]:
    """Return tokens, attention, policy tokens and legal masks of turns as one right-padded batch."""
    width = max(len(view.tokens) + len(said.tokens) for view, said in turns)
    tokens = torch.zeros(len(turns), width, dtype=torch.int64)
    attention, own = torch.zeros_like(tokens, dtype=torch.bool), torch.zeros_like(tokens, dtype=torch.bool)
    legal: list[list[NDArray[np.int64] | None]] = [[None] * width for _ in turns]
    for row, (view, said) in enumerate(turns):
        start, end = len(view.tokens), len(view.tokens) + len(said.tokens)
        tokens[row, :end] = torch.tensor([*view.tokens.tolist(), *said.tokens])
        attention[row, :end] = own[row, start:end] = True
        for k in range(len(said.tokens)):
            legal[row][start + k] = np.flatnonzero(view.legal_mask(said.tokens[:k]))
    mask = LegalMask.of(chain.from_iterable(legal), turns[0][0].vocabulary)
    return tokens, attention, own, replace(mask, sets=mask.sets.reshape(tokens.shape))


@pytest.mark.parametrize("game", games(), ids=lambda game: type(game).__name__)
@pytest.mark.parametrize(
    ("temperature", "truncation"),
    [(1.0, WHOLE), (0.5, WHOLE), (0.8, Truncation(top_p=0.8)), (1.0, Truncation(top_p=0.95, min_p=0.1))],
)
def test_sampling_logprobs_are_those_of_a_full_forward_pass(
    game: LanguageGame[Any], temperature: float, truncation: Truncation
) -> None:
    """PPO's ratio is 1 before the first step only if both computations agree; views differ in length."""
    agent = agent_of(game, temperature=temperature)
    agent.truncation = truncation
    turns = spoken(game, agent)
    assert len({len(view.tokens) for view, _ in turns}) > 1 or isinstance(game, Bluff)
    tokens, attention, own, legal = as_batch(turns)
    evaluated = agent.evaluate(tokens, attention, own, legal).logprobs
    sampled = [logprob for _, said in turns for logprob in said.logprobs or ()]
    assert evaluated[own].tolist() == pytest.approx(sampled, abs=1e-4)
    assert not evaluated[~own].any()


@pytest.mark.parametrize("game", games(), ids=lambda game: type(game).__name__)
def test_no_illegal_token_is_ever_said(game: LanguageGame[Any]) -> None:
    """Their probability is exactly 0; an utterance stops at `<eos>`, or where nothing more may be said."""
    for view, said in spoken(game, agent_of(game), 20):
        for k, token in enumerate(said.tokens):
            assert view.legal_mask(said.tokens[:k])[token]
        assert not view.legal_mask(said.tokens).any()
        assert len(said.logprobs or ()) == len(said.tokens)
        assert (said.ending is Ending.END_OF_TURN) == (said.tokens[-1] == game.vocabulary.eos_id)


def test_without_a_mask_every_sayable_token_and_eos_are_legal() -> None:
    """`legal_mask=None` and the masks of an unrestricted game spelled out are the same."""
    game = make_game("red_team-v0")
    agent = agent_of(game, values=True)
    tokens, attention, own, legal = as_batch(spoken(game, agent))
    for spelled, short in zip(
        agent.evaluate(tokens, attention, own, legal), agent.evaluate(tokens, attention, own), strict=True
    ):
        assert torch.allclose(spelled, short, atol=1e-5)


def test_rows_of_a_batch_do_not_influence_each_other() -> None:
    """One batch of 8 equals 8 of 1: logprobs, entropies and values, padded or not."""
    game = make_game("red_team-v0", num_rounds=2)
    agent = agent_of(game, values=True)
    turns = spoken(game, agent, 4)
    tokens, attention, own, _ = as_batch(turns)
    together = agent.evaluate(tokens, attention, own)
    for row, (view, said) in enumerate(turns):
        alone_tokens, alone_attention, alone_own, _ = as_batch([(view, said)])
        alone = agent.evaluate(alone_tokens, alone_attention, alone_own)
        for part, whole in zip(alone, together, strict=True):
            assert torch.allclose(part[0], whole[row, : part.shape[1]], atol=1e-4)


def test_what_a_row_says_in_a_batch_it_says_alone() -> None:
    """The same uniform numbers give the same tokens whatever stands beside, the first token's at least."""
    game = make_game("red_team-v0")
    agent, rng = agent_of(game), np.random.default_rng(3)
    views = [episode.view() for episode in deal_episodes(game, rng, 5)]
    uniform = np.random.default_rng(7).random(5)
    for row, said in enumerate(agent.speak(views, np.random.default_rng(7))):
        alone = agent.speak([views[row]], _Given(uniform[row]))[0]
        assert alone.tokens[0] == said.tokens[0]
        assert (alone.logprobs or ())[0] == pytest.approx((said.logprobs or ())[0], abs=1e-4)


class _Given(np.random.Generator):
    """A generator whose first number is given."""

    def __init__(self, first: float) -> None:
        """Seed the rest with 0."""
        super().__init__(np.random.PCG64(0))
        self._first = [first]

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Any:
        """Return the given number once."""
        return np.array([self._first.pop()]) if self._first else super().random(size)


def test_sampled_frequencies_are_the_probabilities() -> None:
    """10,000 first tokens of one view; the bound is four standard errors."""
    game = make_game("bluff-v0")
    agent, view = agent_of(game), Episode(game, "ace").view()
    said = agent.speak([view] * 10_000, np.random.default_rng(0))
    probability = {utterance.tokens[0]: float(np.exp((utterance.logprobs or (0.0,))[0])) for utterance in said}
    assert sum(probability.values()) == pytest.approx(1, abs=1e-5)
    for token, expected in probability.items():
        share = np.mean([utterance.tokens[0] == token for utterance in said])
        assert share == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 10_000))


def test_the_same_generator_gives_the_same_utterances() -> None:
    """`rng` is the only source of randomness; no views, no utterances."""
    game = make_game("red_team-v0")
    agent = agent_of(game)
    first, again, other = (spoken(game, agent, 4, seed=seed) for seed in (1, 1, 2))
    assert [said for _, said in first] == [said for _, said in again] != [said for _, said in other]
    assert agent.speak([], np.random.default_rng(0)) == []


def test_a_turn_cut_off_at_the_limit_says_so() -> None:
    """A model that never says `<eos>` fills the turn; its utterance ends TOO_LONG, without `<eos>`."""
    game = make_game("red_team-v0")
    agent = agent_of(game)
    agent.model.lm_head = _NeverEos(agent.model.lm_head, game.vocabulary.eos_id)
    episodes = deal_episodes(game, np.random.default_rng(0), 3)
    utterances = agent.speak([episode.view() for episode in episodes], np.random.default_rng(0))
    assert {said.ending for said in utterances} == {Ending.TOO_LONG}
    assert {len(said.tokens) for said in utterances} == {game.max_turn_tokens}
    speak_all(episodes, utterances)
    assert {episode.dialogue.turns[0].ending for episode in episodes} == {Ending.TOO_LONG}


class _NeverEos(nn.Module):
    def __init__(self, head: Any, eos_id: int) -> None:
        super().__init__()
        self.head, self.eos_id = head, eos_id

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(hidden).clone()
        logits[..., self.eos_id] = -1e9
        return logits


@pytest.mark.parametrize("name", ["bluff-v0", "red_team-v0"])
def test_token_by_token_it_plays_legally_to_the_end(name: str) -> None:
    """Through the AEC form, where only the observation reaches the agent."""
    env, rng = make(name), np.random.default_rng(0)
    agent = agent_of(env.game)
    for seed in range(3):
        env.reset(seed=seed)
        while env.agents and not env.terminations[env.agent_selection]:
            observation = env.observe(env.agent_selection)
            token = agent.act(observation, rng)
            assert observation["action_mask"][token]
            env.step(token)
        assert all(env.terminations.values())


def test_acting_draws_from_the_distribution_that_speaking_does() -> None:
    """One uniform number for a token in both forms, so the same seed gives the same first token."""
    game, env = make_game("bluff-v0"), make("bluff-v0")
    agent = agent_of(game)
    for seed in range(10):
        env.reset(seed=seed, options={"deal": "ace"})
        token = agent.act(env.observe("player_0"), np.random.default_rng(seed))
        assert agent.speak([env.view("player_0")], np.random.default_rng(seed))[0].tokens[0] == token


def test_a_folder_keeps_weights_value_head_and_temperature(tmp_path: Path) -> None:
    """The copy evaluates bit for bit like the original."""
    game = make_game("red_team-v0")
    agent = agent_of(game, temperature=0.7, values=True)
    agent.save_pretrained(tmp_path / "agent")
    copy = CausalLMAgent.from_pretrained(tmp_path / "agent", game.vocabulary)
    assert copy.temperature == 0.7
    batch = as_batch(spoken(game, agent))
    with evaluating(agent.model):
        for ours, theirs in zip(agent.evaluate(*batch), copy.evaluate(*batch), strict=True):
            assert torch.equal(ours, theirs)


def test_transformers_alone_loads_the_folder(tmp_path: Path) -> None:
    """Checkpoints are ordinary Hugging Face folders, and such a folder needs none of our files."""
    game = make_game("bluff-v0")
    agent = agent_of(game, values=True)
    agent.save_pretrained(tmp_path / "agent")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "agent")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), agent.model.parameters(), strict=True))
    model.save_pretrained(tmp_path / "plain")
    plain = CausalLMAgent.from_pretrained(tmp_path / "plain", game.vocabulary)
    assert plain.value_head is None
    assert plain.temperature == 1.0


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    """The message says what was expected and what came."""
    game = make_game("bluff-v0")
    model = micro_model(game.vocabulary, hidden_size=16, num_layers=1, num_heads=2)
    with pytest.raises(ValueError, match="temperature: expected a number > 0, got 0"):
        CausalLMAgent(model, game.vocabulary, temperature=0)
    vocabulary = make_game("red_team-v0").vocabulary
    with pytest.raises(ValueError, match=rf"model: expected at least {vocabulary.size} embeddings .*, got 13"):
        CausalLMAgent(model, vocabulary)
    with pytest.raises(ValueError, match=r"model folder: expected a folder with a config.json, got .*nowhere"):
        CausalLMAgent.from_pretrained(tmp_path / "nowhere", game.vocabulary)


def test_evaluating_restores_the_mode_even_after_an_error() -> None:
    """Dropout is off inside, and whoever trains finds training mode again."""
    module, modes = nn.Dropout().train(), list[bool]()
    with suppress(RuntimeError), evaluating(module):
        modes.append(module.training)
        raise RuntimeError
    assert modes == [False]
    assert module.training


def test_a_micro_model_leaves_the_global_generator_alone() -> None:
    """The same seed gives the same weights, and torch's own stream goes on as if nothing had happened."""
    vocabulary = make_game("bluff-v0").vocabulary
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first, again, other = (micro_model(vocabulary, hidden_size=8, num_layers=1, num_heads=2, seed=s) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    weights = [next(model.parameters()) for model in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
