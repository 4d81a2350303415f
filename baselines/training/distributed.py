"""One process or several that train one model: `accelerate launch -m duologue train text ...` starts several.

Each has a copy of the model and a share of every batch (torch's DistributedDataParallel, through Hugging Face's
accelerate); gradients are averaged. Only the main process writes files.
"""

from __future__ import annotations

import os
import resource
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ...envs.extras import from_extra

if TYPE_CHECKING:
    from accelerate import Accelerator


class Processes(Protocol):
    """What a training loop asks of the processes that it runs in."""

    rank: int
    """Which this is, from 0, the main process."""
    count: int
    """How many there are."""
    device: torch.device
    """Where this one computes."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return what to call in place of the model, so that backward passes average gradients."""
        ...

    def accumulate(self, model: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Return a context for a forward and backward pass; gradients are averaged in the last of a step."""
        ...

    def total(self, value: Tensor) -> Tensor:
        """Return the sum over the processes."""
        ...

    def wait(self) -> None:
        """Wait until all processes are here."""
        ...


class OneProcess:
    """The usual case."""

    rank, count = 0, 1

    def __init__(self, device: str) -> None:
        """Take the device.

        Raises:
            ValueError: a CUDA device on a machine without.
        """
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device: expected one that this machine has, got {device!r}")
        self.device = torch.device(device)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model."""
        return model

    def accumulate(self, model: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Return a context that does nothing."""
        return nullcontext()

    def total(self, value: Tensor) -> Tensor:
        """Return the value."""
        return value

    def wait(self) -> None:
        """Return at once."""


class SeveralProcesses:
    """This process among those that `accelerate launch` started."""

    def __init__(self, accelerator: Accelerator) -> None:
        """Take accelerate's view of them."""
        self._accelerator = accelerator
        self.rank, self.count = accelerator.process_index, accelerator.num_processes
        self.device = accelerator.device

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model as accelerate distributes it."""
        wrapped = self._accelerator.prepare_model(model)
        assert isinstance(wrapped, nn.Module)
        return wrapped

    def accumulate(self, model: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """Return a context in which gradients stay in this process, unless it is the last of a step."""
        return nullcontext() if last else self._accelerator.no_sync(model)

    def total(self, value: Tensor) -> Tensor:
        """Return the sum over the processes."""
        summed = self._accelerator.reduce(value, reduction="sum")
        assert isinstance(summed, Tensor)
        return summed

    def wait(self) -> None:
        """Wait until all processes are here."""
        self._accelerator.wait_for_everyone()


def processes_on(device: str) -> Processes:
    """Return the processes of this command: several where a launcher says so (`WORLD_SIZE`), else one.

    Raises:
        ValueError: no such device.
        ImportError: several, and accelerate is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return OneProcess(device)
    with from_extra("accelerate", need=f"WORLD_SIZE {os.environ['WORLD_SIZE']}: expected accelerate"):
        from accelerate import Accelerator
    return SeveralProcesses(Accelerator(cpu=device == "cpu", mixed_precision="no"))


def peak_memory_gib(device: torch.device) -> float:
    """Return the most memory used so far: on a GPU what torch allocated, else what this process had resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, and on macOS bytes
    return resident / (2**30 if sys.platform == "darwin" else 2**20)
