"""Pieces of work in processes of their own, several at a time: one that fails or is killed loses no other."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

ResultT = TypeVar("ResultT")

PR_SET_PDEATHSIG = 1
"""Of Linux: asks for a signal when the parent ends; see prctl(2)."""


class WorkerFailed(ChildProcessError):
    """What went wrong in another process."""

    def __init__(self, message: str, trace: str) -> None:
        super().__init__(message)
        self.trace = trace
        """Where, in that process."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[ResultT]):
    """What one piece of work came to."""

    index: int
    """Its place in the order it was given in."""
    result: ResultT | None
    """What it returned; None if it failed."""
    error: str | None
    """Why it failed, with the traceback if there is one."""


def run_all(work: Sequence[Callable[[], ResultT]], *, num_processes: int, preload: str) -> Iterator[Outcome[ResultT]]:
    """Yield what each piece of work comes to, as it is finished.

    Args:
        work: callables that a process can be sent.
        num_processes: how many run at the same time; 1: in this process, one after the other.
        preload: the module that a fork server imports once for all of them.
    """
    if num_processes < 1:
        raise ValueError(f"processes: expected at least 1, got {num_processes}")
    if num_processes == 1:
        yield from (_attempt(index, task) for index, task in enumerate(work))
        return
    waiting, running = list(enumerate(work)), dict[Connection, tuple[int, BaseProcess]]()
    try:
        while waiting or running:
            while waiting and len(running) < num_processes:
                index, task = waiting.pop(0)
                connection, process = _start(index, task, preload)
                running[connection] = (index, process)
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                index, process = running.pop(ready)
                yield _received(index, ready, process)
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()


def _attempt(index: int, work: Callable[[], ResultT]) -> Outcome[ResultT]:
    try:
        return Outcome(index, work(), None)
    except Exception:
        return Outcome(index, None, traceback.format_exc())


def _start(index: int, work: Callable[[], Any], preload: str) -> tuple[Connection, BaseProcess]:
    context = where_to_start(preload)
    ours, theirs = context.Pipe(duplex=False)
    process: BaseProcess = context.Process(target=_serve, args=(index, work, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the end of the process is the end of the pipe
    return ours, process


def where_to_start(preload: str) -> Any:
    """Return what starts processes; a fork server, where there is one, imports a module once for all of them.

    Ctrl-C reaches them only where they heed it (`stopping.py`): it is their parent that ends them.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context: Any = multiprocessing.get_context(method)  # its class, and so its methods, depend on the name
    if method == "forkserver":
        context.set_forkserver_preload([preload])
        in_main_thread = threading.current_thread() is threading.main_thread()
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
        try:
            forkserver.ensure_running()  # inherits what is ignored, and so do those that it forks
        finally:
            if handler is not None:
                signal.signal(signal.SIGINT, handler)
    return context


def _serve(index: int, work: Callable[[], Any], connection: Connection) -> None:
    end_with_parent()
    connection.send(_attempt(index, work))
    connection.close()


def _received(index: int, connection: Connection, process: BaseProcess) -> Outcome[Any]:
    try:
        outcome: Outcome[Any] = connection.recv()
    except EOFError:  # killed, or out of memory
        process.join()
        outcome = Outcome(index, None, f"the process ended with exit status {process.exitcode}")
    connection.close()
    process.join()
    return outcome


def end_with_parent() -> None:
    """Let this process end when its parent has, however that was killed: two must never write in one folder."""
    if sys.platform == "linux":  # at once, whatever this process is doing; its parent may be a fork server, which ends
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
