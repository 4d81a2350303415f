"""Spoken games: the same rules in sentences, for whoever speaks through a tokenizer."""

import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from duologue.envs import (
    BatchedGame,
    Dialogue,
    Episode,
    FiniteDeals,
    GameDistribution,
    LanguageGame,
    Payoff,
    make_game,
)
from duologue.envs.engine.plays import random_plays
from duologue.envs.games.bluff import Bluff
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.matrix.rock_paper_scissors import RockPaperScissors
from duologue.envs.games.running_sum import RunningSum
from duologue.envs.games.statements import Statements
from duologue.envs.games.taboo import Taboo
from duologue.envs.spoken import PROMPTS, Prompts, Spoken, prompts_for, register_prompts
from duologue.envs.testing import check_game
from duologue.envs.tree import GameTree, TreeTooLarge, expected_returns, nash_conv, random_profile, uniform_profile
from duologue.envs.wrappers import WrappedGame
from duologue.tests.envs.helpers import Coordination
from duologue.tests.envs.spoken.helpers import VOCABULARY, BluffInFrench, lifted, spoken

KUHN = spoken(KuhnPoker(), "kuhn_poker-v0")
DEAL = ("king", "queen")


def said(game: Spoken[Any], deal: Any, *texts: str) -> Episode[Any]:
    """Return a play in which these texts are said, whatever they are."""
    episode = Episode(game, deal)
    for text in texts:
        for token in (*VOCABULARY.encode(text), VOCABULARY.eos_id):
            if episode.push(token):
                break
    return episode


@pytest.mark.parametrize("name", sorted(PROMPTS))
def test_every_game_with_prompts_keeps_the_contract(name: str) -> None:
    """Masked with two forms, and free; so it plays alike token by token, turn by turn, as one player's, and pickles."""
    check_game(make_game(name, spoken=VOCABULARY, num_forms=2), episodes=2)
    check_game(make_game(name, spoken=VOCABULARY, free=True), episodes=2)


@pytest.mark.parametrize("free", [False, True])
def test_the_batched_form_plays_alike(free: bool) -> None:
    """The same tokens in the same deals, forfeits among them, leave the same views and returns."""
    game = spoken(KuhnPoker(), "kuhn_poker-v0", free=free)
    for play in random_plays(game, 0, 12):
        batch, alone = BatchedGame(game, 1, autoreset=False), Episode(game, play.deal)
        batch.reset(deals=[play.deal])
        for token in play.tokens:
            batch.step(np.array([token]))
            alone.push(token)
        assert batch.returns[0].tolist() == alone.returns
        assert batch.forfeited_by[0] == (-1 if alone.forfeited_by is None else alone.forfeited_by)
        assert np.array_equal(batch.views[0], alone.views)


@pytest.mark.parametrize("num_forms", [1, 2, 3])
def test_uniform_spoken_kuhn_is_eleven_twelfths(num_forms: int) -> None:
    """As in words (reference-values.md, section 1): all words alike, and all masked tokens alike."""
    tree, base = GameTree(spoken(KuhnPoker(), "kuhn_poker-v0", num_forms=num_forms)), GameTree(KuhnPoker())
    by_words = lifted(tree, base, uniform_profile(base), np.random.default_rng(0))
    assert nash_conv(tree, uniform_profile(tree)) == pytest.approx(11 / 12, abs=1e-12)
    assert nash_conv(tree, by_words) == pytest.approx(11 / 12, abs=1e-12)


def test_leduc_fits_and_uniform_play_is_as_far_from_equilibrium_as_in_words() -> None:
    """1709/360, as the game's page has it; 936 information states leave a choice, all others are spelling."""
    tree = GameTree(make_game("leduc_poker-v0", spoken=VOCABULARY))
    assert sum(len(tree.choices(player)[1]) for player in (0, 1)) == 936
    assert nash_conv(tree, uniform_profile(tree)) == pytest.approx(1709 / 360, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "num_forms", "options"),
    [
        ("kuhn_poker-v0", 1, {}),
        ("kuhn_poker-v0", 3, {}),
        ("tiny_red_team-v0", 2, {"intent": "visible"}),
        ("prisoners_dilemma-v0", 2, {"num_rounds": 2}),
        ("tiny_referential-v0", 1, {}),
        ("tiny_bargaining-v0", 1, {"num_rounds": 2}),
    ],
)
def test_a_policy_in_words_is_as_good_in_sentences(name: str, num_forms: int, options: dict[str, Any]) -> None:
    """NashConv and returns are invariant, however the forms are chosen among."""
    game, rng = make_game(name, **options), np.random.default_rng(1)
    base, tree = GameTree(game), GameTree(spoken(game, name, num_forms=num_forms))
    profile = random_profile(base, rng)
    same = lifted(tree, base, profile, rng)
    assert nash_conv(tree, same) == pytest.approx(nash_conv(base, profile), abs=1e-9)
    assert expected_returns(tree, same) == pytest.approx(expected_returns(base, profile), abs=1e-9)


