"""Every command by name: the function that runs it, and the dataclass of its options.

A command is a function of its options, `gpo(GPOConfig(...))`, and returns the folder that it leaves. Its name, its
options' class and the file that holds both are told apart only here.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from ..training.failures import parse_options

HELP_FLAGS, EVERYTHING = ("-h", "--help"), "all"
"""What asks for help, and which help has every option."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command."""

    name: str
    """After `duologue`, or after `duologue train`."""
    entry: str
    """Module below `duologue.baselines` and function, with a colon between them."""
    summary: str
    """What it does, in a line."""
    trains: bool = True
    """Whether it is one of `duologue train`."""
    prints: bool = False
    """Whether its module has a `main`, which runs it and prints what came of it in its own way."""

    @property
    def module(self) -> ModuleType:
        """The module, imported when it is first asked for."""
        return importlib.import_module(f"duologue.baselines.{self.entry.partition(':')[0]}")

    @property
    def function(self) -> Callable[[Any], Path]:
        """The function that runs it."""
        function: Callable[[Any], Path] = getattr(self.module, self.entry.partition(":")[2])
        return function

    @property
    def config(self) -> type[Any]:
        """The dataclass of its options: what the function takes first."""
        name = next(iter(inspect.signature(self.function).parameters))
        config: type[Any] = get_type_hints(self.function)[name]
        return config

    @property
    def prog(self) -> str:
        """What is typed."""
        return f"duologue train {self.name}" if self.trains else f"duologue {self.name}"

    def parse(self, argv: Sequence[str] | None = None) -> Any:
        """Return the options that a command line asks for.

        Raises:
            ValueError: they cannot be read, or ask for a device that this machine has not.
        """
        config = parse_options(self.config, argv, prog=self.prog, description=self.module.__doc__)
        if hasattr(config, "device"):
            from ..training.options import require_device  # needs torch

            require_device(config.device)
        return config

    def print_help(self, group: str = "") -> None:
        """Print the first page of its help, that of a group of options, or with "all" every option.

        Raises:
            ValueError: it has no such group.
        """
        from .help import help_page  # needs tyro

        if group != EVERYTHING:
            print(help_page(self.config, prog=self.prog, description=self.module.__doc__ or "", group=group))
            return
        with suppress(SystemExit):  # by which tyro leaves
            (self.module.main if self.prints else self.parse)(["--help"])

    def run(self, argv: Sequence[str] | None = None) -> Path:
        """Run it as a command line asks; print what it leaves to be shown, and where the rest lies."""
        config = self.parse(argv)
        folder = self.function(config)
        for name in getattr(config, "shown", ()):
            print((folder / name).read_text(encoding="utf-8"))
        print(f"{self.name}: {folder}")
        return folder


GROUPS: dict[str, tuple[Command, ...]] = {
    "one player learns, in stages": (
        Command("pretrain", "alignment.pretrain:pretrain", "the base model: behaviour cloning on all tokens"),
        Command("sft", "alignment.sft:sft", "the defender: supervised fine-tuning on player two's tokens"),
        Command(
            "judge", "text.encoder_judge:train_encoder_judge", "a judge from labelled exchanges, on a sentence encoder"
        ),
        Command(
            "reward_model",
            "alignment.reward_model:train_reward_model",
            "a reward model from preference pairs (Bradley-Terry)",
        ),
        Command("rlhf", "alignment.rlhf:rlhf", "policy learning of the defender on static prompts: the baseline"),
        Command("dpo", "alignment.dpo:dpo", "offline DPO and IPO from preference pairs"),
        Command("attack", "alignment.attack:attack", "an adversary against a frozen defender"),
    ),
    "both players learn": (
        Command("gpo", "two_player.gpo:gpo", "adversary and defender in turns (arXiv 2406.10977)"),
        Command("self_play", "two_player.self_play:self_play", "both at once, against each other or earlier selves"),
        Command(
            "fictitious_play",
            "two_player.fictitious_play:fictitious_play",
            "best responses to the mixture of all past opponents (FSP; NFSP by --distil)",
        ),
        Command(
            "psro",
            "two_player.psro:train_psro",
            "populations that grow by best responses to their meta-strategies (PSRO, double oracle)",
        ),
        Command(
            "league", "two_player.league:league", "main agents and exploiters of both players (AlphaStar's, small)"
        ),
        Command(
            "advgame",
            "two_player.advgame:advgame",
            "preferences over a tree of prompts and replies (arXiv 2512.20806)",
        ),
        Command(
            "spag",
            "two_player.spag:train_spag",
            "one policy in both seats, trained on the winner's turns (arXiv 2404.10642)",
        ),
    ),
    "language modelling on text": (
        Command("text", "text.training:train_text", "any causal model: pre-training, then fine-tuning"),
    ),
    "learners of other libraries": (
        Command(
            "sb3", "integrations.sb3:train_sb3", "PPO, A2C or MaskablePPO of Stable-Baselines3 against an opponent"
        ),
        Command(
            "sb3_self_play",
            "integrations.sb3_self_play:train_sb3_self_play",
            "Stable-Baselines3 policies against a pool of their past",
        ),
    ),
    "studies, several trainings each": (
        Command("stages", "studies.stages:stages", "all stages of the first paper, reward hacking shown"),
        Command(
            "text_stages",
            "studies.text_stages:train_text_stages",
            "all stages from a file of preference pairs: tokenizer, language model, reward models",
        ),
        Command("meta", "studies.meta:meta", "meta-learning over games, and adaptation to a held-out one (eq. 10)"),
    ),
}
"""What `duologue train` knows, under the headings that it lists it by."""
TRAINERS: dict[str, Command] = {command.name: command for group in GROUPS.values() for command in group}
"""The same by name."""
DEMO = Command("demo", "studies.demo:demo", "train adversary and defender against each other", trains=False)
"""The main job."""
COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        DEMO,
        Command("bench", "benchmark.command:bench", "algorithms on games x seeds", trains=False, prints=True),
        Command("compare", "comparison.command:run_comparison", "players of one game", trains=False, prints=True),
        Command("evaluate", "api.evaluate:evaluate_folder", "a finished run or a model", trains=False, prints=True),
        Command(
            "judge-report",
            "api.judge_report:run_judge_report",
            "how far a judge can be believed",
            trains=False,
            prints=True,
        ),
        Command("convert", "api.convert:convert", "a GGUF file as a model's folder", trains=False, prints=True),
        Command("export", "api.export:export_run", "a run's play as text dialogues", trains=False, prints=True),
    )
}
"""What stands after `duologue` itself and takes a dataclass of options."""


def training_command(name: str) -> Command:
    """Return the training command of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in TRAINERS:
        raise ValueError(f"train: expected an algorithm among {', '.join(TRAINERS)}, got {name!r}")
    return TRAINERS[name]


def asked_for_help(argv: Sequence[str]) -> str | None:
    """Return what help a command line asks for: "" the first page, else a group's name or "all"; None: no help."""
    for place, word in enumerate(argv):
        if word in HELP_FLAGS:
            behind = argv[place + 1 : place + 2]
            return behind[0] if behind and not behind[0].startswith("-") else ""
    return None
