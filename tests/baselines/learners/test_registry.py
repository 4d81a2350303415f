"""Learners by name: registered ones are known to every command, and what does not fit is refused by name."""

import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from duologue.agents import RandomAgent
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.benchmark.registry import algorithm_of, code_of_spec
from duologue.baselines.learners.base import PolicyGradientUpdate
from duologue.baselines.learners.best_response import BestResponse
from duologue.baselines.learners.options import LearnerOptions, steady
from duologue.baselines.learners.registry import LEARNERS, load_learners, register_learner
from duologue.baselines.training.run import read_metrics
from duologue.envs.games.red_team.game import RedTeam
from duologue.tests.baselines.helpers import bluff, tiny_agent

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "add_your_learner.py"


@pytest.fixture(autouse=True)
def registered() -> None:
    """Let the example's learner be known, as its file makes it."""
    assert load_learners(EXAMPLE) == ["cispo"]


def test_a_new_loss_takes_at_most_fifteen_lines() -> None:
    """From its decorator to its last line, docstrings included; and the imports that it needs."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("@register_learner"))
    end = next(number for number, line in enumerate(lines) if line.startswith("if __name__"))
    imports = [line for line in lines[:start] if re.match(r"from duologue", line)]
    assert len([line for line in (*imports, *lines[start:end]) if line.strip()]) <= 15


def test_a_learner_that_is_unknown_is_named() -> None:
    """From Python as well, where no command line checks it: a learner was None once."""
    with pytest.raises(ValueError, match=r"learner: expected a name among .*cispo.*, got 'unknown'"):
        LearnerOptions(learner="unknown")


def test_options_of_a_registered_learner_are_given_by_name() -> None:
    """Values in and out of range, names it does not have, and a learner whose options have flags of their own."""
    options = LearnerOptions(learner="cispo", learner_option=("clip_epsilon=0.5", "learning_rate=0.01"))
    config = options.config
    assert (config.learning_rate, getattr(config, "clip_epsilon", None)) == (0.01, 0.5)
    with pytest.raises(ValueError, match=r"clip_epsilon: expected a number in .*, got 2"):
        LearnerOptions(learner="cispo", learner_option=("clip_epsilon=2",))
    with pytest.raises(ValueError, match=r"learner_option: expected an option among .*, got 'epsilon'"):
        LearnerOptions(learner="cispo", learner_option=("epsilon=0.1",))
    with pytest.raises(ValueError, match=r"learner_option: expected a learner from a file, got rloo, .* --rloo"):
        LearnerOptions(learner="rloo", learner_option=("learning_rate=0.1",))


def test_learning_rates_of_two_players_stay_for_registered_learners_too() -> None:
    """Unless they are told otherwise."""
    chosen = replace(steady(), learner="cispo")
    assert chosen.config.final_learning_rate_share == 1.0
    told = replace(chosen, learner_option=("final_learning_rate_share=0.5",))
    assert told.config.final_learning_rate_share == 0.5


def test_names_are_not_taken_twice() -> None:
    """Neither a built-in one nor one from another file."""
    for name in ("ppo", "cispo"):
        with pytest.raises(ValueError, match=f"name: expected one that nothing else bears, got '{name}' again"):
            register_learner(name, config=LEARNERS["grpo"].config)(LEARNERS["grpo"].make)


def test_a_file_without_a_learner_is_refused(tmp_path: Path) -> None:
    """And one that is not there."""
    (tmp_path / "empty.py").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="learner_file: expected a file that calls register_learner"):
        load_learners(tmp_path / "empty.py")
    with pytest.raises(ValueError, match="learner_file: expected a Python file"):
        load_learners(tmp_path / "absent.py")


def test_cispo_is_grpo_where_no_ratio_is_clipped() -> None:
    """At the first gradient step all ratios are 1, where both gradients are that of -A log pi: the same update."""
    game, ends = bluff(), []
    for name in ("grpo", "cispo"):
        options = LearnerOptions(learner=name)
        config = replace(options.config, kl_coef=0.0, num_epochs=1)  # type: ignore[call-arg]
        learner = options.registered.make(tiny_agent(game), config)
        list(BestResponse(game, learner, RandomAgent(), player=0, batch_size=16, num_steps=1, seed=0, group_size=4))
        ends.append([weight.detach().clone() for weight in learner.agent.model.parameters()])
    for first, second in zip(*ends, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("rlhf", "--learner cispo --learner-file {file} --num-steps 1 --batch-size 8"),
        ("attack", "--adversary {model} --learner cispo --learner-file {file} --num-steps 1 --batch-size 8"),
        (
            "gpo",
            "--adversary {model} --defender-learner.learner cispo --defender-learner.learner-file {file} "
            "--adversary-learner.learner rloo --schedule.num-rounds 1 --schedule.defend-steps 1 "
            "--schedule.attack-steps 1 --schedule.batch-size 8",
        ),
    ],
)
def test_it_is_chosen_by_name_in_the_commands(command: str, flags: str, tmp_path: Path) -> None:
    """One update each, whose record is that of the family."""
    tiny_agent(RedTeam()).save_pretrained(tmp_path / "model")
    argv = f"--defender {tmp_path}/model --out {tmp_path}/run --num-threads 1 " + flags
    TRAINERS[command].run(argv.format(file=EXAMPLE, model=tmp_path / "model").split())
    for step in read_metrics(tmp_path / "run"):
        update = step["update"]
        assert isinstance(update, dict)
        assert update.keys() == {field.name for field in fields(PolicyGradientUpdate)}


def test_the_benchmark_takes_it_for_any_algorithm_without_a_learner_of_its_own() -> None:
    """`self_play:cispo`, with the code of both; AdvGame and SPAG have their own."""
    from duologue.baselines.benchmark import entrants  # noqa: F401  (registers the algorithms)

    algorithm, learner = algorithm_of("self_play:cispo")
    assert algorithm.name == "self_play"
    assert learner is not None
    assert learner.learner == "cispo"
    assert code_of_spec("self_play:cispo") == "+".join(sorted({"duologue", LEARNERS["cispo"].code}))
    with pytest.raises(ValueError, match="algorithms: expected one that takes any learner, got 'spag:cispo'"):
        algorithm_of("spag:cispo")
    with pytest.raises(ValueError, match="learner: expected a name among"):
        algorithm_of("self_play:unknown")


def test_players_draw_as_many_replies_as_their_learner_wants() -> None:
    """Groups of four for CISPO in both stages of GPO, and single ones for PPO."""
    assert LearnerOptions(learner="cispo").replies_per_prompt == 4
    assert (
        np.prod([LearnerOptions().replies_per_prompt, LearnerOptions(learner="cispo", group_size=2).replies_per_prompt])
        == 2
    )


def test_a_stopped_run_does_not_go_on_with_an_edited_learner(tmp_path: Path) -> None:
    """The code of a learner from a file is part of what was asked for; one of the package's has none."""
    assert LearnerOptions().learner_code == ""
    chosen = LearnerOptions(learner="cispo")
    assert chosen.learner_code == LEARNERS["cispo"].code != ""
    assert replace(chosen, group_size=2).learner_code == chosen.learner_code


