"""Self-play: one policy or two, each opponent, role-conditioned advantages, and a resumed run."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from duologue.agents import CausalLMAgent
from duologue.baselines.grpo import GRPOConfig, GRPOLearner
from duologue.baselines.opponents import OpponentChoice, OpponentOptions
from duologue.baselines.policy_gradient_learner import PlayerLearner
from duologue.baselines.ppo import PPOConfig, PPOLearner, PPOUpdate
from duologue.baselines.rollout import Trajectories, joined, rollout, trajectories
from duologue.baselines.self_play import SelfPlay, SelfPlayOptions
from duologue.baselines.self_play import main as self_play_main
from duologue.baselines.two_player import TwoPlayerLearner
from duologue.envs import LanguageGame, make_game

from .tiny_players import Wages, bluff, same, through_a_file, tiny_agent, weights

CONFIG = PPOConfig(learning_rate=1e-2, warmup_updates=1)


class Watched(PPOLearner):
    """Remembers what it learned from."""

    def __init__(self, agent: CausalLMAgent) -> None:
        """Learn by PPO."""
        super().__init__(agent, CONFIG)
        self.batches: list[Trajectories] = []

    def update(self, batch: Trajectories, rng: np.random.Generator) -> PPOUpdate:
        """Keep the batch."""
        self.batches.append(batch)
        return super().update(batch, rng)


def make(
    game: LanguageGame[str] | None = None, *, num_learners: int = 2, seed: int = 0, **options: object
) -> tuple[SelfPlay, list[Watched]]:
    """Return four updates of self-play, with batches of 8, and its learners."""
    game = bluff() if game is None else game
    learners = [Watched(tiny_agent(game, seed=2 * seed + player)) for player in range(num_learners)]
    play = SelfPlayOptions(num_updates=4, batch_size=8, **options)  # type: ignore[arg-type]
    return SelfPlay(game, learners, play, seed=0), learners


def test_both_players_learn_from_the_same_episodes() -> None:
    """Naive self-play: one batch serves both; each is updated once a step, four steps in all."""
    play, learners = make()
    learner: TwoPlayerLearner = play
    steps = list(learner)
    assert [step.iteration for step in steps] == [1, 2, 3, 4]
    assert [len(one.batches) for one in learners] == [4, 4]
    assert play.last_played[0] is play.last_played[1]
    assert learner.seats == (learners[0].agent, learners[1].agent)
    assert learner.average is None


def test_one_policy_learns_from_both_parts_at_once() -> None:
    """One update a step, from the rows of player 0 and then those of player 1."""
    play, (learner,) = make(num_learners=1)
    step = next(iter(play))
    parts = [trajectories(play.last_played[player], player) for player in (0, 1)]
    assert len(learner.batches) == 1
    assert len(learner.batches[0]) == len(parts[0]) + len(parts[1])
    assert learner.batches[0].returns.tolist() == torch.cat([part.returns for part in parts]).tolist()
    assert step.player_0.update == step.player_1.update
    assert play.seats == (learner.agent, learner.agent)


@pytest.mark.parametrize("game", [Wages(), make_game("red_team-v0", num_rounds=2)], ids=["narrowed", "free"])
def test_joined_batches_say_what_their_parts_say(game: LanguageGame[str]) -> None:
    """Views of unequal length; log-probabilities of each row as in the batch that it came from."""
    agent = tiny_agent(game)
    played = rollout(game, (agent, agent), 6, np.random.default_rng(0))
    parts = [trajectories(played, player) for player in (0, 1)]
    assert parts[0].tokens.shape[1] != parts[1].tokens.shape[1]
    joint, row = joined(*parts), 0
    said = agent.evaluate(joint.tokens, joint.attention_mask, joint.policy_token_mask, joint.legal_mask).logprobs
    for part in parts:
        alone = agent.evaluate(part.tokens, part.attention_mask, part.policy_token_mask, part.legal_mask).logprobs
        rows, width = slice(row, row + len(part)), part.tokens.shape[1]
        torch.testing.assert_close(said[rows, :width], alone, atol=1e-5, rtol=1e-5)
        assert joint.rewards[rows, :width].tolist() == part.rewards.tolist()
        assert not joint.attention_mask[rows, width:].any()
        row += len(part)
    assert row == len(joint)


@pytest.mark.parametrize("choice", ["uniform", "pfsp", "fixed", "ema"])
def test_against_others_each_player_has_episodes_of_its_own(choice: OpponentChoice) -> None:
    """The learner sits in its seat as it is now; opposite sits what the choice says."""
    play, learners = make(opponents=OpponentOptions(choice=choice, snapshot_every=1, capacity=2))
    start = weights(learners[1].agent.model)
    list(play)
    assert play.last_played[0] is not play.last_played[1]
    assert [len(one.batches) for one in learners] == [4, 4]
    snapshots = {"uniform": (3, 4), "pfsp": (3, 4), "fixed": (0,), "ema": ()}[choice]
    assert play.opponents[1].pool.iterations == snapshots
    if choice == "fixed":
        assert same(weights(play.opponents[1].pool.members[0].model), start)


def test_one_policy_meets_its_own_past_in_both_seats() -> None:
    """One pool; win rates count what happened in either role."""
    play, _ = make(num_learners=1, opponents=OpponentOptions(choice="pfsp", snapshot_every=2, win_rate_decay=1.0))
    list(play)
    assert len(play.opponents) == 1
    assert play.opponents[0].pool.iterations == (0, 2, 4)
    counted = play.opponents[0].state_dict()["games"]
    assert isinstance(counted, list)
    assert sum(counted) == 2 * 4 * 8


def test_role_advantages_take_the_role_s_mean_off_each_return() -> None:
    """The first batch as it is paid, the next less b = .05 sum of .95^(n-i) R_i, at the last own token."""
    play, learners = make(role_advantages=True)
    steps = iter(play)
    next(steps)
    paid = [trajectories(play.last_played[player], player).returns for player in (0, 1)]
    for learner, returns in zip(learners, paid, strict=True):
        assert learner.batches[0].returns.tolist() == pytest.approx(returns.tolist())
    step = next(steps)
    for player, learner in enumerate(learners):
        mean = 0.0
        for one in paid[player].tolist():
            mean = 0.95 * mean + 0.05 * one
        now = trajectories(play.last_played[player], player)
        assert mean != 0
        assert (now.returns - learner.batches[1].returns).tolist() == pytest.approx([mean] * len(now), abs=1e-6)
        assert (step.player_0, step.player_1)[player].mean_return == pytest.approx(float(now.returns.mean()))


def test_the_reference_can_be_the_average_of_parameters() -> None:
    """With d = 1/2 it is half-way between the start and the player after one update; else it stays."""
    for reference in ("start", "ema"):
        play, learners = make(reference=reference, opponents=OpponentOptions(ema_decay=0.5))
        start = weights(learners[0].agent.model)
        next(iter(play))
        now, ref = weights(learners[0].agent.model), weights(learners[0].ref_model)
        half = [(a + b) / 2 for a, b in zip(start, now, strict=True)]
        torch.testing.assert_close(ref, half if reference == "ema" else start)
        assert not same(start, now)


EACH_CHOICE = pytest.mark.parametrize("choice", ["latest", "uniform", "pfsp", "fixed", "ema"])


@EACH_CHOICE
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(choice: OpponentChoice, tmp_path: Path) -> None:
    """Put down after two of four updates, taken up by players that start from other weights."""
    options = {
        "opponents": OpponentOptions(choice=choice, snapshot_every=1, capacity=2),
        "role_advantages": True,
        "reference": "ema",
    }
    whole, players = make(**options)  # type: ignore[arg-type]
    steps = list(whole)
    first, _ = make(**options)  # type: ignore[arg-type]
    resumed = list(islice(first, 2))
    second, copies = make(seed=5, **options)  # type: ignore[arg-type]
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    for ours, theirs in zip(players, copies, strict=True):
        assert same(weights(ours.agent.model), weights(theirs.agent.model))


def test_learners_that_compare_replies_get_groups() -> None:
    """GRPO: pairs of episodes share the deal and all before the learner's first turn, in each seat."""
    game = bluff()
    learners: list[PlayerLearner] = [GRPOLearner(tiny_agent(game, seed=k), GRPOConfig()) for k in (0, 1)]
    play = SelfPlay(game, learners, SelfPlayOptions(num_updates=2, batch_size=8), seed=0, group_size=2)
    list(play)
    for player in (0, 1):
        played = play.last_played[player]
        for first, second in zip(played[::2], played[1::2], strict=True):
            assert first.dialogue.deal == second.dialogue.deal
            assert first.dialogue.turns[:player] == second.dialogue.turns[:player]


