"""OpenSpiel's games as ours: the same returns, values and policies as OpenSpiel itself has."""

import builtins
import pickle
from typing import Any

import numpy as np
import pytest

from duologue.envs import Episode, FiniteDeals, Payoff
from duologue.envs.bridges.explicit import ExplicitGame
from duologue.envs.bridges.openspiel import OpenSpielGame, from_openspiel
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.leduc_poker import LeducPoker
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import GameTree, expected_returns, nash_conv, uniform_profile
from duologue.tests.envs.bridges.helpers import (
    TOLERANCE,
    assert_agree,
    infostate_words,
    load_efg,
    ours,
    random_profile,
    theirs,
    to_openspiel,
)

pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")

ENUMERATED = [
    "kuhn_poker",
    "tiny_hanabi",
    "lewis_signaling",
    "liars_dice(dice_sides=3)",
    "first_sealed_auction(max_value=3)",
    "sheriff(num_rounds=1,max_items=3,max_bribe=2)",
    "turn_based_simultaneous_game(game=goofspiel(num_cards=3,players=2))",
    "turn_based_simultaneous_game(game=matrix_pd())",
]


class PayingState(pyspiel.State):  # type: ignore[misc,name-defined]
    """Three words, 0 or 1; a word of 1 pays player 0 what its turn counts, and player 1 half of that, at once."""

    def __init__(self, game: Any) -> None:
        super().__init__(game)
        self.said: list[int] = []

    def current_player(self) -> int:
        return int(pyspiel.PlayerId.TERMINAL) if self.is_terminal() else len(self.said) % 2

    def _legal_actions(self, player: int) -> list[int]:
        return [0, 1]

    def _apply_action(self, action: int) -> None:
        self.said.append(action)

    def _action_to_string(self, player: int, action: int) -> str:
        return f"say{action}"

    def is_terminal(self) -> bool:
        return len(self.said) == 3

    def returns(self) -> list[float]:
        paid = sum((k + 1.0) * word for k, word in enumerate(self.said))
        return [paid, paid / 2]

    def information_state_string(self, player: int) -> str:
        return " ".join(map(str, self.said))


class Paying(pyspiel.Game):  # type: ignore[misc,name-defined]
    """A game whose rewards come at every turn; OpenSpiel has no small one for two players."""

    def __init__(self, information: Any) -> None:
        kinds = pyspiel.GameType
        kind = pyspiel.GameType(
            short_name="paying",
            long_name="paying",
            dynamics=kinds.Dynamics.SEQUENTIAL,
            chance_mode=kinds.ChanceMode.DETERMINISTIC,
            information=information,
            utility=kinds.Utility.GENERAL_SUM,
            reward_model=kinds.RewardModel.REWARDS,
            max_num_players=2,
            min_num_players=2,
            provides_information_state_string=True,
            provides_information_state_tensor=False,
            provides_observation_string=False,
            provides_observation_tensor=False,
            parameter_specification={},
        )
        info = pyspiel.GameInfo(
            num_distinct_actions=2,
            max_chance_outcomes=0,
            num_players=2,
            min_utility=0.0,
            max_utility=6.0,
            utility_sum=None,
            max_game_length=3,
        )
        super().__init__(kind, info, {})

    def new_initial_state(self) -> PayingState:
        return PayingState(self)


def uniform_by_openspiel(game: Any) -> tuple[float, list[float]]:
    """NashConv and returns of uniform play by OpenSpiel's C++ code."""
    policy = pyspiel.UniformRandomPolicy(game)
    returns = pyspiel.expected_returns(game.new_initial_state(), policy, -1, False)
    return pyspiel.nash_conv(game, policy), returns


@pytest.mark.parametrize("name", ENUMERATED)
def test_openspiel_agrees_on_uniform_and_random_policies(name: str) -> None:
    """OpenSpiel's own Python `exploitability.nash_conv` and `expected_game_score`."""
    game = pyspiel.load_game(name)
    tree = GameTree(from_openspiel(name))
    for profile in (uniform_profile(tree), random_profile(tree, 0), random_profile(tree, 1)):
        assert_agree(ours(tree, profile), theirs(game, to_openspiel(tree, profile, game)))


def test_openspiel_agrees_on_leduc_poker() -> None:
    """120 deals as in the rules; OpenSpiel's own Python code on a random policy, C++ on the uniform one."""
    game = pyspiel.load_game("leduc_poker")
    tree = GameTree(from_openspiel(game))
    assert len(tree.deals) == 120
    assert [table.num_infostates for table in tree.tables] == [468, 468]
    profile = random_profile(tree, 0)
    assert_agree(ours(tree, profile), theirs(game, to_openspiel(tree, profile, game)))
    check_uniform(game, tree)


