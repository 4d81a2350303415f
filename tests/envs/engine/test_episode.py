"""The engine, turn by turn: what is told, paid, forfeited and written down."""

import copy
import math
import pickle
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.envs import (
    Dialogue,
    Ending,
    Episode,
    FiniteDeals,
    LanguageGame,
    Payoff,
    RandomAgent,
    Tokens,
    Turn,
    Utterance,
    WordVocabulary,
    deal_episodes,
    make_game,
    speak_all,
)
from duologue.envs.games.bluff import BET, CALL, FOLD, Bluff
from duologue.envs.games.red_team.game import RedTeam, oracle
from duologue.envs.judging import Exchange, Verdict
from duologue.envs.vocabulary import BOS, END_THINK, EOS, GAME, PLAYER_0, PLAYER_1, THINK
from duologue.tests.envs.helpers import BLUE, MAYBE, NO, RED, YES, Coordination, Whisper

GOLDEN = """\
[bettor is told] deuce
bettor: bet
caller: call
[rewards] -2 +2
[over] returns -2 +2"""


def says(*tokens: int) -> Utterance:
    """Return an utterance of these tokens."""
    return Utterance(tokens)


def played(game: LanguageGame[Any], deal: Any, *turns: Tokens) -> Episode[Any]:
    """Return an episode after these turns."""
    episode = Episode(game, deal)
    for tokens in turns:
        speak_all([episode], [says(*tokens)])
    return episode


def bluff_value(bluff: Fraction, call: Fraction) -> Fraction:
    """Enumerate Bluff: bet every ace and a share of the deuces, call a share of the bets."""
    value = Fraction(0)
    for (deal, probability), first, second in product(Bluff().deals.outcomes().items(), (FOLD, BET), (FOLD, CALL)):
        bets = Fraction(1) if deal == "ace" else bluff
        weight = Fraction(probability) * (bets if first == BET else 1 - bets)
        weight *= call if second == CALL else 1 - call
        episode = played(Bluff(), deal, first) if first == FOLD else played(Bluff(), deal, first, second)
        value += weight * Fraction(episode.returns[0])
    return value


def test_bluff_golden_transcript() -> None:
    """A diff here is a changed rule, which is a new version."""
    assert played(Bluff(), "deuce", BET, CALL).transcript() == GOLDEN


def test_bluff_is_worth_a_third_of_a_chip() -> None:
    """Bluffing 1/3 of the deuces and calling 2/3 of the bets leave the other player indifferent."""
    third = Fraction(1, 3)
    shares = [Fraction(k, 6) for k in range(7)]
    assert {bluff_value(third, call) for call in shares} == {third}
    assert {bluff_value(bluff, 2 * third) for bluff in shares} == {third}


def test_whisper_transcript_and_rewards_at_every_turn() -> None:
    """The toy pays 1, 2, 3 to player 0 and 1/2 to player 1 for naming the colour, turn by turn."""
    game = Whisper()
    episode = played(game, "red", (THINK, YES, END_THINK, BLUE, EOS), (RED, NO, EOS), (BLUE, EOS))
    assert episode.reward_history == [(1.0, 0.0), (2.0, 0.5), (3.0, 0.0)]
    assert episode.returns == [6.0, 0.5]
    assert episode.transcript().splitlines() == [
        "whisperer (thinks): yes",
        "whisperer: blue   (turn 1)",
        "[rewards] +1 +0",
        "guesser: red no   (turn 2)",
        "[rewards] +2 +0.5",
        "whisperer: blue   (turn 3)",
        "[rewards] +3 +0",
        "[over] returns +6 +0.5",
    ]


def test_views_hold_what_was_told_and_nothing_else() -> None:
    """Player 1 hears nothing of the first turn; player 0 hears one word and then the announcement."""
    episode = played(Whisper(), "red", (THINK, YES, END_THINK, BLUE, EOS), (RED, NO, EOS))
    first = [BOS, PLAYER_0, THINK, YES, END_THINK, BLUE, EOS, PLAYER_1, RED, EOS, GAME, RED, EOS, PLAYER_0]
    second = [BOS, PLAYER_1, RED, NO, EOS]
    for player, expected in ((0, first), (1, second)):
        view = episode.views[player]
        assert view[: len(expected)].tolist() == expected
        assert not view[len(expected) :].any()


def test_view_of_the_speaker_lists_messages() -> None:
    """Whoever reads text gets the same piece by piece, own thoughts left out."""
    episode = played(Whisper(), "blue", (THINK, YES, END_THINK, BLUE, EOS), (NO, MAYBE, YES))
    view = episode.view()
    assert view.player == 0
    assert [(message.speaker, message.tokens) for message in view.messages] == [
        (0, (BLUE,)),
        (1, (NO,)),
        (None, (BLUE,)),
    ]


