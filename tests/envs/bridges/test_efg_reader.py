"""Reading Gambit's files: all that the format allows, and where the fault is in what it does not."""

import contextlib
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.envs import Episode
from duologue.envs.bridges import efg
from duologue.envs.bridges.efg import EfgError, read_efg
from duologue.envs.bridges.efg_reader import parse_efg
from duologue.envs.bridges.explicit import ExplicitGame, TooLarge
from duologue.envs.tree.analysis import GameTree, expected_returns, uniform_profile
from duologue.tests.envs.bridges.helpers import efg_of, random_nodes

HEAD = 'EFG 2 R "game" { "one" "two" }\n'
LEAF = '\nt "" 1 "" { 1, -1 }'
MOVE = 'p "" 1 1 "x" { "a" "b" } 0'


def returns(text: str) -> float:
    """What uniform play pays player 0."""
    tree = GameTree(read_efg(text))
    return float(expected_returns(tree, uniform_profile(tree))[0])


def test_all_that_the_format_allows_is_read() -> None:
    """By hand: 3/2 + 1/4 * 4 + 3/4 * (1/2 * -2 + 1/2 * 0.5), outcomes at every kind of node, referred to later."""
    text = r"""EFG 2 D "A \"title\"" { "one" "two" }
    "a comment
over two lines"
    c "root" 1 "" { "heads" 1/4 "tails" 0.75 } 1 "start" { 3/2 -1.5 }
    p "" 1 7 "knows \"h\"" { "go on" } 2 "" { 1e0, -1 }
    t "end" 3 "" { +3, -3.0 }
    p "" 1 8 { "left" "right" } 0
    p "" 2 1 "y" { "a" } 0   t "" 4 { -2, 2 }
    p "" 2 1 0
    t "" 5 "" { .5 -.5 }"""
    assert returns(text) == pytest.approx(3 / 2 + 1 / 4 * 4 + 3 / 4 * (-2 / 2 + 0.5 / 2))


def test_an_outcome_described_before_is_known_by_its_number() -> None:
    """Gambit writes an outcome's payoffs once; 0 is no outcome."""
    assert returns(HEAD + 'p "" 1 1 "x" { "a" "b" "c" } 0' + LEAF + '\nt "" 1\nt "" 0') == pytest.approx(2 / 3)


def test_a_game_that_only_pays_is_read() -> None:
    """A leaf at the root: one turn without a choice is put before it, as rewards are paid for turns."""
    assert returns(HEAD + LEAF) == 1
    assert GameTree(read_efg(HEAD + 't "" 0')).num_nodes == 2


def test_players_and_labels_are_read() -> None:
    """Names of the players become roles, labels of the actions words."""
    game = read_efg(HEAD + 'p "" 2 1 "my \\"set\\"" { "go \\\\ on" } 0' + LEAF)
    assert game.roles == ("one", "two")
    episode = Episode(game, ())
    assert game.vocabulary.decode(episode.view().tokens.tolist()) == '<bos> <game> my "set" <eos> <player_1>'
    assert game.vocabulary.decode(game.legal_tokens(episode.dialogue, ())) == "go_\\_on"


def test_labels_that_stand_twice_are_numbered() -> None:
    """Gambit does so, since its actions have one name each."""
    game = read_efg(HEAD + 'p "" 1 1 "" { "a" "a" "b" "a_1" } 0' + 4 * LEAF)
    assert game.vocabulary.words[:4] == ("a_2", "a_3", "b", "a_1")
    assert returns(HEAD + 'c "" 1 "" { "" 1/2 "" 1/2 } 0' + 2 * LEAF) == 1


def test_information_sets_without_a_name_of_their_own_are_numbered() -> None:
    """Names are optional in the format; (2,3) is information set 3 of player 2."""
    text = HEAD + 'c "" 1 "" { "h" 1/2 "t" 1/2 } 0\np "" 2 1 "z" { "a" } 0' + LEAF + '\np "" 2 3 "z" { "a" } 0' + LEAF
    tree = GameTree(read_efg(text))
    assert [tree.infostate_text(1, k).split()[2:4] for k in (0, 1)] == [["z", "(2,1)"], ["z", "(2,3)"]]


