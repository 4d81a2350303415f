"""The soak, and environments side by side: threads and processes change nothing."""

import hashlib
import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.baselines.performance import soak
from duologue.envs import BatchedGame, Dialogue, make, make_game, register_game, registry
from duologue.envs.games.bluff import Bluff
from duologue.tests.envs.helpers import Coordination, Whisper

NAMES = ("leduc_poker-v0", "red_team-v0", "tic_tac_toe-v0")


class Broken(Whisper):
    """Pays what is no number once a thought has been thought."""

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        return (float("nan") if dialogue.turns[-1].thought else 1.0), 0.0


def digest(name: str, seed: int) -> str:
    """Return a fingerprint of random play in the AEC form and in the batched form."""
    found, rng, env = hashlib.sha256(), np.random.default_rng(seed), make(name)
    for episode in range(3):
        env.reset(seed=seed + episode)
        for _ in env.agent_iter():
            observation, reward, ended, _, _ = env.last()
            assert observation is not None
            found.update(observation["observation"].tobytes() + observation["action_mask"].tobytes())
            found.update(np.float64(reward).tobytes())
            env.step(None if ended else rng.choice(np.flatnonzero(observation["action_mask"])))
    plays = BatchedGame(make_game(name), 16, seed)
    for _ in range(40):
        plays.step(soak.random_tokens(plays, rng))
        found.update(plays.views.tobytes() + plays.rewards.tobytes() + plays.legal_masks().tobytes())
    return found.hexdigest()


def test_environments_in_threads_play_as_alone() -> None:
    """Four at a time, two of each game, that share what modules keep; each has its own generator."""
    alone = {(name, seed): digest(name, seed) for name in NAMES for seed in (0, 1)}
    found: dict[tuple[str, int], str] = {}

    def work(name: str, seed: int) -> None:
        found[name, seed] = digest(name, seed)

    threads = [threading.Thread(target=work, args=key) for key in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone
    assert len(set(alone.values())) == len(alone)


def test_one_game_serves_two_environments_in_two_threads() -> None:
    """Rules are pure, so that even the same rules object may be shared."""
    game = make_game("leduc_poker-v0")

    def returns(seed: int) -> list[float]:
        plays, rng, paid = BatchedGame(game, 8, seed), np.random.default_rng(seed), list[float]()
        for _ in range(60):
            plays.step(soak.random_tokens(plays, rng))
            paid += plays.final_returns[plays.finished, 0].tolist()
        return paid

    alone, found = [returns(seed) for seed in (3, 4)], dict[int, list[float]]()
    threads = [threading.Thread(target=lambda seed=seed: found.update({seed: returns(seed)})) for seed in (3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[3], found[4]] == alone


def test_a_pool_of_processes_plays_as_alone() -> None:
    """Spawned, so that nothing is inherited."""
    jobs = [(name, seed) for name in NAMES[1:] for seed in (0, 1)]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(digest, *zip(*jobs, strict=True)))
    assert found == [digest(name, seed) for name, seed in jobs]


def test_soak_plays_so_many_and_meets_forfeits() -> None:
    """With 1 token in 200 drawn at random, some of 3,000 episodes are forfeited, and not one in twenty."""
    one = soak.soak(Bluff(), 3_000, seed=0)
    assert one.num_episodes >= 3_000
    assert 0 < one.num_forfeits < 150
    assert one.num_tokens >= one.num_episodes
    assert soak.soak(Bluff(), 3_000, seed=0).num_forfeits == one.num_forfeits


@pytest.mark.parametrize(
    ("rewards", "payoff", "message"),
    [
        ([1.0, -0.5], "zero_sum", r"here: expected finite zero_sum rewards, got \[1.0, -0.5\]"),
        ([1.0, 0.5], "identical", r"here: expected finite identical rewards, got \[1.0, 0.5\]"),
        ([float("inf"), 0.0], "general", r"here: expected finite general rewards, got \[inf, 0.0\]"),
    ],
)
def test_reward_off_its_payoff_type_is_found(rewards: list[float], payoff: Any, message: str) -> None:
    """In any row."""
    kind = next(kind for kind in type(Whisper.payoff) if kind.value == payoff)
    with pytest.raises(ValueError, match=message):
        soak.check_payoff(kind, np.array([[0.0, 0.0], rewards]), "here")
    soak.check_payoff(kind, np.zeros((2, 2)), "here")
    soak.check_payoff(Coordination.payoff, np.ones((1, 2)), "here")


def test_exception_names_the_game_and_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it can be met again."""
    monkeypatch.setattr(registry, "_ENTRY_POINTS", dict[str, Any]())
    register_game("soaked_and_broken-v0", Broken)
    with pytest.raises(RuntimeError, match=r"soaked_and_broken-v0: failed in the soak with seed 5: .*finite"):
        list(soak.soak_all(400, seed=5))


def test_memory_that_grows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 100 to 200 MiB while the same games are played again."""
    monkeypatch.setattr(soak, "registered_games", lambda: ("bluff-v0",))
    peaks = iter([100 * 2**20, 200 * 2**20])
    monkeypatch.setattr(soak, "peak_memory", lambda: next(peaks))
    with pytest.raises(RuntimeError, match=r"memory: expected the peak of the first half, 100 MiB, .* got 200 MiB"):
        list(soak.soak_all(40, seed=0))


def test_command_prints_a_line_for_each_game(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the total; every game twice."""
    monkeypatch.setattr(soak, "registered_games", lambda: ("bluff-v0", "tic_tac_toe-v0"))
    soak.main(["--episodes", "40"])
    *lines, total = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["bluff-v0", "tic_tac_toe-v0"] * 2
    assert "episodes, no error; at most" in total
    with pytest.raises(SystemExit):
        soak.main(["--episodes", "0"])


def test_section_tells_what_was_played_and_what_memory_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peaks of 50 MiB after the first half and 60 at the end; the page's other sections stay."""
    monkeypatch.setattr(soak, "registered_games", lambda: ("bluff-v0", "tic_tac_toe-v0"))
    readings = iter([40, 50, 50, 55, 60, 60])  # each half reads it once more than it has games
    monkeypatch.setattr(soak, "peak_memory", lambda: next(readings) * 2**20)
    page = tmp_path / "page.md"
    page.write_text("# Another\n\nkept\n\n# The soak\n\nold\n", encoding="utf-8")
    soak.main(["--episodes", "40", "--markdown", str(page)])
    text = page.read_text(encoding="utf-8")
    row = [cell.strip() for cell in text.splitlines()[-1].split("|")[1:-1]]
    assert (row[0], row[5:]) == ("2", ["50", "60"])
    assert int(row[1]) >= 40
    assert text.startswith("# Another\n\nkept\n\n# The soak\n\nMeasured by")
    assert "old" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]
