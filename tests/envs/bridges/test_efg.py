"""Gambit's files, written and read: OpenSpiel and our own reader find in them the game that we wrote."""

import contextlib
import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from duologue.envs import Dialogue, FiniteDeals, LanguageGame, Payoff, WordVocabulary
from duologue.envs.bridges.efg import read_efg, write_efg
from duologue.envs.bridges.efg_reader import ENCODED
from duologue.envs.bridges.explicit import ExplicitGame, ExplicitNode
from duologue.envs.games.bluff import Bluff
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.leduc_poker import LeducPoker
from duologue.envs.games.random_game import RandomGame
from duologue.envs.games.tiny_bargaining import TinyBargaining
from duologue.envs.tree.analysis import TERMINAL, GameTree, Profile, uniform_profile
from duologue.envs.vocabulary import SPECIAL_TOKENS
from duologue.tests.envs.bridges.helpers import (
    assert_agree,
    at_leaves,
    efg_infoset,
    efg_of,
    infoset_names,
    infostate_words,
    load_efg,
    ours,
    random_nodes,
    random_profile,
    theirs,
    to_openspiel_efg,
)


def random_game(seed: int) -> GameTree:
    """The fifty games: all payoff types, one to three deals, hidden turns, pay in between, several tokens a turn."""
    return GameTree(
        RandomGame(
            seed,
            num_turns=2 + (seed % 3 if seed % 7 else 0),
            branching=2 + seed % 2,
            num_deals=1 + seed % 3,
            payoff=("zero_sum", "identical", "general")[seed % 3],
            max_turn_tokens=2 if seed % 7 == 0 else 1,
            pays_every_turn=seed % 2 == 0,
            irregular=seed % 5 < 2,
        )
    )


def carried(tree: GameTree, profile: Profile, other: GameTree) -> Profile:
    """Return the profile on the reread tree: a file keeps names of information sets and actions, not their order."""
    policies = []
    for player, policy in enumerate(profile):
        known = {}
        for k in range(tree.tables[player].num_infostates):
            probabilities = np.split(policy, tree.tables[player].offsets[1:-1])[k]
            words = [f"{word}_" if word == "<eos>" else word for word in infostate_words(tree, player, k)]
            known[plain(tree.infostate_text(player, k))] = dict(zip(words, probabilities, strict=True))
        names = {k: plain(name) for name, k in infoset_names(other, player).items()}
        table = other.tables[player]
        parts = [[known[names[k]][word] for word in infostate_words(other, player, k)] for k in range(len(names))]
        policies.append(np.array([number for part in parts for number in part]).reshape(table.num_actions))
    return policies[0], policies[1]


def plain(name: str) -> str:
    """Leave out what the reader changes in a name."""
    return name.replace("_", "").replace(" ", "")


@pytest.mark.parametrize("game", [Bluff(), KuhnPoker(), LeducPoker(), TinyBargaining(), *map(RandomGame, range(5))])
def test_what_was_written_is_read_back(game: LanguageGame[object]) -> None:
    """The same numbers of nodes and information sets, and the same returns, best responses and NashConv to 1e-12."""
    tree = GameTree(game)
    again = GameTree(read_efg(write_efg(tree)))
    assert again.num_nodes == tree.num_nodes
    for table, other in zip(tree.tables, again.tables, strict=True):
        assert (table.num_infostates, table.num_actions) == (other.num_infostates, other.num_actions)
    for profile in (uniform_profile(tree), random_profile(tree, 0)):
        assert_agree(ours(tree, profile), ours(again, carried(tree, profile, again)), tolerance=1e-12)


def test_several_tokens_a_turn_are_several_actions() -> None:
    """`<eos>` is an action as well; the reader may not call a word so, and appends an underscore."""
    tree = GameTree(RandomGame(0, max_turn_tokens=2))
    again = GameTree(read_efg(write_efg(tree)))
    assert again.num_nodes == tree.num_nodes
    assert "<eos>_" in again.game.vocabulary.decode(range(again.game.vocabulary.size))
    profile = random_profile(tree, 1)
    assert_agree(ours(tree, profile), ours(again, carried(tree, profile, again)), tolerance=1e-12)


@pytest.mark.parametrize("seed", range(50))
def test_openspiel_agrees_on_fifty_random_games(seed: int) -> None:
    """OpenSpiel reads the file; its own Python code gives returns, best responses and NashConv."""
    pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")
    tree = random_game(seed)
    game = load_efg(write_efg(tree))
    for profile in (uniform_profile(tree), random_profile(tree, seed)):
        assert_agree(ours(tree, profile), theirs(game, to_openspiel_efg(tree, profile, game)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**20))
