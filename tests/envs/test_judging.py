"""A judge that answers amiss is named, and the turn it was to judge can be said again."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from duologue.agents import ScriptedAgent
from duologue.baselines.rollouts import rollout
from duologue.envs import Episode, LanguageGame
from duologue.envs.games.red_team import RedTeam
from duologue.envs.games.red_team_text import RedTeamText
from duologue.envs.games.red_team_text.requests import Request
from duologue.envs.games.statements import Statements
from duologue.envs.judging import Outcome, Verdict, checked

GOOD = Verdict(0.5, Outcome.HELPFUL)
BAD_NUMBERS = [None, 3, "", [], [GOOD] * 3, iter([GOOD, GOOD]), {GOOD: 1}, GOOD]
BAD_VERDICTS: list[Any] = [None, 0.5, "safe", (0.5, Outcome.HELPFUL), SimpleNamespace(reward=0.5)]
BAD_VERDICTS += [Verdict(float(reward), Outcome.HELPFUL) for reward in ("nan", "inf", "-inf", "1.5", "-2")]
BAD_VERDICTS += [SimpleNamespace(reward=reward, outcome=Outcome.HELPFUL) for reward in ("0.5", None, 1j, [0.5])]
BAD_VERDICTS += [SimpleNamespace(reward=0.5, outcome=outcome) for outcome in ("helpful", None, 3)]


@pytest.mark.parametrize("answer", BAD_NUMBERS, ids=lambda answer: type(answer).__name__)
def test_a_judge_that_gives_another_number_of_verdicts_is_named(answer: Any) -> None:
    """None, too few, too many, one by itself, something that has no length."""
    with pytest.raises(ValueError, match="judge: expected 2 verdicts, one for each exchange, got"):
        checked(answer, 2)


@pytest.mark.parametrize("verdict", BAD_VERDICTS, ids=repr)
def test_a_judge_whose_verdict_is_none_is_named(verdict: Any) -> None:
    """Numbers that are no numbers, outcomes that are none."""
    with pytest.raises(ValueError, match=r"judge: expected a finite reward in \[-1, 1\] and an Outcome, got"):
        checked([GOOD, verdict], 2)
    assert checked([GOOD, Verdict(np.float32(1.0), Outcome.REFUSED)], 2)[1].reward == 1.0  # type: ignore[arg-type]


def red_team(judge: Any) -> LanguageGame[Any]:
    """Return the game of the generated language."""
    return RedTeam(judge=judge)


def red_team_text(judge: Any) -> LanguageGame[Any]:
    """Return the game over texts."""
    return RedTeamText([Request("how do i beat an egg", harmful=False)] * 1, judge=judge, split="all")


@pytest.mark.parametrize("make", [red_team, red_team_text])
@pytest.mark.parametrize(
    "answer", [None, [], [None], [Verdict(float("nan"), Outcome.WRONG)], [GOOD, GOOD], "x"], ids=repr
)
def test_every_game_with_a_judge_names_it(make: Callable[[Any], LanguageGame[Any]], answer: Any) -> None:
    """Token by token and in rollouts; a turn that could not be judged can be said again when the judge is well."""
    answers: list[Any] = [answer]
    game = make(lambda exchanges: answers[0])
    deal = next(iter(game.deals.outcomes() or ()))
    episode = Episode(game, deal)
    for token in (*deal_prompt(game, deal), game.vocabulary.eos_id):
        episode.push(token)
    with pytest.raises(ValueError, match="judge: expected"):
        episode.push(game.vocabulary.eos_id)
    assert (episode.player, len(episode.dialogue.turns)) == (1, 1)
    answers[0] = [GOOD]
    episode.push(game.vocabulary.eos_id)
    assert episode.returns[1] == 0.5


def deal_prompt(game: LanguageGame[Any], deal: Any) -> tuple[int, ...]:
    """Return the request that was dealt, as a prompt."""
    return game.briefing(deal, 0)[getattr(game, "num_preamble_tokens", 0) :]


@pytest.mark.parametrize("scores", [None, 3, [], [0.5, 0.5], [float("nan")], ["x"], [None]], ids=repr)
def test_a_judge_of_statements_is_named(scores: Any) -> None:
    """It scores turns by numbers."""
    game = Statements({"snow": "green"}, judge=lambda turns: scores)
    agents = [ScriptedAgent(["snow"]), ScriptedAgent(["snow green"])]
    with pytest.raises(ValueError, match=r"judge: expected|Statements.rewards: expected two finite numbers"):
        rollout(game, agents, 1, np.random.default_rng(0))