def test_listeners_hear_the_first_form() -> None:
    """The speaker keeps what it said; the other cannot tell the forms apart."""
    game = spoken(KuhnPoker(), "kuhn_poker-v0", num_forms=3)
    plain, wordy = (said(game, DEAL, text) for text in ("Check", "I check"))
    assert np.array_equal(plain.views[1], wordy.views[1])
    assert not np.array_equal(plain.views[0], wordy.views[0])
    assert VOCABULARY.decode(wordy.messages[1][-1].tokens) == "Check"


def test_what_is_told_says_rules_role_and_card() -> None:
    """And after the first round of Leduc poker which card is public."""
    told = [VOCABULARY.decode(KUHN.briefing(DEAL, player)) for player in (0, 1)]
    assert "You are the first player and your card is the king." in told[0]
    assert "You are the second player and your card is the queen." in told[1]
    leduc = make_game("leduc_poker-v0", spoken=VOCABULARY)
    assert isinstance(leduc, Spoken)
    play = said(leduc, ("jack-of-spades", "king-of-spades", "queen-of-hearts"), "Call", "Call")
    assert VOCABULARY.decode(play.messages[0][-1].tokens) == "The public card is the queen of hearts."


@pytest.mark.parametrize("text", ["Check", "check", "  I check.", "CHECK"])
def test_free_text_is_read_whatever_its_case(text: str) -> None:
    """Blanks around it and a full stop do not matter."""
    play = said(spoken(KuhnPoker(), "kuhn_poker-v0", free=True), DEAL, text, "bet", "I fold")
    assert play.returns == [-1.0, 1.0]


@pytest.mark.parametrize("text", ["", "Check!", "I think I check", "Fold", "Raise"])
def test_free_text_that_is_no_legal_turn_forfeits(text: str) -> None:
    """By Kuhn poker's own rules, 2 chips; "Fold" cannot be said before a bet."""
    play = said(spoken(KuhnPoker(), "kuhn_poker-v0", free=True), DEAL, text)
    assert play.over
    assert play.forfeited_by == 0
    assert play.returns == [-2.0, 2.0]
    assert "forfeit: it cannot be read" in play.transcript()


def test_a_free_game_is_too_large_to_list_and_says_so_at_once() -> None:
    """Every token may be said anywhere; forfeits count as such within other wrappers, too."""
    game = make_game("bluff-v0", spoken=VOCABULARY, free=True)
    with pytest.raises(TreeTooLarge):
        GameTree(game)
    for around in (GameDistribution([game]), WithoutChange(game)):
        deal = around.deals.sample(np.random.default_rng(0))
        assert around.is_forfeit(Dialogue(deal, (VOCABULARY.encode("Perhaps"),)))
        assert not around.is_forfeit(Dialogue(deal, (VOCABULARY.encode("I bet"),)))


class WithoutChange(WrappedGame[Any]):
    """The game inside."""

    def __init__(self, game: LanguageGame[Any]) -> None:
        """Take it."""
        super().__init__(game)
        self.deals = game.deals

    def inner(self, dialogue: Dialogue[Any]) -> Dialogue[Any]:
        """Return the dialogue."""
        return dialogue


def test_free_taboo_reads_whole_sentences() -> None:
    """A guess is a sentence of several words; a wrong one loses by the rules, a garbled one forfeits."""
    game = spoken(Taboo(num_words=4, num_attributes=2), "taboo-v0", free=True)
    assert said(game, 3, "be", "i know the word! it is bede.").returns == [-1.0, 1.0]
    assert said(game, 3, "be", "I know the word: bade").returns == [1.0, -1.0]
    assert said(game, 3, "be", "I know: bede").returns == [1.0, -1.0]


def test_a_game_of_ones_own_is_spoken_by_prompts_of_ones_own() -> None:
    """Three short methods; the sentences are as good as the words."""
    game = Spoken(Bluff(), VOCABULARY, BluffInFrench(), num_forms=2)
    check_game(game, episodes=4)
    assert said(game, "ace", "Mise", "Je suis").returns == [2.0, -2.0]
    assert VOCABULARY.decode(game.briefing("deuce", 0)) == "Vous avez deuce."
    base, tree = GameTree(Bluff()), GameTree(game)
    profile = random_profile(base, np.random.default_rng(0))
    same = lifted(tree, base, profile, np.random.default_rng(0))
    assert nash_conv(tree, same) == pytest.approx(nash_conv(base, profile), abs=1e-12)


def test_registered_prompts_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """So `--spoken` takes the game; what has prompts already keeps them."""
    monkeypatch.delitem(PROMPTS, "bluff-v0")
    register_prompts("bluff-v0", BluffInFrench())
    game = make_game("bluff-v0", spoken=VOCABULARY)
    assert VOCABULARY.decode(game.briefing("ace", 0)) == "Vous avez ace."
    with pytest.raises(ValueError, match="expected a game without prompts, got 'kuhn_poker-v0'"):
        register_prompts("kuhn_poker-v0", BluffInFrench())