def test_an_edited_file_registers_its_learner_again(tmp_path: Path) -> None:
    """As in a notebook: edit, run again; the same name in another file is refused."""
    lines = EXAMPLE.read_text(encoding="utf-8").replace('"cispo"', '"edited"')
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
    file, other = tmp_path / "here" / "mine.py", tmp_path / "there" / "mine.py"
    file.write_text(lines, encoding="utf-8")
    assert load_learners(file) == ["edited"]
    first = LEARNERS["edited"].code
    file.write_text(f"{lines}# edited\n", encoding="utf-8")
    assert load_learners(file) == ["edited"]
    assert LEARNERS["edited"].code != first
    other.write_text(f"{lines}# another\n", encoding="utf-8")
    with pytest.raises(ValueError, match="name: expected one that nothing else bears, got 'edited' again"):
        load_learners(other)
    LEARNERS.pop("edited")


def test_a_learner_typed_at_a_prompt_is_registered() -> None:
    """There is no file to look at."""
    code = (
        "from duologue.baselines import ClippedConfig, PolicyLearner, register_learner\n"
        "class Mine(PolicyLearner): pass\n"
        "register_learner('mine', config=ClippedConfig)(Mine)\n"
        "from duologue.baselines.learners import LEARNERS; print(LEARNERS['mine'].code)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "unknown\n"


@pytest.mark.parametrize("name", ["config", "replies_per_prompt", "learner_file"])
def test_a_learner_may_bear_the_name_of_an_attribute(name: str) -> None:
    """It is looked up among the options of learners only."""
    registered = LEARNERS["cispo"]
    register_learner(name, config=registered.config)(registered.make)
    assert LearnerOptions(learner=name).config == registered.config()
    LEARNERS.pop(name)
