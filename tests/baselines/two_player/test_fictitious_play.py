"""Fictitious play: who responds to whom, what joins the mixture; averages settle where last iterates do not."""

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from duologue.agents import CausalLMAgent
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.learners.base import PlayerLearner
from duologue.baselines.learners.options import RESPONSE_PPO
from duologue.baselines.learners.ppo import PPOConfig, PPOLearner
from duologue.baselines.learners.rloo import RLOOConfig, RLOOLearner
from duologue.baselines.two_player.distillation import DistillationOptions
from duologue.baselines.two_player.fictitious_play import FictitiousPlay, FictitiousPlayOptions
from duologue.baselines.two_player.learner import TwoPlayerLearner
from duologue.baselines.two_player.measured import ExactDistance
from duologue.baselines.two_player.self_play import SelfPlay, SelfPlayOptions
from duologue.envs import make_game
from duologue.envs.tree.analysis import GameTree
from duologue.tests.baselines.helpers import bluff, same, through_a_file, tiny_agent, weights

GAME = bluff()
DISTILLATION = DistillationOptions(num_steps=2, batch_size=8)
QUICK = PPOConfig(learning_rate=3e-2, warmup_updates=1, kl_coef=0.0, gae_lambda=1.0, num_epochs=4)


def make_player(player: int, seed: int) -> PlayerLearner:
    """Return a tiny model with random weights, by player and seed, that learns by PPO."""
    return PPOLearner(tiny_agent(GAME, seed=2 * seed + player), RESPONSE_PPO)


def make(*, seed: int = 0, folder: Path | None = None, **options: object) -> FictitiousPlay:
    """Return two rounds of two updates, with batches of 8."""
    play = FictitiousPlayOptions(
        num_rounds=2,
        updates_per_round=2,
        batch_size=8,
        distillation=DISTILLATION,
        **options,  # type: ignore[arg-type]
    )
    return FictitiousPlay(GAME, make_player, play, seed=seed, folder=folder)


def test_players_join_their_mixtures_at_the_end_of_each_round() -> None:
    """The starts are there from the beginning; opponents are the mixtures as they stood before the round."""
    play = make()
    learner: TwoPlayerLearner = play
    assert [pool.iterations for pool in play.pools] == [(0,), (0,)]
    steps = list(play)
    assert [(step.iteration, step.round, step.num_members) for step in steps] == [
        (1, 1, 1),
        (2, 1, 2),
        (3, 2, 2),
        (4, 2, 3),
    ]
    assert [pool.iterations for pool in play.pools] == [(0, 2, 4), (0, 2, 4)]
    average = learner.average
    assert average is not None
    assert [len(seat.members) for seat in play.average] == [3, 3]
    for player, seat in enumerate(play.seats):
        assert isinstance(seat, CausalLMAgent)
        assert same(weights(seat.model), weights(play.pools[player].members[-1].model))


def test_responders_start_anew_unless_they_are_to_go_on() -> None:
    """At the second round a fresh model, or the first response; members never change."""
    for warm_start in (False, True):
        play, before = make(warm_start=warm_start), None
        for step in play:
            if step.iteration == 2:
                before = play.learners[0]
                first = weights(play.pools[0].members[1].model)
        assert (play.learners[0] is before) == warm_start
        assert same(first, weights(play.pools[0].members[1].model))


@pytest.mark.parametrize(("warm_start", "on_disk", "stop"), [(False, False, 3), (True, False, 2), (False, True, 1)])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    warm_start: bool, on_disk: bool, stop: int, tmp_path: Path
) -> None:
    """In a round or between two, with members in the state or in a folder, with the distilled networks."""
    folders = [tmp_path / name if on_disk else None for name in ("whole", "stopped")]
    whole = make(warm_start=warm_start, distil=True, folder=folders[0])
    steps = list(whole)
    first = make(warm_start=warm_start, distil=True, folder=folders[1])
    resumed = list(islice(first, stop))
    state = through_a_file(tmp_path / "state", first)
    second = make(warm_start=warm_start, distil=True, folder=folders[1])
    second.load_state_dict(state)
    assert [*resumed, *second] == steps
    for ours, theirs in zip(whole.average + whole.distilled, second.average + second.distilled, strict=True):
        members = [getattr(one, "members", (one,)) for one in (ours, theirs)]
        for one, other in zip(*members, strict=True):
            assert same(weights(one.model), weights(other.model))


def test_averages_settle_where_the_last_iterate_of_self_play_does_not() -> None:
    """Matching pennies has the equilibrium (1/2, 1/2) and NashConv 2 for pure play; both have 30 updates a player."""
    game = make_game("matching_pennies-v0")
    tree = GameTree(game)

    def player(player: int, seed: int) -> PlayerLearner:
        return PPOLearner(tiny_agent(game, seed=2 * seed + player), QUICK)

    options = FictitiousPlayOptions(num_rounds=10, updates_per_round=3, batch_size=32)
    responses = FictitiousPlay(game, player, options, seed=1)
    naive = SelfPlay(game, [player(k, 1) for k in (0, 1)], SelfPlayOptions(num_updates=30, batch_size=32), seed=1)
    mixed, circling = ExactDistance(responses, tree, every=3), ExactDistance(naive, tree)
    averages = [exact.nash_conv_average for step in responses if (exact := mixed.after(step)) is not None]
    lasts = [exact.nash_conv_last for step in naive if (exact := circling.after(step)) is not None]
    assert len(averages) == 10
    assert max(gap for gap in averages[-3:] if gap is not None) < 0.25
    assert min(gap for gap in lasts[-9:] if gap is not None) > 1


def test_any_learner_can_respond() -> None:
    """RLOO, with four replies to each prompt."""
    play = FictitiousPlay(
        GAME,
        lambda player, seed: RLOOLearner(tiny_agent(GAME, seed=2 * seed + player), RLOOConfig()),
        FictitiousPlayOptions(num_rounds=1, updates_per_round=1, batch_size=8),
        seed=0,
        group_size=4,
    )
    assert len(list(play)) == 1


def test_the_command_writes_the_mixtures(tmp_path: Path) -> None:
    """One model folder a member, the networks that fit them, and exact NashConv after each round."""
    options = {"num-rounds": 2, "updates-per-round": 1, "batch-size": 8, "hidden-size": 16, "exact-every": 1}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    distil = ["--distil", "--distillation.num-steps", "2", "--distillation.batch-size", "8"]
    TRAINERS["fictitious_play"].run(["--game", "bluff-v0", "--exact", "--out", str(tmp_path), *arguments, *distil])
    folders = ["player_0", "player_1", "distilled_0", "distilled_1"]
    folders += [f"pool/player_{player}/{iteration:06d}" for player in (0, 1) for iteration in (0, 1, 2)]
    for folder in folders:
        assert CausalLMAgent.from_pretrained(tmp_path / folder, GAME.vocabulary).model.config.hidden_size == 16
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["num_members"] for record in records] == [2, 3]
    assert all(np.isfinite(record["exact"]["nash_conv_average"]) for record in records)


@pytest.mark.parametrize("name", ["num_rounds", "updates_per_round", "batch_size"])
def test_options_out_of_range_are_refused(name: str) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=f"{name}: expected an integer of at least 1, got 0"):
        FictitiousPlayOptions(**{name: 0})  # type: ignore[arg-type]