@pytest.mark.parametrize(
    ("tokens", "ending"),
    [((YES, EOS), Ending.END_OF_TURN), ((EOS,), Ending.END_OF_TURN), ((YES, NO, YES), Ending.TOO_LONG)],
)
def test_turn_ends_by_eos_or_length(tokens: Tokens, ending: Ending) -> None:
    """And the dialogue holds its words without `<eos>`."""
    (turn,) = played(Whisper(), "red", tokens).dialogue.turns
    assert turn.ending is ending
    assert turn.tokens == tuple(token for token in tokens if token != EOS)
    assert turn.player == 0


def test_thought_is_bounded_and_not_counted() -> None:
    """Two thought tokens, then the thought must close; three words may follow it."""
    episode = Episode(Whisper(), "red")
    for token in (THINK, YES, NO):
        assert not episode.push(token)
    assert np.flatnonzero(episode.open_turn.legal_mask).tolist() == [END_THINK]
    assert [episode.push(token) for token in (END_THINK, YES, NO, RED)] == [False, False, False, True]
    assert episode.dialogue.turns[0] == Turn((YES, NO, RED), (YES, NO))


@pytest.mark.parametrize("illegal", [0, BOS, GAME, PLAYER_1, END_THINK])
@pytest.mark.parametrize(("game", "paid"), [(Whisper(), (-2.0, 0.0)), (Coordination(), (-1.0, -1.0))])
def test_illegal_token_forfeits_within_the_payoff_type(
    game: LanguageGame[Any], paid: tuple[float, float], illegal: int
) -> None:
    """Only the offender pays in a general-sum game, both in an identical-interest one."""
    episode = Episode(game, "red" if isinstance(game, Whisper) else 0)
    assert episode.push(illegal)
    assert episode.over
    assert episode.forfeited_by == 0
    assert episode.reward_history == [paid]
    assert "[forfeit: illegal]" in episode.transcript()


def test_forfeit_by_player_one_is_paid_to_player_zero_in_a_zero_sum_game() -> None:
    """The caller says "ace", which is a word, but not one that it may say."""
    episode = played(Bluff(), "ace", BET)
    episode.push(8)
    assert episode.reward_history[-1] == (1.0, -1.0)
    assert episode.transcript().splitlines()[-3:] == [
        "caller:  [forfeit: illegal]",
        "[rewards] +1 -1",
        "[over] returns +1 -1",
    ]


@pytest.mark.parametrize("ending", [Ending.UNREADABLE, Ending.AMBIGUOUS])
def test_text_that_is_no_turn_forfeits_with_its_reason(ending: Ending) -> None:
    """An agent that reads and writes text reports a failure as a value, which the record keeps."""
    episode = Episode(Bluff(), "ace")
    speak_all([episode], [Utterance((), ending=ending)])
    assert episode.over
    assert episode.dialogue.turns[0].ending is ending
    assert f"[forfeit: {ending.value}]" in episode.transcript()


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((YES,), "expected <eos> or the length limit at its end"),
        ((EOS, YES), "expected nothing after the end"),
    ],
)
def test_utterance_that_is_no_whole_turn_is_refused(tokens: Tokens, message: str) -> None:
    """An agent that stops early or goes on is a mistake of its author, not a move."""
    with pytest.raises(ValueError, match=f"utterance: {message}"):
        Episode(Whisper(), "red").speak(says(*tokens))


def test_nobody_is_to_speak_after_the_end() -> None:
    """The error says so."""
    with pytest.raises(RuntimeError, match="view: the episode is over"):
        played(Bluff(), "ace", FOLD).view()


class Broken(Whisper):
    """Does one thing wrong, as told."""

    def __init__(self, fault: str) -> None:
        """Take the fault."""
        self.fault = fault
        self.max_briefing_tokens = 0

    def briefing(self, deal: str, player: int) -> Tokens:
        return (YES,) * 99 if self.fault == "long briefing" else ()

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        return 2 if self.fault == "next player" and dialogue.turns else super().next_player(dialogue)

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        wrong = {"infinite": (float("inf"), 0.0), "nan": (0.0, float("nan"))}
        return wrong.get(self.fault, (0.0, 0.0))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("long briefing", "Broken: expected at most .* tokens in a view"),
        ("next player", "Broken.next_player: expected 0, 1 or None, got 2"),
        ("infinite", r"Broken.rewards: expected two finite numbers, got \(inf, 0.0\)"),
        ("nan", r"Broken.rewards: expected two finite numbers, got \(0.0, nan\)"),
    ],
)
def test_rules_that_break_their_own_bounds_are_named(fault: str, message: str) -> None:
    """A judge that returns no number, a briefing longer than declared, a third player."""
    with pytest.raises(ValueError, match=message):
        played(Broken(fault), "red", (YES, EOS))