@pytest.mark.slow
def test_openspiel_agrees_on_tic_tac_toe() -> None:
    """Played step by step: 549946 lines of play up to any turn, and a root; C++ code on uniform play."""
    game = pyspiel.load_game("tic_tac_toe")
    tree = GameTree(from_openspiel(game))
    assert tree.num_nodes == 549_946 + 1
    check_uniform(game, tree)


@pytest.mark.slow
def test_openspiel_agrees_on_liars_dice() -> None:
    """36 deals of two six-sided dice; C++ code on uniform play."""
    game = pyspiel.load_game("liars_dice")
    tree = GameTree(from_openspiel(game))
    assert len(tree.deals) == 36
    check_uniform(game, tree)


def check_uniform(game: Any, tree: GameTree) -> None:
    """Compare NashConv and returns of uniform play."""
    their_nash_conv, returns = uniform_by_openspiel(game)
    profile = uniform_profile(tree)
    assert nash_conv(tree, profile) == pytest.approx(their_nash_conv, abs=TOLERANCE)
    np.testing.assert_allclose(expected_returns(tree, profile), returns, rtol=0, atol=TOLERANCE)


def our_game_as_policy(tree: GameTree, profile: Any, game: Any, names: dict[str, str], deals: list[list[int]]) -> Any:
    """Carry a policy of our own game to OpenSpiel's by playing every line of ours in both.

    Args:
        tree: of our game.
        profile: on it.
        game: OpenSpiel's.
        names: OpenSpiel's name of each of our words.
        deals: the outcomes of chance in each of our deals, in the order of the tree.
    """
    from open_spiel.python import policy

    table = policy.TabularPolicy(game)
    states: dict[int, tuple[Any, list[int]]] = {}
    for deal, outcomes in enumerate(deals, start=1):
        states[deal] = through_chance(game.new_initial_state(), outcomes)
    for node in range(1, tree.num_nodes):
        if node not in states:
            state, outcomes = states[int(tree.parent[node])]
            word = names[tree.game.vocabulary.decode((int(tree.token[node]),))]
            states[node] = through_chance(state.child(state.string_to_action(word)), outcomes)
        state, player, infostate = states[node][0], int(tree.player[node]), int(tree.infostate[node])
        assert (state.current_player() if not state.is_terminal() else -2) == player
        if player >= 0:
            row = table.state_lookup[state.information_state_string()]
            table.action_probability_array[row] = 0
            part = np.split(profile[player], tree.tables[player].offsets[1:-1])[infostate]
            for word, probability in zip(infostate_words(tree, player, infostate), part, strict=True):
                table.action_probability_array[row, state.string_to_action(names[word])] = probability
    return table


def through_chance(state: Any, outcomes: list[int]) -> tuple[Any, list[int]]:
    """Return the state after the chance nodes that it stands at, and the outcomes not yet used."""
    while state.is_chance_node():
        state, outcomes = state.child(outcomes[0]), outcomes[1:]
    return state, outcomes


def test_our_kuhn_poker_is_openspiel_s() -> None:
    """Cards 0, 1, 2 are jack, queen, king; a policy carried over card by card and word by word."""
    tree, game = GameTree(KuhnPoker()), pyspiel.load_game("kuhn_poker")
    cards = {"jack": 0, "queen": 1, "king": 2}
    names = {"check": "Pass", "fold": "Pass", "bet": "Bet", "call": "Bet"}
    for seed in range(3):
        profile = random_profile(tree, seed)
        policy = our_game_as_policy(tree, profile, game, names, [[cards[card] for card in deal] for deal in tree.deals])
        assert_agree(ours(tree, profile), theirs(game, policy))


def test_our_leduc_poker_is_openspiel_s() -> None:
    """Cards 0 to 5 are jack, jack, queen, queen, king, king; a policy carried over word by word."""
    tree, game = GameTree(LeducPoker()), pyspiel.load_game("leduc_poker")
    ranks = {"jack": 0, "queen": 2, "king": 4}
    card = {f"{rank}-of-{suit}": n + k for rank, n in ranks.items() for k, suit in enumerate(("spades", "hearts"))}
    names = {"fold": "Fold", "call": "Call", "raise": "Raise"}
    profile = random_profile(tree, 7)
    policy = our_game_as_policy(tree, profile, game, names, [[card[number] for number in deal] for deal in tree.deals])
    assert_agree(ours(tree, profile), theirs(game, policy))


