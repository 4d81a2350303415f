"""Every `duologue train` from Python: `train("gpo", seed=3, out="runs/x")`, and the finished run as an object."""

from __future__ import annotations

from ..training.run import Config
from .commands import TRAINERS, Command, training_command
from .options import make_config
from .runs import RunResult, load_run


def train(what: str | Config, **options: object) -> RunResult:
    """Run or resume a training command; the folder is the same as the command line's.

    Args:
        what: the name after `duologue train`, or the dataclass of that command's options.
        options: fields of that dataclass by name; those of a group as the group's dataclass, as a mapping, or flat
            where the command line has no prefix before them: `game="kuhn_poker-v0"`, `ppo={"clip_epsilon": 0.1}`.

    Raises:
        ValueError: no such algorithm, or an option out of its range.
        TypeError: an option that the algorithm does not have, or options beside a dataclass.
    """
    if isinstance(what, str):
        command = training_command(what)
        config = make_config(command.config, options, whose=what)
    else:
        if options:
            raise TypeError(f"train: expected no options beside a {type(what).__name__}, got {', '.join(options)}")
        command, config = _command_of(what), what
    return load_run(command.function(config))


def _command_of(config: Config) -> Command:
    """Return the command whose options these are.

    Raises:
        TypeError: there is none.
    """
    module = type(config).__module__.rpartition("baselines.")[2]
    for command in TRAINERS.values():  # that of the module first: asking for options imports
        near = command.entry.partition(":")[0] == module or command.name == getattr(config, "algorithm", "")
        if near and isinstance(config, command.config):
            return command
    raise TypeError(f"train: expected the options of one of {', '.join(TRAINERS)}, got a {type(config).__name__}")
