"""A new algorithm in the benchmark's leaderboard: `python examples/add_your_algorithm.py`, in a minute or two."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from duologue.baselines import BenchConfig, Seat, Task, bench, register_algorithm, rollout, trajectories


@register_algorithm("one_at_a_time", source="an example: who fell behind learns first")
def one_at_a_time(task: Task) -> Iterator[tuple[Seat, Seat]]:
    """Yield both players after an update of each; who fell behind on the last batch learns first."""
    rng, first = np.random.default_rng(task.seed), 0
    players = [task.make_player(player, task.seed) for player in (0, 1)]
    for _ in range(task.num_updates):
        for player in (first, 1 - first):
            played = rollout(task.game, (players[0].agent, players[1].agent), task.batch_size, rng)
            batch = trajectories(played, player)
            players[player].update(batch, rng)
        first = player if float(batch.returns.mean()) < 0 else 1 - player
        yield players[0].agent, players[1].agent


if __name__ == "__main__":
    smoke = "--smoke" in sys.argv
    config = BenchConfig(
        suite="smoke",
        algorithms=("one_at_a_time", "self_play", "fictitious_play"),
        games=("rps",) if smoke else ("rps", "red_team", "kuhn"),
        num_updates=6 if smoke else 60,
        batch_size=8 if smoke else 64,
        out=Path("runs/add_your_algorithm"),
    )
    bench(config)
    print((config.out / "leaderboard.md").read_text(encoding="utf-8"))
