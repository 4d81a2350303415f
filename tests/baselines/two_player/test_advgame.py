"""AdvGame: the tree, the gate, the optimistic adversary, averages that speak, and a resumed run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from duologue.agents import CausalLMAgent
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.learners.preference import (
    Labels,
    PreferenceConfig,
    PreferenceLearner,
    PreferenceUpdate,
    ReplyPairs,
)
from duologue.baselines.rollouts.episodes import PlayedEpisode
from duologue.baselines.rollouts.trajectories import Trajectories
from duologue.baselines.rollouts.trees import rollout_tree
from duologue.baselines.training.run import read_metrics
from duologue.baselines.two_player.advgame import AdvGame, AdvGameOptions, PairJudge, both_orders
from duologue.envs import Dialogue, FiniteDeals, Payoff, Tokens, WordVocabulary, make_game
from duologue.envs.judging import RedTeamGame, Verdict
from duologue.tests.baselines.helpers import same, through_a_file, tiny_agent, weights

VOCABULARY = WordVocabulary("fair foul yes no")
FAIR, FOUL, YES, NO = VOCABULARY.encode("fair foul yes no")


class Gated(RedTeamGame[Any]):
    """A fair question pays the adversary 1 for yes, -1 for no, the defender the negation; a foul one pays more."""

    vocabulary = VOCABULARY
    payoff = Payoff.GENERAL
    deals: FiniteDeals[Any] = FiniteDeals({"": 1.0})
    num_rounds = 1
    max_turns = 2
    max_turn_tokens = 1

    def verdicts(self, dialogues: Sequence[Dialogue[Any]]) -> list[Verdict]:
        raise NotImplementedError

    def faithful(self, dialogue: Dialogue[Any]) -> bool:
        return dialogue.turns[0].tokens == (FAIR,)

    def rewards_batch(self, dialogues: Sequence[Dialogue[Any]]) -> list[tuple[float, float]]:
        return [self._paid(dialogue) if len(dialogue.turns) == 2 else (0.0, 0.0) for dialogue in dialogues]

    def _paid(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        said_yes = dialogue.turns[1].tokens == (YES,)
        if not self.faithful(dialogue):
            return (9.0, 5.0) if said_yes else (9.0, -5.0)
        return (1.0, -1.0) if said_yes else (-1.0, 1.0)

    def legal_tokens(self, dialogue: Dialogue[Any], prefix: Tokens) -> Tokens:
        return (YES, NO) if dialogue.turns else (FAIR, FOUL)


class Watched(PreferenceLearner):
    """Remembers the pairs that it learned from."""

    def __init__(self, game: Any, *, seed: int, learning_rate: float, labels: Labels) -> None:
        """Start from random weights."""
        config = PreferenceConfig(learning_rate=learning_rate, warmup_updates=1, labels=labels)
        super().__init__(tiny_agent(game, seed=seed), config)
        self.pairs: list[ReplyPairs] = []

    def fit(self, pairs: ReplyPairs, rng: np.random.Generator) -> PreferenceUpdate:
        """Keep the pairs."""
        self.pairs.append(pairs)
        return super().fit(pairs, rng)


def make(
    game: Any,
    *,
    seeds: tuple[int, int] = (1, 2),
    judge: PairJudge | None = None,
    learning_rate: float = 1e-2,
    labels: Labels = "ordinal",
    **options: Any,
) -> tuple[AdvGame, Watched, Watched]:
    """Return the learner, its adversary and its defender."""
    adversary, defender = (Watched(game, seed=seed, learning_rate=learning_rate, labels=labels) for seed in seeds)
    options = {"num_steps": 4, "num_requests": 12} | options
    return AdvGame(game, (adversary, defender), AdvGameOptions(**options), seed=0, judge=judge), adversary, defender


def said(batch: Trajectories) -> list[int]:
    """Return the last own token of each episode."""
    return [int(row[own][-1]) for row, own in zip(batch.tokens, batch.policy_token_mask, strict=True)]


def turns(one: PlayedEpisode) -> tuple[Tokens, ...]:
    """Return what both said."""
    return tuple(turn.tokens for turn in one.dialogue.turns)


def test_prompts_of_a_seed_share_the_deal_and_replies_of_a_prompt_the_prompt() -> None:
    """The tree [B], [B, A], [B, A, D] of arXiv 2512.20806, on the red-team game with its many deals."""
    game = make_game("red_team-v0", table="advgame")
    agents = [tiny_agent(game, seed=seed) for seed in (1, 2)]
    played = rollout_tree(game, agents, np.random.default_rng(0), (3, 2, 4))
    tree = np.arange(24).reshape(3, 2, 4)
    assert len(played) == 24
    for seed in tree:
        assert len({played[leaf].dialogue.deal for leaf in seed.flat}) == 1
        for prompt in seed:
            assert len({turns(played[leaf])[0] for leaf in prompt}) == 1
            assert all([turn.player for turn in played[leaf].turns] == [0, 1] for leaf in prompt)
    assert len({played[leaf].dialogue.deal for leaf in tree[:, 0, 0]}) == 3
    assert len({turns(played[leaf])[0] for leaf in tree[:, :, 0].flat}) == 6
    assert len({turns(one) for one in played}) > 12


def test_the_gate_comes_before_any_reward() -> None:
    """A fair prompt is preferred though a foul one pays more, and replies to a foul one teach nothing."""
    learner, adversary, defender = make(Gated())
    for _ in learner:
        pass
    assert adversary.pairs
    for pairs in adversary.pairs:
        both = set(zip(said(pairs.first), said(pairs.second), strict=True))
        assert both <= {(FAIR, FOUL), (FAIR, FAIR)}
    for pairs in defender.pairs:
        assert set(said(pairs.first)) == {NO}
        assert set(said(pairs.second)) == {YES}
        asked = pairs.first.tokens[~pairs.first.policy_token_mask & pairs.first.attention_mask]
        assert set(asked.tolist()) & {FAIR, FOUL} == {FAIR}


def test_linear_labels_say_by_how_much_and_that_a_tie_is_one() -> None:
    """Fair questions pay -1 or 1, a range of 2: labels 1 for yes against no, 1/2 for a tie, 1 for fair against foul."""
    learner, adversary, defender = make(Gated(), num_requests=40, num_steps=1, labels="linear", replies_per_prompt=2)
    list(learner)
    tree = np.array([[turns(one)[0] == (FAIR,), one.episode.returns[0]] for one in learner.last_played])
    fair, returns = (tree[:, column].reshape(40, 2, 2) for column in (0, 1))
    worth = np.where(fair[:, :, 0] > 0, returns.max(2), -np.inf)
    expected = [min(1.0, 0.5 + (max(pair) - min(pair)) / 4) for pair in worth.tolist() if max(pair) > -np.inf]
    assert adversary.pairs[0].preferences.tolist() == expected
    assert {0.5, 1.0} <= set(expected)
    gains = np.ptp(returns[fair[:, :, 0] > 0], axis=1)
    assert defender.pairs[0].preferences.tolist() == (0.5 + gains / 4).tolist()


@pytest.mark.parametrize("optimistic", [True, False])
def test_a_prompt_is_worth_its_best_reply_or_the_mean_of_them(optimistic: bool) -> None:
    """Counted again from the tree: how many seeds have fair prompts of different worth, or one fair and one foul."""
    learner, adversary, _ = make(Gated(), num_requests=40, replies_per_prompt=3, optimistic=optimistic)
    next(iter(learner))
    tree = np.array([[turns(one)[0] == (FAIR,), one.episode.returns[0]] for one in learner.last_played])
    fair, returns = (tree[:, column].reshape(40, 2, 3) for column in (0, 1))
    worth = np.where(fair[:, :, 0] > 0, returns.max(2) if optimistic else returns.mean(2), -99)
    expected = [FAIR for first, second in worth if first != second]
    (pairs,) = adversary.pairs
    assert said(pairs.first) == expected
    mixed = int((fair[:, 0, 0] != fair[:, 1, 0]).sum())
    assert said(pairs.second).count(FOUL) == mixed
    assert mixed < len(expected) < 40


def test_both_orders_are_asked_and_swapping_two_episodes_swaps_their_scores() -> None:
    """A judge that favours whoever stands first says nothing, once it is asked in both orders."""
    calls: list[int] = []

    def vain(first: Sequence[PlayedEpisode], second: Sequence[PlayedEpisode], player: int) -> NDArray[np.float64]:
        calls.append(player)
        lengths = np.array([[len(turns(a)[1]), len(turns(b)[1])] for a, b in zip(first, second, strict=True)])
        judged: NDArray[np.float64] = lengths + np.array([3.0, 0.0])
        return judged

    game = make_game("red_team-v0")
    agents = [tiny_agent(game, seed=seed) for seed in (1, 2)]
    played = rollout_tree(game, agents, np.random.default_rng(0), (4, 1, 2))
    judge = both_orders(vain)
    there, back = judge(played[::2], played[1::2], 1), judge(played[1::2], played[::2], 1)
    assert there.tolist() == back[:, ::-1].tolist()
    assert (there[:, 0] - there[:, 1]).tolist() == [
        len(turns(a)[1]) - len(turns(b)[1]) for a, b in zip(played[::2], played[1::2], strict=True)
    ]
    assert calls == [1, 1, 1, 1]


def test_a_reply_scores_the_mean_over_its_pairs() -> None:
    """A judge that scores the winner of a pair 1 ranks three replies like their returns; each player asks it once."""
    calls: list[int] = []

    def winner(first: Sequence[PlayedEpisode], second: Sequence[PlayedEpisode], player: int) -> NDArray[np.float64]:
        calls.append(len(first))
        ahead = [
            np.sign(a.episode.returns[player] - b.episode.returns[player]) for a, b in zip(first, second, strict=True)
        ]
        return np.array([[one, -one] for one in ahead])

    learner, _, defender = make(Gated(), judge=winner, num_steps=1, replies_per_prompt=3)
    list(learner)
    fair = sum(turns(one)[0] == (FAIR,) for one in learner.last_played) // 3
    assert calls == [12 * 9, 12 * 9, fair * 3, fair * 3]  # both orders of all pairs, in one call each
    assert set(said(defender.pairs[0].first)) == {NO}


def test_the_averages_speak_and_are_the_reference() -> None:
    """Theta_ema <- .95 theta_ema + .05 theta after every step; utterances are the averages', not the newest's."""
    learner, *players = make(Gated())
    averages = [[one.clone() for one in weights(player.ref_model)] for player in players]
    for step in learner:
        assert step.adversary is not None
        for number, player in enumerate(players):
            averages[number] = [
                0.95 * old + 0.05 * new for old, new in zip(averages[number], weights(player.agent.model), strict=True)
            ]
            for ours, theirs in zip(averages[number], weights(player.ref_model), strict=True):
                assert torch.allclose(ours, theirs, atol=1e-6)
        if step.iteration == 3:
            speaker = CausalLMAgent(players[0].ref_model, VOCABULARY)
            expected = {one.utterance.tokens: one.utterance.logprobs for one in spoken(learner, speaker)}
    told = {one.turns[0].utterance.tokens: one.turns[0].utterance.logprobs for one in learner.last_played}
    for tokens, logprobs in told.items():
        assert logprobs == pytest.approx(expected[tokens], abs=1e-6)


def spoken(learner: AdvGame, speaker: CausalLMAgent) -> list[Any]:
    """Return prompts of a speaker before the next step moves it."""
    played = rollout_tree(learner.game, (speaker, speaker), np.random.default_rng(5), (30, 1, 1))
    return [one.turns[0] for one in played]


@pytest.mark.parametrize("seed", range(5))
def test_both_players_learn(seed: int) -> None:
    """Fair questions and the answer no are the equilibrium of what the gate leaves."""
    learner, _, _ = make(Gated(), seeds=(10 + seed, 20 + seed), learning_rate=3e-2, num_steps=20, num_requests=12)
    first, *_ = learner
    agents = [one.agent for one in learner.learners]
    final = rollout_tree(learner.game, agents, np.random.default_rng(0), (100, 1, 1))
    assert first.faithful_rate < 0.9
    assert np.mean([turns(one)[0] == (FAIR,) for one in final]) > 0.9
    assert np.mean([turns(one)[1] == (NO,) for one in final]) > 0.9


def test_where_every_group_ties_nobody_learns() -> None:
    """Random models write no request of the micro language: all prompts are unfaithful."""
    learner, adversary, defender = make(make_game("red_team-v0", table="advgame"), num_steps=2, num_requests=3)
    before = [weights(one.agent.model) for one in (adversary, defender)]
    steps = list(learner)
    assert [(step.adversary, step.defender, step.faithful_rate) for step in steps] == [(None, None, 0.0)] * 2
    assert steps[0].adversary_return == -1
    for old, one in zip(before, (adversary, defender), strict=True):
        assert same(old, weights(one.agent.model))


def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    """Weights, averages and metrics, taken up by players that start from other weights."""
    whole, *players = make(Gated())
    steps = list(whole)
    first, *_ = make(Gated())
    resumed = list(islice(first, 2))
    second, *copies = make(Gated(), seeds=(7, 8))
    second.load_state_dict(through_a_file(tmp_path, first))
    assert [*resumed, *second] == steps
    for ours, theirs in zip(players, copies, strict=True):
        assert same(weights(ours.agent.model), weights(theirs.agent.model))
        assert same(weights(ours.ref_model), weights(theirs.ref_model))


def test_the_command_writes_both_players_and_a_finished_run_stays(tmp_path: Path) -> None:
    """`duologue train advgame` on given models; the table of AdvGame is the default."""
    game = make_game("red_team-v0")
    for name, seed in (("one", 1), ("two", 2)):
        tiny_agent(game, seed=seed).save_pretrained(tmp_path / name)
    argv = ["--adversary", f"{tmp_path}/one", "--defender", f"{tmp_path}/two", "--out", f"{tmp_path}/run"]
    argv += ["--num-steps", "1", "--num-requests", "2", "--num-threads", "1"]
    TRAINERS["advgame"].run(argv)
    (record,) = read_metrics(tmp_path / "run")
    assert (record["adversary_return"], record["faithful_rate"]) == (-1, 0)
    assert (tmp_path / "run/adversary/config.json").is_file()
    assert (tmp_path / "run/defender/config.json").is_file()
    TRAINERS["advgame"].run(argv)
    assert read_metrics(tmp_path / "run") == [record]


def test_bad_games_and_options_are_refused() -> None:
    """The message names what was expected."""
    with pytest.raises(ValueError, match="game: expected one prompt and one reply, got a game of 6 turns"):
        make(make_game("red_team-v0", num_rounds=3))
    for name, value in (("num_steps", 0), ("prompts_per_request", 1), ("replies_per_prompt", 1), ("ema_decay", 2.0)):
        with pytest.raises(ValueError, match=name):
            AdvGameOptions(**{name: value})  # type: ignore[arg-type]
