"""The single-player form: one seat against a given opponent."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from sb3_contrib.common.maskable.utils import get_action_masks

from duologue.agents import ScriptedAgent
from duologue.envs import Dialogue, SinglePlayerEnv
from duologue.envs.games.bluff import BET, CALL, FOLD, Bluff
from duologue.envs.vocabulary import EOS
from duologue.tests.envs.helpers import BLUE, NO, RED, YES, Whisper


def test_opponent_speaks_whole_turns_inside_step() -> None:
    """Player 0 bets the ace into a caller that calls: two chips, in one step."""
    env = SinglePlayerEnv(Bluff(), player=0, opponent=ScriptedAgent(["call"]), render_mode="ansi")
    observation, info = env.reset(options={"deal": "ace"})
    assert np.flatnonzero(observation["action_mask"]).tolist() == [*FOLD, *BET]
    observation, reward, terminated, truncated, info = env.step(BET[0])
    assert (reward, terminated, truncated, info) == (2.0, True, False, {})
    assert not observation["action_mask"].any()
    assert (env.render() or "").splitlines()[1:3] == ["bettor: bet", "caller: call"]


def test_player_one_finds_the_others_turn_in_its_first_observation() -> None:
    """And pays for a bad call."""
    env = SinglePlayerEnv(Bluff(), player=1, opponent=ScriptedAgent(["bet"]))
    observation, _ = env.reset(options={"deal": "ace"})
    assert BET[0] in observation["observation"]
    assert env.step(CALL[0])[1] == -2.0


def test_deals_without_a_decision_are_dealt_again() -> None:
    """The caller of a bettor who folds deuces only ever faces aces."""

    class Honest(ScriptedAgent):
        def speak(self, views: Any, rng: Any) -> Any:
            return ScriptedAgent(["bet" if 8 in views[0].tokens else "fold"]).speak(views, rng)

    env = SinglePlayerEnv(Bluff(), player=1, opponent=Honest(["bet"]))
    for seed in range(20):
        env.reset(seed=seed)
        assert env.step(CALL[0])[1] == -2.0


def test_player_who_never_speaks_is_told_so() -> None:
    """Instead of dealing for ever."""
    with pytest.raises(RuntimeError, match="reset: player 1 was never to speak in 1000 deals"):
        SinglePlayerEnv(Bluff(), player=1, opponent=ScriptedAgent(["fold"])).reset(seed=0)


class EarlyPay(Whisper):
    """Pays player 1 for player 0's opening turn."""

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        return 0.0, float(10 ** len(dialogue.turns))


def test_rewards_sum_to_the_return_opening_turns_of_the_opponent_included() -> None:
    """10 for the opponent's first turn, 100 for its own, 1000 for the opponent's last."""
    env = SinglePlayerEnv(EarlyPay(), player=1, opponent=ScriptedAgent(["yes", "blue"]))
    env.reset(options={"deal": "blue"})
    assert [env.step(token)[1] for token in (NO, EOS)] == [10.0, 1100.0]
    env.reset(options={"deal": "blue"})
    assert [env.step(token)[1] for token in (EOS,)] == [1110.0]


def test_masked_token_forfeits() -> None:
    """As in the AEC form."""
    env = SinglePlayerEnv(Bluff(), render_mode="ansi")
    env.reset(seed=0)
    _, reward, terminated, _, _ = env.step(0)
    assert (reward, terminated) == (-1.0, True)
    assert "[forfeit: illegal]" in (env.render() or "")


@pytest.mark.parametrize("action", [1.0, np.float64(9.0), np.array([9.5]), "bet"])
def test_action_that_is_no_integer_is_refused(action: Any) -> None:
    """A float is not rounded."""
    env = SinglePlayerEnv(Bluff())
    env.reset(seed=0)
    with pytest.raises(TypeError, match="action: expected a token id, an integer"):
        env.step(action)


def test_step_out_of_order_is_refused() -> None:
    """Before reset and after the end."""
    env = SinglePlayerEnv(Bluff())
    for use in (env.render, env.action_masks):
        with pytest.raises(RuntimeError, match="expected a call after reset"):
            use()
    with pytest.raises(RuntimeError, match=r"step: .* got one before reset"):
        env.step(FOLD[0])
    env.reset(seed=0)
    env.step(FOLD[0])
    with pytest.raises(RuntimeError, match=r"step: .* got one after the end of the episode"):
        env.step(FOLD[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"player": 2}, "player: expected 0 or 1, got 2"),
        ({"opponent": "rando"}, "opponent: expected \"random\" or an agent with a method speak, got 'rando'"),
        ({"render_mode": "rgb_array"}, "render_mode: expected None"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    """Expected and actual in every message."""
    with pytest.raises(ValueError, match=message):
        SinglePlayerEnv(Bluff(), **options)


def test_seed_decides_deal_and_opponent() -> None:
    """The same seed gives the same episode; the opponent draws from the environment's generator."""
    transcripts = []
    for _ in range(2):
        env = SinglePlayerEnv(Whisper(), player=1, render_mode="ansi")
        env.reset(seed=5)
        over = False
        for token in (RED, EOS):
            over = env.step(token)[2]
        assert over
        transcripts.append(env.render())
    assert transcripts[0] == transcripts[1]


def test_gymnasium_make_takes_an_agent_as_opponent() -> None:
    """`gymnasium.make("duologue/bluff-v0", player=0, opponent=agent)`, as the README has it."""
    env = gymnasium.make("duologue/bluff-v0", player=0, opponent=ScriptedAgent(["fold"]))
    env.reset(seed=0)
    assert env.step(BET[0])[1] == 1.0


def test_action_masks_are_those_that_sb3_contrib_reads() -> None:
    """`MaskablePPO` finds them by the method's name, in booleans."""
    env = SinglePlayerEnv(Bluff())
    env.reset(seed=0)
    masks = get_action_masks(env)
    assert masks.dtype == np.bool_
    assert np.flatnonzero(masks).tolist() == [*FOLD, *BET]


def test_human_rendering_prints_after_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    """As in the AEC form."""
    env = SinglePlayerEnv(Whisper(), opponent=ScriptedAgent(["no"]), render_mode="human")
    env.reset(options={"deal": "red"})
    for token in (YES, EOS, BLUE):
        env.step(token)
    assert capsys.readouterr().out.count("whisperer: yes") == 3
