"""GPO's remedies for an arms race that goes round in circles: replay, reset, optimism, and search without learning."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.agents.language_model.encoders import StaticWordEncoder, words_of
from duologue.baselines.learners.base import TrainedModel
from duologue.baselines.learners.grpo import GRPOConfig, GRPOLearner
from duologue.baselines.learners.ppo import PPOConfig, PPOLearner
from duologue.baselines.rollouts.episodes import PlayedEpisode
from duologue.baselines.rollouts.trajectories import Trajectories
from duologue.baselines.rollouts.trees import rollout_tree
from duologue.baselines.training.costs import CostMeter, metered_game
from duologue.baselines.two_player.diversity_reward import DiversityReward, DiversityWeights
from duologue.baselines.two_player.gpo import GPO, GPOConfig, first_turns
from duologue.baselines.two_player.stage_clock import GPOSchedule
from duologue.envs import Dialogue, FiniteDeals, LanguageGame, Payoff, Tokens, make_game
from duologue.tests.baselines.helpers import BLUE, NO, RED, VOCABULARY, YES, same, through_a_file, tiny_agent, weights


class Duel(LanguageGame[str]):
    """Player 0 says red or blue, player 1 yes or no; each of the four pairs pays player 0 another amount."""

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({"red": 0.5, "blue": 0.5})
    max_turns = 2
    max_turn_tokens = 1
    max_briefing_tokens = 1

    def briefing(self, deal: str, player: int) -> Tokens:
        return VOCABULARY.encode(deal) if player == 0 else ()

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        return None if len(dialogue.turns) == 2 else len(dialogue.turns)

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens:
        return (YES, NO) if dialogue.turns else (RED, BLUE)

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        if len(dialogue.turns) < 2:
            return 0.0, 0.0
        won = 0.75 * (dialogue.turns[0].tokens == (RED,)) - 0.5 * (dialogue.turns[1].tokens == (YES,))
        return won, -won


ENCODER = StaticWordEncoder(words_of(Duel()))
SCHEDULE = GPOSchedule(num_rounds=3, defend_steps=2, attack_steps=2, batch_size=8, static_share=0.0)
FAST: Any = {"learning_rate": 1e-2, "warmup_updates": 1}


class Watched(PPOLearner):
    """Remembers what it was, and what it learned from."""

    def __init__(self, seed: int) -> None:
        """Start from random weights."""
        super().__init__(tiny_agent(Duel(), seed=seed), PPOConfig(**FAST))
        self.batches: list[Trajectories] = []
        self.before: list[Any] = []

    def update(self, batch: Trajectories, rng: np.random.Generator) -> Any:
        """Keep both."""
        self.batches.append(batch)
        self.before.append((weights(self.agent.model), self.num_updates))
        return super().update(batch, rng)


def make(schedule: GPOSchedule, *, game: LanguageGame[Any] | None = None, group_sizes: tuple[int, int] = (1, 1)) -> GPO:
    """Return GPO of two players that are watched, paid by the game alone."""
    adversary, defender = (Watched(seed) for seed in (1, 2))
    reward, game = DiversityReward(ENCODER, DiversityWeights()), Duel() if game is None else game
    return GPO(game, adversary, defender, reward, schedule, encoder=ENCODER, seed=0, group_sizes=group_sizes)


def watched(learner: Any) -> Watched:
    """Return one of GPO's learners as what it is here."""
    assert isinstance(learner, Watched)
    return learner


def test_before_a_round_has_ended_there_is_nobody_to_replay() -> None:
    """The first round is the same to the last bit whatever the share; without one nobody is kept at all."""
    plain, replaying = make(SCHEDULE), make(replace(SCHEDULE, replay_share=0.5))
    assert list(islice(plain, 4)) == list(islice(replaying, 4))
    assert same(weights(plain.defender.agent.model), weights(replaying.defender.agent.model))
    assert (len(plain.past), len(replaying.past)) == (0, 1)
    assert list(plain) != list(replaying)
    assert (len(plain.past), len(replaying.past)) == (0, 3)


def test_past_adversaries_write_the_prompts_of_their_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a share of 1 the newest adversary says nothing in defend stages after the first; each round adds one."""
    gpo, ends = make(replace(SCHEDULE, replay_share=1.0)), []
    newest, speak, spoke = gpo.adversary.agent, gpo.adversary.agent.speak, list[int]()

    def heard(*asked: Any) -> Any:
        spoke.append(1)
        return speak(*asked)

    monkeypatch.setattr(newest, "speak", heard)
    for step in gpo:
        assert bool(spoke) == (step.round == 1 or step.stage == "attack")
        assert len(gpo.last_played) == 8
        if step.stage == "defend" and step.round == 3:
            assert {one.members[0] for one in gpo.last_played} == {0, 1}
        spoke.clear()
        if gpo.ends_round(step):
            ends.append(weights(newest.model))
    assert len(ends) == len(gpo.past) == 3
    for end, member in zip(ends, gpo.past.members, strict=True):
        assert same(end, weights(member.model))


def test_the_adversary_begins_each_attack_stage_as_at_the_start() -> None:
    """Weights, optimiser and learning rate; without the option it goes on from where it was."""
    for reset in (False, True):
        gpo = make(replace(SCHEDULE, reset_adversary=reset))
        list(gpo)
        before = watched(gpo.adversary).before
        assert [updates for _, updates in before] == ([0, 1] * 3 if reset else [0, 1, 2, 3, 4, 5])
        assert [same(before[k][0], before[0][0]) for k in (2, 4)] == [reset, reset]


def test_an_optimistic_adversary_is_paid_for_its_best_reply() -> None:
    """The returns that it learns from are the highest of each three; the report's are those of all replies."""
    gpo, gains = make(replace(SCHEDULE, attack_replies=3)), []
    for step in gpo:
        returns = np.array([one.episode.returns[0] for one in gpo.last_played])
        assert step.defender_return == pytest.approx(-returns.mean())
        if step.stage == "attack":
            prompts = np.array(first_turns(gpo.last_played)).reshape(8, 3)
            assert (prompts == prompts[:, :1]).all()
            learned = watched(gpo.adversary).batches[-1].returns
            assert learned.tolist() == pytest.approx(returns.reshape(8, 3).max(1).tolist())
            gains.append(returns.reshape(8, 3).max(1).mean() - returns.mean())
    assert max(gains) > 0


