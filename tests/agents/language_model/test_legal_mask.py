"""Legal masks told by lists are the masks over the vocabulary, at the price of what the rules narrowed."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from duologue.agents import CausalLMAgent, RandomAgent
from duologue.agents.language_model.legal_mask import USUAL, LegalMask
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import Trajectories, joined, trajectories
from duologue.envs import Dialogue, Ending, LanguageGame, Payoff, Tokens, Utterance, View, WordVocabulary, make_game
from duologue.envs.game import NO_CHANCE
from duologue.envs.wrappers.thoughts import WithThoughts
from duologue.tests.agents.language_model.helpers import dense, unsayable
from duologue.tests.agents.language_model.test_decoding import NumberedVocabulary
from duologue.tests.envs.helpers import Whisper

GAMES: dict[str, LanguageGame[Any]] = {
    "one of a few words": make_game("tic_tac_toe-v0"),
    "words or the end": make_game("random_game-v0", branching=4, max_turn_tokens=3),
    "one by one, then thoughts": WithThoughts(make_game("running_sum-v0"), max_thought_tokens=3),
    "thoughts, free and narrowed turns": Whisper(),
    "a free reply": make_game("statements-v0"),
}
EIGHT = WordVocabulary("a b c d e f g h")
IDS = st.sets(st.integers(1, EIGHT.size - 1)).map(lambda ids: np.array(sorted(ids), dtype=np.int64))
SETS = st.one_of(st.none(), IDS)


def dense_by_views(game: LanguageGame[Any], player: int) -> tuple[Trajectories, Tensor]:
    """Return a batch of random play and its masks (B, T, V), asked from each view at each own token."""
    played = rollout(game, (RandomAgent(), RandomAgent()), 12, np.random.default_rng(0))
    played = [episode for episode in played if any(turn.player == player for turn in episode.turns)]
    batch = trajectories(played, player)
    masks = torch.zeros(*batch.tokens.shape, game.vocabulary.size, dtype=torch.bool)
    for row, episode in enumerate(played):
        for turn in (turn for turn in episode.turns if turn.player == player):
            for k in range(len(turn.utterance.tokens)):
                mask = turn.view.legal_mask(turn.utterance.tokens[:k])
                masks[row, len(turn.view.tokens) + k] = torch.from_numpy(mask.astype(bool))
    return batch, masks


def as_the_formula_has_it(agent: CausalLMAgent, batch: Trajectories, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-probabilities and entropies of the own tokens (N,), by a softmax over the tokens that masks allow."""
    logits = agent.model(batch.tokens[:, :-1], attention_mask=batch.attention_mask[:, :-1]).logits
    own = batch.policy_token_mask[:, 1:]
    logprobs = torch.log_softmax(logits[own].masked_fill(~masks[:, 1:][own], -torch.inf), dim=-1)
    entropies = -(logprobs.exp() * logprobs.clamp(min=-1e4)).sum(-1)
    return logprobs.gather(-1, batch.tokens[:, 1:][own][:, None]).squeeze(-1), entropies


