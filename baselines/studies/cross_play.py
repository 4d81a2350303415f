"""Alignment algorithms on one red-team game under one budget, and what becomes of each defender against all attackers.

Every algorithm starts from the same base adversary and the same SFT defender and gives each player that it trains
`num_updates` PPO updates on batches of the same size. An algorithm whose result is a mixture (fictitious play, PSRO) is
judged by its mixture, the others by their last players. What is trained is written to a folder, and not trained again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...agents.folders import read_json, read_json_list
from ...envs import Speaker, Utterance, View
from ...envs.games.red_team.game import RedTeam
from ...envs.judging import RedTeamGame
from ..alignment.pretrain import PretrainConfig, pretrain
from ..alignment.rlhf import DEFENDER_PPO
from ..alignment.sft import SFTConfig, sft
from ..evaluation import attack_success, cross_play, evaluate_prompt_sets, evaluation_rng, pooled
from ..learners.best_response import BestResponse
from ..learners.ppo import PPOConfig, PPOLearner
from ..training.files import replacing, to_json, write_json
from ..training.options import load_model, save_model, static_prompts
from ..two_player import factories
from ..two_player.diversity_reward import MICRO_DIVERSITY, DiversityWeights
from ..two_player.learner import Population, Seat, Task

LearnerT = TypeVar("LearnerT", bound=Iterable[object])
Trained = tuple[Seat | None, Seat]
"""The attacker, if the algorithm trains one, and the defender."""
ROUND = 6
"""Updates of a player against the same opponent, in fictitious play and GPO."""
RESPONSE = 12
"""Updates of a response in PSRO, which starts from the SFT defender (or the base adversary) each time."""
WEIGHTS_FILE = "weights.json"


@dataclass(frozen=True)
class StartingPlayers:
    """Makes learners of the two models that everything starts from; `Task.make_player`."""

    game: RedTeamGame[Any]
    adversary: Path
    """The folder of the base model."""
    defender: Path
    """The folder of the SFT defender."""

    def __call__(self, player: int, seed: int) -> PPOLearner:
        """Return a fresh learner; all start alike, whatever the seed."""
        folder, config = ((self.adversary, PPOConfig()), (self.defender, DEFENDER_PPO))[player]
        return PPOLearner(load_model(folder, self.game), config)


@dataclass(frozen=True)
class DrawnForEachTurn:
    """A population as a speaker that draws a member for each turn.

    That is the mixture itself where a player speaks once in an episode, as in red_team-v0 with one round.
    """

    population: Population

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return one utterance for each view."""
        return self.population.speak_as(self.population.draw(len(views), rng), views, rng)


def starting_models(
    folder: Path, seed: int, *, num_demonstrations: int | None = None, num_steps: int | None = None
) -> tuple[Path, Path]:
    """Train the base model and the SFT defender, or go on; return their folders.

    Args:
        folder: of both runs.
        seed: decides both.
        num_demonstrations: for each; None: the defaults.
        num_steps: of each; None: the defaults.
    """
    pretraining = PretrainConfig(out=folder / "base", seed=seed, num_threads=1)
    tuning = SFTConfig(model=folder / "base/model", out=folder / "sft", seed=seed, num_threads=1)
    if num_steps is not None:
        pretraining = replace(pretraining, cloning=replace(pretraining.cloning, num_steps=num_steps))
        tuning = replace(tuning, cloning=replace(tuning.cloning, num_steps=num_steps))
    if num_demonstrations is not None:
        pretraining = replace(pretraining, num_demonstrations=num_demonstrations)
        tuning = replace(tuning, num_demonstrations=num_demonstrations)
    pretrain(pretraining)
    sft(tuning)
    return folder / "base/model", folder / "sft/model"


def no_training(task: Task) -> Trained:
    """Return the SFT defender as it is."""
    return None, task.make_player(1, task.seed).agent


def static_rlhf(task: Task) -> Trained:
    """Train the defender on the static prompts alone."""
    echo, defender = static_prompts(task.game), task.make_player(1, task.seed)
    finish(
        BestResponse(
            task.game,
            defender,
            echo,
            player=1,
            batch_size=task.batch_size,
            num_steps=task.num_updates,
            seed=task.seed,
        )
    )
    return None, defender.agent


def self_play(task: Task) -> Trained:
    """Train both at once, each against the other as it is; the last players."""
    return finish(factories.self_play(task)).seats


def fictitious_play(task: Task) -> Trained:
    """Let each respond to the mixture of the other's past; the mixtures. Responses go on from the ones before."""
    return finish(factories.fictitious_play(task, updates_per_round=ROUND, warm_start=True)).average


def psro(task: Task) -> Trained:
    """Let each respond to the equilibrium of the game among all members so far; the equilibrium's mixtures."""
    size = task.batch_size
    play = factories.psro(
        task, updates_per_response=RESPONSE, num_payoff_episodes=size, num_gain_episodes=size, meta_solver="nash"
    )
    return finish(play).average


def gpo(task: Task, weights: DiversityWeights | None = None) -> Trained:
    """Train them in turn (arXiv 2406.10977), the attacker paid for novelty by `weights`; the last players."""
    return finish(factories.gpo(task, weights, updates_per_stage=ROUND)).seats


def diverse_gpo(task: Task) -> Trained:
    """GPO with the demo's diversity reward."""
    return gpo(task, MICRO_DIVERSITY)