def test_the_command_trains_resumes_and_measures(tmp_path: Path) -> None:
    """Micro models on bluff, against uniform past selves; NashConv at every second update; then from those folders."""
    out, again = tmp_path / "first", tmp_path / "second"
    options = ["--game", "bluff-v0", "--num-updates", "2", "--batch-size", "8", "--hidden-size", "16"]
    self_play_main([*options, "--out", str(out), "--exact", "--exact-every", "2", "--opponent.choice", "uniform"])
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["exact"] is None for record in records] == [True, False]
    assert records[1]["exact"]["nash_conv_last"] > 0
    assert (out / "pool/player_0/000000/model.safetensors").is_file()
    starts = [part for p in (0, 1) for part in (f"--player-{p}", str(out / f"player_{p}"))]
    self_play_main([*options, *starts, "--out", str(again), "--learner", "rloo"])
    assert (again / "player_1/model.safetensors").is_file()


def test_options_out_of_range_are_refused() -> None:
    """The errors name what was wrong."""
    with pytest.raises(ValueError, match="num_updates: expected at least 1, got 0"):
        SelfPlayOptions(num_updates=0)
    with pytest.raises(ValueError, match="learners: expected one for both seats or one for each, got 3"):
        make(num_learners=3)
    with pytest.raises(ValueError, match="batch_size: expected whole groups of 3, at least one, got 8"):
        SelfPlay(bluff(), make()[1], SelfPlayOptions(batch_size=8), seed=0, group_size=3)
