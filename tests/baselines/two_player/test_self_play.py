"""Self-play: one policy or two, each opponent, role-conditioned advantages, and a resumed run."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from duologue.agents import CausalLMAgent, RandomAgent, ScriptedAgent
from duologue.agents.sb3 import SB3Agent
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.integrations.sb3 import SB3Config, SB3Learner
from duologue.baselines.learners.base import PlayerLearner
from duologue.baselines.learners.grpo import GRPOConfig, GRPOLearner
from duologue.baselines.learners.options import LearnerOptions
from duologue.baselines.learners.ppo import PPOConfig, PPOLearner, PPOUpdate
from duologue.baselines.learners.reinforce_pp import ReinforcePPConfig
from duologue.baselines.learners.shared_critic import SharedCritic
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import Trajectories, joined, trajectories
from duologue.baselines.training.options import ModelOptions
from duologue.baselines.training.run import read_metrics
from duologue.baselines.two_player.learner import TwoPlayerLearner
from duologue.baselines.two_player.opponents import OpponentChoice, OpponentOptions
from duologue.baselines.two_player.self_play import SelfPlay, SelfPlayConfig, SelfPlayOptions, make_self_play
from duologue.envs import (
    Dialogue,
    FiniteDeals,
    LanguageGame,
    Payoff,
    Speaker,
    Tokens,
    Utterance,
    View,
    WordVocabulary,
    make_game,
)
from duologue.envs.games.bluff import CALL
from duologue.envs.vocabulary import GAME
from duologue.tests.baselines.helpers import Wages, bluff, same, through_a_file, tiny_agent, weights

CONFIG = PPOConfig(learning_rate=1e-2, warmup_updates=1)


class Watched(PPOLearner):
    """Remembers what it learned from."""

    def __init__(self, agent: CausalLMAgent, critic: SharedCritic | None = None) -> None:
        """Learn by PPO."""
        super().__init__(agent, CONFIG, critic=critic)
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
    counted = play.opponents[0].state_dict()["_games"]
    assert isinstance(counted, list)
    assert sum(counted) == 2 * 4 * 8


@pytest.mark.parametrize("decay", [0.95, 0.5])
def test_role_advantages_take_the_role_s_mean_off_each_return(decay: float) -> None:
    """The first batch as it is paid, the next less b = (1 - d) sum of d^(n-i) R_i, at the last own token."""
    play, learners = make(role_advantages=True, role_baseline_decay=decay)
    steps = iter(play)
    next(steps)
    paid = [trajectories(play.last_played[player], player).returns for player in (0, 1)]
    for learner, returns in zip(learners, paid, strict=True):
        assert learner.batches[0].returns.tolist() == pytest.approx(returns.tolist())
    step = next(steps)
    for player, learner in enumerate(learners):
        mean = 0.0
        for one in paid[player].tolist():
            mean = decay * mean + (1 - decay) * one
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


class Unnamed(WordVocabulary):
    """Opens every turn alike, as a chat template does from the side of whoever speaks."""

    def open_turn(self, speaker: int, viewer: int) -> Tokens:
        """Return the token of the game in place of the speaker's."""
        return (GAME,)


class OneSpeaks(LanguageGame[int]):
    """Player 0 or player 1 says yes or no, told the same; the word pays the speaker, the seat pays player 0."""

    vocabulary = Unnamed("yes no")
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({0: 0.5, 1: 0.5})
    max_turns = 1
    max_turn_tokens = 1

    def __init__(self, seat_pay: float = 0.0) -> None:
        """Take what player 0 is paid by player 1 in any case."""
        self.seat_pay = seat_pay

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        return None if dialogue.turns else dialogue.deal

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        won = 1.0 if self.vocabulary.decode(dialogue.turns[0].tokens) == "yes" else -1.0
        first = self.seat_pay + (won if dialogue.deal == 0 else -won)
        return first, -first

    def legal_tokens(self, dialogue: Dialogue[int], prefix: Tokens) -> Tokens:
        return self.vocabulary.encode("yes no")


@pytest.mark.parametrize("name", ["rloo", "grpo", "preference", "reinforce_pp"])
def test_one_policy_is_never_compared_with_itself_in_the_other_seat(name: str) -> None:
    """What a seat pays in any case changes no update, though both players are told the same before they speak."""
    grouped = ReinforcePPConfig(subtract_group_mean=True)
    options, after = LearnerOptions(learner=name, reinforce_pp=grouped), []
    for seat_pay in (0.0, 8.0):
        game = OneSpeaks(seat_pay)
        learner = options.make(tiny_agent(game))
        play = SelfPlay(game, [learner], SelfPlayOptions(num_updates=2, batch_size=32), seed=0, group_size=4)
        start = weights(learner.agent.model)
        list(play)
        assert not same(start, weights(learner.agent.model))
        after.append(weights(learner.agent.model))
    torch.testing.assert_close(after[0], after[1], atol=1e-5, rtol=0)


def shared(seed: int = 0) -> tuple[SelfPlay, SharedCritic, list[Watched]]:
    """Return four updates of two policies with one critic, which starts as player 0's model."""
    agents = [tiny_agent(bluff(), seed=2 * seed + player) for player in (0, 1)]
    critic = SharedCritic(agents[0].model)
    learners = [Watched(agent, critic=critic) for agent in agents]
    return SelfPlay(bluff(), learners, SelfPlayOptions(num_updates=4, batch_size=8), seed=0), critic, learners


