"""The benchmark measures what it says and writes what `make bench` promises."""

import json
import sys
from pathlib import Path

import pytest

from duologue.envs import LanguageGameEnv, benchmark, make
from duologue.envs.benchmark import GOAL, actions_per_second, main, record_episodes

from .games_for_tests import Whisper


def test_recorded_actions_are_whole_legal_episodes() -> None:
    """Played again from the same first seed, each ends where its record does, with nothing forfeited."""
    env = LanguageGameEnv(Whisper())
    episodes = record_episodes(env, 20)
    for k, actions in enumerate(episodes):
        env.reset(seed=None if k else 0)
        for action in actions:
            assert not env.terminations[env.agent_selection]
            env.step(action)
        assert all(env.terminations.values())
        assert not env.dialogue.turns[-1].ending.forfeits
    assert len(set(map(tuple, episodes))) > 1


def test_speed_is_a_positive_number() -> None:
    """Of actions per second of CPU time."""
    env = make("bluff-v0")
    assert actions_per_second(env, record_episodes(env, 300)) > 0


def test_main_prints_a_table_and_writes_a_list_of_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`bench.json` is a list of name, value, goal and unit; the measure here is a quick one."""
    monkeypatch.setattr(benchmark, "NUM_EPISODES", {"red_team-v0": 20, "tictactoe_v3": 10})
    path = tmp_path / "bench.json"
    main(["--out", str(path)])
    (figure,) = json.loads(path.read_text(encoding="utf-8"))
    assert figure.keys() == {"name", "value", "goal", "unit"}
    assert (figure["name"], figure["goal"], GOAL) == ("aec_steps_vs_tictactoe", 6.0, 6.0)
    assert figure["value"] > 0
    assert "tictactoe_v3" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [path]


def test_missing_pygame_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """PettingZoo's tictactoe draws its board with it; only the `dev` extra installs it."""
    for name in [name for name in sys.modules if name.startswith("pettingzoo.classic.tictactoe")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(ImportError, match=r"tictactoe: expected pygame, .* pip install pygame"):
        benchmark.tictactoe()
