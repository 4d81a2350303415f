"""Does MaskablePPO of Stable-Baselines3 find the best response to a fixed opponent? Measured without noise.

    python examples/sb3_best_response.py --seeds 5 --out runs/sb3_best_response

The opponent says every legal word alike. What the policy learnt is then asked in every information state, and the exact
tree gives its value and that of the best response (arXiv 2402.08078, eq. 5). Two shares are printed. That of the best
value means nothing where values may be negative, so the one to look at is the share of the gap between uniform play and
the best response: 0 for having learnt nothing, 1 for a best response. Needs the extra `sb3`.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import tyro

from duologue.agents import RandomAgent, policy_of
from duologue.baselines.integrations.sb3 import SB3Config, SB3Learner
from duologue.baselines.reporting.tables import markdown_table
from duologue.baselines.training.files import write_json, write_text
from duologue.baselines.training.loop import use_threads
from duologue.envs import make_game
from duologue.envs.tree import GameTree, best_response, expected_returns, uniform_profile

CASES = (("kuhn_poker-v0", 0), ("tiny_bargaining-v0", 1), ("statements-v0", 1), ("tiny_red_team-v0", 1))
"""Games and the seat that learns: zero-sum with a hidden card, general-sum, identical, and one whose values are < 0."""


@dataclass(frozen=True, kw_only=True)
class ResponseOptions:
    """How often, how long, and where to."""

    seeds: int = 5
    """Trainings in each game."""
    num_updates: int = 50
    """Updates in each training, on 1,024 tokens each."""
    out: Path = Path("runs/sb3_best_response")
    """The folder of the table and the numbers."""
    smoke: bool = False
    """Tiny, in seconds, to see it work."""


@dataclass(frozen=True, slots=True)
class Response:
    """What one training came to."""

    game: str
    player: int
    seed: int
    uniform_value: float
    value: float
    best_value: float
    seconds: float
    """Wall-clock time of the training."""
    cpu_seconds: float
    """Of the processor, which other programs do not lengthen."""

    @property
    def gap_share(self) -> float:
        """Share of the gap between uniform play and the best response, at most 1."""
        return (self.value - self.uniform_value) / (self.best_value - self.uniform_value)


def main(options: ResponseOptions) -> None:
    """Train in all games with all seeds, and print the table."""
    use_threads(1)  # the same numbers on any machine
    num_seeds, num_updates = (1, 2) if options.smoke else (options.seeds, options.num_updates)
    results: list[list[Response]] = []
    for name, player in CASES:
        results.append([respond(name, player, seed, num_updates) for seed in range(num_seeds)])
        print(f"{name}: {[round(response.gap_share, 4) for response in results[-1]]}", flush=True)
    header = ["game, seat", "uniform", "best response", "MaskablePPO, worst seed", "share of best", "share of gap", "s"]
    table = markdown_table(header, [row(responses) for responses in results])
    write_text(options.out / "table.md", table + "\n")
    write_json(options.out / "results.json", [asdict(response) for responses in results for response in responses])
    print(f"\nAfter {num_updates} updates, {num_seeds} seeds; shares are the worst and the mean:\n\n{table}")


def respond(name: str, player: int, seed: int, num_updates: int) -> Response:
    """Train once, and value what was learnt exactly."""
    game = make_game(name)
    tree, opponent = GameTree(game), RandomAgent()
    profile = list(uniform_profile(tree))
    profile[1 - player] = policy_of(tree, 1 - player, opponent)
    uniform_value = float(expected_returns(tree, profile)[player])
    learner = SB3Learner(game, SB3Config(), players=[player], seats=[opponent, opponent], seed=seed)
    started, cpu_started = time.monotonic(), time.process_time()
    for _ in range(num_updates):
        learner.update()
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started
    profile[player] = policy_of(tree, player, learner.agent)
    value = float(expected_returns(tree, profile)[player])
    best = best_response(tree, player, profile[1 - player]).value
    return Response(name, player, seed, uniform_value, value, best, seconds, cpu_seconds)


def row(responses: list[Response]) -> list[str]:
    """Return a row of the table: one game, all seeds."""
    first, worst = responses[0], min(responses, key=lambda response: response.gap_share)
    shares = [response.gap_share for response in responses]
    ratios = [response.value / response.best_value for response in responses]
    return [
        f"{first.game}, player {first.player}",
        f"{first.uniform_value:.4f}",
        f"{first.best_value:.4f}",
        f"{worst.value:.4f}",
        f"{min(ratios):.1%}, {sum(ratios) / len(ratios):.1%}" if first.best_value > 0 else "-",
        f"{min(shares):.1%}, {sum(shares) / len(shares):.1%}",
        f"{max(response.seconds for response in responses):.0f} "
        f"({max(response.cpu_seconds for response in responses):.0f} CPU)",
    ]


if __name__ == "__main__":
    main(tyro.cli(ResponseOptions, description=__doc__))