@pytest.mark.parametrize(
    ("name", "num_deals"),
    [("kuhn_poker", 6), ("liars_dice(dice_sides=3)", 9), ("tiny_hanabi", 4), ("lewis_signaling", 3)],
)
def test_chance_becomes_the_natural_deals(name: str, num_deals: int) -> None:
    """Counted by hand: ordered pairs of cards, pairs of dice, pairs of cards, states of the world."""
    deals = from_openspiel(name).deals
    assert isinstance(deals, FiniteDeals)
    np.testing.assert_allclose(list(deals.outcomes().values()), 1 / num_deals, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    "name",
    [
        "kuhn_poker",
        "tiny_hanabi",
        "sheriff(num_rounds=1,max_items=3,max_bribe=2)",
        "tic_tac_toe",
        "pig(horizon=20)",
        "breakthrough",
    ],
)
def test_the_conformance_suite_passes(name: str) -> None:
    """Enumerated, step by step, and step by step with chance."""
    check_game(from_openspiel(name, max_states=5000), episodes=4)


@pytest.mark.parametrize("name", ["chess", "go(board_size=9)", "connect_four"])
def test_open_games_without_chance_work_at_any_size(name: str) -> None:
    """Random play through both, move by move: the same player, as many legal moves, the same returns."""
    game, rng = from_openspiel(name), np.random.default_rng(0)
    assert isinstance(game, OpenSpielGame)
    episode, state = Episode(game, None), pyspiel.load_game(name).new_initial_state()
    while episode.player is not None:
        legal = np.flatnonzero(episode.open_turn.legal_mask)
        assert (episode.player, len(legal)) == (state.current_player(), len(state.legal_actions()))
        choice = int(rng.integers(len(legal)))
        named = {state.action_to_string(action): action for action in state.legal_actions()}
        episode.push(int(legal[choice]))
        word = game.vocabulary.decode(episode.dialogue.turns[-1].tokens)
        said = game.annotate(episode.dialogue) or word
        state.apply_action(named[said])
    assert state.is_terminal()
    assert episode.returns == state.returns()


def test_chance_in_a_game_step_by_step_is_determined_by_the_deal() -> None:
    """The same seed and words give the same dice, another seed others; both players are told."""
    game = from_openspiel("backgammon", max_states=10)
    assert isinstance(game, OpenSpielGame)
    assert game.deals.outcomes() is None
    first, again, other = (Episode(game, deal) for deal in (1, 1, 2))
    for _ in range(6):
        token = int(np.flatnonzero(first.open_turn.legal_mask)[0])
        first.push(token)
        again.push(token)
    assert first.transcript() == again.transcript()
    assert (first.views == again.views).all()
    assert len({game.briefing(deal, 0) for deal in range(20)}) > 5
    assert game.briefing(1, 0) == game.briefing(1, 1)
    assert other.game is game


def test_chance_in_a_game_step_by_step_has_openspiel_s_probabilities() -> None:
    """Pig's die is fair: each side a sixth of 6000 throws, five standard deviations (29 each) either way."""
    game = from_openspiel("pig(horizon=20)", max_states=10)
    roll = game.vocabulary.encode("action0")
    shown = []
    for deal in range(6000):
        dialogue = Episode(game, deal).dialogue.extend(_turn(roll))
        shown.append(game.vocabulary.decode(game.announcement(dialogue, 0)))
    counts = [shown.count(side) for side in sorted(set(shown))]
    assert len(counts) == 6
    dialogue = Episode(game, 0).dialogue
    for _ in range(8):
        dialogue = dialogue.extend(_turn(roll))
    assert len({game.announcement(dialogue.upto(k), 0) for k in range(1, 9)}) > 1  # one throw does not fix the next
    assert max(abs(count - 1000) for count in counts) < 5 * 29


def _turn(tokens: tuple[int, ...]) -> Any:
    from duologue.envs import Turn

    return Turn(tokens)


def test_an_open_game_with_chance_is_enumerated_where_it_is_small() -> None:
    """By hand: a coin that player 1 sees, after a word of player 0's that sets its odds, 3 + 4 information sets."""
    leaves = ['t "" 1 "" { 1, -1 }', 't "" 2 "" { -1, 1 }']
    move = 'p "" 2 {} "" {{ "l" "r" }} 0'
    coins = [f'c "" {n} "" {{ "h" {chance} "t" {1 - chance} }} 0' for n, chance in ((1, 0.25), (2, 0.5))]
    below = [[coins[k], move.format(2 * k + 1), *leaves, move.format(2 * k + 2), *leaves[::-1]] for k in (0, 1)]
    lines = ['EFG 2 R "coins" { "one" "two" }', 'p "" 1 1 "" { "a" "b" } 0', *below[0], *below[1]]
    game = load_efg("\n".join(lines))
    assert game.get_type().information == pyspiel.GameType.Information.PERFECT_INFORMATION
    tree = GameTree(from_openspiel(game))
    assert isinstance(tree.game, ExplicitGame)
    assert tree.deals == [(0.125,), (0.375,), (0.75,)]
    assert [table.num_infostates for table in tree.tables] == [1, 4]
    check_uniform(game, tree)