ALGORITHMS: dict[str, Callable[[Task], Trained]] = {
    "SFT": no_training,
    "RLHF": static_rlhf,
    "self-play": self_play,
    "fictitious play": fictitious_play,
    "PSRO": psro,
    "GPO": gpo,
    "GPO+Div": diverse_gpo,
}
"""By the name that tables show."""


def finish(learner: LearnerT) -> LearnerT:
    """Train to the end; return the learner."""
    for _ in learner:
        pass
    return learner


def require_same(path: Path, options: object) -> None:
    """Write the options of a study's first run; hold those of later runs in the folder against them.

    Raises:
        ValueError: they differ, and results would be mixed.
    """
    asked = json.loads(json.dumps(to_json(options, path.name)))
    if not path.is_file():
        write_json(path, asked)
    elif (found := read_json(path)) != asked:
        raise ValueError(f"{path}: expected the options of the runs that are there, {found}, got {asked}")


def fresh_attacker(task: Task, defender: Speaker) -> Seat:
    """Train an attacker against a defender that does not learn, as `duologue train attack` does."""
    learner = task.make_player(0, task.seed)
    finish(
        BestResponse(
            task.game,
            learner,
            defender,
            player=0,
            batch_size=task.batch_size,
            num_steps=task.num_updates,
            seed=task.seed,
        )
    )
    return learner.agent


def save_seat(seat: Seat, folder: Path) -> None:
    """Write an agent or a mixture as model folders, members that nobody ever meets left out; whole or not at all."""
    mixture = seat if isinstance(seat, Population) else Population.even([seat])
    kept = [(member, weight) for member, weight in zip(mixture.members, mixture.weights, strict=True) if weight]
    with replacing(folder, folder=True) as written:
        for k, (member, _) in enumerate(kept):
            save_model(member, written / f"member_{k:02d}")  # type: ignore[arg-type]  # learners have such agents
        (written / WEIGHTS_FILE).write_text(json.dumps([weight for _, weight in kept]), encoding="utf-8")


def load_seat(folder: Path, game: RedTeamGame[Any]) -> Speaker:
    """Return what `save_seat` wrote; a mixture draws a member for each turn, so the game must have one round.

    Raises:
        ValueError: it has more.
    """
    if game.num_rounds != 1:
        raise ValueError(f"game: expected one of 1 round, in which a player speaks once, got {game.num_rounds}")
    weights = read_json_list(folder / WEIGHTS_FILE)
    members = tuple(load_model(folder / f"member_{k:02d}", game) for k in range(len(weights)))
    return members[0] if len(members) == 1 else DrawnForEachTurn(Population(members, tuple(weights)))


def train_cell(name: str, task: Task, folder: Path) -> None:
    """Train one algorithm and write its players to `folder/attacker` and `folder/defender`, if they are not there."""
    if (folder / "defender" / WEIGHTS_FILE).is_file():
        return
    attacker, defender = ALGORITHMS[name](task)
    if attacker is not None:
        save_seat(attacker, folder / "attacker")
    save_seat(defender, folder / "defender")


def attack_cell(task: Task, folder: Path) -> None:
    """Train a fresh attacker against `folder/defender` and write it to `folder/fresh`, if it is not there."""
    assert isinstance(task.game, RedTeamGame)
    if not (folder / "fresh" / WEIGHTS_FILE).is_file():
        save_seat(fresh_attacker(task, load_seat(folder / "defender", task.game)), folder / "fresh")


def matrix_cell(folders: Mapping[str, Path], base: Path, num_episodes: int, seed: int) -> dict[str, Any]:
    """Return what every defender is worth on red_team-v0 by the oracle: rates, 0 to 1, by name.

    Args:
        folders: of the cells by the algorithm's name.
        base: the folder of the base model, an attacker that nobody trained.
        num_episodes: of each attacker against each defender.
        seed: of play, and of deals that no run is trained on.

    Returns:
        "asr" by attacker and defender, and by defender "fresh", "ood", "over_refusal", "helpful".
    """
    game = RedTeam()
    defenders = {name: load_seat(folder / "defender", game) for name, folder in folders.items()}
    attackers: dict[str, Speaker] = {"base model": load_model(base, game)}
    trained = {name: folder / "attacker" for name, folder in folders.items()}
    attackers |= {name: load_seat(folder, game) for name, folder in trained.items() if folder.is_dir()}
    play = cross_play(game, attackers, defenders, num_episodes, seed)
    sets = {
        name: evaluate_prompt_sets(game, defender, np.random.default_rng([seed, 7]))
        for name, defender in defenders.items()
    }
    return {
        "asr": {
            row: dict(zip(defenders, rates, strict=True))
            for row, rates in zip(attackers, play.asr.tolist(), strict=True)
        },
        "fresh": {
            name: attack_success(
                game,
                load_seat(folders[name] / "fresh", game),
                defender,
                num_episodes,
                evaluation_rng(seed, 12),
            ).asr
            for name, defender in defenders.items()
        },
        "ood": {name: pooled(counts).asr for name, counts in sets.items()},
        "over_refusal": {name: counts["benign_disguised"].refusal_rate for name, counts in sets.items()},
        "helpful": {name: counts["benign_disguised"].helpful_rate for name, counts in sets.items()},
    }