def test_padding_and_special_tokens_are_never_legal_even_if_the_rules_say_so() -> None:
    """Narrowing picks among sayable tokens; where none is left the rules are at fault."""

    class Padded(Whisper):
        max_thought_tokens = 0

        def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens | None:
            return (0, BOS)

    with pytest.raises(ValueError, match=r"Padded.legal_tokens: expected at least one sayable token"):
        Episode(Padded(), "red")


def test_judge_that_drops_a_verdict_is_named() -> None:
    """One verdict for each dialogue, or every later episode would get another's."""

    class Dropping(Bluff):
        def rewards_batch(self, dialogues: Any) -> list[tuple[float, float]]:
            return [(0.0, 0.0)]

    game = Dropping()
    episodes = [Episode(game, "ace"), Episode(game, "deuce")]
    with pytest.raises(ValueError, match="rewards_batch: expected 2 pairs of rewards, got 1"):
        speak_all(episodes, [says(*BET), says(*BET)])


def test_judge_is_called_once_for_a_batch() -> None:
    """`rewards_batch` is where a learned judge runs."""
    sizes = []

    class Counting(Bluff):
        def rewards_batch(self, dialogues: Any) -> Any:
            sizes.append(len(dialogues))
            return super().rewards_batch(dialogues)

    episodes = deal_episodes(Counting(), np.random.default_rng(0), 5)
    speak_all(episodes, [says(*BET)] * 4 + [says(0)])  # the fifth forfeits and needs no judge
    assert sizes == [4]


def test_game_without_thought_tokens_cannot_have_thoughts() -> None:
    """A vocabulary without its special tokens is named before play begins."""

    class Bare(WordVocabulary):
        think_ids = None  # type: ignore[assignment]

    class Thinker(Whisper):
        vocabulary = Bare("a b")
        deals = FiniteDeals({"red": 1.0})

    with pytest.raises(ValueError, match="max_thought_tokens: expected 0, as the vocabulary has no thought tokens"):
        Episode(Thinker(), "red")


@pytest.mark.parametrize("probabilities", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}])
def test_deals_must_be_a_distribution(probabilities: dict[str, float]) -> None:
    """Probabilities >= 0 that sum to 1."""
    with pytest.raises(ValueError, match="deals: expected probabilities >= 0 that sum to 1, got"):
        FiniteDeals(probabilities)


def test_deals_are_drawn_with_their_probabilities() -> None:
    """10,000 draws at probability 1/4 have a standard deviation of 43; six of them are allowed."""
    rng = np.random.default_rng(0)
    red = sum(Whisper().deals.sample(rng) == "red" for _ in range(10_000))
    assert abs(red - 2_500) < 260


@given(seed=st.integers(0, 2**32 - 1))
def test_copies_of_an_episode_go_on_alike_and_apart(seed: int) -> None:
    """A deep copy and a pickle in mid-episode give the same end; the original stays where it was."""
    rng = np.random.default_rng(seed)
    game = Whisper()
    episode = Episode(game, game.deals.sample(rng))
    speak_all([episode], RandomAgent().speak([episode.view()], rng))
    before = episode.transcript()
    twins = [copy.deepcopy(episode), pickle.loads(pickle.dumps(episode))]
    for twin in twins:
        twin_rng = np.random.default_rng(seed)
        while not twin.over:
            speak_all([twin], RandomAgent().speak([twin.view()], twin_rng))
    assert twins[0].transcript() == twins[1].transcript() != before
    assert episode.transcript() == before


@given(seed=st.integers(0, 2**32 - 1))
def test_an_episode_restored_in_mid_turn_goes_on_as_if_nothing_had_been_said(seed: int) -> None:
    """Thought, words, views, rewards and what each player was told are those of an episode that never left the way."""
    rng = np.random.default_rng(seed)
    game = Whisper()
    strayed = Episode(game, game.deals.sample(rng))
    tokens = RandomAgent().speak([strayed.view()], rng)[0].tokens
    for token in tokens[: rng.integers(len(tokens))]:
        strayed.push(token)
    straight, saved = copy.deepcopy(strayed), strayed.saved()
    while not strayed.over:
        strayed.push(int(rng.choice(np.flatnonzero(strayed.open_turn.legal_mask))))
    strayed.restore(saved)
    for episode in (strayed, straight):
        twin_rng = np.random.default_rng(seed)
        while not episode.over:
            episode.push(int(twin_rng.choice(np.flatnonzero(episode.open_turn.legal_mask))))
    assert strayed.transcript() == straight.transcript()
    assert np.array_equal(strayed.views, straight.views)
    assert strayed.reward_history == straight.reward_history


