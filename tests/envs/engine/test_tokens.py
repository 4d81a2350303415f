"""Token ids that are none: refused by name in every form of play, and never read through numpy's negative index."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from duologue.agents import RandomAgent, ScriptedAgent
from duologue.agents.agent import utter
from duologue.baselines.rollouts import rollout
from duologue.envs import (
    Ending,
    Episode,
    LanguageGameEnv,
    SinglePlayerEnv,
    TurnLevelEnv,
    Utterance,
    View,
    make_game,
    registered_games,
    speak_all,
)
from duologue.envs.batched.game import BatchedGame
from duologue.envs.engine.turn import OpenTurn
from duologue.envs.interfaces.mask_to_info import MaskToInfo
from duologue.envs.interfaces.vector import LanguageGameVectorEnv
from duologue.tests.envs.helpers import BLUE, RED, Whisper

SIZE, EOS = Whisper.vocabulary.size, Whisper.vocabulary.eos_id

NO_IDS = [-1, -2, -100, SIZE, 999, 2**63, 2**70, -(2**70), np.int64(-1), np.int8(-100)]
NO_INTEGERS = [3.7, 8.0, True, False, "8", "red", None, float("nan"), float("inf"), (8,), [8], {}, 1j]
NO_INTEGERS += [np.float64(8.0), np.bool_(True), np.array([8]), np.array(8.0)]
NO_TOKENS = [*NO_IDS, *NO_INTEGERS]
PROPER = [RED, np.int64(RED), np.uint8(RED), np.array(RED)]


def said(token: Any) -> Utterance:
    """Return a turn that begins with the token."""
    return Utterance((token, RED, EOS))


def act_on_pushes() -> tuple[Callable[[Any], object], Callable[[], object]]:
    """The engine, token by token."""
    episode = Episode(Whisper(), "red")
    return episode.push, lambda: (episode.transcript(), episode.views.tolist())


def act_on_speaking() -> tuple[Callable[[Any], object], Callable[[], object]]:
    """The engine, a turn of one episode."""
    episode = Episode(Whisper(), "red")
    return lambda token: episode.speak(said(token)), lambda: (episode.transcript(), episode.views.tolist())


def act_on_batches() -> tuple[Callable[[Any], object], Callable[[], object]]:
    """The engine, a turn of two episodes, the first of which is said right."""
    episodes = [Episode(Whisper(), "red") for _ in range(2)]
    return lambda token: speak_all(episodes, [said(RED), said(token)]), lambda: [e.transcript() for e in episodes]


def act_on_aec() -> tuple[Callable[[Any], object], Callable[[], object]]:
    """The AEC form."""
    env = LanguageGameEnv(Whisper())
    env.reset(options={"deal": "red"})
    return env.step, lambda: (env.transcript(), env.state().tolist(), env.rewards)


def act_on_mask_to_info() -> tuple[Callable[[Any], object], Callable[[], object]]:
    """The AEC form with its mask in the info."""
    env = MaskToInfo(LanguageGameEnv(Whisper()))
    env.reset(options={"deal": "red"})
    return env.step, lambda: env.state().tolist()


def act_on_single_player() -> tuple[Callable[[Any], object], Callable[[], object]]:
    """Gymnasium's form."""
    env = SinglePlayerEnv(Whisper(), opponent=ScriptedAgent(["red"]), render_mode="ansi")
    env.reset(options={"deal": "red"})
    return env.step, env.render


def act_on_views() -> tuple[Callable[[Any], object], Callable[[], object]]:
    """What an agent asks its view."""
    view = Episode(Whisper(), "red").view()
    view.legal_mask((BLUE,))
    return lambda token: view.legal_mask((BLUE, token)), lambda: view.legal_mask((BLUE,)).tolist()


def act_on_ids() -> tuple[Callable[[Any], object], Callable[[], object]]:
    """The same as ids."""
    view = Episode(Whisper(), "red").view()
    return lambda token: view.legal_tokens((token,)), lambda: repr(view.legal_tokens((BLUE,)))


def act_on_turns() -> tuple[Callable[[Any], object], Callable[[], object]]:
    """The open turn by itself."""
    turn = OpenTurn(Whisper(), Episode(Whisper(), "red").dialogue)
    return turn.push, lambda: (turn.spoken, turn.closed_by)


def act_on_padding() -> tuple[Callable[[Any], object], Callable[[], object]]:
    """An action of the turn-level form."""
    env = TurnLevelEnv(Whisper())
    env.reset(options={"deal": "red"})
    return lambda token: env.step(env.pad((token, EOS))), env.transcript


ACTS = [act_on_pushes, act_on_speaking, act_on_batches, act_on_aec, act_on_mask_to_info, act_on_single_player]
ACTS += [act_on_views, act_on_ids, act_on_turns, act_on_padding]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__.removeprefix("act_on_"))
def test_what_is_no_token_is_refused_and_changes_nothing(act: Any) -> None:
    """An integer beyond the vocabulary is a ValueError, what is no integer a TypeError; each names what came."""
    say, state = act()
    before = state()
    for token in NO_TOKENS:
        error = ValueError if any(token is one for one in NO_IDS) else TypeError
        with pytest.raises(error, match=r"expected a token id"):
            say(token)
        assert state() == before
    say(RED)


