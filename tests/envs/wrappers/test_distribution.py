"""Several games as one, and the meta-policy that is cloned from it."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from duologue.agents import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.agents.scripted import FunctionAgent
from duologue.baselines.learners.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from duologue.baselines.rollouts.demonstrations import encode_dialogues
from duologue.baselines.rollouts.episodes import rollout
from duologue.envs import Dialogue, LanguageGame, Payoff, RandomAgent, Turn
from duologue.envs.games.bluff import FOLD, Bluff
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.random_game import RandomGame
from duologue.envs.games.running_sum import RunningSum
from duologue.envs.games.secret_code import SecretCode, all_codes
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import GameTree, expected_returns, uniform_profile
from duologue.envs.wrappers.demonstrated import Demonstrated, Prompted
from duologue.envs.wrappers.distribution import DrawnGame, GameDistribution
from duologue.envs.wrappers.thoughts import WithThoughts


def examples(games: Sequence[SecretCode], deal: DrawnGame) -> list[Dialogue[DrawnGame]]:
    """Return the solved episodes of the code that was drawn."""
    game = games[deal.game_index]
    found = [game.solution(secret) for secret in range(len(game.code))]
    return [Dialogue(DrawnGame(deal.game_index, dialogue.deal), dialogue.turns) for dialogue in found]


def prompted(games: Sequence[SecretCode]) -> Demonstrated[DrawnGame]:
    """Return the distribution over codes, with the whole code in the prompt."""
    return Demonstrated(GameDistribution(games), partial(examples, games), num_shots=len(games[0].code))


def test_uniform_play_is_worth_the_weighted_mean_of_the_games() -> None:
    """Exactly, on the trees of three random games, one with fewer turns and one with more of them."""
    games = [RandomGame(1), RandomGame(2, num_turns=3), RandomGame(3, num_turns=5)]
    weights = [0.5, 0.2, 0.3]
    whole = GameTree(GameDistribution(games, weights))
    parts = np.stack([_uniform_returns(game) for game in games])
    assert expected_returns(whole, uniform_profile(whole)) == pytest.approx(np.asarray(weights) @ parts)


def _uniform_returns(game: LanguageGame[int]) -> np.ndarray:
    tree = GameTree(game)
    return expected_returns(tree, uniform_profile(tree))


@pytest.mark.parametrize(
    "game",
    [
        GameDistribution([RandomGame(1), RandomGame(2)]),
        GameDistribution([RunningSum(2, 2), RunningSum(2, 4)], [0.25, 0.75]),
        prompted([SecretCode((0, 1)), SecretCode((1, 0))]),
    ],
    ids=["random", "lengths", "prompted"],
)
def test_distributions_keep_the_contracts_of_a_game(game: LanguageGame[object]) -> None:
    """Games of unequal size together, with their own turn lengths, and under a prompt."""
    check_game(game)


def test_games_are_drawn_by_weight_before_their_deals() -> None:
    """The small game has 2^2 deals and the large one 2^4; each is drawn with its weight all the same."""
    game = GameDistribution([RunningSum(2, 2), RunningSum(2, 4)], [0.25, 0.75])
    listed = game.deals.outcomes() or {}
    assert len(listed) == 4 + 16
    assert sum(share for deal, share in listed.items() if deal.game_index == 0) == pytest.approx(0.25)
    rng = np.random.default_rng(0)
    drawn = [game.deals.sample(rng).game_index for _ in range(2_000)]
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.03)
    cloned = game.demonstrations("ideal", rng, 2_000)
    assert np.mean([dialogue.deal.game_index for dialogue in cloned]) == pytest.approx(0.75, abs=0.03)


def test_payoffs_of_unlike_games_are_general() -> None:
    """Zero-sum and identical rewards together are neither."""
    zero_sum, identical = RandomGame(1), RandomGame(1, payoff="identical")
    assert GameDistribution([zero_sum, zero_sum]).payoff is Payoff.ZERO_SUM
    assert GameDistribution([zero_sum, identical]).payoff is Payoff.GENERAL


def test_games_that_do_not_speak_alike_are_refused() -> None:
    """One policy cannot read two vocabularies."""
    with pytest.raises(ValueError, match="games: expected one vocabulary"):
        GameDistribution([Bluff(), KuhnPoker()])
    with pytest.raises(ValueError, match="expected one max_thought_tokens, got 0 and 2"):
        GameDistribution([RunningSum(2, 2), RunningSum(2, 2, max_thought_tokens=2)])
    bad: list[Any] = [[0.5], [float("nan")], [float("inf")], [-1.0], ["1"], [None], [0.5, 0.5]]
    for weights in bad:
        with pytest.raises(ValueError, match="weights: expected 1 numbers >= 0 that sum to 1"):
            GameDistribution([Bluff()], weights)
    for games in (["bluff-v0"], [Bluff]):
        with pytest.raises(TypeError, match="game: expected the rules, a LanguageGame, such as"):
            GameDistribution(games)  # type: ignore[arg-type]


def cloned(games: Sequence[SecretCode], *, num_steps: int, num_dialogues: int, seed: int = 0) -> CausalLMAgent:
    """Return a micro model that was cloned from prompted, solved episodes of the games."""
    game, rng = prompted(games), np.random.default_rng(seed)
    deals = [game.deals.sample(rng) for _ in range(num_dialogues)]
    data = encode_dialogues(game, [_solution(games, deal) for deal in deals], viewers=(1,))
    model = micro_model(game.vocabulary, hidden_size=32, num_layers=2, num_heads=2, max_positions=64, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    agent = CausalLMAgent(model, game.vocabulary)
    config = BehaviourCloningConfig(tokens_of="player_1", num_steps=num_steps, batch_size=32, learning_rate=5e-3)
    for _ in BehaviourCloning(agent, data, config, seed=seed):
        pass
    return agent


def _solution(games: Sequence[SecretCode], deal: Prompted) -> Dialogue[Prompted]:
    index, inner = deal.deal
    return Dialogue(deal, games[index].solution(inner).turns)


def score(agent: CausalLMAgent, game: SecretCode) -> float:
    """Return the share of right answers in one code, prompted with all of it."""
    asker = FunctionAgent(lambda view, rng: RandomAgent().speak([view], rng)[0])
    played = rollout(prompted([game]), [asker, agent], 90, np.random.default_rng(1))
    return float(np.mean([play.episode.returns[1] for play in played]))


def test_a_meta_policy_reads_a_held_out_code_off_its_prompt_and_single_game_policies_do_not() -> None:
    """Eq. (10) over 26 of the 27 codes of three objects; who saw one code answers by that code, prompt or not."""
    codes = all_codes(3, 3)
    held_out = codes.pop(14)  # (1, 1, 2)
    assert held_out.code == (1, 1, 2)
    meta = score(cloned(codes, num_steps=450, num_dialogues=1_200), held_out)
    single = [score(cloned([codes[k]], num_steps=40, num_dialogues=100), held_out) for k in (0, 5)]
    assert meta > 0.9
    assert max(single) < 0.8


def test_secret_code_by_hand_and_its_contracts() -> None:
    """Object 1 is word 0 in the code (2, 0, 1)."""
    game = SecretCode((2, 0, 1))
    check_game(game)
    assert game.rewards(game.solution(1)) == (1.0, 1.0)
    assert game.solution(1).turns[1] == Turn(game.words[:1])
    assert game.rewards(Dialogue(1, (Turn(game.objects[1:2]), Turn(game.words[1:2])))) == (0.0, 0.0)
    with pytest.raises(ValueError, match=r"code: expected at least one whole number, each in \[0, 2\), got \(0, 2\)"):
        SecretCode((0, 2))


def test_a_distribution_states_what_its_games_state() -> None:
    """The examples before a deal are those of the game that was drawn, not of another code."""
    codes = [SecretCode((0, 1)), SecretCode((1, 0))]
    game = GameDistribution(codes)
    deal = DrawnGame(1, 0)
    assert game.solution(deal) == game.outer(1, codes[1].solution(0))
    assert game.examples(deal) == [game.outer(1, codes[1].solution(code)) for code in (0, 1)]
    drawn = Demonstrated(game, num_shots=2).deals.sample(np.random.default_rng(0))
    assert {example.deal.game_index for example in drawn.examples} == {drawn.deal.game_index}


def test_the_thought_of_a_solution_is_that_of_the_game_that_was_drawn() -> None:
    """2 + 1 = 0 and 2 + 1 + 2 = 2 modulo 3; the second sum needs three words, for which two are no room."""
    game = GameDistribution([RunningSum(3, 2), RunningSum(3, 3)])
    short, long = DrawnGame(0, (2, 1)), DrawnGame(1, (2, 1, 2))
    for room, expected in ((3, ("2 0", "2 0 2")), (2, ("2 0", ""))):
        solutions = [WithThoughts(game, room).solution(deal) for deal in (short, long)]
        assert tuple(game.vocabulary.decode(solution.turns[1].thought) for solution in solutions) == expected


def test_games_that_state_no_thought_or_no_solution_can_be_drawn_with_thoughts() -> None:
    """The code has a solution alone, the second game demonstrations alone: both stay as they are."""

    class Played(Bluff):
        def demonstrations(self, source: str, rng: np.random.Generator, num_dialogues: int) -> list[Dialogue[str]]:
            return [Dialogue("ace", (Turn(FOLD),))] * num_dialogues

    code, played = GameDistribution([SecretCode((1, 0))]), GameDistribution([Played()])
    assert WithThoughts(code, 2).solution(DrawnGame(0, 1)) == code.solution(DrawnGame(0, 1))
    rng = np.random.default_rng(0)
    assert WithThoughts(played, 2).demonstrations("ideal", rng, 1) == played.demonstrations("ideal", rng, 1)


def test_a_forfeit_in_a_zero_sum_game_beside_another_pays_the_other_player_nothing() -> None:
    """Alone it pays the forfeit cost of 1; together with a general payoff there is one rule for all games."""
    zero_sum, identical = RandomGame(1), RandomGame(1, payoff="identical")
    assert GameDistribution([zero_sum]).forfeit_rewards(0) == (-1.0, 1.0)
    assert GameDistribution([zero_sum, identical]).forfeit_rewards(0) == (-1.0, 0.0)


def test_a_distribution_over_games_that_state_nothing_says_so() -> None:
    """Bluff has neither solutions nor demonstrations."""
    game, rng = GameDistribution([Bluff()]), np.random.default_rng(0)
    deal = game.deals.sample(rng)
    with pytest.raises(ValueError, match=r"Bluff: expected a game that states solution\(deal\), got none"):
        game.solution(deal)
    with pytest.raises(ValueError, match="Bluff: expected a game that states solved episodes"):
        game.examples(deal)
    with pytest.raises(ValueError, match="Bluff: expected a game that generates demonstrations, got none"):
        game.demonstrations("ideal", rng, 1)