def test_exact_fractions_make_the_natural_deals() -> None:
    """Thirds and sixths break [0, 1) at common points only if nothing is rounded."""
    thirds = " ".join(f'"{k}" 1/3' for k in range(3))
    sixths = " ".join(f'"{k}" 1/6' for k in range(6))
    text = HEAD + f'p "" 1 1 "x" {{ "a" "b" }} 0\nc "" 1 "" {{ {thirds} }} 0' + 3 * LEAF
    game = read_efg(text + f'\nc "" 2 "" {{ {sixths} }} 0' + 6 * LEAF)
    outcomes = game.deals.outcomes()
    assert outcomes is not None
    np.testing.assert_allclose(list(outcomes.values()), 1 / 6, rtol=0, atol=1e-16)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "line 1, column 1: expected 'EFG' in the first line, EFG 2 R, got the end of the file"),
        ("NFG 1 R", "line 1, column 1: expected 'EFG' in the first line, EFG 2 R, got 'NFG'"),
        ("EFG 1 R", "line 1, column 5: expected '2' in the first line, EFG 2 R, got '1'"),
        ("EFG 2 X", "line 1, column 7: expected 'R' in the first line, EFG 2 R, got 'X'"),
        ("EFG 2 R title", "line 1, column 9: expected the game's title, in quotation marks, got 'title'"),
        ('EFG 2 R "t" "one"', "line 1, column 13: expected '{', got '\"one\"'"),
        ('EFG 2 R "t" { "one" }', "line 1, column 13: expected two players, got 1"),
        ('EFG 2 R "t" { "one" "two" "three" }', "line 1, column 13: expected two players, got 3"),
        ('EFG 2 R "t" { "one" two', "expected a player's name or '}', in quotation marks, got 'two'"),
        ('EFG 2 R "t', "line 1, column 9: expected a closing quotation mark, got a label that goes on to the end"),
        (HEAD, "line 2, column 1: expected a node: 'c', 'p' or 't', got the end of the file"),
        (HEAD + "x", "line 2, column 1: expected a node: 'c', 'p' or 't', got 'x'"),
        (HEAD + 't "" 1', "line 2, column 7: expected outcome 1 to be described where it comes first, got the end"),
        (HEAD + "t 1", "line 2, column 3: expected the node's name, in quotation marks, got '1'"),
        (HEAD + 't "" -1', "line 2, column 6: expected an outcome's number, 0 for none, got '-1'"),
        (HEAD + 't "" 0 "none" { 0, 0 }', "line 2, column 8: expected no name and no payoffs for outcome 0"),
        (HEAD + 't "" 1 "" { 1 }', "line 2, column 11: expected two payoffs, got 1"),
        (HEAD + 't "" 1 "" { 1, 2, 3 }', "line 2, column 11: expected two payoffs, got 3"),
        (HEAD + 't "" 1 "" { 1, two }', "line 2, column 16: expected a payoff or '}', got 'two'"),
        (HEAD + 't "" 1 "" { 1, 1/0 }', "line 2, column 16: expected a number, got '1/0'"),
        (HEAD + 't "" 1 "" { 1, 1e999 }', "line 2, column 16: expected a payoff that a 64-bit float can hold"),
        (HEAD + 't "" 1 "" { 1, 1e9999999999 }', "line 2, column 16: expected a payoff or '}', got '1e9999999999'"),
        (HEAD + 't "" 1 "" { 1, 2', "line 2, column 17: expected a payoff or '}', got the end of the file"),
        (HEAD + 't "" 1 "name" 5', "line 2, column 15: expected '{', got '5'"),
        (HEAD + MOVE, "line 2, column 27: expected a node: 'c', 'p' or 't', got the end of the file"),
        (HEAD + MOVE + LEAF, "line 3, column 20: expected a node: 'c', 'p' or 't', got the end of the file"),
        (HEAD + MOVE + 3 * LEAF, "line 5, column 1: expected the end of the file, as every node has its children"),
        (HEAD + MOVE + LEAF + '\nt "" 1 "" { 2, -2 }', "line 4, column 6: expected outcome 1 as before"),
        (HEAD + 'p "" 3 1 "x" { "a" } 0' + LEAF, "line 2, column 6: expected a player, 1 or 2, got '3'"),
        (HEAD + 'p "" 1.5 1 "x" { "a" } 0' + LEAF, "line 2, column 6: expected a player, 1 or 2, got '1.5'"),
        (HEAD + 'p "" 1 0 "x" { "a" } 0' + LEAF, "column 8: expected an information set's number, 1 or more, got '0'"),
        (HEAD + 'p "" 1 1 "x" { } 0', "line 2, column 14: expected at least one action, got none"),
        (HEAD + 'p "" 1 1 "x" { a } 0', "column 16: expected an action's label or '}', in quotation marks, got 'a'"),
        (HEAD + 'p "" 1 1 0', "line 2, column 10: expected information set 1 of player 1 to be described where it"),
        (HEAD + 'p "" 1 1 "x" { "a" }' + LEAF, "line 3, column 1: expected an outcome's number, 0 for none, got 't'"),
        (
            HEAD + 'c "" 1 "" { "h" 1/2 "t" 1/2 } 0\np "" 1 1 "x" { "a" } 0' + LEAF + '\np "" 1 1 "x" { "b" } 0' + LEAF,
            """line 5, column 10: expected information set 1 of player 1 as before, "x" { "a" }, got "x" { "b" }""",
        ),
        (HEAD + 'c "" 1 "" { "h" 1/2 "t" 1/3 } 0', "line 2, column 11: expected probabilities that sum to 1, got 0.83"),
        (HEAD + 'c "" 1 "" { } 0', "line 2, column 11: expected probabilities that sum to 1, got 0.0"),
        (HEAD + 'c "" 1 "" { "h" 3/2 "t" -1/2 } 0', "line 2, column 17: expected a probability from 0 to 1, got '3/2'"),
        (HEAD + 'c "" 1 "" { "h" "t" } 0', "line 2, column 17: expected a probability, got '\"t\"'"),
        (
            HEAD + MOVE + '\nc "" 1 "" { "h" 1 } 0' + LEAF + '\nc "" 1 "" { "t" 1 } 0' + LEAF,
            'line 5, column 8: expected information set 1 of chance as before, "" { "h" 1 }, got "" { "t" 1 }',
        ),
        (
            HEAD + MOVE + '\np "" 1 2 "y" { "c" } 0' + LEAF + '\np "" 1 2 "y" { "c" } 0' + LEAF,
            "information set 'y' of player 0: expected perfect recall",
        ),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_column(text: str, error: str) -> None:
    """Each text breaks one rule of the format, at a place counted by hand."""
    with pytest.raises(EfgError) as raised:
        read_efg(text)
    assert error in str(raised.value)