@pytest.mark.parametrize("group_size", [1, 2])
def test_the_defender_learns_from_the_worst_of_n_prompts(group_size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replied to anew, `group_size` times; the adversary never changes, and all that was tried is paid for."""
    meter, trees = CostMeter(), list[list[PlayedEpisode]]()

    def kept(*given: Any) -> list[PlayedEpisode]:
        trees.append(rollout_tree(*given))
        return trees[-1]

    monkeypatch.setattr("duologue.baselines.two_player.gpo.rollout_tree", kept)
    first, second = (GRPOLearner(tiny_agent(Duel(), seed=seed), GRPOConfig(**FAST)) for seed in (1, 2))
    schedule = replace(SCHEDULE, attack_steps=0, best_of=4, num_rounds=2)
    game, reward = metered_game(Duel(), meter), DiversityReward(ENCODER, DiversityWeights())
    gpo = GPO(game, first, second, reward, schedule, encoder=ENCODER, seed=0, group_sizes=(1, group_size))
    start = weights(first.agent.model)
    for _ in gpo:
        tried = trees[-1]
        returns = np.array([one.episode.returns[1] for one in tried]).reshape(8 // group_size, 4)
        said = np.array(first_turns(tried)).reshape(8 // group_size, 4)
        worst = said[np.arange(len(said)), returns.argmin(1)].repeat(group_size)
        assert np.array(first_turns(gpo.last_played))[:, 0].tolist() == worst.tolist()
        deals = [one.dialogue.deal for one in tried[::4] for _ in range(group_size)]
        assert [one.dialogue.deal for one in gpo.last_played] == deals
    assert len(trees) == 4
    assert meter.costs.episodes == 4 * (8 + 32 // group_size)
    assert same(start, weights(first.agent.model))


def test_with_all_of_them_a_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    """Put down in the second round, when there is a past adversary, a start to go back to and an archive."""
    remedies = replace(SCHEDULE, replay_share=0.5, best_of=2, reset_adversary=True, attack_replies=2)

    def players(*seeds: int) -> GPO:
        game = make_game("red_team-v0")
        first, second = (PPOLearner(tiny_agent(game, seed=seed), PPOConfig(**FAST)) for seed in seeds)
        reward = DiversityReward(StaticWordEncoder(words_of(game)), DiversityWeights(success_cell_weight=1.0))
        return GPO(game, first, second, reward, remedies, encoder=StaticWordEncoder(words_of(game)), seed=0)

    whole, first, second = players(1, 2), players(1, 2), players(1, 8)  # a resumed run starts from the same folders
    steps = list(whole)
    resumed = list(islice(first, 7))
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    for ours, theirs in ((whole.adversary, second.adversary), (whole.defender, second.defender)):
        assert isinstance(ours, TrainedModel)
        assert isinstance(theirs, TrainedModel)
        assert same(weights(ours.agent.model), weights(theirs.agent.model))
    assert all(step.num_success_cells is not None for step in steps)


def test_successes_in_new_cells_pay_the_adversary(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the archive says is added to the game's rewards in attack stages, and the archive is asked in no other."""
    gpo, asked = make(SCHEDULE), []

    def bonuses(played: list[PlayedEpisode]) -> Any:
        asked.append(gpo.clock.stage)
        return np.arange(len(played), dtype=np.float64)

    monkeypatch.setattr(gpo.cells, "bonuses", bonuses)
    for step in gpo:
        if step.stage == "attack":
            game = np.array([one.episode.returns[0] for one in gpo.last_played])
            learned = watched(gpo.adversary).batches[-1].returns
            assert learned.tolist() == pytest.approx((game + np.arange(8)).tolist(), abs=1e-5)
    assert asked == ["attack"] * 6


def test_what_cannot_be_is_refused() -> None:
    """Games of several exchanges, parts that make no groups, and a reset of what both players share."""
    long = make_game("red_team-v0", num_rounds=2)
    for name, schedule in (
        ("best_of", replace(SCHEDULE, best_of=2)),
        ("attack_replies", replace(SCHEDULE, attack_replies=2)),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected one prompt and one reply, got a game of 4 turns"):
            make(schedule, game=long)
    with pytest.raises(ValueError, match=r"replay_share: expected parts .* groups of 4, got 2 replayed"):
        make(replace(SCHEDULE, replay_share=0.25), group_sizes=(1, 4))
    for shared in ("one_policy", "shared_critic"):
        with pytest.raises(ValueError, match="reset_adversary: expected an adversary that shares nothing"):
            GPOConfig(schedule=replace(SCHEDULE, reset_adversary=True), **{shared: True})  # type: ignore[arg-type]