def expectimax(state: Any, maximiser: int | None) -> float:
    """Player 0's return from OpenSpiel's states themselves: one player at its best, the other uniform."""
    if state.is_terminal():
        return float(state.returns()[0])
    if state.is_chance_node():
        return sum(float(p) * expectimax(state.child(action), maximiser) for action, p in state.chance_outcomes())
    values = [expectimax(state.child(action), maximiser) for action in state.legal_actions()]
    best = max(values) if maximiser == 0 else min(values)
    return best if state.current_player() == maximiser else sum(values) / len(values)


def test_pig_has_the_values_of_its_own_states() -> None:
    """OpenSpiel has no information state for pig; what has happened serves, its dice drawn in 61 deals."""
    name = "pig(winscore=6,horizon=5,diceoutcomes=3)"
    tree, root = GameTree(from_openspiel(name)), pyspiel.load_game(name).new_initial_state()
    assert len(tree.deals) == 61
    values = ours(tree, uniform_profile(tree))
    assert values.returns[0] == pytest.approx(expectimax(root, None), abs=TOLERANCE)
    assert values.best[0] == pytest.approx(expectimax(root, 0), abs=TOLERANCE)
    assert -values.best[1] == pytest.approx(expectimax(root, 1), abs=TOLERANCE)


@pytest.mark.parametrize(
    ("information", "form"),
    [
        (pyspiel.GameType.Information.PERFECT_INFORMATION, OpenSpielGame),
        (pyspiel.GameType.Information.IMPERFECT_INFORMATION, ExplicitGame),
    ],
)
def test_rewards_are_differences_of_returns(information: Any, form: type[Any]) -> None:
    """By hand: words 1, 0, 1 pay 1, 0 and 3, step by step as well as enumerated."""
    game = from_openspiel(Paying(information))
    assert isinstance(game, form)
    episode = Episode(game, next(iter(game.deals.outcomes() or {})))
    for word in (1, 0, 1):
        legal = np.flatnonzero(episode.open_turn.legal_mask)
        episode.push(int(legal[word]))
    assert episode.reward_history == [(1.0, 0.5), (0.0, 0.0), (3.0, 1.5)]


def test_transcripts_name_the_moves() -> None:
    """OpenSpiel has names for chess moves only in a position."""
    game = from_openspiel("chess")
    episode = Episode(game, None)
    episode.push(int(np.flatnonzero(episode.open_turn.legal_mask)[0]))
    assert "(" in episode.transcript()
    assert from_openspiel("tic_tac_toe").vocabulary.decode((8, 9)) == "x(0,0) x(0,1)"


def test_a_game_can_be_pickled() -> None:
    """Environments are copied; the cache of positions stays behind."""
    game = from_openspiel("tic_tac_toe")
    Episode(game, None).push(8)
    again = pickle.loads(pickle.dumps(game))
    assert again._cache == {}
    assert again.legal_tokens(Episode(again, None).dialogue, ()) == game.legal_tokens(Episode(game, None).dialogue, ())


@pytest.mark.parametrize(
    ("name", "payoff"),
    [("kuhn_poker", Payoff.ZERO_SUM), ("tiny_hanabi", Payoff.IDENTICAL), ("lewis_signaling", Payoff.GENERAL)],
)
def test_the_utility_type_becomes_the_payoff_type(name: str, payoff: Payoff) -> None:
    """OpenSpiel's own `GameType.utility`."""
    assert from_openspiel(name).payoff is payoff


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("no_such_game", "expected the name of an OpenSpiel game, got 'no_such_game'"),
        ("kuhn_poker(players=3)", "expected two players, got 3 in 'kuhn_poker'"),
        ("blackjack", "expected two players, got 1 in 'blackjack'"),
        ("matrix_pd", r'expected a sequential game.*"turn_based_simultaneous_game\(game=matrix_pd\(\)\)" makes a seq'),
        ("negotiation", "expected chance that lists its outcomes, got 'negotiation'"),
        ("crazy_eights(players=2)", "expected one with information_state_string, got 'crazy_eights'"),
        ("dark_hex", r"dark_hex\(\): expected at most 1,000 states, got an estimate of \d"),
        ("liars_dice(dice_sides=3)", r"expected at most 1,000 states, got more than that; raise max_states"),
        ("dark_hex_ir(board_size=2,num_rows=2,num_cols=2)", "expected perfect recall"),
    ],
)
def test_what_cannot_be_a_language_game_is_refused(name: str, error: str) -> None:
    """Each game lacks one thing that a two-player language game needs."""
    with pytest.raises(ValueError, match=error):
        from_openspiel(name, max_states=1000)


def test_a_missing_openspiel_is_reported_with_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """`import pyspiel` fails here as where it is not installed."""
    found = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name == "pyspiel":
            raise ImportError("No module named 'pyspiel'")
        return found(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'expected open_spiel.*pip install "\.\[openspiel\]"'):
        from_openspiel("kuhn_poker")
