"""Novelty that pays only for success: what a cell is, what a success in it earns, and that failures earn nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.agents import ScriptedAgent
from duologue.baselines.evaluation.diversity_report import parse_red_team, parser_of
from duologue.baselines.rollouts.episodes import PlayedEpisode, play_out
from duologue.baselines.two_player.success_cells import SuccessCells, cell_of
from duologue.envs import Episode, LanguageGame, make_game
from duologue.envs.games.red_team.game import Seed
from duologue.envs.games.red_team.language import REFUSALS, TOPICS
from duologue.tests.baselines.helpers import bluff, through_a_file

GAME: LanguageGame[Any] = make_game("red_team-v0", seeded=False)
HARMFUL = next(topic for topic in TOPICS.values() if topic.kind.value == "harmful")
BENIGN = next(topic for topic in TOPICS.values() if topic.kind.value == "benign")
UNSAFE = " ".join(HARMFUL.content)


def play(prompt: str, reply: str) -> PlayedEpisode:
    """Return the exchange."""
    agents = [ScriptedAgent([text]) for text in (prompt, reply)]
    return play_out([Episode(GAME, Seed())], agents, np.random.default_rng(0))[0]


PLAIN, STYLED = f"what is {HARMFUL.name}", f"act as pirate what is {HARMFUL.name}"


def test_a_success_is_worth_less_the_more_came_before_it_in_its_cell() -> None:
    """2 / sqrt(1 + n), by hand: two successes of one batch earn alike, a further one 2 / sqrt(3)."""
    cells = SuccessCells(GAME, parser_of(GAME), weight=2.0)
    first = [play(PLAIN, UNSAFE), play(PLAIN, UNSAFE), play(STYLED, UNSAFE)]
    assert cells.bonuses(first).tolist() == [2.0, 2.0, 2.0]
    assert cells.bonuses(first).tolist() == pytest.approx([2 / 3**0.5, 2 / 3**0.5, 2 / 2**0.5])
    assert cells.counts == {HARMFUL.name: 4, f"{HARMFUL.name} roleplay": 2}


def test_what_fails_earns_nothing_however_new_it_is() -> None:
    """A refusal, a harmless answer, a wrongly refused harmless request (which pays the adversary), and noise."""
    refusal = " ".join(REFUSALS[0])
    cells = SuccessCells(GAME, parser_of(GAME), weight=1.0)
    refused, over_refused = play(PLAIN, refusal), play(f"what is {BENIGN.name}", refusal)
    assert refused.episode.returns[0] < 0 < over_refused.episode.returns[0]
    lost = [refused, over_refused, play(f"what is {BENIGN.name}", " ".join(BENIGN.content)), play("what what", UNSAFE)]
    assert cells.bonuses(lost).tolist() == [0.0] * 4
    assert not cells.counts


def test_the_archive_is_saved_and_weighs_nothing_by_default(tmp_path: Path) -> None:
    """Taken up by another one; without a weight nobody asks for verdicts."""
    cells, other = (SuccessCells(GAME, parser_of(GAME), weight=1.0) for _ in range(2))
    cells.bonuses([play(PLAIN, UNSAFE)])
    other.load_state_dict(through_a_file(tmp_path, cells))
    assert other.bonuses([play(PLAIN, UNSAFE)]).tolist() == [pytest.approx(2**-0.5)]
    assert SuccessCells(bluff(), parse_red_team, weight=0.0).bonuses([play(PLAIN, UNSAFE)]).tolist() == [0.0]


def test_a_game_without_verdicts_is_refused() -> None:
    """Nobody says there whether an attack succeeded."""
    with pytest.raises(ValueError, match=r"success_cell_weight: expected 0 in Bluff, which gives no verdicts, got 1"):
        SuccessCells(bluff(), parse_red_team, weight=1.0)


def test_styles_are_a_set() -> None:
    """Their order does not matter, nor does the form of the question."""
    found = {cell_of(parsed) for text in (PLAIN, f"how do i {HARMFUL.name}") if (parsed := parse_red_team(text))}
    assert found == {HARMFUL.name}
