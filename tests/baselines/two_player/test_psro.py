"""PSRO: payoffs among the members, who is weighed how, when it stops, and that the meta-strategies settle."""

import json
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from duologue.agents import CausalLMAgent, ScriptedAgent
from duologue.agents.tabular import seat_policy, seat_profile
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.benchmark import entrants  # noqa: F401  (registers the algorithms)
from duologue.baselines.benchmark.registry import ALGORITHMS
from duologue.baselines.learners.base import PlayerLearner
from duologue.baselines.learners.options import RESPONSE_PPO
from duologue.baselines.learners.ppo import PPOLearner
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import Trajectories, trajectories
from duologue.baselines.two_player.empirical_game import EmpiricalGame, ResponseGains, response_gains
from duologue.baselines.two_player.learner import Population, Task, TwoPlayerLearner
from duologue.baselines.two_player.measured import ExactDistance
from duologue.baselines.two_player.psro import PSRO, PSROOptions
from duologue.envs import LanguageGame, make_game
from duologue.envs.games.matrix.rock_paper_scissors import RockPaperScissors
from duologue.envs.tree.analysis import GameTree, expected_returns, nash_conv
from duologue.tests.baselines.helpers import Wages, bluff, same, through_a_file, tiny_agent, weights

GAME = bluff()


@dataclass(frozen=True, slots=True)
class Fitted:
    """What an update of `PureResponse` reports."""

    word: int


