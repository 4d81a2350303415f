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
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from ...agents import EchoAgent
from ...agents.language_model.encoders import SentenceEncoder, make_encoder, words_of
from ...envs import LanguageGame, Tokens, deal_episodes
from ..alignment.rlhf import DEFENDER_PPO
from ..alignment.starts import adversary_model, sft_model
from ..evaluation import CostMeter, DiversityReport, measure_diversity, parser_of
from ..learners.base import PlayerLearner
from ..learners.best_response import write_transcripts
from ..learners.ppo import PPOConfig, PPOLearner
from ..learners.shared_critic import SharedCritic
from ..rollouts.episodes import PlayedEpisode, play_out
from ..rollouts.trajectories import Trajectories, trajectories
from ..training.costs import MeteredLearner, write_costs
from ..training.loop import recorded, use_threads
from ..training.options import GameOptions, TrainedDType, load_model, preamble_of, save_model
from ..training.run import Config, Run
from .constraint import ConstraintOptions, CostConstraint
from .diversity_reward import DiversityReward, DiversityWeights
from .learner import Seat
from .stage_clock import GPOSchedule, Stage, StageClock

PRODUCED_FILE = "produced_prompts.json"
"""In a run's folder: the token ids of every prompt that the adversary wrote in training, each once."""


@dataclass(frozen=True, kw_only=True)
class GPOConfig:
    """Adversary and defender, trained in turn."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    defender: Path | None = None
    """The defender to start from; None: the micro defender, trained first in `out`."""
    adversary: Path | None = None
    """The adversary to start from; None: the base model of that defender."""
    out: Path = Path("runs/gpo")
    """The run's folder; the models are in its folders `defender` and `adversary`."""
    seed: int = 0
    """Decides deals, sampled tokens and minibatches."""
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
    defender_ppo: PPOConfig = DEFENDER_PPO
    """How the defender learns."""
    adversary_ppo: PPOConfig = field(default_factory=PPOConfig)
    """How the adversary learns."""
    keep_checkpoints: bool = True
    """Whether both players are kept after each round."""
    save_every: int = 18
    """Steps between two saved states."""
    num_threads: int = 0
    """Threads of torch; 0: its default."""
    device: str = "cpu"
    """Where the models are."""
    dtype: TrainedDType = "float32"
    """The precision of the weights; bfloat16 halves their memory and rounds away the smallest updates."""

    def __post_init__(self) -> None:
        """Check that there is a critic to be shared."""
        if self.one_policy and self.shared_critic:
            raise ValueError("shared_critic: expected two policies, got --one-policy, whose critic both roles share")


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


