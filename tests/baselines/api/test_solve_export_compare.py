"""`solve`, `export` and `compare` from Python: what their commands give."""

import json
from pathlib import Path
from typing import Any

import pytest

from duologue.__main__ import main
from duologue.baselines import compare, export, solve, train
from duologue.baselines.api.runs import RunResult
from duologue.baselines.data import read_dialogues
from duologue.envs import make_game


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """Return a run of self-play on bluff that kept its past."""
    sizes = {"num_updates": 2, "batch_size": 4, "hidden_size": 8}
    pool = {"choice": "uniform", "snapshot_every": 1}
    return train("self_play", game="bluff-v0", opponents=pool, out=tmp_path_factory.mktemp("runs") / "run", **sizes)


def test_kuhn_poker_is_worth_minus_an_eighteenth() -> None:
    """Kuhn, 1950; of the two iterates the average is the nearer one."""
    solution = solve("kuhn_poker-v0", iterations=200)
    assert solution.value == pytest.approx(-1 / 18, abs=1e-3)
    assert solution.is_average
    assert solution.nash_conv == solution.steps[-1].nash_conv_average
    assert [step.iteration for step in solution.steps] == [1, 2, 5, 10, 20, 50, 100, 200]
    assert [step.iteration for step in solve(make_game("kuhn_poker-v0"), "mwu", 4, every=2, eta=0.1).steps] == [2, 4]


def test_solve_refuses_what_it_does_not_know() -> None:
    """An algorithm, an option."""
    with pytest.raises(ValueError, match=r"algorithm: expected one of .*, got 'cfr_pluss'; did you mean 'cfr_plus'"):
        solve("kuhn_poker-v0", "cfr_pluss")
    with pytest.raises(TypeError, match=r"cfr_plus: expected options among .*, got \['eta'\]"):
        solve("kuhn_poker-v0", eta=0.1)
    with pytest.raises(ValueError, match="iterations"):
        solve("kuhn_poker-v0", iterations=0)


def test_a_run_s_play_is_read_again(run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    """As many dialogues as episodes; the same seed from the command line writes the same bytes."""
    done = export(run, episodes=5, seed=1)
    assert done.path == run.folder / "episodes.jsonl"
    assert done.num_episodes == 5
    assert sum(done.mean_returns) == 0
    before = done.path.read_bytes()
    assert len(list(read_dialogues(done.path))) == 5
    assert all(json.loads(line)["viewer"] == 1 for line in before.splitlines())
    assert main(["export", str(run.folder), "--episodes", "5", "--seed", "1"]) == 0
    assert done.path.read_bytes() == before
    assert capsys.readouterr().out.startswith("5 episodes, mean returns ")


def test_documents_and_mixtures_are_exported_too(run: RunResult, tmp_path: Path) -> None:
    """Marked lines, that come back as dialogues; members of the pool play."""
    done = export(run, episodes=4, to="text", average=True, out=tmp_path / "plays.txt")
    assert len(list(read_dialogues(done.path, format="text"))) == 4


def test_a_run_of_one_player_needs_an_opponent(tmp_path: Path) -> None:
    """Who is random unless somebody is named."""
    learning = {"num_envs": 2, "tokens_per_env": 4, "minibatch_size": 8}
    found = train("sb3", game="bluff-v0", num_updates=1, out=tmp_path / "run", **learning)
    assert export(found, episodes=2).num_episodes == 2
    with pytest.raises(ValueError, match="agent: expected random, echo or the folder"):
        export(found, episodes=2, opponent="nobody")


def test_a_run_is_compared_with_its_average(run: RunResult, tmp_path: Path) -> None:
    """By the object and by its folder."""
    entrants: dict[str, str | Path | RunResult] = {
        "newest": run,
        "average": f"{run.folder}:average",
        "random": "random",
    }
    found = compare(entrants, game="bluff-v0", num_matches=4, kl_episodes=0, out=tmp_path)
    assert found.head_to_head.names == ("newest", "average", "random")
    assert (tmp_path / "compare.md").is_file()
    with pytest.raises(TypeError, match=r"compare: expected options among .*, got 'num_match'"):
        compare(entrants, num_match=4)


@pytest.mark.parametrize("name", ["iterations", "every", "max_nodes"])
@pytest.mark.parametrize("value", [0, -1, 10**30, float("nan"), "3", True, 2.5])
def test_counts_of_solve_are_refused_by_name(name: str, value: Any) -> None:
    """10^30 iterations would end on no machine."""
    with pytest.raises(ValueError, match=f"{name}: expected an integer of at "):
        solve("bluff-v0", **{"iterations": 2, name: value})