def test_every_file_cut_short_is_refused() -> None:
    """No proper beginning of a file is a file (the last number apart, cut in the middle of its digits)."""
    text = HEAD + MOVE + LEAF + '\np "" 2 1 "y" { "c" } 0\nt "" 2 "" { 2/3, -2/3 }'
    read_efg(text)
    for end in range(len(text)):
        with pytest.raises(EfgError, match=r"line \d, column \d+: expected"):
            read_efg(text[:end])


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 60), st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from('"{},.-/\\ cpt019eE'))))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(seed: int, damage: list[tuple[int, str]]) -> None:
    """Any characters of a random file replaced: no error but EfgError."""
    text = efg_of(random_nodes(seed))
    for position, character in damage:
        at = position % len(text)
        text = text[:at] + character + text[at + 1 :]
    with contextlib.suppress(EfgError):
        assert read_efg(text).max_turns >= 0


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    """A path, or a string that ends in .efg; what is wrong with it is said with its name."""
    path = tmp_path / "game.efg"
    path.write_text(HEAD + MOVE + 2 * LEAF, encoding="utf-8")
    assert read_efg(path).roles == read_efg(str(path)).roles == ("one", "two")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(EfgError, match=r"game\.efg: .*codec"):
        read_efg(path)
    with pytest.raises(EfgError, match=r"missing\.efg: .*No such file"):
        read_efg(tmp_path / "missing.efg")


