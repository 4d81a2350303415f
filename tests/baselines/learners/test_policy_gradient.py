"""Equation 9 of arXiv 2402.08078: the expected policy gradient is the gradient of the exact objective."""

from typing import Any

import pytest
import torch

from duologue.agents import CausalLMAgent
from duologue.agents.language_model.causal_lm import TokenEvaluation
from duologue.baselines.functional.advantages import gae
from duologue.baselines.functional.policy_losses import policy_gradient_loss
from duologue.baselines.rollouts.episodes import PlayedEpisode
from duologue.baselines.rollouts.trajectories import Trajectories, trajectories
from duologue.envs import LanguageGame
from duologue.tests.baselines.helpers import Wages, all_episodes, bluff, tiny_agent

CASES = [(bluff(), "fold bet call"), (Wages(), "red blue")]
FORMS = ["full return", "return to go", "advantage"]


class Enumeration:
    """Every episode of a small game, and two language models in float64 that play it."""

    def __init__(self, game: LanguageGame[Any], words: str) -> None:
        """List the episodes."""
        listed = all_episodes(game, words)
        self.chance = torch.tensor([probability for probability, _ in listed], dtype=torch.float64)
        self.played: list[PlayedEpisode] = [one for _, one in listed]
        self.agents = [tiny_agent(game, seed=seed, values=True, double=True) for seed in (1, 2)]
        self.batches = [trajectories(self.played, player) for player in (0, 1)]
        self.rows = [
            [k for k, one in enumerate(self.played) if any(turn.player == player for turn in one.turns)]
            for player in (0, 1)
        ]

    def logprobs(self, player: int) -> torch.Tensor:
        """Return log pi^i of each of the player's tokens; (episodes in which it speaks, T)."""
        return evaluation(self.agents[player], self.batches[player]).logprobs

    def visiting(self) -> torch.Tensor:
        """Return equation 1 for every leaf: chance times both players' reaches."""
        reaches = torch.zeros(2, len(self.played), dtype=torch.float64)
        for player in (0, 1):
            reaches[player, self.rows[player]] = self.logprobs(player).sum(1)
        return self.chance * reaches.sum(0).exp()

    def objective(self, player: int) -> float:
        """Return R^i(pi), equation 3."""
        returns = torch.tensor([one.episode.returns[player] for one in self.played], dtype=torch.float64)
        return float((self.visiting().detach() * returns).sum())

    def action_values(self, player: int, form: str) -> torch.Tensor:
        """Return what stands for Q in equation 9; (episodes in which the player speaks, T)."""
        batch = self.batches[player]
        own, rewards = batch.policy_token_mask, batch.rewards.double()
        if form == "full return":
            return rewards.sum(1, keepdim=True).expand_as(rewards)
        values = evaluation(self.agents[player], batch).values.detach()
        if form == "return to go":
            values = torch.zeros_like(values)
        return gae(rewards, values, own, gamma=1.0, gae_lambda=1.0)[0]

    def expected_gradient(self, player: int, form: str) -> torch.Tensor:
        """Return equation 9 as a sum over all episodes, weighted by how probable they are."""
        batch, rows = self.batches[player], self.rows[player]
        weights = self.visiting().detach()[rows, None] * len(rows)
        loss = policy_gradient_loss(
            self.logprobs(player),
            weights * self.action_values(player, form),
            batch.policy_token_mask,
            aggregation="constant_length",
            constant_length=1,
        )
        parameters = list(self.agents[player].model.parameters())
        return -torch.cat([part.flatten() for part in torch.autograd.grad(loss, parameters)])


def evaluation(agent: CausalLMAgent, batch: Trajectories) -> TokenEvaluation:
    """Return what an agent says of a batch."""
    return agent.evaluate(batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask)


def central_difference(case: Enumeration, player: int, direction: torch.Tensor, *, step: float = 1e-4) -> float:
    """Return the derivative of the exact objective along a direction of the player's weights."""
    parameters = list(case.agents[player].model.parameters())
    start = torch.nn.utils.parameters_to_vector(parameters).detach()
    values = []
    for sign in (1, -1):
        torch.nn.utils.vector_to_parameters(start + sign * step * direction, parameters)
        values.append(case.objective(player))
    torch.nn.utils.vector_to_parameters(start, parameters)
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize(("game", "words"), CASES, ids=["bluff", "wages"])
def test_visiting_probabilities_sum_to_one(game: LanguageGame[Any], words: str) -> None:
    """Equation 1 at the leaves; bluff has 6 and the game of wages 16."""
    case = Enumeration(game, words)
    assert len(case.played) == (6 if words.startswith("fold") else 16)
    assert float(case.visiting().sum().detach()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("player", [0, 1])
@pytest.mark.parametrize(("game", "words"), CASES, ids=["bluff", "wages"])
def test_the_expected_gradient_is_that_of_the_exact_objective(game: LanguageGame[Any], words: str, player: int) -> None:
    """Equation 9, in three random directions against central differences; all forms agree in expectation."""
    case, generator = Enumeration(game, words), torch.Generator().manual_seed(0)
    gradients = [case.expected_gradient(player, form) for form in FORMS]
    assert float(gradients[0].norm()) > 1e-3
    for gradient in gradients[1:]:
        assert torch.allclose(gradient, gradients[0], rtol=1e-6, atol=1e-9)
    for _ in range(3):
        direction = torch.randn(len(gradients[0]), generator=generator, dtype=torch.float64)
        direction /= direction.norm()
        expected = central_difference(case, player, direction)
        assert float(gradients[0] @ direction) == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_the_forms_differ_episode_by_episode() -> None:
    """Else their agreement in expectation would say nothing."""
    case = Enumeration(*CASES[1])
    own = case.batches[0].policy_token_mask
    full, to_go, advantage = (case.action_values(0, form)[own] for form in FORMS)
    assert not torch.allclose(full, to_go)
    assert not torch.allclose(to_go, advantage)
