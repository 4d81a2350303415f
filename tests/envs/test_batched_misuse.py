"""What `BatchedGame` says to a wrong call, and that it loses nothing by it."""

import pytest

from duologue.envs import Ending
from duologue.envs.batched import BatchedGame
from duologue.envs.games.bluff import Bluff

from .games_for_tests import RED, Whisper

EOS = Whisper.vocabulary.eos_id


def test_misuse_is_named() -> None:
    """Wrong sizes and types, turns in the middle of others, and turns after the end."""
    with pytest.raises(ValueError, match="num_episodes: expected at least 1, got 0"):
        BatchedGame(Bluff(), 0)
    for number in (1.5, "3", True):
        with pytest.raises(TypeError, match=f"num_episodes: expected an integer, got {number!r}"):
            BatchedGame(Bluff(), number)  # type: ignore[arg-type]
    plays = BatchedGame(Whisper(), 2, seed=0, autoreset=False)
    with pytest.raises(ValueError, match=r"tokens: expected shape \(2,\), got \(3,\)"):
        plays.step([RED] * 3)
    with pytest.raises(TypeError, match="tokens: expected integers, got an array of float64"):
        plays.step([1.0, 2.0])
    with pytest.raises(ValueError, match="deals: expected 2, one for each episode, got 1"):
        plays.reset(seed=1, deals=["red"])
    with pytest.raises(ValueError, match="endings: expected 2, one for each episode, got 1"):
        plays.speak([[RED, EOS]] * 2, [2, 2], endings=[Ending.UNREADABLE])  # not for both
    with pytest.raises(TypeError, match="endings: expected values of Ending, got 'eo'"):
        plays.speak([[RED, EOS]] * 2, [2, 2], endings="eo")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lengths: expected integers, got an array of float64"):
        plays.speak([[RED, EOS]] * 2, [2.5, 2.5])
    plays.reset()
    others = BatchedGame(Whisper(), 2, seed=0, autoreset=False)
    others.reset()
    assert [plays.dialogue(k) for k in range(2)] == [others.dialogue(k) for k in range(2)]  # the stream of seed 0
    plays.step([RED, 0])
    with pytest.raises(ValueError, match=r"episodes: expected none that is over, got \[1\]"):
        plays.speak([[RED, EOS]], [2], [1])
    with pytest.raises(ValueError, match=r"episodes: expected no turn half said by step\(\), got some in \[0\]"):
        plays.speak([[RED, EOS]], [2], [0])
