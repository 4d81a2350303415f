"""One factory for each algorithm: from a `Task` and the options that differ from the defaults to the learner.

The benchmark, the studies and code of your own make their learners here, so that a task means the same to all: as many
updates of each player, on batches of one size, of players that `task.make_player` makes.
"""

from __future__ import annotations

from typing import Any

from ...agents.language_model.encoders import StaticWordEncoder, words_of
from ...envs import Payoff
from ...envs.game import PLAYERS
from ...envs.tree import GameTree
from ..solvers.registry import make_solver
from .diversity_reward import DiversityReward, DiversityWeights
from .exact import ExactLearner
from .fictitious_play import FictitiousPlay, FictitiousPlayOptions
from .gpo import GPO
from .league import League, LeagueOptions
from .learner import Task
from .psro import PSRO, PSROOptions
from .self_play import SelfPlay, SelfPlayOptions
from .stage_clock import GPOSchedule


def self_play(task: Task, *, one_policy: bool = False, **options: Any) -> SelfPlay:
    """Return self-play; `options` are those of `SelfPlayOptions`, `one_policy` seats one model in both seats."""
    learners = [task.make_player(player, task.seed) for player in PLAYERS[: 1 if one_policy else 2]]
    budget = SelfPlayOptions(num_updates=task.num_updates, batch_size=task.batch_size, **options)
    return SelfPlay(task.game, learners, budget, seed=task.seed, group_size=task.replies_per_prompt)


def fictitious_play(task: Task, *, updates_per_round: int, **options: Any) -> FictitiousPlay:
    """Return fictitious self-play in whole rounds; `options` are those of `FictitiousPlayOptions`."""
    play = FictitiousPlayOptions(
        num_rounds=whole_rounds(task, updates_per_round),
        updates_per_round=updates_per_round,
        batch_size=task.batch_size,
        **options,
    )
    return FictitiousPlay(task.game, task.make_player, play, seed=task.seed, group_size=task.replies_per_prompt)


def psro(task: Task, **options: Any) -> PSRO:
    """Return PSRO with the equilibrium of the members, or PRD where the game is not zero-sum; see `PSROOptions`."""
    solver = {"meta_solver": "nash" if task.game.payoff == Payoff.ZERO_SUM else "prd"}
    play = PSROOptions(num_updates=task.num_updates, batch_size=task.batch_size, **(solver | options))
    return PSRO(task.game, task.make_player, play, seed=task.seed, group_size=task.replies_per_prompt)


def league(task: Task, **options: Any) -> League:
    """Return a league; its main agents have the task's budget, each exploiter as much again; see `LeagueOptions`."""
    play = LeagueOptions(num_updates=task.num_updates, batch_size=task.batch_size, **options)
    return League(task.game, task.make_player, play, seed=task.seed, group_size=task.replies_per_prompt)


def gpo(task: Task, weights: DiversityWeights | None = None, *, updates_per_stage: int) -> GPO:
    """Return GPO without static prompts, the adversary paid for novelty by `weights`; one step is one player's update.

    It has twice the task's updates as steps: each player learns in every other stage.
    """
    schedule = GPOSchedule(
        num_rounds=whole_rounds(task, updates_per_stage),
        defend_steps=updates_per_stage,
        attack_steps=updates_per_stage,
        batch_size=task.batch_size,
        static_share=0.0,
    )
    encoder = StaticWordEncoder(words_of(task.game))
    adversary, defender = (task.make_player(player, task.seed) for player in PLAYERS)
    return GPO(
        task.game,
        adversary,
        defender,
        DiversityReward(encoder, DiversityWeights() if weights is None else weights),
        schedule,
        encoder=encoder,
        seed=task.seed,
        group_sizes=(task.replies_per_prompt, task.replies_per_prompt),
    )


def exact(task: Task, algorithm: str = "cfr_plus", **options: Any) -> ExactLearner:
    """Return an equilibrium learner of the game's tree, an iteration for each update: a ceiling of what is learned."""
    solver = make_solver(algorithm, GameTree(task.game), task.num_updates, **options)
    return ExactLearner(solver, num_steps=task.num_updates)


def whole_rounds(task: Task, updates: int) -> int:
    """Return how many rounds of so many updates the budget holds.

    Raises:
        ValueError: they do not come out even.
    """
    if task.num_updates % updates:
        raise ValueError(f"num_updates: expected a multiple of {updates}, got {task.num_updates}")
    return task.num_updates // updates
