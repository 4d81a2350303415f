"""The tiny referential game: what agreement is worth, and what babbling is worth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.envs.games.tiny_referential import TinyReferential
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import GameTree, Profile, expected_returns, nash_conv, uniform_profile
from duologue.tests.envs.games.helpers import played, policy

GOLDEN = """\
[sender is told] object2
sender: word0
receiver: object2
[rewards] +1 +1
[over] returns +1 +1"""

SIZES = st.integers(1, 4)


def code_profile(tree: GameTree, num_words: int) -> Profile:
    """Return the code in which word k stands for object k; the last word has to serve for all that is left."""

    def word(known: str) -> dict[str, float]:
        return {f"word{min(int(known.removeprefix('object')), num_words - 1)}": 1.0}

    def thing(known: str) -> dict[str, float]:
        number = min(int(known.removeprefix("word")), len(tree.deals) - 1)
        return {f"object{number}": 1.0}

    return policy(tree, 0, word), policy(tree, 1, thing)


@pytest.mark.parametrize(("num_objects", "num_words"), [(3, 3), (3, 2), (1, 1)])
def test_tiny_referential_keeps_the_contract(num_objects: int, num_words: int) -> None:
    """The conformance suite."""
    check_game(TinyReferential(num_objects, num_words))


def test_tiny_referential_golden_transcript() -> None:
    """A diff here is a changed rule, which is a new version."""
    assert played(TinyReferential(), 2, "word0 object2").transcript() == GOLDEN


def test_a_wrong_object_earns_nothing() -> None:
    """The receiver names what was not dealt."""
    assert played(TinyReferential(), 2, "word0 object1").returns == [0.0, 0.0]


def test_the_receiver_does_not_see_the_object() -> None:
    """After the same word its view is the same whatever the object."""
    first, second = (played(TinyReferential(), deal, "word1") for deal in (0, 1))
    assert (first.views[1] == second.views[1]).all()
    assert (first.views[0] != second.views[0]).any()


@given(num_objects=SIZES, num_words=SIZES)
def test_a_code_is_an_equilibrium_worth_what_its_words_can_tell_apart(num_objects: int, num_words: int) -> None:
    """By hand: min(k, w) of k objects are named right, 1 for both if there are enough words."""
    tree = GameTree(TinyReferential(num_objects, num_words))
    profile = code_profile(tree, num_words)
    assert nash_conv(tree, profile) == pytest.approx(0, abs=1e-12)
    assert expected_returns(tree, profile) == pytest.approx([min(num_objects, num_words) / num_objects] * 2)


@given(num_objects=SIZES, num_words=SIZES, seed=st.integers(0, 99))
def test_no_policies_earn_more_than_a_code(num_objects: int, num_words: int, seed: int) -> None:
    """A pure receiver names at most w objects, so min(k, w)/k bounds every pure and hence every profile."""
    tree, rng = GameTree(TinyReferential(num_objects, num_words)), np.random.default_rng(seed)
    first, second = (table.normalise(rng.random(table.num_actions) ** 8) for table in tree.tables)
    assert expected_returns(tree, (first, second))[0] <= min(num_objects, num_words) / num_objects + 1e-12


@given(num_objects=SIZES, num_words=SIZES)
def test_babbling_is_an_equilibrium_worth_chance(num_objects: int, num_words: int) -> None:
    """By hand: 1/k for both, and neither can gain alone."""
    tree = GameTree(TinyReferential(num_objects, num_words))
    babble = uniform_profile(tree)
    assert nash_conv(tree, babble) == pytest.approx(0, abs=1e-12)
    assert expected_returns(tree, babble) == pytest.approx([1 / num_objects] * 2)


def test_bad_options_are_named() -> None:
    """The message names the option, what was expected and what came."""
    with pytest.raises(ValueError, match="num_objects: expected a whole number of at least 1, got 0"):
        TinyReferential(num_objects=0)
    with pytest.raises(ValueError, match=r"num_words: expected a whole number of at least 1, got 2\.5"):
        TinyReferential(num_words=2.5)  # type: ignore[arg-type]
