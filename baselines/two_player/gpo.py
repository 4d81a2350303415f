"""GPO: an adversary that writes prompts and a defender that answers them, trained in turn towards equilibrium.

R. Zheng et al., *Toward Optimal LLM Alignments Using Two-Player Games*, 2024, arXiv 2406.10977, section 3.2: both start
from given models; in each round the defender takes PPO steps against the frozen adversary, then the adversary against
the frozen defender, paid for novelty besides. The last iterate is the result; each stage is an approximate best
response by a fixed number of steps, and nothing is averaged.

Differs from the paper in: stage lengths and weights are configuration; the diversity terms are means over a window of
past prompts, as in the released code, not sums over all; each role has a critic of its own, a head on its policy's
backbone; a share of the defend stage's prompts can stay static, as in Self-RedTeam (arXiv 2506.07468).

Its successors are options: one model for both roles (Self-RedTeam) or only one critic (`shared_critic.py`), MAGIC's
switch of stages (arXiv 2602.01539, `stage_clock.py`), other rewards of novelty (`diversity_reward.py`), also for
success alone (`success_cells.py`), and DiveR-CT's constraint (`constraint.py`). Against an arms race that goes round in
circles the schedule can replay past adversaries, reset the adversary, let it be paid for its best reply of several
(AdvGame, arXiv 2512.20806), or let it search in place of learning (best of n).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import tyro
from numpy.typing import NDArray

from ...agents import CausalLMAgent
from ...agents.language_model.encoders import SentenceEncoder, make_encoder, words_of
from ...envs import LanguageGame, Tokens
from ..alignment.rlhf import DEFENDER_PPO
from ..alignment.starts import BothPlayersOptions, DefenderOptions
from ..evaluation import DiversityReport, measure_diversity, parser_of
from ..learners.base import PlayerLearner
from ..learners.options import LearnerOptions
from ..learners.ppo import PPOConfig
from ..learners.shared_critic import SharedCritic
from ..rollouts.episodes import PlayedEpisode, cut_share
from ..rollouts.groups import check_groups, rollout_in_groups
from ..rollouts.trajectories import Trajectories, trajectories
from ..rollouts.trees import best_leaves, check_one_exchange, replies_to, returns_to, rollout_tree
from ..training.checks import Count
from ..training.costs import CostMeter
from ..training.loop import Training, trainer
from ..training.options import leaves, static_prompts
from ..training.run import Config, Record, Run
from ..training.state import Stateful
from ..training.watchers import Transcripts, Watcher
from .constraint import ConstraintOptions, CostConstraint
from .diversity_reward import DiversityReward, DiversityWeights
from .learner import Seat
from .opponents import OpponentPool
from .stage_clock import GPOSchedule, Stage, StageClock
from .success_cells import SuccessCells

PRODUCED_FILE = "produced_prompts.json"
"""In a run's folder: the token ids of every prompt that the adversary wrote in training, each once."""


@dataclass(frozen=True, kw_only=True)
class GPOConfig(BothPlayersOptions):
    """Adversary and defender, trained in turn."""

    algorithm: ClassVar[str] = "gpo"
    length: ClassVar[str] = "schedule.num_rounds"
    out: Path = Path("runs/gpo")
    """The run's folder; the models are in its folders `defender` and `adversary`."""
    schedule: GPOSchedule = field(default_factory=GPOSchedule)
    """Who learns when."""
    diversity: Annotated[DiversityWeights, tyro.conf.arg(name="")] = field(default_factory=DiversityWeights)
    """What novelty is worth to the adversary."""
    constraint: ConstraintOptions = field(default_factory=ConstraintOptions)
    """What it may lose in the game for it."""
    one_policy: bool = False
    """Whether one model, the defender's, plays both roles and learns in every stage (Self-RedTeam)."""
    shared_critic: bool = False
    """Whether two policies have one critic, with a backbone of its own that starts as the defender's."""
    encoder: str | None = None
    """A sentence-transformers model, by name or folder; None: a static encoder of the game's own words."""
    defender_learner: LearnerOptions = field(default_factory=lambda: LearnerOptions(ppo=DEFENDER_PPO))
    """How the defender learns."""
    adversary_learner: LearnerOptions = field(default_factory=lambda: LearnerOptions(ppo=PPOConfig()))
    """How the adversary learns."""
    keep_checkpoints: bool = True
    """Whether both players are kept after each round."""
    save_every: Count = 18
    """Steps between two saved states."""

    def __post_init__(self) -> None:
        """Check that there is a critic to be shared, and an adversary to be reset."""
        super().__post_init__()
        if self.one_policy and self.shared_critic:
            raise ValueError("shared_critic: expected two policies, got --one-policy, whose critic both roles share")
        if self.schedule.reset_adversary and (self.one_policy or self.shared_critic):
            raise ValueError("reset_adversary: expected an adversary that shares nothing with the defender, got one")

    def prepared(self) -> Self:
        """Return the options with the folders of the models; one policy needs the defender's alone."""
        return DefenderOptions.prepared(self) if self.one_policy else super().prepared()


