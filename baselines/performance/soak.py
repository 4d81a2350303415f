"""The soak: random episodes of all registered games, a million of them, to see whether anything gives way.

Tokens are drawn uniformly from the legal ones, one in 200 from the whole vocabulary, so that forfeits come, too. An
exception, a reward off its game's payoff type, or memory that grows ends it with an error that names the game.

Run it by `python -m duologue.baselines.performance.soak`; `--episodes 100000` for a short one, `--markdown` writes a
page's section.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.batched.game import BatchedGame
from ...envs.batched.rules import NOBODY
from ...envs.engine.contract import TOLERANCE
from ...envs.game import LanguageGame, Payoff
from ...envs.registry import make_game, registered_games
from ..training.failures import run_command
from .page import machine, put_section, table

NUM_AT_ONCE = 1_024
"""Episodes of a game that are played side by side."""
ANY_TOKEN_SHARE = 0.005
"""Share of the tokens that are drawn without regard to the rules."""
MAX_GROWTH = 64 * 2**20
"""Bytes by which the peak of memory may grow when everything is played a second time: noise, but no leak."""


@dataclass(frozen=True, slots=True)
class Soaked:
    """How one game fared."""

    name: str
    num_episodes: int
    """Episodes that were played to their end."""
    num_tokens: int
    """Tokens said in them and in those left unfinished."""
    num_forfeits: int
    """How many of them ended by a turn against the rules."""
    seconds: float


def soak(game: LanguageGame[Any], num_episodes: int, *, seed: int, name: str = "") -> Soaked:
    """Play at least `num_episodes` random episodes to the end and check every reward.

    Raises:
        ValueError: a reward is not finite or off the payoff type.
    """
    start, rng, at_once = time.perf_counter(), np.random.default_rng([seed, 1]), min(NUM_AT_ONCE, num_episodes)
    plays = BatchedGame(game, at_once, seed)
    finished = forfeits = tokens = 0
    while finished < num_episodes:
        plays.step(random_tokens(plays, rng))
        check_payoff(game.payoff, plays.rewards, name or type(game).__name__)
        ended = plays.finished
        finished, tokens = finished + int(ended.sum()), tokens + at_once
        forfeits += int((plays.forfeited_by[ended] != NOBODY).sum())
    return Soaked(name, finished, tokens, forfeits, time.perf_counter() - start)


def random_tokens(plays: BatchedGame[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a legal token for each episode, or now and then any token; (B,)."""
    masks = plays.legal_masks()
    drawn = (rng.random(masks.shape, dtype=np.float32) * masks).argmax(1)
    careless = rng.random(len(masks)) < ANY_TOKEN_SHARE
    return np.where(careless, rng.integers(masks.shape[1], size=len(masks)), drawn)


def check_payoff(payoff: Payoff, rewards: NDArray[np.float64], name: str) -> None:
    """Raise ValueError unless rewards (B, 2) are finite and of the payoff type."""
    first, second = rewards.T
    with np.errstate(invalid="ignore"):  # an infinity less itself
        off = {Payoff.ZERO_SUM: first + second, Payoff.IDENTICAL: first - second}.get(payoff, np.zeros_like(first))
    wrong = ~(np.isfinite(rewards).all(1) & (np.abs(off) <= TOLERANCE))
    if wrong.any():
        raise ValueError(f"{name}: expected finite {payoff.value} rewards, got {rewards[wrong][0].tolist()}")


def soak_all(num_episodes: int, *, seed: int) -> Iterator[Soaked]:
    """Play every registered game twice, each time a half of its share; yield how each fared.

    Raises:
        RuntimeError: a game failed, or memory grew while everything was played for the second time.
    """
    names, peaks = registered_games(), list[int]()
    share = -(-num_episodes // (2 * len(names)))
    for half in range(2):
        for name in names:
            try:
                yield soak(make_game(name), share, seed=seed + half, name=name)
            except Exception as error:
                raise RuntimeError(f"{name}: failed in the soak with seed {seed + half}: {error}") from error
        gc.collect()
        peaks.append(peak_memory())
    if peaks[1] - peaks[0] > MAX_GROWTH:
        raise RuntimeError(
            f"memory: expected the peak of the first half, {peaks[0] / 2**20:.0f} MiB, to do for the second, "
            f"got {peaks[1] / 2**20:.0f} MiB"
        )


def peak_memory() -> int:
    """Return the most memory that this process has ever held, in bytes; Linux and macOS only."""
    import resource  # Windows has no such module

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(argv: Sequence[str] | None = None) -> None:
    """Soak all games and print a line for each; an error ends it."""
    parser = argparse.ArgumentParser(prog="python -m duologue.baselines.performance.soak", description=soak_all.__doc__)
    parser.add_argument("--episodes", type=int, default=1_000_000, help="at least so many in all (1000000)")
    parser.add_argument("--seed", type=int, default=0, help="of deals and tokens (0)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="page whose section of this is to be replaced")
    options = parser.parse_args(argv)
    if options.episodes < 1:
        parser.error(f"--episodes: expected at least 1, got {options.episodes}")
    done, peaks = list[Soaked](), list[int]()
    for soaked in soak_all(options.episodes, seed=options.seed):
        done.append(soaked)
        peaks.append(peak_memory())
        print(
            f"{soaked.name:<36}{soaked.num_episodes:>10,} episodes{soaked.num_tokens:>12,} tokens"
            f"{soaked.num_forfeits:>9,} forfeits{soaked.seconds:>8.1f} s",
            flush=True,
        )
    total = sum(soaked.num_episodes for soaked in done)
    print(f"{total:,} episodes, no error; at most {peaks[-1] / 2**20:.0f} MiB")
    if options.markdown is not None:
        put_section(options.markdown, HEADING, section(done, peaks[len(peaks) // 2 - 1], peaks[-1]))


HEADING = "# The soak"

SECTION = """\
{heading}

Measured by `python -m duologue.baselines.performance.soak --markdown docs/performance.md`, which writes this section:
{versions}.

Every registered game twice in the batched form, {at_once:,} episodes at a time, by tokens drawn from the legal ones and
one in {careless:.0f} from the whole vocabulary. An exception, a reward off its game's payoff type, or a peak of memory
that grows by more than {growth:.0f} MiB in the second half would have ended it.

{table}
"""


def section(done: Sequence[Soaked], half_peak: int, peak: int) -> str:
    """Return the page's section; the peaks are of memory, in bytes, after the first half and at the end."""
    columns = ["games", "episodes", "tokens", "forfeits", "seconds", "peak after half, MiB", "peak, MiB"]
    row = [
        str(len({soaked.name for soaked in done})),
        f"{sum(soaked.num_episodes for soaked in done):,}",
        f"{sum(soaked.num_tokens for soaked in done):,}",
        f"{sum(soaked.num_forfeits for soaked in done):,}",
        f"{sum(soaked.seconds for soaked in done):.0f}",
        f"{half_peak / 2**20:.0f}",
        f"{peak / 2**20:.0f}",
    ]
    return SECTION.format(
        heading=HEADING,
        versions=machine(),
        at_once=NUM_AT_ONCE,
        careless=1 / ANY_TOKEN_SHARE,
        growth=MAX_GROWTH / 2**20,
        table=table(columns, [row]),
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