def test_a_shared_critic_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    """Put down after two of four updates, taken up by players and a critic that start from other weights."""
    whole, critic, learners = shared()
    steps = list(whole)
    first, *_ = shared()
    resumed = list(islice(first, 2))
    second, copy, copies = shared(seed=5)
    assert not same(weights(critic.parts), weights(copy.parts))
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    assert same(weights(critic.parts), weights(copy.parts))
    for ours, theirs in zip(learners, copies, strict=True):
        assert same(weights(ours.agent.model), weights(theirs.agent.model))


class Recorded:
    """Says what another agent says, and remembers which seats it spoke in."""

    def __init__(self, agent: Speaker) -> None:
        """Take the other agent."""
        self.agent, self.players = agent, set[int]()

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Remember whose views they are."""
        self.players |= {view.player for view in views}
        return self.agent.speak(views, rng)


def test_a_fixed_opponent_sits_where_its_player_does_not_learn() -> None:
    """At player 1 somebody else while player 0 learns; player 1 learns against player 0 as it is."""
    for num_learners in (1, 2):
        learners = [Watched(tiny_agent(bluff(), seed=player)) for player in range(num_learners)]
        options, fixed = SelfPlayOptions(num_updates=2, batch_size=8), Recorded(ScriptedAgent(["call"]))
        play = SelfPlay(bluff(), learners, options, seed=0, fixed=(None, fixed))
        list(play)
        assert fixed.players == {1}
        bets = [one for one in play.last_played[0] if len(one.dialogue.turns) == 2]
        assert {one.dialogue.turns[1].tokens for one in bets} == {CALL}
        assert play.last_played[1] is not play.last_played[0]
        assert play.seats == (learners[0].agent, learners[-1].agent)


def test_a_policy_of_stable_baselines_sits_opposite_by_its_folder(tmp_path: Path) -> None:
    """One that MaskablePPO was given, against PPO of a language model from the command line, and resumed."""
    config = SB3Config(num_envs=4, tokens_per_env=8, minibatch_size=32, embedding_size=4, hidden_size=4)
    sb3 = SB3Learner(bluff(), config, players=[1], seats=[RandomAgent(), RandomAgent()], seed=0)
    sb3.update()
    sb3.agent.save_pretrained(tmp_path / "sb3")
    options = ["--game", "bluff-v0", "--num-updates", "2", "--batch-size", "8", "--hidden-size", "16"]
    TRAINERS["self_play"].run([*options, "--out", str(tmp_path / "run"), "--opponent-1", str(tmp_path / "sb3")])
    steps = read_metrics(tmp_path / "run")
    assert len(steps) == 2
    plain = make_self_play(bluff(), SelfPlayConfig(models=ModelOptions(hidden_size=16)))
    assert plain.fixed == (None, None)
    seated = make_self_play(bluff(), SelfPlayConfig(opponent_1=str(tmp_path / "sb3")))
    assert isinstance(seated.fixed[1], SB3Agent)
    with pytest.raises(ValueError, match="agent: expected random, echo or the folder of a checkpoint, got 'nobody'"):
        make_self_play(bluff(), SelfPlayConfig(opponent_0="nobody"))


def test_the_command_trains_resumes_and_measures(tmp_path: Path) -> None:
    """Micro models on bluff, against uniform past selves; NashConv at every second update; then from those folders."""
    out, again = tmp_path / "first", tmp_path / "second"
    options = ["--game", "bluff-v0", "--num-updates", "2", "--batch-size", "8", "--hidden-size", "16"]
    TRAINERS["self_play"].run(
        [*options, "--out", str(out), "--exact", "--exact-every", "2", "--opponent.choice", "uniform"]
    )
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert ["exact" in record for record in records] == [False, True]
    assert records[1]["exact"]["nash_conv_last"] > 0
    assert (out / "pool/player_0/000000/model.safetensors").is_file()
    starts = [part for p in (0, 1) for part in (f"--player-{p}", str(out / f"player_{p}"))]
    TRAINERS["self_play"].run([*options, *starts, "--out", str(again), "--learner", "rloo"])
    assert (again / "player_1/model.safetensors").is_file()
    critics = [one.critic for one in make_self_play(bluff(), SelfPlayConfig(shared_critic=True)).learners]  # type: ignore[attr-defined]
    assert isinstance(critics[0], SharedCritic)
    assert critics[0] is critics[1]


def test_options_out_of_range_are_refused() -> None:
    """The errors name what was wrong."""
    with pytest.raises(ValueError, match="num_updates: expected an integer of at least 1, got 0"):
        SelfPlayOptions(num_updates=0)
    with pytest.raises(ValueError, match="learners: expected one for both seats or one for each, got 3"):
        make(num_learners=3)
    with pytest.raises(ValueError, match="shared_critic: expected two policies, got --one-policy"):
        SelfPlayConfig(one_policy=True, shared_critic=True)
    with pytest.raises(ValueError, match="shared_critic: expected the learner ppo, which asks a critic, got rloo"):
        make_self_play(bluff(), SelfPlayConfig(shared_critic=True, learner=LearnerOptions(learner="rloo")))
    with pytest.raises(ValueError, match="batch_size: expected whole groups of 3, at least one, got 8"):
        SelfPlay(bluff(), make()[1], SelfPlayOptions(batch_size=8), seed=0, group_size=3)