@pytest.mark.parametrize("act", ACTS[:3], ids=lambda act: act.__name__.removeprefix("act_on_"))
def test_integers_of_numpy_are_tokens(act: Any) -> None:
    """As policies return them; what is kept are plain integers."""
    results = []
    for token in PROPER:
        say, state = act()
        say(token)
        results.append(state())
    assert all(result == results[0] for result in results)
    episode = Episode(Whisper(), "red")
    episode.speak(Utterance((np.int64(RED), np.int64(EOS))))  # type: ignore[arg-type]
    assert [type(token) for token in episode.dialogue.turns[0].tokens] == [int]


class Bad:
    """An agent that says one token as often as a turn lets it."""

    def __init__(self, token: Any) -> None:
        """Take the token."""
        self.token = token

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Say it, with logprobs of its own."""
        said = [(self.token,) * view.max_turn_tokens for view in views]
        return [Utterance(tokens, (0.0,) * len(tokens), Ending.TOO_LONG) for tokens in said]


@pytest.mark.parametrize("name", registered_games())
@pytest.mark.parametrize("token", [-1, -2, -100, 3.7, 10**6])
def test_no_game_takes_what_is_no_token(name: str, token: Any) -> None:
    """Turns that the rules do not narrow read a mask, at -1 from its end."""
    game = make_game(name)
    with pytest.raises((TypeError, ValueError), match=r"token: expected a token id.* in \[0, \d+\), got"):
        rollout(game, [Bad(token), Bad(token)], 2, np.random.default_rng(0))


def test_an_illegal_token_of_the_vocabulary_forfeits() -> None:
    """Padding is an id, though never legal: the game's forfeit, in every form alike."""
    (first, second) = rollout(Whisper(), [Bad(0), RandomAgent()], 2, np.random.default_rng(0))
    assert [played.dialogue.turns[0].ending for played in (first, second)] == [Ending.ILLEGAL] * 2
    env = LanguageGameEnv(Whisper())
    env.reset(seed=0)
    env.step(0)
    assert (env.rewards["player_0"], env.terminations["player_1"]) == (-2.0, True)


ARRAYS = [[1.5, 2.0], [np.nan, 8.0], [True, False], ["8", "8"], [None, 8], [[8], [8, 9]], [8], [[8, 8]], [2**70, 8]]
ARRAYS += [[-1, 8], [8, SIZE], None, "88", 8, np.array([8, 8], dtype=object), np.array([8, -1], dtype=np.int8)]


@pytest.mark.parametrize("tokens", ARRAYS, ids=repr)
def test_arrays_of_what_are_no_tokens_change_nothing(tokens: Any) -> None:
    """Of another type, shape or range, to the batched form and to Gymnasium's vector form."""
    plays = BatchedGame(Whisper(), 2, seed=0)
    before = plays.views.tolist(), plays.legal_masks().tolist()
    for call in (plays.step, lambda array: plays.speak([array, array], [1, 1])):
        with pytest.raises((TypeError, ValueError), match=r"tokens?.*: expected|utterance: expected"):
            call(tokens)
    assert (plays.views.tolist(), plays.legal_masks().tolist()) == before
    envs = LanguageGameVectorEnv(Whisper(), 2, opponent=ScriptedAgent(["red"]))
    seen = envs.reset(seed=0)[0]["observation"].tolist()
    with pytest.raises((TypeError, ValueError), match="tokens: expected"):
        envs.step(tokens)
    assert envs._observe()["observation"].tolist() == seen


@pytest.mark.parametrize("token", [-1, 3.7, "red", None, True, 2**70])
def test_an_opponent_of_the_vector_form_is_refused_too(token: Any) -> None:
    """Its tokens go into an array, which would round them."""
    envs = LanguageGameVectorEnv(Whisper(), 2, opponent=Bad(token))
    envs.reset(seed=0)
    envs.step([RED, RED])
    with pytest.raises((TypeError, ValueError), match=r"expected (a token id|ids in)"):
        envs.step([EOS, EOS])


def test_a_prefix_may_be_a_list_that_grows() -> None:
    """The mask follows what the list holds now, as for the same tokens in a tuple."""
    view, other = (Episode(Whisper(), "red").view() for _ in range(2))
    prefix: Any = []
    for token in (RED, BLUE, RED):
        view.legal_mask(prefix)
        prefix.append(token)
        assert view.legal_mask(prefix).tolist() == other.legal_mask(tuple(prefix)).tolist()
    assert not view.legal_mask(prefix).any()


def test_words_of_a_script_are_not_rounded() -> None:
    """`utter` makes the utterances of scripted agents."""
    view = Episode(Whisper(), "red").view()
    assert utter(view, np.array([RED, BLUE])).tokens == (RED, BLUE, EOS)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        utter(view, [3.7])  # type: ignore[list-item]