def test_openspiel_agrees_where_chance_and_pay_stand_anywhere(seed: int) -> None:
    """OpenSpiel reads chance where it stands (pay at the leaves); we draw it at the root and pay in between."""
    policies = pytest.importorskip("open_spiel.python.policy", reason="OpenSpiel is not installed")
    nodes, rng = random_nodes(seed), np.random.default_rng(seed)
    if len({node.player for node in nodes} & {0, 1}) < 2:
        return
    game, tree = load_efg(efg_of(at_leaves(nodes))), GameTree(read_efg(efg_of(nodes)))
    table = policies.TabularPolicy(game)
    parts = [[np.ones(0)] * table.num_infostates for table in tree.tables]
    names = [infoset_names(tree, player) for player in (0, 1)]
    for player in (0, 1):
        for k, size in enumerate(np.diff(tree.tables[player].offsets).tolist()):
            parts[player][k] = rng.dirichlet(np.ones(size))
    for key, row in table.state_lookup.items():
        player, _, name = efg_infoset(key)
        probabilities = parts[player][names[player][name.replace(" ", "_")]]
        table.action_probability_array[row] = 0
        table.action_probability_array[row, np.flatnonzero(table.legal_actions_mask[row])] = probabilities
    profile = np.concatenate([*parts[0], np.ones(0)]), np.concatenate([*parts[1], np.ones(0)])
    assert_agree(ours(tree, profile), theirs(game, table))
    again = load_efg(write_efg(tree))  # chance now at the root
    assert_agree(ours(tree, profile), theirs(again, to_openspiel_efg(tree, profile, again)))


def test_kuhn_poker_is_written_as_one_would_by_hand() -> None:
    """From the format's description: root, then each node before its children, payoffs as decimals."""
    lines = write_efg(GameTree(KuhnPoker())).splitlines()
    assert lines[:4] == [
        'EFG 2 R "KuhnPoker" { "first" "second" }',
        f'c "" 1 "deal" {{ {" ".join(f""""deal{k}" 1/6""" for k in range(1, 7))} }} 0',
        'p "" 1 1 "<bos> <game> jack <eos> <player_0>" { "check" "bet" } 0',
        'p "" 2 1 "<bos> <game> queen <eos> <player_0> check <eos> <player_1>" { "check" "bet" } 0',
    ]
    assert lines[4] == 't "" 1 "" { -1.0, 1.0 }'


def test_rewards_between_turns_are_summed_up_at_the_leaves() -> None:
    """By hand: 0.1 and 0.2 on the way make what Python's sum makes of them."""
    nodes = [
        ExplicitNode(0, "x", ("a",), (1,)),
        ExplicitNode(1, "y", ("b",), (2,), rewards=(0.1, 5.0)),
        ExplicitNode(TERMINAL, rewards=(0.2, 1e-20)),
    ]
    assert write_efg(GameTree(ExplicitGame(nodes))).splitlines()[-1] == 't "" 1 "" { 0.30000000000000004, 5.0 }'


def test_a_game_without_chance_has_no_chance_node() -> None:
    """One deal is no choice."""
    nodes = [ExplicitNode(1, "x", ("a",), (1,)), ExplicitNode(TERMINAL)]
    assert "\nc " not in write_efg(GameTree(ExplicitGame(nodes)))


class Odd(LanguageGame[int]):
    """Deals with probabilities that are no short fractions, words with quotation marks."""

    vocabulary = WordVocabulary(('"quoted"', "back\\slash", "trailing\\"))
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({0: 2**-0.5, 1: 1e-9 / 3, 2: 1 - 2**-0.5 - 1e-9 / 3})
    max_turns = 1
    max_turn_tokens = 1

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        return None if dialogue.turns else 0

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        reward = float(dialogue.deal * dialogue.turns[0].tokens[0]) * 1e-7
        return reward, -reward

    def legal_tokens(self, dialogue: Dialogue[int], prefix: tuple[int, ...]) -> tuple[int, ...]:
        return (8, 9, 10)


def test_probabilities_sum_to_exactly_one() -> None:
    """Gambit reads decimals as exact fractions and refuses any other sum."""
    text = write_efg(GameTree(Odd()))
    written = text.splitlines()[1].split("{")[1].split("}")[0].split()[1::2]
    assert sum(Fraction(number) for number in written) == 1
    assert [float(number) for number in written] == pytest.approx(list(Odd.deals.outcomes().values()), abs=1e-16)


def test_any_label_is_read_back() -> None:
    """Quotation marks and backslashes are escaped."""
    tree = GameTree(read_efg(write_efg(GameTree(Odd()))))
    assert infostate_words(tree, 0, 0) == ['"quoted"', "back\\slash", "trailing\\"]