class PureResponse:
    """A learner that is all but exact where a turn is one word: it comes to say the word that has paid best."""

    def __init__(self, agent: CausalLMAgent) -> None:
        """Take the agent to train in place."""
        self.agent = agent

    def update(self, batch: Trajectories, rng: np.random.Generator) -> Fitted:
        """Find the word of the highest mean return."""
        said = batch.tokens[batch.policy_token_mask]
        means = {word: float(batch.returns[said == word].mean()) for word in said.unique().tolist()}
        best = max(means, key=lambda word: means[word])
        self.fit(batch.select(torch.tensor([0])), best)
        return Fitted(best)

    def fit(self, one: Trajectories, word: int) -> None:
        """Raise the probability of one word, by cross-entropy, until it has nearly all."""
        optimizer = torch.optim.Adam(self.agent.model.parameters(), lr=0.05)
        tokens = torch.where(one.policy_token_mask, word, one.tokens)
        for _ in range(25):
            now = self.agent.evaluate(tokens, one.attention_mask, one.policy_token_mask, one.legal_mask)
            optimizer.zero_grad()
            (-now.logprobs.sum()).backward()
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the weights: an update has an optimiser of its own."""
        return {"model": self.agent.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.agent.model.load_state_dict(state["model"])


def make_ppo(game: LanguageGame[Any], player: int, seed: int) -> PlayerLearner:
    """Return a tiny model with random weights, by player and seed, that learns by PPO."""
    return PPOLearner(tiny_agent(game, seed=2 * seed + player), RESPONSE_PPO)


def make_pure(player: int, seed: int) -> PlayerLearner:
    """Return a player of rock-paper-scissors with nearly exact responses, which says rock at its start, seed 0."""
    game = RockPaperScissors()
    learner = PureResponse(tiny_agent(game, seed=2 * seed + player))
    if seed == 0:
        played = rollout(game, (learner.agent, learner.agent), 1, np.random.default_rng(0))
        learner.fit(trajectories(played, player), game.vocabulary.encode("rock")[0])
    return learner


def make(*, seed: int = 0, folder: Path | None = None, num_updates: int = 5, **options: object) -> PSRO:
    """Return three rounds of bluff with two, two and one update, and batches of 8."""
    play = PSROOptions(
        num_updates=num_updates,
        updates_per_response=2,
        batch_size=8,
        num_payoff_episodes=8,
        num_gain_episodes=8,
        **options,  # type: ignore[arg-type]
    )
    return PSRO(GAME, partial(make_ppo, GAME), play, seed=seed, folder=folder)


def test_responses_join_at_the_end_of_each_round_and_every_update_counts() -> None:
    """Five updates of each player in rounds of two; 8 episodes a pair, of 1, 4, 9 and 16 pairs; 3 plays for gains."""
    play = make()
    learner: TwoPlayerLearner = play
    assert [len(seat.members) for seat in play.average] == [1, 1]
    steps = list(play)
    assert [(step.iteration, step.round, step.num_members) for step in steps] == [
        (1, 1, 1), (2, 1, 2), (3, 2, 2), (4, 2, 3), (5, 3, 4),
    ]  # fmt: skip
    assert [step.gains is not None for step in steps] == [False, True, False, True, True]
    assert [step.num_training_episodes for step in steps] == [16, 32, 48, 64, 80]
    assert [step.num_payoff_episodes // 8 for step in steps] == [1, 4, 4, 9, 16]
    assert [step.num_gain_episodes // 24 for step in steps] == [0, 1, 1, 2, 3]
    assert [pool.iterations for pool in play.pools] == [(0, 2, 4, 5), (0, 2, 4, 5)]
    assert learner.average is not None
    for player, seat in enumerate(play.seats):
        assert isinstance(seat, CausalLMAgent)
        assert same(weights(seat.model), weights(play.pools[player].members[-1].model))
        assert play.average[player].members == play.pools[player].members
        assert play.average[player].weights == pytest.approx(play.meta_policies[player].tolist())


@pytest.mark.parametrize("game", [GAME, Wages()], ids=["zero_sum", "general_sum"])
def test_estimated_payoffs_are_the_exact_ones_up_to_their_intervals(game: LanguageGame[Any]) -> None:
    """Four pairs of random models; exact returns on the tree; 95 % intervals hold nearly all, twice as wide all."""
    tree = GameTree(game)
    members = [[tiny_agent(game, seed=seed) for seed in seeds] for seeds in ((1, 2), (4, 5))]
    found = EmpiricalGame(game, num_episodes=300, seed=0)
    found.extend(members[0], members[1])
    exact = np.array([[expected_returns(tree, seat_profile(tree, (a, b))) for b in members[1]] for a in members[0]])
    off = np.abs(found.returns - exact.transpose(2, 0, 1))
    assert (found.half_widths > 0.01).all()
    assert (off <= found.half_widths).mean() > 0.8
    assert (off <= 2 * found.half_widths).all()


def test_known_pairs_are_not_played_again() -> None:
    """A game that grows in two steps is the one that is played at once; 2 x 2 pairs and then 5 more make 9."""
    members = [[tiny_agent(GAME, seed=seed) for seed in seeds] for seeds in ((1, 2, 3), (4, 5, 6))]
    whole, grown = (EmpiricalGame(GAME, num_episodes=16, seed=3) for _ in range(2))
    whole.extend(members[0], members[1])
    grown.extend(members[0][:2], members[1][:2])
    assert grown.num_episodes_played == 4 * 16
    before = grown.returns
    grown.extend(members[0], members[1])
    assert grown.num_episodes_played == whole.num_episodes_played == 9 * 16
    assert grown.returns.tolist() == whole.returns.tolist()
    assert grown.half_widths.tolist() == whole.half_widths.tolist()
    assert grown.returns[:, :2, :2].tolist() == before.tolist()


def test_gains_by_hand() -> None:
    """Rock against rock is worth 0; paper in its place gains 1 in every episode, scissors loses 1."""
    game = RockPaperScissors()
    rock, paper, scissors = (ScriptedAgent([word]) for word in ("rock", "paper", "scissors"))
    gains = response_gains(game, (rock, rock), (paper, scissors), 16, 0)
    assert gains == ResponseGains(1, 0, -1, 0)
    assert (gains.at_most(1), gains.at_most(0.99)) == (True, False)
    mixed = response_gains(game, (Population.even((rock, scissors)), rock), (rock, paper), 400, 0)
    assert mixed.player_0 == pytest.approx(0.5, abs=2 * mixed.half_width_0)
    assert mixed.player_1 == pytest.approx(-0.5, abs=2 * mixed.half_width_1)


def test_an_interval_that_reaches_beyond_the_tolerance_does_not_stop() -> None:
    """The upper ends count, of both players."""
    assert ResponseGains(0.25, 0.25, -0.5, 1.0).at_most(0.5)
    assert not ResponseGains(0.25, 0.5, -0.5, 0.5).at_most(0.5)
    assert not ResponseGains(-0.5, 0.5, 0.25, 0.5).at_most(0.5)


def test_double_oracle_finds_all_of_rock_paper_scissors_and_stops() -> None:
    """By hand, as with exact oracles: from rock both add paper, then scissors, then nothing that gains; 1/3 each."""
    game = RockPaperScissors()
    tree = GameTree(game)
    options = PSROOptions(num_updates=9, updates_per_response=1, batch_size=128, num_payoff_episodes=32, tolerance=0.3)
    play = PSRO(game, make_pure, options, seed=0)
    steps = list(play)
    assert [(step.num_members, step.converged) for step in steps] == [(2, False), (3, False), (3, True)]
    gains = [step.gains for step in steps if step.gains is not None]
    assert [gain.player_0 for gain in gains] == pytest.approx([1, 1, 0], abs=0.2)
    assert [gain.player_1 for gain in gains] == pytest.approx([1, 1, 0], abs=0.2)
    for player, seat in enumerate(play.average):
        assert seat.weights == pytest.approx([1 / 3] * 3, abs=0.03)
        said = [seat_policy(tree, player, one) for one in seat.members]
        assert np.array(said) == pytest.approx(np.eye(3), abs=0.03)
    assert nash_conv(tree, seat_profile(tree, play.average)) < 0.1
    assert nash_conv(tree, seat_profile(tree, play.seats)) > 0.9
    assert list(play) == []


def test_the_meta_strategies_settle_where_the_responses_do_not() -> None:
    """Matching pennies with PPO, 24 updates of each player on 32 episodes: NashConv of pure play is 2."""
    game = make_game("matching_pennies-v0")
    options = PSROOptions(
        num_updates=24, updates_per_response=4, batch_size=32, num_payoff_episodes=64, num_gain_episodes=32
    )
    play = PSRO(game, partial(make_ppo, game), options, seed=0)
    distance = ExactDistance(play, GameTree(game), every=4)
    found = [exact for step in play if (exact := distance.after(step)) is not None]
    assert len(found) == 6
    assert np.mean([step.nash_conv_average for step in found[-3:]]) < 0.3
    assert np.mean([step.nash_conv_last for step in found[-3:]]) > 0.6


@pytest.mark.parametrize("meta_solver", ["uniform", "prd", "regret_matching", "alpha_rank"])
def test_any_meta_solver_weighs_a_general_sum_game(meta_solver: str) -> None:
    """Weights of three members of each player that sum to 1; "uniform" makes them alike, as in fictitious play."""
    game = Wages()
    options = PSROOptions(
        num_updates=2,
        updates_per_response=1,
        batch_size=8,
        num_gain_episodes=8,
        meta_solver=meta_solver,  # type: ignore[arg-type]
    )
    play = PSRO(game, partial(make_ppo, game), options, seed=0)
    list(play)
    for meta_policy in play.meta_policies:
        assert meta_policy.shape == (3,)
        assert meta_policy.sum() == pytest.approx(1)
        assert (meta_policy == pytest.approx(np.full(3, 1 / 3))) == (meta_solver == "uniform")


def test_double_oracle_needs_a_zero_sum_game() -> None:
    """The error names the game; a cell of a comparison takes PRD for it instead."""
    game = Wages()
    with pytest.raises(ValueError, match="meta_solver: 'nash' needs a zero-sum game, got Wages"):
        PSRO(game, partial(make_ppo, game), PSROOptions(), seed=0)
    for played, solver in ((game, "prd"), (GAME, "nash")):
        task = Task(game=played, seed=3, num_updates=6, batch_size=8, make_player=partial(make_ppo, played))
        learner = ALGORITHMS["psro"].make(task)
        assert isinstance(learner, PSRO)
        assert (learner.options.meta_solver, learner.options.tolerance) == (solver, None)
        assert [step.iteration for step in learner] == list(range(1, 7))


@pytest.mark.parametrize(("on_disk", "stop"), [(False, 3), (True, 2)])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(on_disk: bool, stop: int, tmp_path: Path) -> None:
    """In a round or between two, with members in the state or in a folder."""
    folders = [tmp_path / name if on_disk else None for name in ("whole", "stopped")]
    whole = make(folder=folders[0])
    steps = list(whole)
    first = make(folder=folders[1])
    resumed = list(islice(first, stop))
    state = through_a_file(tmp_path / "state", first)
    second = make(folder=folders[1])
    second.load_state_dict(state)
    assert [*resumed, *second] == steps
    assert second.meta_game.returns.tolist() == whole.meta_game.returns.tolist()
    for ours, theirs in zip(whole.average, second.average, strict=True):
        assert ours.weights == theirs.weights
        for one, other in zip(ours.members, theirs.members, strict=True):
            assert isinstance(one, CausalLMAgent)
            assert isinstance(other, CausalLMAgent)
            assert same(weights(one.model), weights(other.model))


def test_a_run_that_has_stopped_stays_so(tmp_path: Path) -> None:
    """With a tolerance that any gain satisfies it ends after one round, and a resumed one does nothing."""
    first = make(tolerance=100.0)
    assert [step.converged for step in first] == [False, True]
    second = make(tolerance=100.0)
    second.load_state_dict(through_a_file(tmp_path, first))
    assert list(second) == []
    assert [pool.iterations for pool in second.pools] == [(0,), (0,)]


def test_the_command_writes_the_members_and_their_game(tmp_path: Path) -> None:
    """One model folder a member, payoffs with half widths and weights, and exact NashConv after each round."""
    names = {"num-updates": 2, "updates-per-response": 1, "batch-size": 8, "num-payoff-episodes": 8}
    names |= {"num-gain-episodes": 8, "hidden-size": 16, "exact-every": 1}
    arguments = [part for name, value in names.items() for part in (f"--{name}", str(value))]
    chosen = ["--game", "bluff-v0", "--meta-solver", "nash", "--exact"]
    TRAINERS["psro"].run([*chosen, "--out", str(tmp_path), *arguments])
    folders = ["player_0", "player_1", *(f"pool/player_{player}/{k:06d}" for player in (0, 1) for k in (0, 1, 2))]
    for folder in folders:
        assert CausalLMAgent.from_pretrained(tmp_path / folder, GAME.vocabulary).model.config.hidden_size == 16
    written = json.loads((tmp_path / "meta_game.json").read_text())
    assert written["members"] == [[0, 1, 2], [0, 1, 2]]
    assert np.shape(written["returns"]) == np.shape(written["half_widths"]) == (2, 3, 3)
    assert np.sum(written["weights"], axis=1) == pytest.approx([1, 1])
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["num_payoff_episodes"] for record in records] == [32, 72]
    assert all(np.isfinite(record["exact"]["nash_conv_average"]) for record in records)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("num_updates", 0, "an integer of at least 1"),
        ("updates_per_response", 0, "an integer of at least 1"),
        ("batch_size", 0, "an integer of at least 1"),
        ("num_payoff_episodes", 0, "an integer of at least 1"),
        ("num_gain_episodes", 0, "an integer of at least 1"),
        ("tolerance", -0.1, "a finite number of at least 0"),
        ("meta_solver", "best", "'uniform', 'nash', 'prd', 'regret_matching' or 'alpha_rank'"),
    ],
)
def test_options_out_of_range_are_refused(name: str, value: object, expected: str) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=f"{name}: expected {expected}, got {value!r}"):
        PSROOptions(**{name: value})  # type: ignore[arg-type]
