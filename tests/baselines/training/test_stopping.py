"""Ctrl-C and SIGTERM: the step is ended and saved, and what goes on from there ends as if nothing had happened."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from duologue.__main__ import main
from duologue.baselines.training.loop import Training, train
from duologue.baselines.training.options import RunOptions
from duologue.baselines.training.run import read_metrics
from duologue.baselines.training.state import Stateful
from duologue.baselines.training.stopping import Stopped, heeding_stops

KUHN = "train self_play --game kuhn_poker-v0 --batch-size 4 --hidden-size 8 --num-updates 6".split()


@dataclass(frozen=True)
class Step:
    iteration: int
    drawn: float


class Walk(Stateful):
    """Draws a number a step; in step `at` signals come while it is half done."""

    saved = ("iteration", "total", "rng")

    def __init__(self, at: int = 0, signals: tuple[int, ...] = ()) -> None:
        self.iteration, self.total, self.rng = 0, 0.0, np.random.default_rng(0)
        self.at, self.signals = at, signals

    def __iter__(self) -> Iterator[Step]:
        while self.iteration < 7:
            self.total += 1
            if self.iteration + 1 == self.at:
                for number in self.signals:
                    os.kill(os.getpid(), number)
            self.total += self.rng.random()
            self.iteration += 1
            yield Step(self.iteration, self.total)


def walk(folder: Path, learner: Walk) -> list[object]:
    """Train it; return what was logged."""
    train(
        RunOptions(out=folder, save_every=100),
        lambda options: Training(learner=learner, num_steps=7, write=lambda run: None),
    )
    return [record["drawn"] for record in read_metrics(folder)]


@pytest.mark.parametrize(
    ("signals", "status"),
    [((signal.SIGINT,), 130), ((signal.SIGTERM,), 143), ((signal.SIGINT, signal.SIGTERM), 130)],
)
def test_a_step_that_has_begun_is_ended_and_saved(
    signals: tuple[int, ...], status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Though no save was due; a second signal of another kind, as a parent sends its workers, makes no haste."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Stopped, match="saved at step 3 of 7") as stopped:
        walk(tmp_path / "stopped", Walk(3, signals))
    assert stopped.value.status == status
    assert capsys.readouterr().err.count("stopping after this step; Ctrl-C again: at once") == 1
    assert len(read_metrics(tmp_path / "stopped")) == 3
    resumed = Walk()
    assert walk(tmp_path / "stopped", resumed) == walk(tmp_path / "whole", Walk())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    """Nothing half done is saved: the run goes on from its last save, and ends in the same numbers."""
    with pytest.raises(KeyboardInterrupt) as stopped:
        walk(tmp_path / "stopped", Walk(3, (signal.SIGINT, signal.SIGINT)))
    assert not isinstance(stopped.value, Stopped)
    assert not (tmp_path / "stopped/state").exists()
    assert walk(tmp_path / "stopped", Walk()) == walk(tmp_path / "whole", Walk())


def test_the_last_step_is_saved_before_what_was_trained_is_written(tmp_path: Path) -> None:
    """A disk that is full then costs no training."""

    def fail(run: object) -> None:
        raise OSError("disk full")

    options = RunOptions(out=tmp_path, save_every=100)
    with pytest.raises(OSError, match="disk full"):
        train(options, lambda asked: Training(learner=Walk(), num_steps=7, write=fail))
    again = Walk(at=1, signals=(signal.SIGKILL,))  # which would end the tests if a step were taken
    train(options, lambda asked: Training(learner=again, num_steps=7, write=lambda run: None))
    assert again.iteration == 7


def test_signals_are_left_alone_outside_of_the_main_thread() -> None:
    """Python lets no other thread set handlers."""
    asked = []

    def heed() -> None:
        with heeding_stops("run") as stop:
            asked.append(stop.asked)

    thread = threading.Thread(target=heed)
    thread.start()
    thread.join()
    assert asked == [False]


def test_the_command_line_says_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, with the status of a program that was interrupted; the same command goes on."""
    from duologue.baselines.two_player.self_play import SelfPlay

    steps = SelfPlay.__iter__

    def interrupted(learner: SelfPlay) -> Iterator[object]:
        for step in steps(learner):
            if step.iteration == 2:
                os.kill(os.getpid(), signal.SIGINT)
            yield step

    with monkeypatch.context() as patch:
        patch.setattr(SelfPlay, "__iter__", interrupted)
        assert main([*KUHN, "--out", str(tmp_path / "stopped")]) == 130
    assert "duologue: stopped; stopped: saved at step 2 of 6; a run goes on by the same" in capsys.readouterr().err
    assert main([*KUHN, "--out", str(tmp_path / "stopped")]) == 0
    assert main([*KUHN, "--out", str(tmp_path / "whole")]) == 0
    first, second = ((tmp_path / name / "metrics.jsonl").read_bytes() for name in ("stopped", "whole"))
    assert first == second
