"""Deals, seeds, sizes and rules handed to the forms of play: what is none of them is named before it is used."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest

import duologue.envs
from duologue.envs import (
    Dialogue,
    Episode,
    FiniteDeals,
    LanguageGame,
    LanguageGameEnv,
    Payoff,
    SampledDeals,
    SinglePlayerEnv,
    TurnLevelEnv,
    deal_episodes,
    make_game,
    register_game,
)
from duologue.envs.batched.game import BatchedGame
from duologue.envs.game import MAX_VIEW_TOKENS, check_count
from duologue.envs.games.bluff import Bluff
from duologue.envs.interfaces.vector import MAX_ENVS, LanguageGameVectorEnv
from duologue.envs.tree.game_tree import GameTree
from duologue.tests.envs.helpers import Whisper

FORMS: list[Callable[[Any], Any]] = [
    LanguageGameEnv,
    TurnLevelEnv,
    SinglePlayerEnv,
    lambda game: LanguageGameVectorEnv(game, 2),
]
NO_RULES = ["kuhn_poker-v0", Bluff, None, 3, LanguageGameEnv(Bluff())]


def attempt(use: Callable[[], object], kinds: Any, message: str) -> None:
    """Check that this is refused, in one line."""
    with pytest.raises(kinds, match=message) as refused:
        use()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("game", NO_RULES, ids=["name", "class", "none", "number", "environment"])
def test_what_are_no_rules_is_named(game: Any) -> None:
    """A registered name where the rules are wanted, a class, an environment."""
    uses: list[Callable[[], object]] = [partial(form, game) for form in FORMS]
    uses += [lambda: BatchedGame(game, 4), lambda: GameTree(game), lambda: Episode(game, "ace")]
    for use in uses:
        attempt(use, TypeError, "game: expected the rules, a LanguageGame")
    if isinstance(game, str):
        attempt(uses[0], TypeError, re.escape("such as make_game('kuhn_poker-v0')"))


PROBABILITIES = [
    {},
    {"a": 0.5},
    {"a": -0.5, "b": 1.5},
    {"a": float("nan")},
    {"a": float("inf")},
    {"a": None},
    {"a": "1"},
]
PROBABILITIES += [{"a": float("inf"), "b": -float("inf")}, {"a": 1j}, {"a": 10**400}, {"a": 0.5, "b": float("nan")}]


@pytest.mark.parametrize("table", PROBABILITIES, ids=repr)
def test_deals_that_are_no_distribution_are_named(table: Any) -> None:
    """At construction, with the table."""
    attempt(lambda: FiniteDeals(table), ValueError, "deals: expected probabilities >= 0 that sum to 1, got {")


@pytest.mark.parametrize("table", [["ace", "deuce"], "ace", None, 1.0])
def test_deals_that_are_no_table_are_named(table: Any) -> None:
    """A list of deals has no probabilities."""
    attempt(lambda: FiniteDeals(table), TypeError, "deals: expected a mapping from each deal to its probability, got")
    attempt(lambda: SampledDeals(table), TypeError, "deals: expected a function of a generator that draws one, got")


def drawing(deal: Any) -> LanguageGame[Any]:
    """Return rules whose deals are drawn and always this one."""
    game: Any = type("Drawing", (Whisper,), {"deals": SampledDeals(lambda rng: deal)})()
    return game  # type: ignore[no-any-return]


def reset(form: Callable[[Any], Any], game: LanguageGame[Any], **options: Any) -> None:
    """Make a form of play, and reset it."""
    form(game).reset(**options)


UNHASHABLE = [["red"], {"red": 1}, {"red"}, np.zeros(2), (1, [2])]


@pytest.mark.parametrize("deal", UNHASHABLE, ids=repr)
def test_deals_that_cannot_be_hashed_are_named(deal: Any) -> None:
    """Drawn, or set by the options of a reset, or handed to the engine."""
    message = "deal: expected a hashable one, such as a tuple, got the unhashable"
    for form in FORMS:
        attempt(partial(reset, form, drawing(deal), seed=0), TypeError, message)
        attempt(partial(form(Bluff()).reset, options={"deal": deal}), TypeError, message)
    attempt(lambda: BatchedGame(drawing(deal), 2), TypeError, message)
    attempt(lambda: BatchedGame(Bluff(), 2).reset(deals=[deal, "ace"]), TypeError, message)
    attempt(lambda: Episode(Whisper(), deal), TypeError, message)
    attempt(lambda: deal_episodes(drawing(deal), np.random.default_rng(0), 2), TypeError, message)


@pytest.mark.parametrize("deal", ["x", None, 0, ("ace",), b"ace"])
def test_deals_that_a_game_does_not_list_are_named(deal: Any) -> None:
    """And nothing has changed: the episode before it goes on."""
    message = "deal: expected one that Bluff lists, such as 'ace', 'deuce'; got"
    for form in FORMS:
        env = form(Bluff())
        env.reset(seed=0, options={"deal": "ace"})
        attempt(partial(env.reset, options={"deal": deal}), ValueError, message)
    assert isinstance(FORMS[0], type)
    plays = BatchedGame(Bluff(), 2, seed=0)
    before = [plays.dialogue(k) for k in range(2)]
    attempt(lambda: plays.reset(deals=["ace", deal]), ValueError, message)
    assert [plays.dialogue(k) for k in range(2)] == before


@pytest.mark.parametrize("options", ["deal", 3, [("deal", "ace")]])
def test_options_are_a_dict(options: Any) -> None:
    """Anything else would say "deal" by chance."""
    for form in FORMS:
        attempt(partial(form(Bluff()).reset, seed=0, options=options), TypeError, "options: expected a dict")


@pytest.mark.parametrize("seed", [-1, 1.5, "x", True, (1,), float("nan"), np.float64(3)])
def test_what_is_no_seed_is_named(seed: Any) -> None:
    """By each form; a seed of numpy's, or a large one, is one."""
    message = "seed: expected"
    for form in (LanguageGameEnv, TurnLevelEnv):
        attempt(partial(form(Bluff()).reset, seed=seed), (TypeError, ValueError), message)
    attempt(lambda: BatchedGame(Bluff(), 2, seed=seed), (TypeError, ValueError), message)
    attempt(lambda: BatchedGame(Bluff(), 2).reset(seed=seed), (TypeError, ValueError), message)
    envs = LanguageGameVectorEnv(Bluff(), 2)
    attempt(lambda: envs.reset(seed=seed), (TypeError, ValueError), message)
    attempt(lambda: envs.reset(seed=[0, seed]), (TypeError, ValueError), message)
    if seed is not True:
        with pytest.raises(gymnasium.error.Error, match=r"[Ss]eed"):
            SinglePlayerEnv(Bluff()).reset(seed=seed)


