"""Matrix games in words: both players say one word a round, neither hearing the other's before the round is over."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...engine.contract import TOLERANCE
from ...game import NO_CHANCE, Dialogue, LanguageGame, Payoff
from ...vocabulary import Tokens, WordVocabulary


class MatrixGame(LanguageGame):
    """Any two-player game in normal form, played once or for a known number of rounds.

    In each round player 0 says the word of a row, which player 1 does not hear, then player 1 says the word of a
    column and both are paid. Between rounds each is told the other's word. A forfeit costs the largest absolute payoff
    times the number of rounds, so that no play is worse.

    >>> game = MatrixGame([[1, -1], [-1, 1]], words_0="heads tails", words_1="heads tails")
    >>> game.payoff, game.vocabulary.decode(game.action_tokens[1])
    (<Payoff.ZERO_SUM: 'zero_sum'>, 'heads tails')
    """

    deals = NO_CHANCE
    max_turn_tokens = 1

    def __init__(
        self,
        payoffs_0: ArrayLike,
        payoffs_1: ArrayLike | None = None,
        *,
        words_0: str | Sequence[str] | None = None,
        words_1: str | Sequence[str] | None = None,
        num_rounds: int = 1,
    ) -> None:
        """Check the payoffs and the words, and find the payoff type.

        Args:
            payoffs_0: what player 0 wins, rows its own words, columns player 1's; shape (n, m).
            payoffs_1: what player 1 wins, same rows and columns; None: what player 0 loses.
            words_0: player 0's n words, a sequence or one string; None: row_1, row_2 ...
            words_1: player 1's m words; None: column_1, column_2 ... Words that player 0 has too stand first and in
                its order, so that a player's legal tokens, sorted, are its rows or columns in order.
            num_rounds: how often the matrix is played in one episode.

        Raises:
            ValueError: an entry that is no finite number, shapes or counts that do not match, a word said twice.
        """
        check_integer("num_rounds", num_rounds, least=1)
        self.payoff_matrices = _payoff_matrices(payoffs_0, payoffs_1)
        """What each player wins, by player, row and column; shape (2, n, m), read-only."""
        self.payoff = _payoff_type(self.payoff_matrices)
        _, num_rows, num_columns = self.payoff_matrices.shape
        rows = _words("words_0", words_0, num_rows, default="row")
        columns = _words("words_1", words_1, num_columns, default="column")
        self.vocabulary = WordVocabulary(list(dict.fromkeys(rows + columns)))
        self.action_tokens = self._encode(rows), self._encode(columns)
        """The token of each row and of each column."""
        self.num_rounds = num_rounds
        self.max_turns = 2 * num_rounds
        self.max_announcement_tokens = int(num_rounds > 1)
        self.forfeit_cost = num_rounds * float(np.abs(self.payoff_matrices).max())

    def next_player(self, dialogue: Dialogue[Hashable]) -> int | None:
        """Return the players in turn until all rounds are played."""
        return None if len(dialogue.turns) == self.max_turns else len(dialogue.turns) % 2

    def rewards(self, dialogue: Dialogue[Hashable]) -> tuple[float, float]:
        """Return the payoffs of a finished round, 0 in the middle of one."""
        if len(dialogue.turns) % 2:
            return 0.0, 0.0
        row, column = (self.action_tokens[p].index(turn.tokens[0]) for p, turn in enumerate(dialogue.turns[-2:]))
        return float(self.payoff_matrices[0, row, column]), float(self.payoff_matrices[1, row, column])

    def legal_tokens(self, dialogue: Dialogue[Hashable], prefix: Tokens) -> Tokens:
        """Return the words of the player to speak."""
        return self.action_tokens[len(dialogue.turns) % 2]

    def hears(self, dialogue: Dialogue[Hashable], player: int) -> None:
        """Return None: words are told after the round, by the game."""
        return

    def announcement(self, dialogue: Dialogue[Hashable], player: int) -> Tokens:
        """Return the other's word of the round just finished, if another round follows."""
        if len(dialogue.turns) % 2 or len(dialogue.turns) == self.max_turns:
            return ()
        return dialogue.turns[-1 - player].tokens

    def _encode(self, words: tuple[str, ...]) -> Tokens:
        tokens = self.vocabulary.encode(" ".join(words))
        if list(tokens) != sorted(tokens):
            raise ValueError(f"words_1: expected the words of player 0 first and in its order, got {words}")
        return tokens


def finite_matrix(name: str, numbers: ArrayLike) -> NDArray[np.float64]:
    """Return a copy of the argument called `name` as a matrix.

    Raises:
        ValueError: it is no matrix, has no entry, or one that is no finite number.
    """
    try:
        matrix = np.array(numbers, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: expected a matrix of numbers, got {numbers!r}") from error
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{name}: expected a matrix of at least one row and one column, got shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise ValueError(f"{name}: expected finite numbers, got {matrix[~np.isfinite(matrix)][0]}")
    return matrix


def check_integer(name: str, value: int, *, least: int, most: int | None = None) -> None:
    """Raise ValueError unless the option called `name` is an integer of at least `least` and at most `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}: expected an integer {bounds}, got {value!r}")


def _payoff_matrices(payoffs_0: ArrayLike, payoffs_1: ArrayLike | None) -> NDArray[np.float64]:
    first = finite_matrix("payoffs_0", payoffs_0)
    second = -first if payoffs_1 is None else finite_matrix("payoffs_1", payoffs_1)
    if first.shape != second.shape:
        raise ValueError(f"payoffs_1: expected the shape of payoffs_0, {first.shape}, got {second.shape}")
    matrices = np.stack([first, second])
    matrices.setflags(write=False)
    return matrices


def _payoff_type(matrices: NDArray[np.float64]) -> Payoff:
    """Return the type that the engine, with its tolerance, will find kept at every reward."""
    if np.abs(matrices[0] + matrices[1]).max() <= TOLERANCE:
        return Payoff.ZERO_SUM
    return Payoff.IDENTICAL if np.abs(matrices[0] - matrices[1]).max() <= TOLERANCE else Payoff.GENERAL


def _words(name: str, words: str | Sequence[str] | None, count: int, *, default: str) -> tuple[str, ...]:
    if words is None:
        return tuple(f"{default}_{k}" for k in range(1, count + 1))
    listed = tuple(words.split()) if isinstance(words, str) else tuple(words)
    if len(listed) != count or len(set(listed)) != count:
        raise ValueError(f"{name}: expected {count} different words, one for each {default}, got {listed}")
    return listed
