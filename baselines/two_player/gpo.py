"""GPO: an adversary that writes prompts and a defender that answers them, trained in turn towards equilibrium.

R. Zheng et al., *Toward Optimal LLM Alignments Using Two-Player Games*, 2024, arXiv 2406.10977, section 3.2: both start
from given models; in each round the defender takes PPO steps against the frozen adversary, then the adversary against
the frozen defender, paid for novelty besides. The last iterate is the result; each stage is an approximate best
response by a fixed number of steps, and nothing is averaged.

Differs from the paper in: stage lengths and weights are configuration; the diversity terms are means over a window of
past prompts, as in the released code, not sums over all; each role has a critic of its own, a head on its policy's
backbone; a share of the defend stage's prompts can stay static, as in Self-RedTeam (arXiv 2506.07468).

Its successors are options: one model for both roles (Self-RedTeam) or only one critic (`shared_critic.py`), MAGIC's
switch of stages (arXiv 2602.01539, `stage_clock.py`), other rewards of novelty (`diversity_reward.py`) and DiveR-CT's
constraint (`constraint.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import tyro
from numpy.typing import NDArray

from ...agents import EchoAgent
from ...agents.language_model.encoders import SentenceEncoder, make_encoder, words_of
from ...envs import LanguageGame, Speaker, Tokens
from ..alignment.rlhf import DEFENDER_PPO
from ..alignment.starts import BothPlayersOptions, DefenderOptions
from ..evaluation import DiversityReport, measure_diversity, parser_of
from ..learners.base import PlayerLearner
from ..learners.options import LearnerOptions
from ..learners.ppo import PPOConfig
from ..learners.shared_critic import SharedCritic
from ..rollouts.episodes import PlayedEpisode
from ..rollouts.groups import check_groups, rollout_in_groups
from ..rollouts.trajectories import Trajectories, trajectories
from ..training.checks import Count
from ..training.costs import CostMeter
from ..training.loop import Training, trainer
from ..training.options import leaves, load_model, preamble_of
from ..training.run import Config, Record, Run
from ..training.state import Stateful
from ..training.watchers import Transcripts, Watcher
from .constraint import ConstraintOptions, CostConstraint
from .diversity_reward import DiversityReward, DiversityWeights
from .learner import Seat
from .stage_clock import GPOSchedule, Stage, StageClock

PRODUCED_FILE = "produced_prompts.json"
"""In a run's folder: the token ids of every prompt that the adversary wrote in training, each once."""


@dataclass(frozen=True, kw_only=True)
class GPOConfig(BothPlayersOptions):
    """Adversary and defender, trained in turn."""

    algorithm: ClassVar[str] = "gpo"
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
        """Check that there is a critic to be shared."""
        super().__post_init__()
        if self.one_policy and self.shared_critic:
            raise ValueError("shared_critic: expected two policies, got --one-policy, whose critic both roles share")

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
    price: float | None = None
    """The multiplier of the adversary's loss in the game after the batch; None without a constraint."""


class GPO(Stateful):
    """The learner: iterate over it to train both players; it can be saved between two steps."""

    saved = ("iteration", "rng", "adversary", "defender", "diversity", "clock", "constraint", "produced")

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
        for part in (schedule.num_static, schedule.batch_size - schedule.num_static):
            if part % group_sizes[1]:
                raise ValueError(
                    f"static_share: expected parts of batch_size={schedule.batch_size} that make whole groups of "
                    f"{group_sizes[1]}, got {schedule.num_static} static prompts"
                )
        self.game, self.adversary, self.defender = game, adversary, defender
        self.diversity, self.schedule, self.iteration = diversity, schedule, 0
        self.clock = StageClock(schedule)
        self.constraint = CostConstraint(ConstraintOptions() if constraint is None else constraint)
        self.rng, self.group_sizes = np.random.default_rng(seed), group_sizes
        self._encoder, self._parse = encoder, parser_of(game)
        self.last_played: list[PlayedEpisode] = []
        """The adversary's episodes in the latest batch."""
        self.produced: set[Tokens] = set()
        """Every prompt that the adversary has written in training."""

    def __iter__(self) -> Iterator[GPOStep]:
        """Yield after each update."""
        while self.iteration < self.schedule.num_steps:
            stage, round_number = self.clock.stage, self.clock.round
            played, static = self._play(stage)
            prompts = first_turns(played if stage == "attack" else played[:: self.group_sizes[1]])
            texts = [self.game.vocabulary.decode(prompt) for prompt in prompts]
            scores = self.diversity.scores(prompts, texts)
            if stage == "defend":
                learner, batch = self.defender, trajectories([*played, *static], 1)
            else:
                learner, batch = self.adversary, self._paid(trajectories(played, 0), scores)
            update = learner.update(batch, self.rng)
            self.diversity.append(prompts, texts)
            self.produced.update(prompts)
            self.iteration += 1
            defender_return = float(np.mean([episode.episode.returns[1] for episode in played]))
            self.clock.advance(defender_return)
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
                price=self.constraint.price,
            )

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

    def _paid(self, batch: Trajectories, scores: NDArray[np.float64]) -> Trajectories:
        """Return the adversary's episodes as it learns from them, and move the price of its losses."""
        paid = self.constraint.weighed(batch, self.diversity.paid(batch, scores))
        self.constraint.observe(-float(batch.returns.mean()))
        return paid

    def _play(self, stage: Stage) -> tuple[list[PlayedEpisode], list[PlayedEpisode]]:
        """Play the batch: the adversary's episodes, and in a defend stage those with static prompts."""
        size = self.schedule.batch_size
        num_static = self.schedule.num_static if stage == "defend" else 0
        self.last_played = self._episodes(self.adversary.agent, size - num_static, stage)
        return self.last_played, self._episodes(EchoAgent(skip=preamble_of(self.game)), num_static, stage)

    def _episodes(self, author: Speaker, num_episodes: int, stage: Stage) -> list[PlayedEpisode]:
        """Play episodes whose prompts somebody writes, in groups for the player that learns in the stage."""
        if not num_episodes:
            return []
        player, seats = int(stage == "defend"), (author, self.defender.agent)
        group_size = self.group_sizes[player]
        return rollout_in_groups(self.game, seats, num_episodes, self.rng, player=player, group_size=group_size)


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
    game = config.options.build(config.start, config.adversary, split="train", meter=meter)
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
    agent = load_model(config.start, game, device=config.device, dtype=config.dtype)
    if config.one_policy:
        ptx = config.defender_learner.ptx(game, None, config.seed)
        both = config.defender_learner.make(agent, num_planned=attacks + defences, ptx=ptx)
        return both, both
    critic = SharedCritic(agent.model) if config.shared_critic else None
    ptx = config.defender_learner.ptx(game, 1, config.seed)
    defender = config.defender_learner.make(agent, num_planned=defences, critic=critic, ptx=ptx)
    rival = load_model(config.starts[0], game, device=config.device, dtype=config.dtype)
    ptx = config.adversary_learner.ptx(game, 0, config.seed)
    return config.adversary_learner.make(rival, num_planned=attacks, critic=critic, ptx=ptx), defender
