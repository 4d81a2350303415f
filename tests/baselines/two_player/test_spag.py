"""SPAG: who is trained on what, a step by hand, a resumed run, and the command."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from duologue.agents import CausalLMAgent, ScriptedAgent
from duologue.agents.tabular import seat_profile
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.benchmark import entrants  # noqa: F401  (registers the algorithms)
from duologue.baselines.benchmark.registry import ALGORITHMS
from duologue.baselines.learners.grpo import GRPOConfig, GRPOLearner
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.training.options import ModelOptions
from duologue.baselines.two_player.learner import Task, TwoPlayerLearner
from duologue.baselines.two_player.spag import SPAG, SPAGOptions, own_plays, winners_parts
from duologue.envs import LanguageGame, make_game
from duologue.envs.games.taboo import Taboo
from duologue.envs.tree.analysis import GameTree, nash_conv
from duologue.tests.baselines.helpers import bluff, same, through_a_file, tiny_agent, weights

TINY = Taboo(num_words=2, num_attributes=2, max_turns=4)
SMALL: dict[str, Any] = {"num_rounds": 3, "batch_size": 16, "num_minibatches": 2}


def make(game: LanguageGame[Any] | None = None, *, seed: int = 0, **options: Any) -> SPAG:
    """Return three rounds of 16 episodes of a tiny model."""
    game = TINY if game is None else game
    agent = tiny_agent(game, seed=seed)
    dialogues = own_plays(game, tiny_agent(game), 20, np.random.default_rng(0))
    return SPAG(game, agent, dialogues, SPAGOptions(**SMALL | options), seed=0)


def test_it_is_a_two_player_learner_with_one_policy() -> None:
    """One step a round; the policy sits in both seats; no average is kept."""
    learner: TwoPlayerLearner = make()
    steps = list(learner)
    assert [step.iteration for step in steps] == [1, 2, 3]
    assert learner.iteration == 3
    assert learner.seats[0] is learner.seats[1]
    assert learner.average is None


def test_only_the_winner_s_part_is_learned_from() -> None:
    """Rows are player 0's wins, then player 1's, each with a return of 1; who won without a word has no row."""
    agent = tiny_agent(TINY)
    played = rollout(TINY, (agent, agent), 40, np.random.default_rng(1))
    returns = [one.episode.returns[0] for one in played]
    silent = [one for one in played if one.episode.returns[1] == 1 and len(one.turns) == 1]
    won = winners_parts(played)
    assert won is not None
    batch, players = won
    assert players.tolist() == [0] * returns.count(1.0) + [1] * (returns.count(-1.0) - len(silent))
    assert 0.0 in returns
    assert batch.returns.tolist() == [1.0] * len(players)
    assert winners_parts(silent) is None
    assert silent


def scripted(*lines: str) -> ScriptedAgent:
    """Return an agent that says these turns of the game."""
    return ScriptedAgent(list(lines))


def test_ties_train_nothing() -> None:
    """Asked for "da" both words fit: who says bada twice ties if beda is the target, and loses if bada is."""
    played = rollout(TINY, (scripted("da", "da"), scripted("bada", "bada")), 8, np.random.default_rng(0))
    tied = [one for one in played if one.dialogue.deal == 1]
    assert len(tied) >= 1
    assert winners_parts(tied) is None
    lost = [one for one in played if one.dialogue.deal == 0]
    won = winners_parts(lost)
    assert won is not None
    assert set(won[1].tolist()) == {0}


def test_a_round_without_a_winner_leaves_the_policy_as_it_was() -> None:
    """Only the counter moves: the game is decided by nothing that is said."""

    class AlwaysTied(Taboo):
        def rewards(self, dialogue: Any) -> tuple[float, float]:
            return 0.0, 0.0

    learner = make(AlwaysTied(2, 2, 2))
    before = weights(learner.agent.model)
    step = next(iter(learner))
    assert (step.iteration, step.num_turns, step.win_rate_0, step.win_rate_1) == (1, 0, 0.0, 0.0)
    assert same(before, weights(learner.agent.model))


def test_without_the_supervised_loss_winning_turns_become_likelier() -> None:
    """One round from fresh weights: the mean log-probability of the winners' own tokens rises."""
    learner = make(sft_coef=0.0, num_epochs=1, learning_rate=1e-3, batch_size=64)
    before = CausalLMAgent(tiny_agent(TINY).model, TINY.vocabulary)
    step = next(iter(learner))
    won = winners_parts(learner.last_played)
    assert won is not None
    batch = won[0]
    parts = (batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask)
    with torch.no_grad():
        rise = learner.agent.evaluate(*parts).logprobs.sum() - before.evaluate(*parts).logprobs.sum()
    assert float(rise) > 0
    assert step.num_turns == sum(
        one.episode.returns[turn.player] > 0 for one in learner.last_played for turn in one.turns
    )


