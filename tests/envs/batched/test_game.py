"""The batched form: the same play as `Episode` and the AEC form, many episodes at once."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from duologue.envs import (
    Dialogue,
    Ending,
    Episode,
    LanguageGame,
    LanguageGameEnv,
    Utterance,
    deal_episodes,
    make_game,
    registered_games,
)
from duologue.envs.batched import game as batched
from duologue.envs.batched import rules as batched_rules
from duologue.envs.batched.game import BatchedGame
from duologue.envs.engine.episode import speak_all
from duologue.envs.engine.plays import draw_token, random_plays
from duologue.envs.games.bluff import BET, CALL, Bluff
from duologue.envs.games.running_sum import RunningSum
from duologue.envs.wrappers.thoughts import WithThoughts
from duologue.tests.envs.helpers import (  # fmt: skip
    BLUE,
    RED,
    YES,
    Coordination,
    Flaky,
    TooManyTurns,
    Whisper,
    WrongPayoff,
)

EOS = Whisper.vocabulary.eos_id


class Narrowed(Whisper):
    """Narrows every word of every turn, after thoughts too, by what was said before."""

    def legal_tokens(self, dialogue: Dialogue[str], prefix: tuple[int, ...]) -> tuple[int, ...] | None:
        if len(prefix) == 2:
            return None
        return (RED, BLUE, YES)[len(dialogue.turns) % 2 :] if not prefix else (prefix[-1], EOS)


OWN_GAMES: list[LanguageGame[Any]] = [
    Whisper(), Coordination(), Narrowed(), RunningSum(2, 3, max_thought_tokens=2), WithThoughts(Bluff(), 1),
]  # fmt: skip
GAMES = [make_game(name) for name in registered_games()] + OWN_GAMES


def assert_same(plays: BatchedGame[Any], alone: list[Episode[Any]], paid: list[tuple[float, float]]) -> None:
    """Compare everything that a player or a learner can see."""
    for k, episode in enumerate(alone):
        assert plays.player[k] == (-1 if episode.player is None else episode.player)
        assert plays.lengths[k].tolist() == episode.lengths
        assert np.array_equal(plays.views[k], episode.views)
        assert plays.dialogue(k) == episode.dialogue
        assert plays.returns[k].tolist() == pytest.approx(episode.returns, abs=1e-12)
        assert plays.rewards[k].tolist() == pytest.approx(paid[k], abs=1e-12)
        mask = np.zeros(plays.game.vocabulary.size) if episode.over else episode.open_turn.legal_mask
        assert np.array_equal(plays.legal_masks()[k], mask)


def some_token(episode: Episode[Any], rng: np.random.Generator, eos_share: float) -> int:
    """Return a legal token, and now and then another."""
    if episode.over or rng.random() < 0.02:
        return int(rng.integers(episode.game.vocabulary.size))
    return draw_token(episode, rng, eos_share=eos_share)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_token_by_token_it_is_the_play_of_an_episode(game: LanguageGame[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """After every token: views, lengths, masks, who speaks, rewards; forfeits, thoughts, long turns among them."""
    monkeypatch.setattr(batched, "MAX_DIALOGUES", 0)  # forget as often as may be
    plays = BatchedGame(game, 12, seed=3, autoreset=False)
    alone, rng = deal_episodes(game, np.random.default_rng(3), 12), np.random.default_rng(0)
    assert_same(plays, alone, [(0.0, 0.0)] * 12)
    while not plays.over.all():
        tokens = [some_token(episode, rng, 0.1 * (k % 3)) for k, episode in enumerate(alone)]
        ended = [not episode.over and episode.push(token) for episode, token in zip(alone, tokens, strict=True)]
        plays.step(tokens)
        paid = [episode.reward_history[-1] if end else (0.0, 0.0) for episode, end in zip(alone, ended, strict=True)]
        assert_same(plays, alone, paid)
        assert plays.finished.tolist() == [end and episode.over for episode, end in zip(alone, ended, strict=True)]
    assert plays.forfeited_by.tolist() == [
        -1 if episode.forfeited_by is None else episode.forfeited_by for episode in alone
    ]


def utter(episode: Episode[Any], rng: np.random.Generator) -> Utterance:
    """Say one random turn in a copy of an episode."""
    tokens, turns = list[int](), len(episode.dialogue.turns)
    probe = Episode(episode.game, episode.dialogue.deal)
    probe.restore(episode.saved())
    while len(probe.dialogue.turns) == turns:
        tokens.append(some_token(probe, rng, 0.2))
        probe.push(tokens[-1])
    return Utterance(tuple(tokens), ending=probe.dialogue.turns[-1].ending)


def padded(utterances: list[Utterance]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return utterances as an array, and their lengths."""
    lengths = np.array([len(utterance.tokens) for utterance in utterances])
    tokens = np.full((len(utterances), lengths.max()), 1)  # what lies beyond the length does not matter
    for row, utterance in zip(tokens, utterances, strict=True):
        row[: len(utterance.tokens)] = utterance.tokens
    return tokens, lengths


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_turn_by_turn_it_is_the_play_of_an_episode(game: LanguageGame[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the turns said in one call, and again with all of them known."""
    monkeypatch.setattr(batched, "MAX_DIALOGUES", 0)
    plays = BatchedGame(game, 12, autoreset=False)
    for repetition in range(2):
        alone, rng = deal_episodes(game, np.random.default_rng(5), 12), np.random.default_rng(1)
        plays.reset(seed=5)
        while not plays.over.all():
            live = [k for k, episode in enumerate(alone) if not episode.over]
            utterances = [utter(alone[k], rng) for k in live]
            if repetition:
                utterances[0] = Utterance(utterances[0].tokens, ending=Ending.UNREADABLE)
            speak_all([alone[k] for k in live], utterances)
            plays.speak(*padded(utterances), endings=[utterance.ending for utterance in utterances])
            paid = [episode.reward_history[-1] if k in live else (0.0, 0.0) for k, episode in enumerate(alone)]
            assert_same(plays, alone, paid)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_one_episode_by_itself_is_the_same(game: LanguageGame[Any]) -> None:
    """In the middle of turns too: its transcript, and the view of who speaks with all messages and masks."""
    plays, rng = BatchedGame(game, 4, seed=2, autoreset=False), np.random.default_rng(4)
    alone = deal_episodes(game, np.random.default_rng(2), 4)
    while not plays.over.all():
        for k, episode in enumerate(alone):
            assert plays.episode(k).transcript() == episode.transcript()
            assert plays.episode(k).reward_history == episode.reward_history
            if episode.over:
                continue
            ours, theirs = plays.view(k), episode.view()
            assert ours.messages == theirs.messages
            assert np.array_equal(ours.tokens, theirs.tokens)
            assert (ours.player, ours.max_turn_tokens) == (theirs.player, theirs.max_turn_tokens)
            assert ours.unrestricted == theirs.unrestricted
            assert np.array_equal(ours.legal_mask(()), theirs.legal_mask(()))
        tokens = [some_token(episode, rng, 0.2) for episode in alone]
        for episode, token in zip(alone, tokens, strict=True):
            if not episode.over:
                episode.push(token)
        plays.step(tokens)
    with pytest.raises(RuntimeError, match="view: the episode is over"):
        plays.view(0)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_recorded_plays_are_those_of_the_aec_form(game: LanguageGame[Any]) -> None:
    """Observations, masks, rewards and ends at every token; every fourth play has a forfeit."""
    recorded = random_plays(game, 0, 8)
    plays, envs = BatchedGame(game, 8, autoreset=False), [LanguageGameEnv(game) for _ in recorded]
    plays.reset(deals=[play.deal for play in recorded])
    for env, play in zip(envs, recorded, strict=True):
        env.reset(options={"deal": play.deal})
    for t in range(max(len(play.tokens) for play in recorded)):
        plays.step([play.tokens[t] if t < len(play.tokens) else 0 for play in recorded])
        for k, (env, play) in enumerate(zip(envs, recorded, strict=True)):
            if t < len(play.tokens):
                env.step(play.tokens[t])
                assert plays.rewards[k].tolist() == list(env.rewards.values())
            seen, state = env.observe(env.agent_selection), env.state()
            assert plays.views[k].reshape(-1).tolist() == state.tolist()
            assert plays.over[k] == all(env.terminations.values())
            assert np.array_equal(plays.legal_masks()[k], seen["action_mask"] * ~plays.over[k])


@pytest.mark.parametrize("game", [Whisper(), Coordination(), make_game("leduc_poker-v0")])
def test_finished_episodes_restart_in_place(game: LanguageGame[Any]) -> None:
    """With the next deals of the seed's stream, in the order of the episodes; the last returns stay to be read."""
    plays, deals = BatchedGame(game, 6, seed=9), np.random.default_rng(9)
    alone, rng = deal_episodes(game, deals, 6), np.random.default_rng(0)
    for _ in range(60):
        tokens = [some_token(episode, rng, 0.2) for episode in alone]
        ended = [episode.push(token) and episode.over for episode, token in zip(alone, tokens, strict=True)]
        plays.step(tokens)
        assert plays.finished.tolist() == ended
        for k in np.flatnonzero(ended).tolist():
            assert plays.final_returns[k].tolist() == pytest.approx(alone[k].returns)
            assert plays.forfeited_by[k] == (-1 if alone[k].forfeited_by is None else alone[k].forfeited_by)
            alone[k] = Episode(game, game.deals.sample(deals))
        for k, episode in enumerate(alone):
            assert np.array_equal(plays.views[k], episode.views)
            assert plays.returns[k].tolist() == pytest.approx(episode.returns)


def test_turns_whose_hashes_collide_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here all of them collide: turns of other words, of other length, of another ending, in other dialogues."""
    monkeypatch.setattr(batched_rules, "_turn_keys", lambda before, *_: np.ones(len(before), dtype=np.uint64))
    plays = BatchedGame(Whisper(), 1, autoreset=False)
    for tokens, ending in (
        ((RED, EOS), Ending.END_OF_TURN), ((BLUE, EOS), Ending.END_OF_TURN), ((BLUE, RED, EOS), Ending.END_OF_TURN),
        ((RED, EOS), Ending.UNREADABLE), ((RED, EOS), Ending.AMBIGUOUS),
    ):  # fmt: skip
        alone = Episode(Whisper(), "red")
        plays.reset(deals=["red"])
        plays.speak([tokens], [len(tokens)], endings=[ending])
        speak_all([alone], [Utterance(tokens, ending=ending)])
        assert np.array_equal(plays.views[0], alone.views)
        assert plays.dialogue(0).turns[0].ending is alone.dialogue.turns[0].ending
        plays.reset(deals=["blue"])
        plays.speak([tokens], [len(tokens)], endings=[ending])
        assert plays.dialogue(0).deal == "blue"
    test_turn_by_turn_it_is_the_play_of_an_episode(Whisper(), monkeypatch)


class Counting(Whisper):
    """Counts how often its judge is called, and fails if told to."""

    def __init__(self) -> None:
        """Count from 0."""
        self.batches: list[int] = []
        self.fails = False

    def rewards_batch(self, dialogues: Any) -> list[tuple[float, float]]:
        if self.fails:
            raise ConnectionError
        self.batches.append(len(dialogues))
        return [self.rewards(dialogue) for dialogue in dialogues]


def test_judge_is_asked_once_for_all_new_turns_and_never_again() -> None:
    """Four episodes say three different turns on two deals; what stands beyond a turn's length makes no difference."""
    game = Counting()
    plays = BatchedGame(game, 4, autoreset=False)
    for _ in range(2):
        plays.reset(deals=["red", "red", "red", "blue"])
        plays.speak([[RED, EOS, RED], [RED, EOS, BLUE], [BLUE, RED, EOS], [RED, EOS, RED]], [2, 2, 3, 2])
        assert game.batches == [3]


@pytest.mark.parametrize("by_turns", [True, False])
def test_failing_judge_leaves_everything_as_it_was(by_turns: bool) -> None:
    """So that the same call can be made again."""
    game = Counting()
    plays = BatchedGame(game, 2, seed=0)

    def say() -> None:
        if by_turns:
            plays.speak([[RED, EOS], [BLUE, YES]], [2, 2], endings=[Ending.END_OF_TURN, Ending.UNREADABLE])
        else:
            plays.step([EOS, 0])

    if not by_turns:
        plays.step([RED, YES])
    before: list[NDArray[Any]] = [plays.views.copy(), plays.lengths.copy(), plays.player.copy(), plays.legal_masks()]
    game.fails = True
    for _ in range(2):
        with pytest.raises(ConnectionError):
            say()
        after: list[NDArray[Any]] = [plays.views, plays.lengths, plays.player, plays.legal_masks()]
        assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    red = plays.dialogue(0).deal == "red"
    game.fails = False
    say()
    assert plays.rewards.tolist() == [[1.0, 0.5 * red], [-2.0, 0.0]]


def test_rules_that_fail_inside_a_turn_leave_everything_as_it_was() -> None:
    """In the narrowed third turn of two plays of three; the third would have forfeited at this token."""
    game, tokens = Flaky(), [RED, BLUE, 0]
    plays = BatchedGame(game, 3, autoreset=False)
    plays.reset(deals=["red", "blue", "red"])
    for _ in range(2):
        plays.speak([[RED, EOS]] * 3, [2] * 3)
    before: list[NDArray[Any]] = [plays.player.copy(), plays.views.copy(), plays.legal_masks()]
    game.failing = "legal_tokens"
    with pytest.raises(ConnectionError):
        plays.step(tokens)
    after: list[NDArray[Any]] = [plays.player, plays.views, plays.legal_masks()]
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    game.failing = None
    plays.step(tokens)
    assert plays.over.tolist() == [False, False, True]
    assert plays.legal_masks().sum(1).tolist() == [1, 1, 0]


def test_some_episodes_speak_and_others_wait() -> None:
    """Named by number or by mask; the deals of some can be set."""
    plays = BatchedGame(Bluff(), 3, autoreset=False)
    plays.reset([0, 2], deals=["ace", "deuce"])
    plays.speak([BET], [1], [2])
    plays.speak([BET], [1], np.array([True, False, False]))
    assert plays.player.tolist() == [1, 0, 1]
    plays.speak([CALL, CALL], [1, 1], [0, 2])
    assert plays.over.tolist() == [True, False, True]
    assert plays.returns[[0, 2]].tolist() == [[2.0, -2.0], [-2.0, 2.0]]
    plays.speak(np.zeros((0, 0)), [], [])
    assert not plays.rewards.any()


class Wide(Whisper):
    """Says in an announcement more than it declares."""

    def announcement(self, dialogue: Dialogue[str], player: int) -> tuple[int, ...]:
        return (YES,) * 40


class TurnAhead(Whisper):
    """Names a player who does not exist."""

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        return len(dialogue.turns) * 2


class Unpaid(Whisper):
    """Pays too few."""

    def rewards_batch(self, dialogues: Any) -> list[tuple[float, float]]:
        return []


@pytest.mark.parametrize(
    ("game", "message"),
    [
        (Wide(), "Wide: expected at most 37 tokens in a view"),
        (TurnAhead(), "TurnAhead.next_player: expected 0, 1 or None, got 2"),
        (TooManyTurns(), "TooManyTurns: expected the end after max_turns=2 turns, got player 0 to speak"),
        (Unpaid(), "rewards_batch: expected 2 pairs of rewards, got 0"),
        (WrongPayoff(), "WrongPayoff.rewards: expected a zero_sum pair"),
    ],
)
def test_broken_rules_are_named(game: LanguageGame[Any], message: str) -> None:
    """As the engine of one episode names them."""
    plays = BatchedGame(game, 2, seed=0)
    with pytest.raises(ValueError, match=message):  # noqa: PT012 - the games break at different turns
        for word in (RED, BLUE, RED):
            plays.speak([[word, EOS], [YES, EOS]], [2, 2])


@pytest.mark.parametrize(
    ("tokens", "lengths", "episodes", "message"),
    [
        ([[RED, EOS]], [2, 2], None, r"expected shapes \(2, T\) and \(2,\) for 2 episodes, got \(1, 2\) and \(2,\)"),
        ([[RED, 99]] * 2, [2, 2], None, r"tokens: expected ids in \[0, 13\), got 8 to 99"),
        ([[RED, EOS]] * 2, [3, 2], None, r"lengths: expected numbers in \[0, 2\], got \[3 2\]"),
        ([[RED, EOS]] * 2, [2, 1], None, "utterance: expected <eos> or the length limit at its end, got "),
        ([[RED, EOS, EOS]] * 2, [3, 2], None, "utterance: expected nothing after the end of the turn, got "),
        ([[RED, EOS]], [2], [2], r"episodes: expected different numbers in \[0, 2\)"),
        ([[RED, EOS]] * 2, [2, 2], [1, 1], r"episodes: expected different numbers in \[0, 2\)"),
    ],
)
def test_impossible_turns_are_refused(tokens: Any, lengths: Any, episodes: Any, message: str) -> None:
    """Before anything changes."""
    plays = BatchedGame(Whisper(), 2, seed=0)
    views = plays.views.copy()
    with pytest.raises(ValueError, match=message):
        plays.speak(tokens, lengths, episodes)
    assert np.array_equal(views, plays.views)


def test_words_beyond_the_limit_are_refused() -> None:
    """Where nothing is narrowed too, and whether they are words or not; after an illegal token nothing counts."""
    for last in (RED, EOS, 0):
        with pytest.raises(ValueError, match="utterance: expected nothing after the end of the turn"):
            BatchedGame(Coordination(), 1).speak([[RED, BLUE, last]], [3])
    plays = BatchedGame(Coordination(), 1, autoreset=False)
    plays.speak([[RED, 0, RED, EOS]], [4])
    assert plays.dialogue(0).turns[0].tokens == (RED,)
    assert plays.returns.tolist() == [[-1.0, -1.0]]