def test_labels_that_stand_20000_times_are_read_in_seconds() -> None:
    """22 KB of one label took 35 s once, by the cube of their number; by that 20,000 would take days."""
    labels = '"a" ' * 20_000 + " ".join(f'"a_{k}"' for k in range(1, 5_000))
    started = time.perf_counter()
    game = read_efg(HEAD + 'p "" 1 1 "" { ' + labels + " } 0\n" + 't "" 0\n' * 24_999)
    assert time.perf_counter() - started < 10
    assert game.vocabulary.words[19_999:20_001] == ("a_24999", "a_1")


def test_names_that_read_alike_are_told_apart_in_seconds() -> None:
    """Blanks are the only difference of 4,000 labels, and of 4,000 information sets; by the square: half a minute."""
    blanks = [f"a{k:012b}b".replace("0", " ").replace("1", "\t") for k in range(4_000)]
    moves = "".join(f'p "" 2 {k} "{blank}" {{ "x" }} 0' + LEAF + "\n" for k, blank in enumerate(blanks, start=1))
    started = time.perf_counter()
    game = read_efg(HEAD + 'p "" 1 1 "" { ' + " ".join(f'"{blank}"' for blank in blanks) + " } 0\n" + moves)
    assert time.perf_counter() - started < 10
    assert game.vocabulary.words[:3] == ("a_b", "a_b_", "a_b_2")


def test_a_line_of_play_as_long_as_a_tree_takes_is_walked_in_seconds() -> None:
    """6,000 decisions in a row; rules that began at the root for each of them took 20 s."""
    text = HEAD + "".join(f'p "" 1 {k} "i{k}" {{ "a" "b" }} 0\nt "" 0\n' for k in range(1, 6_001)) + 't "" 0\n'
    started = time.perf_counter()
    assert GameTree(read_efg(text)).num_nodes == 12_002
    assert time.perf_counter() - started < 12


PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f't "" 1 "" {{ {"9" * 10**6}x, 1 }}', "expected a payoff or '}', got '9999"),
        (f't "" 1 "" {{ {"9" * 10**6}, 1 }}', "expected a number of at most 2,000 characters, got 1,000,000"),
        (f't "" 1 "" {{ 1/{"9" * 10**5}, 1 }}', "expected a number of at most 2,000 characters, got 100,002"),
        (f'p "" 1 {"9" * 5000} "" {{ "a" }} 0', "expected a number of at most 2,000 characters, got 5,000"),
        ('t "" 1 "" { \u0663, 1 }', "expected a payoff or '}', got '\u0663'"),
        (
            'c "" 1 "" { ' + " ".join(f'"" 1/{p}{"0" * 300}1' for p in PRIMES) + " } 0",
            "expected probabilities with a common denominator of at most 8,192 bits, got a larger one",
        ),
        (
            "".join(f'c "" {k} "" {{ "a" 1/3 "b" 2/3 }} 0' + LEAF + "\n" for k in range(1, 1_100)) + LEAF,
            "deals: expected at most 1,000 chance nodes on a path, got more",
        ),
        ('t "' + "\\a" * 10**6, "expected a closing quotation mark, got a label that goes on to the end of the file"),
        ("{" * 10**6, "expected a node: 'c', 'p' or 't', got '{'"),
        (f'p "" 1 1 "" {{ {"x" * 10**6} }} 0', "expected an action's label or '}', in quotation marks, got 'xxx"),
    ],
)
def test_a_bomb_is_refused_in_no_time_with_the_bound(text: str, error: str) -> None:
    """Numbers that take their square to convert or to scan, fractions that grow, chance that multiplies."""
    started = time.perf_counter()
    with pytest.raises(EfgError) as raised:
        read_efg(HEAD + text)
    assert error in str(raised.value)
    assert len(str(raised.value)) < 500
    assert time.perf_counter() - started < 5