def test_the_supervised_loss_alone_clones_its_dialogues() -> None:
    """With a weight that drowns the rest, its loss falls round by round."""
    learner = make(sft_coef=100.0, num_rounds=6, num_epochs=4, learning_rate=1e-2)
    losses = [step.sft_loss_nats for step in learner]
    assert losses[-1] is not None
    assert losses[0] is not None
    assert losses[-1] < losses[0] - 0.3


def test_a_start_that_has_nothing_to_keep_is_not_cloned() -> None:
    """No dialogues, or no weight on them: no supervised loss is reported, and the same policy comes of both."""
    game, learners = TINY, []
    for dialogues in ([], own_plays(TINY, tiny_agent(TINY), 20, np.random.default_rng(0))):
        options = SPAGOptions(**SMALL, sft_coef=0.0 if dialogues else 0.5)
        learners.append(SPAG(game, tiny_agent(game), dialogues, options, seed=0))
        assert [step.sft_loss_nats for step in learners[-1]] == [None, None, None]
    assert same(weights(learners[0].agent.model), weights(learners[1].agent.model))


@pytest.mark.parametrize("seed", range(2))
def test_spag_finds_the_equilibrium_of_a_preference_game(seed: int) -> None:
    """The benchmark's, in 30 rounds: below a tenth of the payoffs; held to its random start it stays above .3."""
    game = make_game("random_preference-v0")

    def make_player(player: int, seed: int) -> GRPOLearner:
        return GRPOLearner(ModelOptions().make(game, player, seed), GRPOConfig())

    task = Task(game=game, seed=seed, num_updates=30, batch_size=64, make_player=make_player)
    learner = ALGORITHMS["spag"].make(task)
    for _ in learner:
        pass
    tree = GameTree(game)
    assert nash_conv(tree, seat_profile(tree, learner.seats)) / tree.payoff_range < 0.1


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    """Put down after one of three rounds, taken up by a policy that starts from other weights."""
    whole = make()
    steps = list(whole)
    first = make()
    resumed = list(islice(first, 1))
    second = make(seed=5)
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    assert same(weights(whole.agent.model), weights(second.agent.model))


def test_any_zero_sum_game_can_be_played_and_no_other() -> None:
    """bluff-v0 pays 1 or 2 chips, which scales its turns; a cooperative game has no winner."""
    game = bluff()
    steps = list(make(game))
    assert all(step.num_turns > 0 for step in steps)
    with pytest.raises(ValueError, match="game: expected a zero-sum one, which somebody wins, got payoff identical"):
        make(make_game("tiny_referential-v0"))


def test_the_adapter_makes_a_round_of_each_batch() -> None:
    """num_updates rounds of batch_size episodes, from player 0's model."""
    game = bluff()
    made: list[tuple[int, int]] = []

    def make_player(player: int, seed: int) -> GRPOLearner:
        made.append((player, seed))
        return GRPOLearner(tiny_agent(game, seed=seed), GRPOConfig())

    learner = ALGORITHMS["spag"].make(Task(game=game, seed=7, num_updates=2, batch_size=12, make_player=make_player))
    assert isinstance(learner, SPAG)
    assert len(list(learner)) == 2
    assert len(learner.last_played) == 12
    assert made == [(0, 7)]


@pytest.mark.parametrize("game", ["bluff-v0", "taboo-v0"])
def test_the_command_trains_resumes_and_says_who_wins(game: str, tmp_path: Path) -> None:
    """A start is cloned where the game has demonstrations; a finished run is only reported."""
    arguments = ["--game", game, "--out", str(tmp_path / "run"), "--num-rounds", "2", "--batch-size", "8"]
    arguments += ["--num-demonstrations", "60", "--cloning.num-steps", "2", "--num-evaluation-episodes", "10"]
    TRAINERS["spag"].run(arguments)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [1, 2]
    assert (tmp_path / "run" / "start").is_dir() == (game == "taboo-v0")
    rates = json.loads((tmp_path / "run" / "win_rates.json").read_text(encoding="utf-8"))
    assert list(rates) == ["start, start", "trained, start", "start, trained", "trained, trained"]
    assert all(sum(one["endings"].values()) == 10 for one in rates.values())
    written = (tmp_path / "run" / "player_0" / "model.safetensors").read_bytes()
    TRAINERS["spag"].run(arguments)
    assert (tmp_path / "run" / "player_0" / "model.safetensors").read_bytes() == written


def test_a_second_model_is_refused(tmp_path: Path) -> None:
    """One policy sits in both seats."""
    arguments = ["--game", "bluff-v0", "--out", str(tmp_path / "run"), "--player-1", str(tmp_path / "other")]
    with pytest.raises(ValueError, match="player_1: expected none, one policy sits in both seats"):
        TRAINERS["spag"].run(arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_rounds": 0}, "num_rounds: expected an integer of at least 1, got 0"),
        ({"turn_growth": 0.0}, "turn_growth: expected a finite number above 0, got 0.0"),
        ({"sft_coef": -1.0}, "sft_coef: expected a finite number of at least 0, got -1.0"),
        ({"clip_epsilon": 1.0}, r"clip_epsilon: expected a number in \(0, 1\), got 1.0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match=message):
        SPAGOptions(**options)
