"""What the commands that train both players share: over how many updates a learning rate falls, and that it stays."""

from dataclasses import replace
from pathlib import Path

import pytest

from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.learners.base import PlayerLearner, TrainedModel
from duologue.baselines.learners.options import LearnerOptions, steady
from duologue.baselines.two_player import fictitious_play, league, psro
from duologue.baselines.two_player.self_play import SelfPlay, SelfPlayConfig, SelfPlayOptions, make_self_play
from duologue.baselines.two_player.train import ResponsesConfig, TwoPlayerConfig
from duologue.tests.baselines.helpers import bluff, same, tiny_agent, weights

NAMES: tuple[str, ...] = ("ppo", "reinforce", "rloo", "grpo", "reinforce_pp", "preference")


def rates(learner: PlayerLearner) -> list[float]:
    """Return its learning rate after 0 to 8 updates."""
    assert isinstance(learner, TrainedModel)
    found = []
    for learner.num_updates in range(9):
        found.append(learner.learning_rate())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_learning_rates_stay_unless_a_share_is_asked_for(name: str) -> None:
    """To the last bit what they are without a plan; with a share of 1/2, half of the peak at the last of 8 updates."""
    for config in (SelfPlayConfig(), ResponsesConfig()):
        options = replace(config.learner, learner=name)
        unplanned, planned = (rates(options.make(tiny_agent(bluff()), num_planned=num)) for num in (None, 8))
        assert planned == unplanned
        halved = replace(getattr(options, name), final_learning_rate_share=0.5)
        falling = rates(replace(options, **{name: halved}).make(tiny_agent(bluff()), num_planned=8))
        assert falling[-1] == pytest.approx(max(unplanned) / 2)
        assert falling[0] == unplanned[0]


def test_a_plan_changes_nothing_by_default() -> None:
    """Self-play as the command makes it, and with learners that know of no plan: the same steps and weights."""
    config = SelfPlayConfig(play=SelfPlayOptions(num_updates=3, batch_size=8), learner=steady())
    players = [config.learner.make(config.models.make(bluff(), player, 0)) for player in (0, 1)]
    both = make_self_play(bluff(), config), SelfPlay(bluff(), players, config.play, seed=0)
    assert list(both[0]) == list(both[1])
    ends = [[weights(learner.agent.model) for learner in play.learners] for play in both]
    assert all(same(*pair) for pair in zip(*ends, strict=True))


class Planned(Exception):
    """A learner was asked for."""


@pytest.mark.parametrize(
    ("command", "arguments", "planned"),
    [
        ("self_play", "--num-updates 7", 7),
        ("fictitious_play", "--num-rounds 3 --updates-per-round 2", 2),
        ("fictitious_play", "--num-rounds 3 --updates-per-round 2 --warm-start", 6),
        ("psro", "--num-updates 7 --updates-per-response 3", 3),
        ("psro", "--num-updates 2 --updates-per-response 3", 2),
        ("league", "--num-updates 7", 7),
    ],
)
def test_each_learner_is_told_how_many_updates_it_will_have(
    command: str,
    arguments: str,
    planned: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of one response where players start anew, and all where one goes on."""

    def make(self: LearnerOptions, agent: object, *, num_planned: int | None = None, **parts: object) -> None:
        raise Planned(num_planned)

    monkeypatch.setattr(LearnerOptions, "make", make)
    with pytest.raises(Planned, match=f"^{planned}$"):
        TRAINERS[command].run(["--game", "bluff-v0", "--out", str(tmp_path), *arguments.split()])


def test_responses_are_measured_once_a_round_and_learn_fast() -> None:
    """Fictitious play and PSRO ask for the same; whoever does not respond is measured at every update."""
    for config in (fictitious_play.FictitiousPlayConfig(), psro.PSROConfig()):
        assert config.exact_every == 6
        assert config.learner.ppo.num_epochs == 4
    assert TwoPlayerConfig().exact_every == league.LeagueConfig().exact_every == 1