def test_the_file_is_the_text(tmp_path: Path) -> None:
    """`path` is where the text goes as well."""
    tree = GameTree(Bluff())
    text = write_efg(tree, tmp_path / "bluff.efg")
    assert (tmp_path / "bluff.efg").read_text(encoding="utf-8") == text
    again = GameTree(read_efg(tmp_path / "bluff.efg"))
    assert again.num_nodes == tree.num_nodes


class OneTurn(LanguageGame[None]):
    """Player 0 says one of the words, wins with the first, and that is all; roles are among what a file names."""

    payoff, max_turns, max_turn_tokens = Payoff.ZERO_SUM, 1, 1
    deals = FiniteDeals({None: 1.0})

    def __init__(self, words: Sequence[str], *, roles: tuple[str, str] = ("one", "two"), win: float = 1.0) -> None:
        self.vocabulary, self.roles, self._win = WordVocabulary(words), roles, win

    def next_player(self, dialogue: Dialogue[None]) -> int | None:
        return None if dialogue.turns else 0

    def rewards(self, dialogue: Dialogue[None]) -> tuple[float, float]:
        return (self._win, -self._win) if dialogue.turns[0].tokens == (8,) else (-1.0, 1.0)

    def legal_tokens(self, dialogue: Dialogue[None], prefix: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(range(8, self.vocabulary.size))


def read_by_all(text: str) -> None:
    """Let Gambit and OpenSpiel read a text, as far as they are installed; either raises where it does not."""
    with contextlib.suppress(ImportError):
        import pygambit

        pygambit.read_efg(io.StringIO(text))
    with contextlib.suppress(ImportError):
        import pyspiel

        pyspiel.load_efg_game(text)


WORDS = st.text(min_size=1, max_size=12).filter(lambda word: word.split() == [word] and word not in SPECIAL_TOKENS)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4, unique=True), st.tuples(st.text(max_size=6), st.text(max_size=6)))
@example(["möglich", "nein"], ("はい", "いいえ"))
@example(['"yes"', "no", "100%", "%41", "A", "a\\"], (' "', "\n"))
@example(["\x1b[31m", "{", "}", "\u202e", "\ud800"], ("same", "same"))
@example(["a", "}"], ("}", "{ p"))
@example(["é", "b"], ("two  blanks", " a  "))
@example(["x" * 10_000, "é" * 10_000], ("", " "))
def test_any_word_is_read_by_gambit_and_openspiel_and_read_back(words: list[str], roles: tuple[str, str]) -> None:
    """Gambit up to 16.7 takes printable ASCII, single blanks inside; OpenSpiel no escaped quotation mark, no brace."""
    text = write_efg(GameTree(OneTurn(words, roles=roles)))
    assert text.isascii()
    read_by_all(text)
    again = read_efg(text)
    assert infostate_words(GameTree(again), 0, 0) == words
    if len(set(roles)) == 2 and all(roles):
        assert again.roles == roles


def test_a_file_of_plain_labels_is_not_encoded() -> None:
    """Percent signs are decoded only where the file's comment says that it is encoded."""
    text = write_efg(GameTree(OneTurn(["50%", "%41"])))
    assert ENCODED not in text
    assert infostate_words(GameTree(read_efg(text)), 0, 0) == ["50%", "%41"]


def test_tokens_that_read_alike_are_told_apart() -> None:
    """A tokenizer may decode several ids to one text, or to none; the numbers may not hit upon another's name."""

    class Alike(WordVocabulary):
        def decode(self, tokens: Iterable[int]) -> str:
            return super().decode(tokens).replace("a1", "a").replace("a2", "a").replace("none", "")

    game = OneTurn(["a1", "a2", "a#8", "none"])
    game.vocabulary = Alike(["a1", "a2", "a#8", "none"])
    text = write_efg(GameTree(game))
    read_by_all(text)
    assert infostate_words(GameTree(read_efg(text)), 0, 0) == ["a#8#", "a#9", "a#8", "#11"]


@pytest.mark.parametrize("win", [1e-7, 5e-324, 1e300, 1 / 3, -0.0])
def test_any_finite_payoff_is_written_exactly(win: float) -> None:
    """Shortest decimals without exponents, which all three read as the same double."""
    text = write_efg(GameTree(OneTurn(["a", "b"], win=win)))
    read_by_all(text)
    game = read_efg(text)
    assert game.rewards(Dialogue((), (game.vocabulary.encode("a"),))) == (win, -win)


@pytest.mark.parametrize("win", [float("nan"), float("inf")])
def test_a_payoff_that_is_no_number_is_refused(win: float) -> None:
    """Gambit reads no NaN; OpenSpiel would."""
    tree = GameTree(OneTurn(["a", "b"]))
    tree.rewards = np.array([*tree.rewards[:-1], (win, -win)])
    with pytest.raises(ValueError, match=r"payoffs: expected finite numbers, got (nan|inf)"):
        write_efg(tree)