@pytest.mark.parametrize("seed", [0, 2**70, np.int64(5)])
def test_seeds_may_be_large_or_numpys(seed: Any) -> None:
    """The same deals each time."""
    envs: list[Any] = [LanguageGameEnv(Bluff()), TurnLevelEnv(Bluff())]
    for make in envs:
        deals = [[make.reset(seed=seed), make.unwrapped.dialogue.deal] for _ in range(2)]
        assert deals[0] == deals[1]
    first, second = (BatchedGame(Bluff(), 9, seed=seed) for _ in range(2))
    assert [first.dialogue(k) for k in range(9)] == [second.dialogue(k) for k in range(9)]


SIZES = ["max_turns", "max_turn_tokens", "max_thought_tokens", "max_briefing_tokens", "max_announcement_tokens"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("number", [-1, 1.5, "3", True, None, float("inf"), 10**11, 2**70])
def test_sizes_that_no_view_can_have_are_named_before_anything_is_allocated(size: str, number: Any) -> None:
    """By each form alike, with the bound where there is one."""
    game: Any = type("Sized", (Whisper,), {size: number})()
    large = rf"expected views of at most {MAX_VIEW_TOKENS:,} tokens, got [\d,]+ from .*{size}="
    message = rf"Sized.{size}: expected (at least [01]|an integer), got|{large}"
    for use in (*(partial(form, game) for form in FORMS), partial(BatchedGame, game, 2)):
        attempt(use, (TypeError, ValueError), message)
    attempt(lambda: Episode(game, "red"), (TypeError, ValueError), message)


@pytest.mark.parametrize("number", [0, -1, 1.5, "3", True, None, 10**9, 2**70])
def test_how_many_episodes_there_can_be(number: Any) -> None:
    """With what so many would take, where they are too many."""
    message = rf"num_\w+: expected (at least 1|an integer|at most {MAX_ENVS:,}|views and masks of at most 64 GiB), got"
    kinds = (TypeError, ValueError)
    attempt(lambda: BatchedGame(make_game("kuhn_poker-v0"), number), kinds, message)
    attempt(lambda: LanguageGameVectorEnv(Bluff(), number), kinds, message)
    attempt(lambda: gymnasium.make_vec("duologue/kuhn_poker-v0", num_envs=number), kinds, message)
    with pytest.raises(
        ValueError, match=r"at most 64 GiB, got [\d,]+ GiB for 1,000,000,000 episodes of up to \d+ tokens"
    ):
        BatchedGame(make_game("kuhn_poker-v0"), 10**9)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bluff-v0", {"max_thought_tokens": 10**11}),
        ("red_team-v0", {"num_rounds": 10**11}),
        ("random_game-v0", {"num_turns": 10**11}),
        ("random_game-v0", {"branching": 10**11}),
        ("random_game-v0", {"num_deals": 2**70}),
        ("random_game-v0", {"max_turn_tokens": 10**11}),
        ("running_sum-v0", {"modulus": 10**11}),
        ("running_sum-v0", {"num_terms": 2**70}),
        ("secret_code-v0", {"num_words": 10**11}),
        ("secret_code-v0", {"code": 3}),
        ("tiny_bargaining-v0", {"num_coins": 10**11}),
        ("tiny_referential-v0", {"num_objects": 10**11}),
        ("one_shot_red_team-v0", {"num_replies": 10**11}),
        ("random_preference-v0", {"num_replies": 10**11}),
        ("rock_paper_scissors-v0", {"num_rounds": 10**11}),
        ("red_team_text-v0", {"max_reply_tokens": 10**11}),
        ("red_team_text-v0", {"requests": 3}),
        ("red_team_text-v0", {"vocabulary": 3}),
        ("statements-v0", {"facts": 3}),
        ("secret_code-v0", {"num_shots": 10**11}),
    ],
)
def test_options_of_absurd_sizes_are_refused_at_once(name: str, options: dict[str, Any]) -> None:
    """Before a list, a table or a view of that size is made; other types are named, too."""
    attempt(lambda: make_game(name, **options), (TypeError, ValueError), "expected")


