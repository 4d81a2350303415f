"""Help: short first pages, groups, and no flag that the command line would refuse."""

import dataclasses
import re

import pytest

from duologue.__main__ import main
from duologue.baselines.api.commands import COMMANDS, TRAINERS, Command, asked_for_help
from duologue.baselines.api.help import NUM_FIRST, help_page
from duologue.baselines.api.options import Group, main_group
from duologue.baselines.two_player.gpo import GPOConfig

ALL = [*TRAINERS.values(), *COMMANDS.values()]


def page(command: Command, group: str = "") -> str:
    """Return the help of a command."""
    return help_page(command.config, prog=command.prog, description=command.module.__doc__ or "", group=group)


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_help_names_the_flags_that_tyro_has(
    command: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of those on tyro's own page, and no others."""
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit, match="0"):
        command.parse(["--help"])
    theirs = set(re.findall(r"--[a-z0-9.-]*[a-z0-9]", capsys.readouterr().out))
    ours = {f"--{option.flag}" for option in main_group(command.config).all_options if not option.positional}
    assert ours <= theirs
    named = set(re.findall(r"--[a-z0-9.-]*[a-z0-9]", command.module.__doc__ or ""))
    assert {re.sub(r"(--|\.)no-", r"\1", flag) for flag in theirs} - named <= {*ours, "--help"}


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_the_first_page_fits_a_terminal(command: Command) -> None:
    """At most 45 lines; what matters first, then every group with as many options as tyro has."""
    lines = page(command).splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 110
    group = main_group(command.config)
    first = [line for line in lines if re.match(r"  (--|[A-Z]+ )", line)]
    assert min(NUM_FIRST, 4, len(group.all_options)) <= len(first) <= NUM_FIRST
    counts = [int(found[1]) for line in lines if (found := re.match(r"  [a-z][a-z0-9-]* +(\d+)  ", line))]
    assert sum(counts) == len(group.all_options)


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_every_option_has_a_sentence(command: Command) -> None:
    """And every group."""
    for group in main_group(command.config):
        assert group.sentence
        assert all(option.sentence for option in group.options)


def test_groups_have_their_prefix_and_defaults() -> None:
    """Of the instance that the command has, not of the group's class: both players have a PPO of their own."""
    groups: dict[str, Group] = {group.name: group for group in main_group(GPOConfig)}
    flags = {option.flag: option.default for option in groups["defender-learner.ppo"].options}
    assert flags["defender-learner.ppo.learning-rate"] == GPOConfig().defender_learner.ppo.learning_rate
    assert {"--schedule.num-rounds", "--bleu-weight", "--game"} <= {
        f"--{option.flag}" for option in main_group(GPOConfig).all_options
    }


def test_what_a_command_line_asks_for() -> None:
    """The first page, a group, or nothing."""
    assert asked_for_help(["--seed", "3"]) is None
    assert asked_for_help(["--seed", "3", "--help"]) == ""
    assert asked_for_help(["-h", "--seed", "3"]) == ""
    assert asked_for_help(["--help", "schedule"]) == "schedule"


def test_help_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A group, all, and a group that is none."""
    assert main(["train", "gpo", "--help", "schedule"]) == 0
    assert "--schedule.defend-steps INT" in capsys.readouterr().out
    assert main(["train", "gpo", "--help", "all"]) == 0
    assert "--schedule.defend-steps INT" in capsys.readouterr().out
    assert main(["demo", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: duologue demo [options]\n\nThe main job:")
    assert main(["train", "gpo", "--help", "schedules"]) == 2
    assert "expected a group of options among main, options, options.adversary-role," in capsys.readouterr().err


def test_a_field_says_its_sentence_once_over_its_bases() -> None:
    """A field that a subclass repeats without a sentence keeps that of its base."""

    @dataclasses.dataclass(frozen=True)
    class Base:
        """Options."""

        seed: int = 0
        """Decides all."""
        size: int | None = None
        """How large.

        In tokens."""

    @dataclasses.dataclass(frozen=True)
    class Special(Base):
        """More options."""

        seed: int = 1

    options = main_group(Special).options
    assert [(option.flag, option.kind, option.default, option.sentence) for option in options] == [
        ("seed", "INT", 1, "Decides all."),
        ("size", "INT", None, "How large."),
    ]
