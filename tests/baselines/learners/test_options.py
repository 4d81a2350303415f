"""Players of any game: each learner by its name, models from nothing and from folders."""

from pathlib import Path

import pytest

from duologue.baselines.learners.options import LearnerOptions
from duologue.baselines.learners.reinforce_pp import ReinforcePPConfig
from duologue.baselines.rollouts.groups import check_groups
from duologue.baselines.training.options import ModelOptions
from duologue.tests.baselines.helpers import bluff, same, tiny_agent, weights

GAME = bluff()


def test_each_learner_by_its_name() -> None:
    """Replies are grouped for those that compare them, and only for those."""
    names: tuple[str, ...] = ("ppo", "reinforce", "rloo", "grpo", "reinforce_pp", "preference")
    found = {name: LearnerOptions(learner=name) for name in names}
    made = {name: type(options.make(tiny_agent(GAME))).__name__ for name, options in found.items()}
    assert made == {
        "ppo": "PPOLearner",
        "reinforce": "ReinforceLearner",
        "rloo": "RLOOLearner",
        "grpo": "GRPOLearner",
        "reinforce_pp": "ReinforcePPLearner",
        "preference": "PreferenceLearner",
    }
    assert [options.replies_per_prompt for options in found.values()] == [1, 1, 4, 4, 1, 4]
    grouped = ReinforcePPConfig(subtract_group_mean=True)
    assert LearnerOptions(learner="reinforce_pp", reinforce_pp=grouped).replies_per_prompt == 4
    assert LearnerOptions(learner="rloo", group_size=2).replies_per_prompt == 2


def test_micro_models_differ_by_player_and_seed_and_nothing_else() -> None:
    """Four starts of which no two are alike, and each comes again."""
    options = ModelOptions(hidden_size=16)
    starts = {(p, s): weights(options.make(GAME, p, s).model) for p in (0, 1) for s in (0, 1)}
    for one, first in starts.items():
        for other, second in starts.items():
            assert same(first, second) == (one == other)
        assert same(first, weights(options.make(GAME, *one).model))


def test_a_folder_is_where_its_player_starts(tmp_path: Path) -> None:
    """Whatever the seed; the other player is made from nothing."""
    agent = tiny_agent(GAME, seed=7)
    agent.save_pretrained(tmp_path)
    options = ModelOptions(player_1=tmp_path, hidden_size=16)
    assert same(weights(options.make(GAME, 1, 3).model), weights(agent.model))
    assert not same(weights(options.make(GAME, 0, 3).model), weights(agent.model))


@pytest.mark.parametrize(("batch_size", "group_size"), [(8, 3), (0, 1), (4, 0)])
def test_batches_make_whole_groups(batch_size: int, group_size: int) -> None:
    """The error says both."""
    with pytest.raises(ValueError, match=f"batch_size: expected whole groups of {group_size}, at least one, got"):
        check_groups(batch_size, group_size)
