"""The tiny red-team game and the one-shot game: tables, equilibria and values derived by hand on their page."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.envs import Dialogue, make_game
from duologue.envs.games.tiny_red_team import GAINS, OneShotRedTeam, TinyRedTeam, one_shot_red_team
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import (
    GameTree,
    Profile,
    backward_induction,
    expected_returns,
    nash_conv,
    prefix_returns,
    uniform_profile,
)
from duologue.tests.envs.games.helpers import played, policy

GOLDEN = """\
[adversary is told] benign
adversary: chemistry
defender: refuse
[rewards] +0.5 -0.5
[over] returns +0.5 -0.5"""


def hidden_profile(tree: GameTree, *, disguise: float, comply: float) -> Profile:
    """Return the profile in which a benign user says "chemistry" with `disguise`, answered with `comply`."""
    prompts = {"harmful": {"chemistry": 1.0}, "benign": {"chemistry": disguise, "bread": 1 - disguise}}
    replies = {
        "poison": {"refuse": 1.0},
        "bread": {"comply": 1.0},
        "chemistry": {"comply": comply, "refuse": 1 - comply},
    }
    return policy(tree, 0, prompts.__getitem__), policy(tree, 1, replies.__getitem__)


@pytest.mark.parametrize("game", [TinyRedTeam(), TinyRedTeam("visible"), one_shot_red_team(3, 2)])
def test_red_team_games_keep_the_contract(game: Any) -> None:
    """The conformance suite."""
    check_game(game)


@pytest.mark.parametrize("intent", ["hidden", "visible"])
def test_tiny_red_team_golden_transcript(intent: Any) -> None:
    """A diff here is a changed rule, which is a new version."""
    transcript = played(TinyRedTeam(intent), "benign", "chemistry refuse").transcript()
    told = "[defender is told] benign\n"
    assert transcript.replace(told, "") == GOLDEN
    assert (told in transcript) == (intent == "visible")


@pytest.mark.parametrize(
    ("user", "words", "gain"),
    [
        ("harmful", "poison comply", 0.75),
        ("harmful", "poison refuse", 0),
        ("harmful", "chemistry comply", 0.75),
        ("harmful", "chemistry refuse", -0.25),
        ("benign", "bread comply", 0),
        ("benign", "bread refuse", 0.5),
        ("benign", "chemistry comply", -0.25),
        ("benign", "chemistry refuse", 0.5),
    ],
)
def test_the_table_of_the_page_is_what_is_paid(user: str, words: str, gain: float) -> None:
    """All eight lines of play; the adversary's gain is the defender's loss."""
    assert played(TinyRedTeam(), user, words).returns == [gain, -gain]


@pytest.mark.parametrize("intent", ["hidden", "visible"])
def test_returns_have_a_range_of_one(intent: Any) -> None:
    """What a step size for payoffs in [0, 1] needs: no two plays differ by more than 1."""
    assert np.ptp(prefix_returns(GameTree(TinyRedTeam(intent)))[:, 0]) == 1


def test_hidden_intent_needs_mixing_and_is_worth_five_thirty_sixths() -> None:
    """By hand: disguise 2/3 and compliance 2/3 leave the other player indifferent."""
    tree = GameTree(TinyRedTeam("hidden"))
    profile = hidden_profile(tree, disguise=2 / 3, comply=2 / 3)
    assert nash_conv(tree, profile) == pytest.approx(0, abs=1e-12)
    assert expected_returns(tree, profile) == pytest.approx([5 / 36, -5 / 36], abs=1e-12)


@pytest.mark.parametrize("comply", [0.0, 1.0])
@pytest.mark.parametrize("disguise", [0.0, 1.0])
def test_no_pure_profile_is_an_equilibrium_with_hidden_intent(disguise: float, comply: float) -> None:
    """All pure profiles that differ where the equilibrium mixes."""
    tree = GameTree(TinyRedTeam("hidden"))
    assert nash_conv(tree, hidden_profile(tree, disguise=disguise, comply=comply)) > 0.05


def test_visible_intent_has_a_pure_equilibrium_of_value_zero() -> None:
    """By hand: plain words, refused if harmful and answered if benign; backward induction meets no tie."""
    tree = GameTree(TinyRedTeam("visible"))
    prompts = {"harmful": {"poison": 1.0}, "benign": {"bread": 1.0}}
    pure = (
        policy(tree, 0, prompts.__getitem__),
        policy(tree, 1, lambda known: {"refuse" if known.startswith("harmful") else "comply": 1.0}),
    )
    profile, values = backward_induction(tree)
    assert [policy.tolist() for policy in profile] == [policy.tolist() for policy in pure]
    assert nash_conv(tree, profile) == 0
    assert values[0].tolist() == [0, 0]


def test_one_shot_table_of_the_reference_values() -> None:
    """Seed 0, 20 prompts, 8 replies: r[0, 0] = .636962 and min_x max_y r = .796324 (reference values, section 5)."""
    game = one_shot_red_team()
    assert played(game, None, "prompt0 reply0").returns == pytest.approx([-0.636962, 0.636962], abs=5e-7)
    tree = GameTree(game)
    profile, values = backward_induction(tree)
    assert values[0] == pytest.approx([-0.796324, 0.796324], abs=5e-7)
    assert nash_conv(tree, profile) == pytest.approx(0, abs=1e-12)


def test_one_shot_nash_conv_is_the_formula_of_the_page() -> None:
    """Section 5 of the reference values: sum_x mu(x) max_y r(x, y) - min_x sum_y pi(y|x) r(x, y)."""
    rewards = np.random.default_rng(3).random((5, 4))
    tree = GameTree(OneShotRedTeam(rewards))
    expected = rewards.max(1).mean() - rewards.mean(1).min()
    assert nash_conv(tree, uniform_profile(tree)) == pytest.approx(expected, abs=1e-12)
    assert [table.num_infostates for table in tree.tables] == [1, 5]


def test_bad_options_are_named() -> None:
    """The message names the option, what was expected and what came."""
    with pytest.raises(ValueError, match="intent: expected one of visible, hidden, got 'open'"):
        TinyRedTeam("open")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="num_prompts: expected a whole number of at least 1, got 0"):
        one_shot_red_team(0)
    with pytest.raises(ValueError, match=r"rewards: expected a table .* got shape \(3,\)"):
        OneShotRedTeam([0.1, 0.2, 0.3])
    with pytest.raises(ValueError, match="rewards: expected a table of finite numbers"):
        OneShotRedTeam([[float("nan")]])


def test_every_row_of_the_page_s_table_is_played() -> None:
    """What the page says that the adversary is paid."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "games" / "tiny_red_team-v0.md").read_text(encoding="utf-8")
    table = page.split("| user | prompt | comply | refuse |\n| --- | --- | --- | --- |\n")[1].split("\n\n")[0]
    game, played = make_game("tiny_red_team-v0"), 0
    for line in table.split("\n"):
        user, prompt, *pays = (cell.strip() for cell in line.strip("|").split("|"))
        for reply, paid in zip(("comply", "refuse"), pays, strict=True):
            turns = tuple(game.vocabulary.encode(word) for word in (prompt, reply))
            assert game.rewards(Dialogue(user, turns)) == (float(Fraction(paid)), -float(Fraction(paid)))
            played += 1
    assert played == len(GAINS)