def test_chance_that_depends_on_too_much_is_refused_in_seconds() -> None:
    """5 KB: forty moves, each with five coins of their own in a row, have forty-one to the fifth deals."""

    def coins(move: int, left: int) -> str:
        odds = 5 * move + left + 11
        drawn = f'c "" {odds} "" {{ "a" 1/{odds} "b" {odds - 1}/{odds} }} 0' + LEAF + "\n"
        return drawn + (coins(move, left - 1) if left > 1 else LEAF + "\n")

    moves = " ".join(f'"{k}"' for k in range(40))
    text = HEAD + f'p "" 1 1 "x" {{ {moves} }} 0\n' + "".join(coins(k, 5) for k in range(40))
    started = time.perf_counter()
    with pytest.raises(TooLarge, match="deals: expected at most 200,000 of them"):
        ExplicitGame(parse_efg(text).nodes, max_deals=200_000)
    assert time.perf_counter() - started < 5


def test_more_nodes_than_the_bound_are_refused_at_the_first_too_many() -> None:
    """The bound is named, and can be raised."""
    text = HEAD + MOVE + 2 * LEAF
    assert len(read_efg(text, max_nodes=3).nodes) == 3
    with pytest.raises(EfgError, match=r"line 4, column 1: expected at most 2 nodes \(max_nodes\), got more"):
        read_efg(text, max_nodes=2)


def test_a_number_never_makes_a_name_that_another_set_bears() -> None:
    """Two sets called z are z (1,1) and z (1,2); a third whose label is "z (1,1)" is another one all the same."""
    sets = [(1, "z", "a"), (2, "z", "b"), (3, "z (1,1)", "c")]
    moves = "".join(f'p "" 1 {k} "{label}" {{ "{action}" }} 0' + LEAF + "\n" for k, label, action in sets)
    game = read_efg(HEAD + 'p "" 2 1 "who" { "x" "y" "w" } 0\n' + moves)
    assert GameTree(game).tables[0].num_infostates == 3


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_file_of_any_editor_is_read(tmp_path: Path, encoding: str, end: str) -> None:
    """Notepad and Excel begin UTF-8 with a byte order mark; line ends are blanks like any other."""
    path = tmp_path / "game.efg"
    path.write_text((HEAD + MOVE + 2 * LEAF).replace("\n", end), encoding=encoding, newline="")
    words = read_efg(HEAD + MOVE + 2 * LEAF).vocabulary.words
    assert read_efg(path).vocabulary.words == read_efg(path.read_text(encoding="utf-8")).vocabulary.words == words


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_refused_with_the_line(tmp_path: Path, encoding: str) -> None:
    """What is no UTF-8 is not guessed at."""
    path = tmp_path / "game.efg"
    path.write_text(HEAD + '"möglich"\n' + MOVE + 2 * LEAF, encoding=encoding)
    with pytest.raises(EfgError, match=r"game\.efg: line \d: expected text in UTF-8, got another encoding"):
        read_efg(path)


def test_a_file_without_an_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The bound is named."""
    monkeypatch.setattr(efg, "MAX_BYTES", 20)
    path = tmp_path / "game.efg"
    path.write_text(HEAD + MOVE + 2 * LEAF, encoding="utf-8")
    with pytest.raises(EfgError, match="expected a file of at most 20 bytes, got a larger one"):
        read_efg(path)


def test_an_error_shows_control_characters_as_escapes() -> None:
    """A label from a file may not reach the terminal as it is."""
    twice = 'p "" 1 1 "\x1b]0;x\x07" { "a" } 0\n'
    with pytest.raises(EfgError, match=r"as before, \"\\x1b]0;x\\x07\" \{ \"a\" \}, got \"y\" \{ \"a\" \}"):
        read_efg(HEAD + twice + twice.replace("\x1b]0;x\x07", "y"))
