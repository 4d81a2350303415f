"""All adversaries of red_team-v1 against all defenders, on the same prompts: whose attacks hold against whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...agents.folders import read_json
from ...agents.language_model.causal_lm import CausalLMAgent
from ...envs import Speaker
from ...envs.games.red_team_ciphers.game import RedTeamCiphers
from ..evaluation.deals import evaluation_rng
from ..training.checks import Few
from ..training.loop import Training, trainer
from ..training.options import RunOptions, load_model, static_prompts
from ..training.run import Run
from .arms_race import NUM_TRIES, attack_success, attempts

MATCHUPS_FILE = "matchups.json"
SUCCESS, BEST_OF = "success", "best_of"
"""In the file: shares of attempts, and of requests at which one of the tries succeeds."""


@dataclass(frozen=True, kw_only=True)
class MatchupsConfig(RunOptions):
    """Who meets whom."""

    algorithm: ClassVar[str] = "matchups"
    base: Path
    """The model that every adversary started from, the first row but for the requests."""
    adversaries: tuple[Path, ...]
    """Models of adversaries that have learnt, the other rows."""
    defenders: tuple[Path, ...]
    """Models of defenders, the columns."""
    num_tries: Few = NUM_TRIES
    """Prompts of each adversary to each harmful request."""
    requests: bool = False
    """Whether the requests as they are dealt are a row too, the first: attackers are paid for more than these."""


def meet(
    game: RedTeamCiphers,
    adversaries: Mapping[str, Speaker],
    defenders: Mapping[str, CausalLMAgent],
    *,
    num_tries: int,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Let every adversary write to every harmful request that the game deals, and every defender reply.

    Args:
        game: the rules.
        adversaries: by name.
        defenders: by name.
        num_tries: prompts of each adversary to a request.
        seed: draws their words.

    Returns:
        The share of the attempts that succeed, and the share of the requests at which one of the tries does, both
        (adversaries, defenders).
    """
    written = {
        name: attempts(game, adversary, num_tries, evaluation_rng(seed, 12)) for name, adversary in adversaries.items()
    }
    won = [list(row.values()) for row in attack_success(written, defenders).values()]
    tried = np.array(won).reshape(len(adversaries), len(defenders), num_tries, -1)
    return tried.mean(axis=(2, 3)), tried.any(axis=2).mean(axis=2)


@trainer
def matchups(config: MatchupsConfig) -> Training:
    """Return a run that lets all meet; nothing is trained."""
    game = RedTeamCiphers()

    def write(run: Run) -> None:
        as_dealt: dict[str, Speaker] = {"requests": static_prompts(game)} if config.requests else {}
        folders = (config.base, *config.adversaries)
        success, best_of = meet(
            game,
            {**as_dealt, **{str(k): load_model(folder, game) for k, folder in enumerate(folders)}},
            {str(k): load_model(folder, game) for k, folder in enumerate(config.defenders)},
            num_tries=config.num_tries,
            seed=config.seed,
        )
        run.write_json(MATCHUPS_FILE, {SUCCESS: success, BEST_OF: best_of})

    return Training(write=write)


def read_matchups(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what a run of `matchups` has found, a row for each adversary, (rows, defenders); see `meet`."""
    found = read_json(folder / MATCHUPS_FILE)
    return np.array(found[SUCCESS], dtype=np.float64), np.array(found[BEST_OF], dtype=np.float64)
