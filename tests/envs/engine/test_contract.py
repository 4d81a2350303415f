"""What the rules answer: numbers of any make are taken, and what is none is refused where the rules are asked."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from duologue.envs import Episode, LanguageGame, LanguageGameVectorEnv, Payoff
from duologue.envs.engine.contract import checked_rewards
from duologue.envs.games.bluff import BET, FOLD, VOCABULARY, Bluff
from duologue.envs.testing import check_game
from duologue.envs.tree import GameTree

SIZE = VOCABULARY.size


def game(**changes: Any) -> LanguageGame[Any]:
    """Return bluff with rules replaced."""
    made: LanguageGame[Any] = type("Odd", (Bluff,), changes)()
    return made


def always(answer: Any) -> Callable[..., Any]:
    """Return a rule that always answers the same."""
    return lambda rules, *question: answer


class Numpy(Bluff):
    """Answers in integers of numpy."""

    def legal_tokens(self, dialogue: Any, prefix: Any) -> Any:
        """Return what bluff does."""
        return tuple(np.array(super().legal_tokens(dialogue, prefix)))

    def briefing(self, deal: str, player: int) -> Any:
        """Return what bluff does."""
        return tuple(np.array(super().briefing(deal, player), dtype=np.int32))

    def hears(self, dialogue: Any, player: int) -> Any:
        """Return what bluff does."""
        return tuple(np.array(dialogue.turns[-1].tokens))

    def next_player(self, dialogue: Any) -> Any:
        """Return what bluff does."""
        player = super().next_player(dialogue)
        return None if player is None else np.int64(player)

    def annotate(self, dialogue: Any) -> Any:
        """Return nothing, as a method without a return does."""
        return


def test_rules_may_answer_in_integers_of_numpy() -> None:
    """They pass the suite, and their tree is that of plain ones."""
    check_game(Numpy(), episodes=3)
    ours, plain = GameTree(Numpy()), GameTree(Bluff())
    np.testing.assert_array_equal(ours.token, plain.token)
    np.testing.assert_array_equal(ours.infostate, plain.infostate)
    episode = Episode(Numpy(), "ace")
    episode.push(FOLD[0])
    assert episode.transcript().splitlines()[1] == "bettor: fold"


@pytest.mark.parametrize(
    "pair",
    [
        (1, -1),
        [1.0, -1.0],
        (Decimal(1), Decimal(-1)),
        (Fraction(1), Fraction(-1)),
        np.array([1, -1], dtype=np.float32),
        torch.tensor([1.0, -1.0]),
        (torch.tensor(1.0), np.float16(-1)),
    ],
)
def test_rewards_are_taken_from_numbers_of_any_make(pair: Any) -> None:
    """As two plain numbers, by the engine and by the suite."""
    found = checked_rewards(Bluff(), pair)
    assert found == (1.0, -1.0)
    assert [type(number) for number in found] == [float, float]
    assert GameTree(game(rewards=always(pair))).rewards[:, 0].max() == 1.0


@pytest.mark.parametrize(
    "pair", [{1.0, -1.0}, {1.0: 0, -1.0: 0}, MappingProxyType({0: 1, 1: 2}), ("1", "-1"), (10**400, 0), (1j, 0)]
)
def test_what_is_no_pair_of_numbers_is_refused(pair: Any) -> None:
    """A set has no order, the keys of a mapping are no rewards, and text is no number."""
    paying = game(payoff=Payoff.GENERAL, rewards=always(pair))
    for play in (lambda: checked_rewards(paying, pair), lambda: GameTree(paying)):
        with pytest.raises(ValueError, match=r"Odd\.rewards: expected a pair of numbers, got"):
            play()


@pytest.mark.parametrize("tokens", [(-1,), (*BET, -1), (*BET, SIZE), (*BET, 11.5), "bet", ("bet",), 5, ((9,),)])
@pytest.mark.parametrize("rule", ["legal_tokens", "briefing", "hears", "announcement"])
def test_what_is_no_token_id_is_refused_where_the_rules_are_asked(rule: str, tokens: Any) -> None:
    """-1 would be the last word of the vocabulary, and 11.5 the word 11; in an episode and in a batch."""
    wrong = game(**{rule: always(tokens), "max_announcement_tokens": 4})
    with pytest.raises(ValueError, match=rf"Odd.{rule}: expected a tuple of token ids, integers in \[0, {SIZE}\), got"):
        Episode(wrong, "ace").push(BET[0])
    with pytest.raises(ValueError, match=rf"Odd.{rule}: expected a tuple of token ids, integers in \[0, {SIZE}\), got"):
        LanguageGameVectorEnv(wrong, 2, player=1).reset(seed=0)
    if rule == "legal_tokens":
        with pytest.raises(ValueError, match=r"Odd\.legal_tokens: expected a tuple of token ids"):
            GameTree(wrong)


@pytest.mark.parametrize("player", [np.array([0, 1]), "0", 0.0, True, [0]])
def test_who_is_no_player_is_refused(player: Any) -> None:
    """By name, whatever it is."""
    with pytest.raises(ValueError, match=r"Odd\.next_player: expected 0, 1 or None, got"):
        Episode(game(next_player=always(player)), "ace")


def test_a_tree_names_the_attribute_that_it_cannot_do_with() -> None:
    """As an environment does."""
    for changes in ({"deals": {"ace": 1.0}}, {"max_turns": None}, {"payoff": "zero_sum"}, {"vocabulary": "ace"}):
        with pytest.raises(TypeError, match=rf"Odd\.{next(iter(changes))}: expected"):
            GameTree(game(**changes))
