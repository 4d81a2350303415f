"""Self-play of Stable-Baselines3 policies: who is in the pool, and that both seats learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.agents import load_agent, profile_of
from duologue.agents.population import Population
from duologue.agents.sb3 import SB3Agent
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.integrations.sb3 import SB3Config
from duologue.baselines.integrations.sb3_self_play import SB3SelfPlay, SB3SelfPlayConfig
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.training.state import read_state, write_state
from duologue.baselines.two_player.learner import TwoPlayerLearner
from duologue.envs import make_game
from duologue.envs.tree.analysis import GameTree, nash_conv, uniform_profile

KUHN = make_game("kuhn_poker-v0")
SMALL = SB3Config(num_envs=8, tokens_per_env=8, minibatch_size=32, embedding_size=8, hidden_size=16)


def test_it_is_a_two_player_learner_like_the_others() -> None:
    """The comparison of algorithms takes it as it is: type checkers hold it to the protocol."""
    learner: TwoPlayerLearner = self_play()
    played = rollout(KUHN, learner.average or learner.seats, 4, np.random.default_rng(0))
    assert not any(one.forfeited_by(0) or one.forfeited_by(1) for one in played)


def self_play(seed: int = 0, **options: Any) -> SB3SelfPlay:
    """Return a small one."""
    return SB3SelfPlay(KUHN, SMALL, SB3SelfPlayConfig(**{"num_updates": 3, **options}), seed=seed)


def test_opponents_are_drawn_from_all_of_the_past() -> None:
    """The random start, then one more copy after every `pool_every` updates; each as it was then."""
    learner, observations = self_play(num_updates=4, pool_every=2), GameTree(KUHN).observations(0)
    start = learner.pool[0][0].token_probabilities(observations)
    assert [step.pool_size for step in learner] == [1, 1, 2, 2]
    assert len(learner.pool) == 3
    opposite = learner.learners[1].env.seats[0]
    assert isinstance(opposite, Population)
    assert opposite.members == tuple(copies[0] for copies in learner.pool[:2])
    assert np.array_equal(learner.pool[0][0].token_probabilities(observations), start)
    newest = learner.pool[-1][0].token_probabilities(observations)
    assert np.array_equal(newest, learner.seats[0].token_probabilities(observations))
    assert not np.array_equal(newest, start)
    assert learner.average[0].members == tuple(copies[0] for copies in learner.pool)


def test_latest_opponents_are_the_newest_policies_held_still() -> None:
    """Both policies play against what the other was before the update."""
    learner, observations = self_play(opponents="latest", num_updates=1), GameTree(KUHN).observations(0)
    before = learner.seats[0].token_probabilities(observations)
    assert [step.pool_size for step in learner] == [1]
    opposite = learner.learners[1].env.seats[0]
    assert isinstance(opposite, SB3Agent)
    assert np.array_equal(opposite.token_probabilities(observations), before)


def test_one_policy_may_learn_both_seats() -> None:
    """Half of its episodes are played in each."""
    learner = self_play(share_policy=True)
    assert [len(step.updates) for step in learner] == [1, 1, 1]
    assert learner.seats[0] is learner.seats[1]
    assert learner.learners[0].env.players.tolist() == [0, 1] * 4


@pytest.mark.parametrize("opponents", ["uniform", "latest"])
def test_both_players_learn_the_dominant_answer(opponents: str) -> None:
    """Prisoners' dilemma: to defect is better against anybody, so all self-play must come there; NashConv is 0."""
    game = make_game("prisoners_dilemma-v0")
    tree = GameTree(game)
    learning = SB3Config(num_envs=16, tokens_per_env=8, minibatch_size=64, embedding_size=8, learning_rate=1e-2)
    learner = SB3SelfPlay(game, learning, SB3SelfPlayConfig(opponents=opponents, num_updates=8))  # type: ignore[arg-type]
    for _ in learner:
        pass
    assert nash_conv(tree, profile_of(tree, learner.seats)) < 0.05 * nash_conv(tree, uniform_profile(tree))


def test_a_stopped_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """The pool is part of the state."""
    straight, stopped = self_play(num_updates=4), self_play(num_updates=2)
    steps = list(straight)
    assert list(stopped) == steps[:2]
    write_state(tmp_path, stopped.state_dict())
    resumed = self_play(num_updates=4, seed=9)
    resumed.load_state_dict(read_state(tmp_path) or {})
    assert list(resumed) == steps[2:]
    assert len(resumed.pool) == len(straight.pool) == 5


def test_a_run_leaves_a_policy_for_each_seat(tmp_path: Path) -> None:
    """Both are agents by their folders."""
    small = ["--num-envs", "4", "--tokens-per-env", "4", "--minibatch-size", "8"]
    TRAINERS["sb3_self_play"].run(["--game", "bluff-v0", "--out", str(tmp_path), *small, "--num-updates", "1"])
    for player in (0, 1):
        folder = str(tmp_path / f"player_{player}")
        assert isinstance(load_agent(folder, make_game("bluff-v0").vocabulary), SB3Agent)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool_every": 0}, "pool_every: expected an integer of at least 1, got 0"),
        ({"opponents": "best"}, "opponents: expected 'uniform' or 'latest', got 'best'"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    """Expected and actual in every message."""
    with pytest.raises(ValueError, match=message):
        SB3SelfPlayConfig(**options)
