"""Tiny language models that learn in seconds, and games of a few turns whose every episode can be listed."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from duologue.agents import CausalLMAgent, FunctionAgent, utter
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.rollouts.episodes import PlayedEpisode, play_out
from duologue.baselines.training.state import Checkpointable, read_state, write_state
from duologue.envs import Dialogue, Episode, FiniteDeals, LanguageGame, Payoff, Tokens, WordVocabulary, make_game

VOCABULARY = WordVocabulary("red blue yes no maybe")
RED, BLUE, YES, NO, MAYBE = VOCABULARY.encode("red blue yes no maybe")


class OneWord(LanguageGame[Any]):
    """Player 0 says red and wins 1, or blue and loses 1."""

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals: FiniteDeals[Any] = FiniteDeals({"": 1.0})
    max_turns = 1
    max_turn_tokens = 1

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        return None if dialogue.turns else 0

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        reward = 1.0 if dialogue.turns[0].tokens == (RED,) else -1.0
        return reward, -reward

    def legal_tokens(self, dialogue: Dialogue[Any], prefix: Tokens) -> Tokens:
        return RED, BLUE


class Wages(LanguageGame[Any]):
    """Players 0, 1 and 0 say red or blue in turn, and every turn pays both a number of its own."""

    vocabulary = VOCABULARY
    payoff = Payoff.GENERAL
    deals: FiniteDeals[Any] = FiniteDeals({"red": 0.25, "blue": 0.75})
    max_turns = 3
    max_turn_tokens = 1
    max_briefing_tokens = 1

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        return None if len(dialogue.turns) == 3 else len(dialogue.turns) % 2

    def briefing(self, deal: Any, player: int) -> Tokens:
        return VOCABULARY.encode(deal) if player == 0 else ()

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        said = [int(turn.tokens == (RED,)) for turn in dialogue.turns]
        code = 1 + 4 * (dialogue.deal == "red") + sum(2**k * bit for k, bit in enumerate(said))
        return np.cos(code * 7.0) + len(said), np.sin(code * 5.0) - len(said) / 2

    def legal_tokens(self, dialogue: Dialogue[Any], prefix: Tokens) -> Tokens:
        return RED, BLUE


def tiny_agent(game: LanguageGame[Any], *, seed: int = 0, values: bool = False, double: bool = False) -> CausalLMAgent:
    """Return a one-layer model of 16 dimensions with random weights."""
    model = micro_model(game.vocabulary, hidden_size=16, num_layers=1, num_heads=2, seed=seed)
    head = None
    if values:
        torch.manual_seed(seed)
        head = nn.Linear(16, 1)
    if double:
        _without_single_precision(model.double())
        head = None if head is None else head.double()
    return CausalLMAgent(model, game.vocabulary, value_head=head)


def _without_single_precision(model: nn.Module) -> None:
    """Replace the Llama norms, which compute in float32 whatever the weights are."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child).__name__ == "LlamaRMSNorm":
                setattr(parent, name, nn.RMSNorm(16, eps=1e-6).double())


def all_episodes(game: LanguageGame[Any], words: str) -> list[tuple[float, PlayedEpisode]]:
    """Return chance's probability of the deal and the play of every episode of one-word turns."""
    played = []
    for deal, probability in (game.deals.outcomes() or {}).items():
        for choice in product(game.vocabulary.encode(words), repeat=game.max_turns):
            one = _play(game, deal, choice)
            if one is not None:
                played.append((probability, one))
    unique = {one.dialogue: (probability, one) for probability, one in played}
    return list(unique.values())


def _play(game: LanguageGame[Any], deal: Any, choice: Tokens) -> PlayedEpisode | None:
    def say(view: Any, rng: np.random.Generator) -> Any:
        return utter(view, choice[len([m for m in view.messages if m.speaker is not None]) :][:1])

    episode = play_out([Episode(game, deal)], [FunctionAgent(say)] * 2, np.random.default_rng(0))[0]
    return None if any(turn.ending.forfeits for turn in episode.dialogue.turns) else episode


def through_a_file(folder: Path, learner: Checkpointable) -> dict[str, Any]:
    """Return a learner's state as a resumed run reads it."""
    write_state(folder, learner.state_dict())
    state = read_state(folder)
    assert state is not None
    return state


def weights(module: nn.Module) -> list[torch.Tensor]:
    """Return a copy of all the parameters."""
    return [parameter.detach().clone() for parameter in module.parameters()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    """Say whether two lists of weights are equal bit for bit."""
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def bluff() -> LanguageGame[Any]:
    """Return the game bluff-v0."""
    return make_game("bluff-v0")