@dataclass(frozen=True, slots=True)
class GPOStep:
    """What one batch of episodes and one update report."""

    iteration: int
    """Batches so far."""
    round: int
    """The round it belongs to, from 1."""
    stage: Stage
    """Who was updated."""
    defender_return: float
    """Mean return of an episode to the defender, over the adversary's prompts; zero-sum: the adversary's, negated."""
    diversity_score: float
    """Mean weighted diversity score of the adversary's prompts, 0 in the first batch, without weights or prompts."""
    prompts: DiversityReport
    """How diverse the adversary's prompts of this batch are."""
    num_policy_tokens: int
    """Own tokens of the updated player."""
    forfeit_rate: float
    """Share of episodes, 0 to 1, that the updated player lost by an utterance that was no legal turn."""
    update: Config
    """The update's own numbers, a record of the learner's."""
    cut_share: float
    """Share of the updated player's turns, 0 to 1, that were left free and cut at their limit."""
    num_success_cells: int | None = None
    """Cells in which an attack has succeeded so far; None without a `success_cell_weight`."""
    price: float | None = None
    """The multiplier of the adversary's loss in the game after the batch; None without a constraint."""


class GPO(Stateful):
    """The learner: iterate over it to train both players; it can be saved between two steps."""

    saved = (
        "iteration",
        "rng",
        "adversary",
        "defender",
        "diversity",
        "cells",
        "past",
        "clock",
        "constraint",
        "produced",
    )

    average: tuple[Seat, Seat] | None = None
    """GPO's result is its last iterate, and it keeps no average; whoever wants one averages its iterates."""

    def __init__(
        self,
        game: LanguageGame[Any],
        adversary: PlayerLearner,
        defender: PlayerLearner,
        diversity: DiversityReward,
        schedule: GPOSchedule,
        *,
        encoder: SentenceEncoder,
        seed: int,
        constraint: ConstraintOptions | None = None,
        group_sizes: tuple[int, int] = (1, 1),
    ) -> None:
        """Take both learners, the diversity reward (weights 0: GPO without it) and the schedule.

        One learner may be both players: then one model, critic included, plays both roles. `encoder` measures how
        diverse the prompts are, whether or not that is rewarded. `group_sizes` say how many of its turns a player that
        learns says in one place: the adversary prompts to a deal, the defender replies to a prompt.
        """
        check_groups(schedule.batch_size, group_sizes[0])
        check_parts(schedule, group_sizes[1])
        for option, number in (("best_of", schedule.best_of), ("attack_replies", schedule.attack_replies)):
            if number > 1:
                check_one_exchange(game, option)
        self.game, self.adversary, self.defender = game, adversary, defender
        self.diversity, self.schedule, self.iteration = diversity, schedule, 0
        self.clock = StageClock(schedule)
        self.constraint = CostConstraint(ConstraintOptions() if constraint is None else constraint)
        self.rng, self.group_sizes = np.random.default_rng(seed), group_sizes
        self._encoder, self._parse = encoder, parser_of(game)
        weights = diversity.weights
        self.cells = SuccessCells(game, self._parse, weight=weights.intensity * weights.success_cell_weight)
        self.past = OpponentPool(adversary.agent)
        """The adversary as it was after each round, if it is to be met again."""
        self._start = copy.deepcopy(adversary.state_dict()) if schedule.reset_adversary else None
        self.last_played: list[PlayedEpisode] = []
        """The adversary's episodes in the latest batch."""
        self.produced: set[Tokens] = set()
        """Every prompt that the adversary has written in training; of the best of n the one that was learned from."""

    def __iter__(self) -> Iterator[GPOStep]:
        """Yield after each update."""
        while self.iteration < self.schedule.num_steps:
            stage, round_number = self.clock.stage, self.clock.round
            if self._start is not None and stage == "attack" and self.clock.begins_stage:
                self.adversary.load_state_dict(self._start)
            played, static = self._play(stage)
            prompts = first_turns(played if stage == "attack" else played[:: self.group_sizes[1]])
            texts = [self.game.vocabulary.decode(prompt) for prompt in prompts]
            scores = self.diversity.scores(prompts, texts)
            if stage == "defend":
                learner, batch = self.defender, trajectories([*played, *static], 1)
            else:
                learner, batch = self.adversary, self._paid(played, scores)
            update = learner.update(batch, self.rng)
            self.diversity.append(prompts, texts)
            self.produced.update(prompts)
            self.iteration += 1
            defender_return = float(returns_to(self.last_played, 1).mean())
            self.clock.advance(defender_return)
            if self.schedule.replay_share and self.clock.round > round_number:
                self.past.add(self.adversary.agent, self.iteration)
            yield GPOStep(
                iteration=self.iteration,
                round=round_number,
                stage=stage,
                defender_return=defender_return,
                diversity_score=float(scores.mean()) if prompts else 0.0,
                prompts=measure_diversity(prompts, texts, self._encoder, self.rng, parse=self._parse),
                num_policy_tokens=batch.num_policy_tokens,
                forfeit_rate=float(np.mean([episode.forfeited_by(int(stage == "defend")) for episode in played])),
                update=update,
                cut_share=cut_share(played, int(stage == "defend")),
                num_success_cells=len(self.cells.counts) if self.diversity.weights.success_cell_weight else None,
                price=self.constraint.price,
            )

    @property
    def _agents(self) -> tuple[CausalLMAgent, CausalLMAgent]:
        return self.adversary.agent, self.defender.agent

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """Adversary and defender as they are now."""
        return self.adversary.agent, self.defender.agent

    def ends_round(self, step: Record) -> bool:
        """Whether the step just taken was the last of its round."""
        assert isinstance(step, GPOStep)
        return self.clock.round > step.round

    def leave_players(self, run: Run, prefix: str = "") -> None:
        """Write both players as model folders."""
        leaves(**{f"{prefix}adversary": self.adversary.agent, f"{prefix}defender": self.defender.agent})(run)

    def _paid(self, played: Sequence[PlayedEpisode], scores: NDArray[np.float64]) -> Trajectories:
        """Return the adversary's episodes as it learns from them, and move the price of its losses."""
        batch, bonuses = trajectories(played, 0), self.cells.bonuses([one for one in played if one.spoken_by(0)])
        paid = self.constraint.weighed(batch, self.diversity.paid(batch, scores + bonuses))
        self.constraint.observe(-float(batch.returns.mean()))
        return paid

    def _play(self, stage: Stage) -> tuple[list[PlayedEpisode], list[PlayedEpisode]]:
        """Play the batch: the adversary's episodes, past selves' too, and those of a defend stage's static prompts."""
        schedule, adversary = self.schedule, self.adversary.agent
        if stage == "attack":
            return self._attack(), []
        num_replayed = schedule.num_replayed if len(self.past) else 0
        num_new = schedule.batch_size - schedule.num_static - num_replayed
        new = self._episodes(adversary, num_new, stage) if schedule.best_of == 1 else self._worst(num_new)
        replayed = self._episodes(self.past.population(), num_replayed, stage) if num_replayed else []
        self.last_played = [*new, *replayed]
        return self.last_played, self._episodes(static_prompts(self.game), schedule.num_static, stage)

    def _attack(self) -> list[PlayedEpisode]:
        """Play an attack batch; of several replies to a prompt the one that pays the adversary most is kept."""
        size, replies, prompts = self.schedule.batch_size, self.schedule.attack_replies, self.group_sizes[0]
        if replies == 1:
            self.last_played = self._episodes(self.adversary.agent, size, "attack")
            return self.last_played
        self.last_played = rollout_tree(self.game, self._agents, self.rng, (size // prompts, prompts, replies))
        return best_leaves(self.last_played, returns_to(self.last_played, 0), replies)

    def _worst(self, num_episodes: int) -> list[PlayedEpisode]:
        """Play fresh replies to the prompts that were worst for the defender, the best of n of the adversary's."""
        if not num_episodes:
            return []
        group_size, num_prompts = self.group_sizes[1], self.schedule.best_of
        tried = rollout_tree(self.game, self._agents, self.rng, (num_episodes // group_size, num_prompts, 1))
        worst = best_leaves(tried, -returns_to(tried, 1), num_prompts)
        return replies_to(worst, self.seats, self.rng, num_replies=group_size)

    def _episodes(self, author: Seat, num_episodes: int, stage: Stage) -> list[PlayedEpisode]:
        """Play episodes whose prompts somebody writes, in groups for the player that learns in the stage."""
        if not num_episodes:
            return []
        player, seats = int(stage == "defend"), (author, self.defender.agent)
        group_size = self.group_sizes[player]
        return rollout_in_groups(self.game, seats, num_episodes, self.rng, player=player, group_size=group_size)


def check_parts(schedule: GPOSchedule, group_size: int) -> None:
    """Raise ValueError unless the parts of a defend batch make whole groups of replies."""
    for name, kind, part, size in (
        ("static_share", "static", schedule.num_static, schedule.batch_size),
        ("replay_share", "replayed", schedule.num_replayed, schedule.batch_size - schedule.num_static),
    ):
        if part % group_size or (size - part) % group_size:
            raise ValueError(
                f"{name}: expected parts of batch_size={schedule.batch_size} that make whole groups of {group_size}, "
                f"got {part} {kind} prompts"
            )


def first_turns(played: Sequence[PlayedEpisode]) -> list[Tokens]:
    """Return the adversary's first prompt in each episode where it speaks: one a row of `trajectories(played, 0)`."""
    return [_first_turn(episode) for episode in played if episode.spoken_by(0)]


def _first_turn(played: PlayedEpisode) -> Tokens:
    turns = zip(played.turns, played.dialogue.turns, strict=True)
    return next(turn.tokens for said, turn in turns if said.player == 0 and said.utterance.tokens)


@trainer
def gpo(config: GPOConfig) -> Training:
    """Return what a run of it trains."""
    meter = CostMeter()
    learner = make_gpo(config, meter)
    num_steps = config.schedule.num_steps
    transcripts = Transcripts(lambda: learner.last_played, num_steps, due=learner.ends_round)
    checkpoints = [Checkpoints(learner, num_steps)] if config.keep_checkpoints else []

    def leave(run: Run) -> None:
        learner.leave_players(run)
        run.write_json(PRODUCED_FILE, sorted(map(list, learner.produced)))

    return Training(learner=learner, num_steps=num_steps, watch=[meter, transcripts, *checkpoints], write=leave)


class Checkpoints(Watcher):
    """Keeps both players as they are after each round."""

    name = "checkpoints"

    def __init__(self, learner: GPO, num_steps: int) -> None:
        """Take the learner, and the number of its last step."""
        self._learner, self._num_steps = learner, num_steps

    def keep(self, run: Run, step: Record) -> None:
        """Write both players if a round has ended."""
        assert isinstance(step, GPOStep)
        if step.iteration == self._num_steps or self._learner.ends_round(step):
            self._learner.leave_players(run, f"checkpoints/round_{step.round:02d}/")


def make_gpo(config: GPOConfig, meter: CostMeter | None = None) -> GPO:
    """Return the learner, its players loaded and its reward set up; `meter` counts its play."""
    seats = (config.adversary, config.start)
    game = config.options.build(seats=seats, split="train", meter=meter, device=config.device)
    encoder = make_encoder(config.encoder, words_of(game))
    adversary, defender = _players(config, game)
    attacker = config.defender_learner if config.one_policy else config.adversary_learner
    return GPO(
        game,
        adversary,
        defender,
        DiversityReward(encoder, config.diversity),
        config.schedule,
        encoder=encoder,
        seed=config.seed,
        constraint=config.constraint,
        group_sizes=(attacker.replies_per_prompt, config.defender_learner.replies_per_prompt),
    )


def _players(config: GPOConfig, game: LanguageGame[Any]) -> tuple[PlayerLearner, PlayerLearner]:
    """Return the learners of both players; one model for both roles learns in every stage."""
    schedule = config.schedule
    attacks, defences = (schedule.num_rounds * steps for steps in (schedule.attack_steps, schedule.defend_steps))
    if schedule.reset_adversary:
        attacks = schedule.attack_steps  # it never takes more in a row
    adversary_role, defender_role = config.options.roles
    agent = config.load(config.start, game, 1, name="defender", role=defender_role)
    if config.one_policy:
        ptx = config.defender_learner.ptx(game, None, config.seed)
        both = config.defender_learner.make(agent, num_planned=attacks + defences, ptx=ptx)
        return both, both
    critic = SharedCritic(agent.model) if config.shared_critic else None
    ptx = config.defender_learner.ptx(game, 1, config.seed)
    defender = config.defender_learner.make(agent, num_planned=defences, critic=critic, ptx=ptx)
    rival = config.load(config.starts[0], game, 0, name="adversary", role=adversary_role)
    ptx = config.adversary_learner.ptx(game, 0, config.seed)
    return config.adversary_learner.make(rival, num_planned=attacks, critic=critic, ptx=ptx), defender