class GPO:
    """The learner: iterate over it to train both players; it can be saved between two steps."""

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
    ) -> None:
        """Take both learners, the diversity reward (weights 0: GPO without it) and the schedule.

        One learner may be both players: then one model, critic included, plays both roles. `encoder` measures how
        diverse the prompts are, whether or not that is rewarded.
        """
        self.game, self.adversary, self.defender = game, adversary, defender
        self.diversity, self.schedule, self.iteration = diversity, schedule, 0
        self.clock = StageClock(schedule)
        self.constraint = CostConstraint(ConstraintOptions() if constraint is None else constraint)
        self.rng = np.random.default_rng(seed)
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
            prompts = first_turns(played)
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
            defender_return = float(np.mean([one.episode.returns[1] for one in played]))
            self.clock.advance(defender_return)
            yield GPOStep(
                iteration=self.iteration,
                round=round_number,
                stage=stage,
                defender_return=defender_return,
                diversity_score=float(scores.mean()) if prompts else 0.0,
                prompts=measure_diversity(prompts, texts, self._encoder, self.rng, parse=self._parse),
                num_policy_tokens=batch.num_policy_tokens,
                forfeit_rate=float(np.mean([one.forfeited_by(int(stage == "defend")) for one in played])),
                update=update,
                price=self.constraint.price,
            )

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """Adversary and defender as they are now."""
        return self.adversary.agent, self.defender.agent

    def _paid(self, batch: Trajectories, scores: NDArray[np.float64]) -> Trajectories:
        """Return the adversary's episodes as it learns from them, and move the price of its losses."""
        paid = self.constraint.weighed(batch, self.diversity.paid(batch, scores))
        self.constraint.observe(-float(batch.returns.mean()))
        return paid

    def _play(self, stage: Stage) -> tuple[list[PlayedEpisode], list[PlayedEpisode]]:
        """Play the batch: the adversary's episodes, and in a defend stage those with static prompts."""
        size = self.schedule.batch_size
        num_static = round(size * self.schedule.static_share) if stage == "defend" else 0
        agents = (self.adversary.agent, self.defender.agent)
        played = play_out(deal_episodes(self.game, self.rng, size - num_static), agents, self.rng)
        static = deal_episodes(self.game, self.rng, num_static)
        self.last_played = played
        return played, play_out(static, (EchoAgent(skip=preamble_of(self.game)), self.defender.agent), self.rng)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return {
            "iteration": self.iteration,
            "rng": self.rng.bit_generator.state,
            "adversary": self.adversary.state_dict(),
            "defender": self.defender.state_dict(),
            "diversity": self.diversity.state_dict(),
            "clock": self.clock.state_dict(),
            "constraint": self.constraint.state_dict(),
            "produced": sorted(map(list, self.produced)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.iteration = state["iteration"]
        self.rng.bit_generator.state = state["rng"]
        self.adversary.load_state_dict(state["adversary"])
        self.defender.load_state_dict(state["defender"])
        self.diversity.load_state_dict(state["diversity"])
        self.clock.load_state_dict(state["clock"])
        self.constraint.load_state_dict(state["constraint"])
        self.produced = set(map(tuple, state["produced"]))


def first_turns(played: Sequence[PlayedEpisode]) -> list[Tokens]:
    """Return the adversary's first prompt in each episode where it speaks: one a row of `trajectories(played, 0)`."""
    return [_first_turn(one) for one in played if one.spoken_by(0)]


def _first_turn(one: PlayedEpisode) -> Tokens:
    turns = zip(one.turns, one.dialogue.turns, strict=True)
    return next(turn.tokens for said, turn in turns if said.player == 0 and said.utterance.tokens)


def gpo(config: GPOConfig) -> Path:
    """Run or resume it; return the run's folder."""
    use_threads(config.num_threads)
    with Run.open(config.out, config, name="gpo") as run:
        if not run.finished:
            meter, schedule = CostMeter(), config.schedule
            learner = make_gpo(config, meter)
            metered = MeteredLearner(learner, meter)
            for step in recorded(metered, run, num_steps=schedule.num_steps, save_every=config.save_every):
                if step.iteration == schedule.num_steps or learner.clock.round > step.round:
                    write_transcripts(run, step.iteration, learner.last_played)
                    if config.keep_checkpoints:
                        save_players(run, learner, f"checkpoints/round_{step.round:02d}/")
            write_costs(run, meter)
            save_players(run, learner, "")
            run.write_json(PRODUCED_FILE, sorted(map(list, learner.produced)))
            run.finish()
    return config.out


def make_gpo(config: GPOConfig, meter: CostMeter | None = None) -> GPO:
    """Return the learner, its players loaded (or trained first) and its reward set up; `meter` counts its play."""
    defender_folder = sft_model(config.defender, config.options, config.out, config.seed)
    adversary_folder = None if config.one_policy else adversary_model(config.adversary, defender_folder, config.out)
    game = config.options.build(defender_folder, adversary_folder, split="train", meter=meter)
    schedule = config.schedule
    planned = [schedule.num_rounds * steps for steps in (schedule.attack_steps, schedule.defend_steps)]
    agent = load_model(defender_folder, game, device=config.device, dtype=config.dtype)
    if adversary_folder is None:
        adversary = defender = PPOLearner(agent, config.defender_ppo, num_planned=sum(planned))
    else:
        critic = SharedCritic(agent.model) if config.shared_critic else None
        defender = PPOLearner(agent, config.defender_ppo, num_planned=planned[1], critic=critic)
        rival = load_model(adversary_folder, game, device=config.device, dtype=config.dtype)
        adversary = PPOLearner(rival, config.adversary_ppo, num_planned=planned[0], critic=critic)
    encoder = make_encoder(config.encoder, words_of(game))
    return GPO(
        game,
        adversary,
        defender,
        DiversityReward(encoder, config.diversity),
        schedule,
        encoder=encoder,
        seed=config.seed,
        constraint=config.constraint,
    )


def save_players(run: Run, learner: GPO, prefix: str) -> None:
    """Write both players as model folders."""
    run.write_folder(f"{prefix}adversary", partial(save_model, learner.adversary.agent))
    run.write_folder(f"{prefix}defender", partial(save_model, learner.defender.agent))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    print(f"players: {gpo(tyro.cli(GPOConfig, args=argv, prog='duologue train gpo', description=__doc__))}")


if __name__ == "__main__":
    main()
