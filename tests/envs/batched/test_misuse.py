"""What `BatchedGame` says to a wrong call, and that it loses nothing by it."""

import numpy as np
import pytest

from duologue.envs import Dialogue, Ending, SampledDeals
from duologue.envs.batched.game import BatchedGame
from duologue.envs.games.bluff import Bluff
from duologue.tests.envs.helpers import RED, Coordination, Whisper

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


def hand(rng: np.random.Generator) -> int:
    """Return one of so many deals that none comes twice."""
    return int(rng.integers(1 << 62))


class Unreliable(Coordination):
    """Fails to say who opens an episode while `failing`."""

    deals = SampledDeals(hand)
    failing = False

    def __init__(self) -> None:
        """Draw no coin."""

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        if self.failing and not dialogue.turns:
            raise ConnectionError("next_player")
        return super().next_player(dialogue)


def test_rules_that_fail_on_a_fresh_deal_do_not_use_it_up() -> None:
    """Else the same call, made again, would deal other hands than play that nothing disturbed."""
    game = Unreliable()
    plays, undisturbed = BatchedGame(game, 8, seed=0), BatchedGame(Unreliable(), 8, seed=0)
    failures = 0
    for _ in range(12):
        tokens = plays.legal_masks().argmax(1)
        game.failing = True
        try:
            plays.step(tokens)
        except ConnectionError:
            failures += 1
            game.failing = False
            plays.step(tokens)
        undisturbed.step(tokens)
        assert [plays.dialogue(k) for k in range(8)] == [undisturbed.dialogue(k) for k in range(8)]
    assert failures > 1


def test_a_reset_that_fails_leaves_the_stream_of_deals() -> None:
    """The seed that it was given counts for nothing."""
    game = Unreliable()
    plays, undisturbed = BatchedGame(game, 8, seed=0), BatchedGame(Unreliable(), 8, seed=0)
    game.failing = True
    with pytest.raises(ConnectionError):
        plays.reset(seed=1)
    game.failing = False
    plays.reset()
    undisturbed.reset()
    assert [plays.dialogue(k) for k in range(8)] == [undisturbed.dialogue(k) for k in range(8)]
