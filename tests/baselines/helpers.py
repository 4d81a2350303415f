"""What the tests of the baselines share: tiny language models that learn in seconds, and games of a few turns.

Every episode of these games can be listed; batches of replies are drawn from a policy without play.
"""

import hashlib
import os
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from duologue.agents import CausalLMAgent, FunctionAgent, utter
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.learners.base import PlayerLearner
from duologue.baselines.rollouts.episodes import PlayedEpisode, play_out
from duologue.baselines.rollouts.trajectories import Trajectories, trajectories
from duologue.baselines.training.state import Checkpointable, read_state, write_state
from duologue.envs import (
    Dialogue,
    Ending,
    Episode,
    FiniteDeals,
    LanguageGame,
    Payoff,
    Tokens,
    Utterance,
    WordVocabulary,
    make_game,
)

VOCABULARY = WordVocabulary("red blue yes no maybe")
RED, BLUE, YES, NO, MAYBE = VOCABULARY.encode("red blue yes no maybe")


def everything_in(folder: Path) -> dict[str, str]:
    """Return every entry of a folder with a checksum, or what it points to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        found[name] = os.readlink(path) if path.is_symlink() else "folder"
        if path.is_file() and not path.is_symlink():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


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


WORDS = (RED, YES, NO)


class Menu(LanguageGame[str]):
    """Player 0 is told red or blue and says up to `max_turn_tokens` words; each reply to each prompt has its price."""

    vocabulary = VOCABULARY
    payoff = Payoff.GENERAL
    deals: FiniteDeals[str] = FiniteDeals({"red": 0.5, "blue": 0.5})
    max_turns = 1
    max_briefing_tokens = 1

    def __init__(self, max_turn_tokens: int = 1, *, prompts: int = 2, words: Tokens = WORDS) -> None:
        """Take the longest reply, how many of the two prompts are dealt, and what may be said."""
        self.max_turn_tokens, self.words = max_turn_tokens, words
        self.deals = FiniteDeals({deal: 1 / prompts for deal in ("red", "blue")[:prompts]})

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        return None if dialogue.turns else 0

    def briefing(self, deal: str, player: int) -> Tokens:
        return VOCABULARY.encode(deal) if player == 0 else ()

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens:
        return self.words if self.max_turn_tokens == 1 else (*self.words, VOCABULARY.eos_id)

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        said = dialogue.turns[0].tokens
        code = sum((k + 1) * (WORDS.index(token) + 1) for k, token in enumerate(said))
        return float(np.sin(2.0 * code + (dialogue.deal == "blue"))), 0.0


def replies_of(game: Menu) -> list[Tokens]:
    """Return the tokens of every reply, `<eos>` included where the reply is not as long as it may be."""
    eos, longest = VOCABULARY.eos_id, game.max_turn_tokens
    if longest == 1:
        return [(word,) for word in game.words]
    short = [(*said, eos) for length in range(longest) for said in product(game.words, repeat=length)]
    return [*short, *product(game.words, repeat=longest)]


def say(game: Menu, deal: str, reply: Tokens) -> PlayedEpisode:
    """Return the play in which player 0 gives the reply."""
    ending = Ending.END_OF_TURN if reply[-1] == VOCABULARY.eos_id else Ending.TOO_LONG
    speaker = FunctionAgent(lambda view, rng: Utterance(reply, None, ending))
    return play_out([Episode(game, deal)], [speaker] * 2, np.random.default_rng(0))[0]


def every_reply(game: Menu) -> Trajectories:
    """Return all replies to the first prompt, then all to the second."""
    return trajectories([say(game, deal, reply) for deal in game.deals.outcomes() for reply in replies_of(game)], 0)


def reply_probabilities(agent: CausalLMAgent, everything: Trajectories) -> Tensor:
    """Return the probability of each reply to its prompt, exactly; (rows of `everything`,)."""
    with torch.no_grad():
        said = agent.evaluate(
            everything.tokens, everything.attention_mask, everything.policy_token_mask, everything.legal_mask
        )
    return said.logprobs.double().sum(1).exp()


def by_prompt(game: Menu, values: Tensor) -> Tensor:
    """Return what belongs to each reply as a row for each prompt."""
    return values.reshape(len(game.deals.outcomes()), -1)


def draw(
    game: Menu, agent: CausalLMAgent, everything: Trajectories, size: int, rng: np.random.Generator
) -> Trajectories:
    """Return `size` replies to each prompt, drawn from the policy as rollouts would."""
    probabilities = by_prompt(game, reply_probabilities(agent, everything)).numpy()
    width = probabilities.shape[1]
    rows = [k * width + rng.choice(width, size, p=row / row.sum()) for k, row in enumerate(probabilities)]
    return everything.select(torch.from_numpy(np.concatenate(rows)))


def gibbs(game: Menu, ref: Tensor, values: Tensor, *, kl_coef: float) -> Tensor:
    """Return ref exp(values / kl_coef), normalised for each prompt; (prompts, replies)."""
    weights = by_prompt(game, ref) * torch.exp(by_prompt(game, values).double() / kl_coef)
    return weights / weights.sum(1, keepdim=True)


def learnt(game: Menu, learner: PlayerLearner, *, num_updates: int, size: int, seed: int) -> Tensor:
    """Return the policy that fresh replies lead to; (prompts, replies)."""
    everything, rng = every_reply(game), np.random.default_rng(seed)
    for _ in range(num_updates):
        learner.update(draw(game, learner.agent, everything, size, rng), rng)
    return by_prompt(game, reply_probabilities(learner.agent, everything))


def distance(policy: Tensor, other: Tensor) -> float:
    """Return the largest total variation between two policies, over prompts; 0 to 1."""
    return float((policy - other).abs().sum(1).max() / 2)


def shifted(game: Menu, batch: Trajectories, shift: float) -> Trajectories:
    """Return the batch with every reply to the prompt "blue" paid `shift` more."""
    told_blue = (batch.tokens == game.vocabulary.encode("blue")[0]).any(1)
    return batch.with_bonus(np.where(told_blue.numpy(), shift, 0.0))


def start(game: Menu, *, seed: int = 0) -> tuple[CausalLMAgent, Tensor]:
    """Return a tiny agent and the probabilities with which it begins, those of the reference."""
    agent = tiny_agent(game, seed=seed)
    return agent, reply_probabilities(agent, every_reply(game))