@given(seed=st.integers(0, 2**32 - 1))
def test_legal_mask_of_a_view_foresees_what_the_engine_says_after_each_token(seed: int) -> None:
    """Agents that sample whole turns ask the view; the AEC form asks the open turn. Both must agree."""
    rng = np.random.default_rng(seed)
    episode = Episode(Whisper(), "blue")
    while not episode.over:
        view, said = episode.view(), list[int]()
        closed = False
        while not closed:
            mask = view.legal_mask(tuple(said))
            assert (mask == episode.open_turn.legal_mask).all()
            said.append(int(rng.choice(np.flatnonzero(mask))))
            closed = episode.push(said[-1])
        assert not view.legal_mask(tuple(said)).any()


@given(seed=st.integers(0, 2**32 - 1))
def test_a_view_may_be_asked_about_prefixes_in_any_order(seed: int) -> None:
    """What it answers depends on nothing that it was asked before, and ids and mask say the same."""
    rng = np.random.default_rng(seed)
    episode = Episode(Whisper(), "blue")
    while not episode.over:
        view = episode.view()
        (utterance,) = RandomAgent().speak([view], rng)
        for k in rng.integers(len(utterance.tokens) + 1, size=6).tolist():
            prefix = utterance.tokens[:k]
            mask, ids = view.legal_mask(prefix), view.legal_tokens(prefix)
            assert np.array_equal(mask, episode.view().legal_mask(prefix))
            usual = episode.game.vocabulary.sayable_mask.copy()
            usual[EOS] = 1
            assert np.array_equal(np.flatnonzero(usual if ids is None else mask), np.flatnonzero(mask))
            assert ids is None or np.array_equal(ids, np.flatnonzero(mask))
        speak_all([episode], [utterance])


def test_random_agent_reports_the_logprobs_of_what_it_sampled() -> None:
    """Uniform over two words, then nothing to choose: the caller's turn is one token."""
    (utterance,) = RandomAgent().speak([Episode(Bluff(), "ace").view()], np.random.default_rng(0))
    assert utterance.logprobs == pytest.approx((-np.log(2),))
    assert utterance.ending is Ending.TOO_LONG


def test_payoff_types_are_what_the_games_declare() -> None:
    """The three of the design."""
    assert {Bluff.payoff, Whisper.payoff, Coordination.payoff} == set(Payoff)
    assert make_game("bluff-v0").payoff is Payoff.ZERO_SUM


def test_an_episode_whose_judge_failed_stands_as_before_the_token() -> None:
    """Nothing is half-written: the same token again, once the judge answers, gives the episode without the failure."""
    failing = [True]

    def judge(exchanges: Sequence[Exchange]) -> list[Verdict]:
        verdicts = oracle(exchanges)
        return [replace(verdict, reward=math.nan) for verdict in verdicts] if failing[0] else verdicts

    game = RedTeam(judge=judge, num_rounds=2)
    deal = next(iter(game.deals.outcomes() or ()))
    broken, whole = Episode(game, deal), Episode(RedTeam(num_rounds=2), deal)
    said = (*game.briefing(deal, 0), game.vocabulary.eos_id, *game.vocabulary.encode("sorry no"))
    for episode in (broken, whole):
        for token in said:
            episode.push(token)
    with pytest.raises(ValueError, match="expected a finite reward"):
        broken.push(game.vocabulary.eos_id)
    failing[0] = False
    for token in (game.vocabulary.eos_id, *said, game.vocabulary.eos_id):
        broken.push(token)
        whole.push(token)
    assert broken.transcript() == whole.transcript()
    assert broken.over
    assert np.array_equal(broken.views, whole.views)
    assert broken.returns == whole.returns


class Quoting(WordVocabulary):
    """Words that read as whatever a tokenizer may decode."""

    def decode(self, tokens: Sequence[int]) -> str:  # type: ignore[override]
        """Return a reply that poses as more of the transcript, and orders the terminal about."""
        return super().decode(tokens).replace("red", "ok\r\n[rewards] +9 -9\n\ncaller: \x1b[2J\u202e")


def test_no_message_passes_for_a_line_of_the_transcript() -> None:
    """Its line breaks stand, indented; what a terminal would obey is written as an escape."""
    game = Coordination()
    game.vocabulary = Quoting(game.vocabulary.words)
    game.roles = ("one\n[over] returns", "two\x07")
    episode = Episode(game, 0)
    while episode.player is not None:
        speak_all([episode], [says(RED)] if game.max_turn_tokens == 1 else [says(RED, EOS)])
    lines = episode.transcript().split("\n")
    shown = ["one\\n[over] returns: ok", "    [rewards] +9 -9", "    ", "    caller: \\x1b[2J\\u202e"]
    assert any(lines[k : k + 4] == shown for k in range(len(lines)))
    assert sum(line.startswith("[over]") for line in lines) == 1
    assert not any(line.startswith("caller") for line in lines)