@pytest.mark.parametrize("player", [0, 1])
@pytest.mark.parametrize("game", GAMES.values(), ids=GAMES)
def test_evaluating_by_lists_is_evaluating_by_masks(game: LanguageGame[Any], player: int) -> None:
    """Values and gradients, against masks (B, T, V) and `masked_fill`, which this replaced; floats' last bits apart."""
    torch.manual_seed(0)
    agent = CausalLMAgent(micro_model(game.vocabulary, hidden_size=8, num_layers=1, num_heads=2), game.vocabulary)
    batch, masks = dense_by_views(game, player)
    masked = (batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask)
    said = agent.evaluate(*masked, entropy_grad=True)
    own = batch.policy_token_mask
    ours, theirs = (said.logprobs[own], said.entropies[own]), as_the_formula_has_it(agent, batch, masks)
    gradients = []
    for logprobs, entropies in (ours, theirs):
        weights = torch.linspace(-1, 1, len(logprobs))
        parameters = [parameter for parameter in agent.model.parameters() if parameter.requires_grad]
        loss = (weights * logprobs).sum() + entropies.square().sum()
        gradients.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)]))
    for mine, other in zip((*ours, gradients[0]), (*theirs, gradients[1]), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@given(st.lists(SETS, min_size=1, max_size=6), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_any_sets_of_tokens_come_back_from_their_lists(sets: list[NDArray[np.int64] | None], seed: int) -> None:
    """Small, large, empty and repeated sets, chosen in any order; what is legal keeps its logit to the bit."""
    order = torch.from_numpy(np.random.default_rng(seed).integers(len(sets), size=9))
    logits = torch.from_numpy(np.random.default_rng(seed).normal(size=(9, EIGHT.size)))
    masks = torch.ones(len(sets), EIGHT.size, dtype=torch.bool)
    for row, ids in enumerate(sets):
        listed = torch.from_numpy(ids) if ids is not None else None
        masks[row, unsayable(EIGHT) if listed is None else slice(None)] = False
        if listed is not None:
            masks[row, listed] = True
    expected = logits.masked_fill(~masks[order], -torch.inf)
    LegalMask.of(sets, EIGHT).at(order).remove_illegal_(logits, unsayable(EIGHT))
    assert torch.equal(logits, expected)


def test_equal_sets_are_kept_once_and_the_usual_one_never() -> None:
    """Tic-tac-toe's first move has one set, the second nine: ten for two players, however many episodes."""
    batch, _ = dense_by_views(make_game("tic_tac_toe-v0"), 0)
    assert batch.legal_mask is not None
    first = batch.policy_token_mask.int().argmax(1)
    assert len(set(batch.legal_mask.sets[torch.arange(len(batch)), first].tolist())) == 1
    assert set(batch.legal_mask.sets[~batch.policy_token_mask].tolist()) == {USUAL}


def test_batches_of_one_policy_in_both_seats_join_with_their_masks() -> None:
    """One is narrowed and wider, the other is not: each row keeps its own legal tokens."""
    narrowed, masks = dense_by_views(make_game("statements-v0"), 0)
    free, _ = dense_by_views(make_game("statements-v0"), 1)
    assert free.legal_mask is None
    both = joined(free, narrowed)
    assert both.legal_mask is not None
    rows = both.policy_token_mask[len(free) :].nonzero(as_tuple=True)
    vocabulary = make_game("statements-v0").vocabulary
    assert torch.equal(dense(both.legal_mask.at((rows[0] + len(free), rows[1])), vocabulary), masks[rows])
    assert set(both.legal_mask.sets[: len(free)].flatten().tolist()) == {USUAL}


@dataclass
class Copying(LanguageGame[Any]):
    """Each player says 16 words out of two, in a vocabulary of any size; the rules count how often they are asked."""

    vocabulary: Any
    asked: int = 0

    payoff = Payoff.ZERO_SUM
    deals = NO_CHANCE
    max_turns = 2
    max_turn_tokens = 16

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        return len(dialogue.turns) if len(dialogue.turns) < 2 else None

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        return 0.0, 0.0

    def legal_tokens(self, dialogue: Dialogue[Any], prefix: Tokens) -> Tokens:
        self.asked += 1
        return (8, 9)


class Nines:
    """Says nine, sixteen times, and looks at no mask."""

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        return [Utterance((9,) * 16, (-0.1,) * 16, Ending.TOO_LONG) for _ in views]


def test_a_narrowed_turn_needs_memory_for_what_was_narrowed_only() -> None:
    """128 tokens of 152,000 choices were 19 MB of masks; two ids are left of them."""
    game = Copying(NumberedVocabulary(152_000))
    rollout(game, (Nines(), Nines()), 1, np.random.default_rng(0))  # builds the masks that the game shares
    tracemalloc.start()
    played = rollout(game, (Nines(), Nines()), 8, np.random.default_rng(0))
    batch = trajectories(played, player=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batch.legal_mask is not None
    assert batch.legal_mask.listed.tolist() == [8, 9]
    assert batch.num_policy_tokens == 128
    assert peak < game.vocabulary.size


def test_rules_are_asked_a_few_times_for_a_token_however_long_the_turn() -> None:
    """While sampling, in the engine and for the batch: 4 times 16 tokens, where going back to the start took 16^2."""
    game = Copying(WordVocabulary("a b"))
    agent = CausalLMAgent(micro_model(game.vocabulary, hidden_size=8, num_layers=1, num_heads=2), game.vocabulary)
    played = rollout(game, (agent, agent), 1, np.random.default_rng(0))
    trajectories(played, player=0)
    assert game.asked < 2 * 4 * 16