def test_counts_are_whole_numbers_in_bounds() -> None:
    """What the games' options share."""
    check_count("n", 3)
    for count in (0, True, 2.0, "3", None):
        attempt(partial(check_count, "n", count), ValueError, "n: expected a whole number of at least 1, got")
    attempt(lambda: check_count("n", 10, most=9), ValueError, "n: expected a whole number from 1 to 9, got 10")


def test_payoffs_are_of_their_type() -> None:
    """The text "general" equals it and is not it: who asks `payoff is Payoff.GENERAL` would be told no."""
    game: Any = type("Haggle", (Whisper,), {"payoff": "general"})()
    attempt(
        lambda: Episode(game, "red"), TypeError, "Haggle.payoff: expected a value of Payoff, such as Payoff.GENERAL"
    )
    assert Whisper.payoff is Payoff.GENERAL


REWARDS: list[Any] = [
    1.0,
    None,
    (1.0,),
    (1.0, 2.0, 3.0),
    "12",
    ("1", "2"),
    (None, 1.0),
    (float("nan"), 0.0),
    (float("inf"), 0.0),
    {},
]


@pytest.mark.parametrize("paid", REWARDS, ids=repr)
def test_rewards_that_are_no_pair_of_numbers_are_named(paid: Any) -> None:
    """Token by token and in batches, and the turn is unsaid."""
    game: Any = type("Haggle", (Bluff,), {"rewards": lambda self, dialogue: paid})()
    episode, plays = Episode(game, "ace"), BatchedGame(game, 2, seed=0)
    token = int(episode.view().legal_mask(()).argmax())
    for use in (lambda: episode.push(token), lambda: plays.step([token] * 2)):
        attempt(use, ValueError, "Haggle.rewards: expected (a pair of numbers|two finite numbers), got")
    assert (episode.dialogue.turns, plays.dialogue(0).turns) == ((), ())
    batch: Any = type("Haggle", (Bluff,), {"rewards_batch": lambda self, dialogues: paid})()
    attempt(lambda: BatchedGame(batch, 4, seed=0).step([token] * 4), ValueError, "expected .* pair")


@pytest.mark.parametrize("player", [2, -1, True, 1.0, "player_0"])
def test_speakers_that_are_no_players_are_named(player: Any) -> None:
    """At the start as later."""
    game: Any = type("Haggle", (Whisper,), {"next_player": lambda self, dialogue: player})()
    for use in (lambda: Episode(game, "red"), lambda: BatchedGame(game, 2), lambda: GameTree(game)):
        attempt(use, ValueError, "Haggle.next_player: expected 0, 1 or None, got")
    later: Any = type("Haggle", (Whisper,), {"next_player": lambda self, dialogue: player if dialogue.turns else 0})()
    episode = Episode(later, "red")
    attempt(lambda: episode.push(Whisper.vocabulary.eos_id), ValueError, "Haggle.next_player: expected 0, 1 or None")
    assert episode.dialogue == Dialogue("red")


def test_speakers_of_numpys_are_players() -> None:
    """Rules that count in arrays say so."""
    game: Any = type("Haggle", (Whisper,), {"next_player": lambda self, dialogue: np.int64(0)})()
    assert type(Episode(game, "red").player) is int


@pytest.mark.parametrize(
    "name", ["Haggle", "haggle", "haggle-v", "haggle_v0", "Haggle-v0", "hag gle-v0", "-v0", "", 3, None]
)
def test_names_are_lower_case_with_a_version(name: Any) -> None:
    """As the docstring has it; nothing is registered."""
    attempt(lambda: register_game(name, Whisper), ValueError, 'name: expected lower case with a version, as "bluff-v0"')
    assert name not in duologue.envs.registered_games()


@pytest.mark.parametrize("entry_point", ["bluff", "a.b:", 3, None])
def test_entry_points_are_classes_or_name_them(entry_point: Any) -> None:
    """Before the name is taken."""
    attempt(
        lambda: register_game("haggle-v0", entry_point), TypeError, 'entry_point: expected a class, .* "module:name"'
    )
    assert "haggle-v0" not in duologue.envs.registered_games()


@pytest.mark.parametrize("name", ["kuhn_poker", "kuhn", "Kuhn_Poker-V0", "kuhn_poker-v1", "kuhn-poker-v0"])
def test_a_name_that_is_nearly_one_is_guessed(name: str) -> None:
    """Without its version, short, in capitals, of another version."""
    attempt(lambda: make_game(name), ValueError, "did you mean 'kuhn_poker-v0'?")
