import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from duologue.agents import RandomAgent
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.training.costs import CostMeter, Costs, QueryCounter, metered_game, play_costs
from duologue.baselines.training.options import static_prompts
from duologue.envs import Episode, LanguageGame
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.games.red_team.game import RedTeam
from duologue.envs.judging import Exchange, Outcome, Verdict
from duologue.envs.wrappers.thoughts import with_thoughts
from duologue.tests.baselines.helpers import bluff


def safe(exchanges: Sequence[Exchange]) -> list[Verdict]:
    """Call every exchange safe."""
    return [Verdict(0.0, Outcome.DEFLECTED) for _ in exchanges]


def echo(items: Sequence[str]) -> Sequence[str]:
    """Answer each item with itself."""
    return list(items)


def test_episodes_and_tokens_of_play_by_hand() -> None:
    """Matching pennies for three rounds is six tokens an episode; bluff ends after one or two."""
    game = MatrixGame([[1, -1], [-1, 1]], num_rounds=3)
    played = rollout(game, [RandomAgent()] * 2, 5, np.random.default_rng(0))
    assert play_costs(played) == Costs(episodes=5, tokens=30)
    shorter = rollout(bluff(), [RandomAgent()] * 2, 50, np.random.default_rng(0))
    assert play_costs(shorter).tokens == sum(len(one.turns) for one in shorter)
    assert 50 < play_costs(shorter).tokens < 100


def test_a_games_judge_is_counted_by_the_exchange() -> None:
    """Twelve well-formed prompts, one round each, are twelve queries."""
    meter = CostMeter()
    game = RedTeam(judge=meter.judge(safe))
    played = rollout(game, [static_prompts(game), RandomAgent()], 12, np.random.default_rng(0))
    meter.add_play(played)
    assert meter.costs.judge_queries == meter.costs.episodes == 12
    assert meter.costs.preference_queries == 0


def test_judges_and_preference_models_are_told_apart() -> None:
    """Two judges add up; pairs are preference queries; a batch that fails was asked all the same."""
    meter = CostMeter()
    first, second = meter.judge(echo), meter.judge(echo)
    compare = meter.preference(echo)
    assert list(first("ab")) + list(second("c")) == ["a", "b", "c"]
    assert compare(["a or b", "b or c"]) == ["a or b", "b or c"]
    assert (meter.costs.judge_queries, meter.costs.preference_queries) == (3, 2)

    def broken(items: Sequence[int]) -> Sequence[int]:
        raise RuntimeError("no answer")

    counter = QueryCounter(broken)
    with pytest.raises(RuntimeError, match="no answer"):
        counter([1, 2])
    assert (counter.num_calls, counter.num_queries) == (1, 2)


def test_only_the_learners_own_time_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that we set: three steps of 10 s, and somebody who reads each of them for 50 s."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def steps() -> Iterator[int]:
        for k in range(3):
            now[0] += 10
            yield k

    meter, seen = CostMeter(), []
    for step in meter.timed(steps()):
        now[0] += 50
        seen.append(step)
    assert seen == [0, 1, 2]
    assert meter.costs.seconds == 30


def test_a_resumed_run_goes_on_counting() -> None:
    """The saved costs, judges' included, take the place of all so far; then what comes on top."""
    meter, resumed = CostMeter(), CostMeter()
    meter.judge(echo)(["1", "2"])
    meter.add(Costs(episodes=3, tokens=9, seconds=1.5))
    judge = resumed.judge(echo)
    judge(["asked while the run was made again"])
    resumed.load_state_dict(meter.state_dict())
    assert resumed.costs == meter.costs
    judge(["3"])
    resumed.judge(echo)(["4", "5"])
    assert resumed.costs == Costs(episodes=3, tokens=9, judge_queries=5, seconds=1.5)


@pytest.mark.parametrize(
    "game",
    [MatrixGame([[1, -1], [-1, 1]], num_rounds=3), RedTeam(num_rounds=2), with_thoughts(RedTeam(), 3), bluff()],
    ids=["matrix", "red_team", "thoughts", "bluff"],
)
def test_rules_that_are_metered_count_what_was_played(game: LanguageGame[Any]) -> None:
    """The same episodes as without a meter, and the costs of `play_costs`, which reads what agents said."""
    meter = CostMeter()
    counted = metered_game(game, meter)
    assert type(counted) is type(game)
    played, plain = (rollout(one, [RandomAgent()] * 2, 20, np.random.default_rng(0)) for one in (counted, game))
    assert [one.dialogue for one in played] == [one.dialogue for one in plain]
    assert [one.episode.returns for one in played] == [one.episode.returns for one in plain]
    assert meter.costs == play_costs(played)


def test_an_episode_that_is_forfeited_is_counted() -> None:
    """Of bluff, in which "call" is no opening; its token is not heard, so that none is counted."""
    meter = CostMeter()
    episode = Episode(metered_game(bluff(), meter), "ace")
    episode.push(episode.game.vocabulary.encode("call")[0])
    assert episode.forfeited_by == 0
    assert meter.costs == Costs(episodes=1)


def test_token_by_token_play_is_counted_as_well() -> None:
    """As Stable-Baselines3 plays: "bet" and "fold" are two tokens of one episode."""
    meter = CostMeter()
    episode = Episode(metered_game(bluff(), meter), "ace")
    for token in episode.game.vocabulary.encode("bet fold"):
        episode.push(token)
    assert meter.costs == Costs(episodes=1, tokens=2)