def test_a_pickled_game_is_the_same() -> None:
    """Before and after it has been asked."""
    for _ in range(2):
        twin = pickle.loads(pickle.dumps(KUHN))
        assert twin.legal_tokens(Dialogue(DEAL), ()) == KUHN.legal_tokens(Dialogue(DEAL), ())


def test_what_cannot_be_spoken_is_refused_by_name() -> None:
    """No prompts, turns without end, deals without end, thoughts; the options are those of a spoken game only."""
    with pytest.raises(ValueError, match=r"expected a game with prompts \(battle_of_the_sexes-v0.*got 'red_team-v0'"):
        prompts_for("red_team-v0")
    with pytest.raises(ValueError, match="did you mean 'kuhn_poker-v0'"):
        prompts_for("kuhn_poker")
    with pytest.raises(TypeError, match=r"expected options among.*got \['free'\]"):
        make_game("kuhn_poker-v0", free=True)
    endless: list[LanguageGame[Any]] = [Coordination(), RunningSum(2, 2, max_thought_tokens=2)]
    for game in endless:
        with pytest.raises(ValueError, match="expected a game without thoughts whose deals can be listed"):
            Spoken(game, VOCABULARY, BluffInFrench())
    open_ended = Spoken(Statements(), VOCABULARY, Facts())
    with pytest.raises(ValueError, match="expected rules that name what may be said"):
        open_ended.legal_tokens(said(open_ended, "snow", "Snow").dialogue, ())


class Facts(Prompts[Statements]):
    """Texts for a game whose answers are not listed."""

    def briefing(self, game: Statements, deal: Any, player: int) -> str:
        """Return nothing much."""
        return "Say what it is like."

    def turns(self, game: Statements) -> Mapping[str, Sequence[str]]:
        """Return every word."""
        return {word: (word.capitalize(),) for word in ("snow", "coal", "grass", "white")}


class Texts(BluffInFrench):
    """Texts that are given."""

    def __init__(self, **turns: tuple[str, ...]) -> None:
        """Take the turns."""
        self.given = turns

    def turns(self, game: LanguageGame[Any]) -> Mapping[str, Sequence[str]]:
        """Return them."""
        return self.given


def test_texts_that_do_not_serve_are_refused() -> None:
    """Two turns of one text, none for a turn, one that is a special token, an announcement without one."""
    with pytest.raises(ValueError, match="expected another text for each turn, got 'fold' for two"):
        Spoken(Bluff(), VOCABULARY, Texts(fold=("Fold",), bet=("fold",), call=("Call",)))
    with pytest.raises(ValueError, match=r"Texts\.turns: expected a text for 'bet', got none"):
        Spoken(Bluff(), VOCABULARY, Texts(fold=("Fold",), call=("Call",))).legal_tokens(Dialogue("ace"), ())
    with pytest.raises(ValueError, match=r"expected texts that can be said .* got '<\|im_end\|>'"):
        Spoken(Bluff(), VOCABULARY, Texts(fold=("<|im_end|>",), bet=("Bet",), call=("Call",)))
    game = Spoken(
        RockPaperScissors(num_rounds=2), VOCABULARY, Texts(rock=("Rock",), paper=("Paper",), scissors=("Scissors",))
    )
    with pytest.raises(ValueError, match=r"Texts\.announcements: expected a text for 'rock', got none"):
        said(game, None, "Rock", "Rock")


class Judged(LanguageGame[str]):
    """Counts how often its judge is asked."""

    vocabulary = Bluff.vocabulary
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({"ace": 1.0})
    max_turns = max_turn_tokens = 1

    def __init__(self) -> None:
        """Count from nothing."""
        self.asked: list[int] = []

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        """Return player 0, once."""
        return None if dialogue.turns else 0

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        """Return a point."""
        return 1.0, -1.0

    def rewards_batch(self, dialogues: Sequence[Dialogue[str]]) -> list[tuple[float, float]]:
        """Return a point for each, and note how many there are."""
        self.asked.append(len(dialogues))
        return [self.rewards(dialogue) for dialogue in dialogues]

    def legal_tokens(self, dialogue: Dialogue[str], prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return two words."""
        return self.vocabulary.encode("fold bet")


def test_a_judge_inside_is_asked_once_for_what_can_be_read() -> None:
    """Forfeits are paid without it."""
    inside = Judged()
    game = Spoken(inside, VOCABULARY, BluffInFrench(), free=True)
    dialogues = [Dialogue("ace", (VOCABULARY.encode(text),)) for text in ("Mise", "Quoi ?", "passe")]
    assert game.rewards_batch(dialogues) == [(1.0, -1.0), (-1.0, 1.0), (1.0, -1.0)]
    assert inside.asked == [2]
