"""SPAG: offline self-play of one policy in both seats, trained on the winner's turns (arXiv 2404.10642).

A round is one step of the paper's self-play: the policy is frozen and plays a batch of episodes against itself, then
it learns from them in several passes. Only the turns of whoever won are learned from, later ones more than earlier ones
(r_k = 1.25^k / sum_j 1.25^j), and both roles weigh one half, however often each won. The loss is the clipped ratio to
the frozen policy with the advantage r - 0.2 log(pi/frozen), plus 0.5 times a supervised loss on given dialogues, which
keep what the policy could say before: where it could say nothing worth keeping, as a model of random weights, they
would hold it to its start for ever, and there are none. The pieces are in `functional.spag`.

Differs from the paper in: a turn is paid the winner's return times r_k, so that any zero-sum game can be played. The
ratio is that of whole turns, as the paper prints it; its released code takes that of a mean token. The advantage is
held constant in the gradient, which the released code does not. The supervised data, Alpaca there, are the dialogues
that the start was cloned from, or what a given start says to itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import tyro
from torch import Tensor

from ...agents.language_model.causal_lm import CausalLMAgent, evaluating
from ...envs import Dialogue, LanguageGame, Payoff
from ...envs.game import PLAYERS
from ...envs.solutions import HasDemonstrations
from ..alignment.pretrain import PretrainConfig, pretrain
from ..evaluation.win_rates import before_and_after, win_rates_table, winner
from ..functional.masking import masked_mean
from ..functional.policy_losses import clip_fraction, probability_ratio
from ..functional.spag import TURN_GROWTH, role_weights, spag_loss, turn_numbers, turn_shares, turn_sums
from ..learners.behaviour_cloning import BehaviourCloningConfig
from ..learners.optimisation import ADAM_EPSILON, make_optimizer, take_step
from ..learners.ptx import cloning_loss
from ..rollouts.demonstrations import Demonstrations, demonstrations_of, encode_dialogues
from ..rollouts.episodes import PlayedEpisode, rollout
from ..rollouts.trajectories import Trajectories, joined, trajectories
from ..training.checks import Count, LearningRate, NotNegative, OpenShare, Options, Positive, Rows
from ..training.costs import meter_of
from ..training.presets import usual
from ..training.run import Run
from ..training.state import Stateful
from .learner import Seat, TwoPlayerLearner, derived_seed
from .train import TwoPlayerConfig, train_two_players

START_CLONING = BehaviourCloningConfig(num_steps=3000, learning_rate=1.2e-2)
"""How a micro start is cloned: until it mostly gives answers that fit."""
NUM_START_PLAYS = 512
"""Episodes of a given start against itself that take the place of demonstrations."""


@dataclass(frozen=True, kw_only=True)
class SPAGOptions(Options):
    """How a policy learns from its own games."""

    num_rounds: Count = 12
    """Times that the policy is frozen, plays itself and learns."""
    batch_size: Rows = usual(1024)
    """Episodes of a round."""
    num_epochs: Count = 2
    """Passes over a round's turns."""
    num_minibatches: Count = 8
    """Gradient steps in a pass."""
    learning_rate: LearningRate = usual(1e-3)
    """AdamW's."""
    clip_epsilon: OpenShare = 0.2
    """The ratio to the frozen policy is clipped to 1 -+ this."""
    adam_epsilon: Positive = ADAM_EPSILON
    """AdamW's: below it the gradient of a weight makes a step in proportion, above it one of the learning rate."""
    kl_coef: NotNegative = 0.2
    """The price of a nat of log(pi/frozen) in the advantage of a turn; the paper's beta."""
    sft_coef: NotNegative = 0.5
    """Weight of the supervised loss, where there are dialogues to keep."""
    turn_growth: Positive = TURN_GROWTH
    """How much more a winner's turn is paid than its turn before."""


@dataclass(frozen=True, slots=True)
class SPAGStep:
    """What one round reports; rates are shares of its episodes, losses means over its gradient steps."""

    iteration: int
    """Rounds so far."""
    mean_return: float
    """Of the frozen policy in player 0's seat, against itself."""
    win_rate_0: float
    """Share of episodes, 0 to 1, that player 0 won."""
    win_rate_1: float
    """That player 1 won; the rest are ties, from which nothing is learned."""
    forfeit_rate: float
    """Share, 0 to 1, that either player lost by an utterance that was no legal turn."""
    num_turns: int
    """Turns that were learned from."""
    policy_loss: float
    """SPAG's, without the supervised term."""
    sft_loss_nats: float | None
    """Mean negative log-likelihood of a token of the supervised data; None if there are none, or they weigh nothing."""
    kl_nats: float
    """Mean log(pi/frozen) of a learned turn during the last pass: how much likelier it became."""
    clip_fraction: float
    """Share of learned turns, 0 to 1, whose ratio left the clip range during the last pass."""


@dataclass(frozen=True, slots=True)
class _Lesson:
    """A round's won episodes as turns: B parts of winners, of at most K turns each."""

    batch: Trajectories
    numbers: Tensor  # (B, T): which turn a token belongs to
    turn_mask: Tensor  # (B, K)
    ref_logprobs: Tensor  # (B, K)
    rewards: Tensor  # (B, K)
    weights: Tensor  # (B,)


@dataclass(frozen=True, slots=True)
class _Supervised:
    """Dialogues that must not be unlearned, as both players see them."""

    views: Demonstrations
    own: Tensor  # (B, T): the viewer's own tokens

    @classmethod
    def of(cls, game: LanguageGame[Any], dialogues: Sequence[Dialogue[Any]]) -> _Supervised:
        views = encode_dialogues(game, dialogues)
        return cls(views, _own_tokens(views))


class SPAG(Stateful):
    """The learner: iterate over it to train; it can be saved between two rounds."""

    saved = ("iteration", "rng", "agent.model", "_optimizer")

    average: tuple[Seat, Seat] | None = None
    """SPAG keeps none."""

    def __init__(
        self,
        game: LanguageGame[Any],
        agent: CausalLMAgent,
        dialogues: Sequence[Dialogue[Any]],
        options: SPAGOptions,
        *,
        seed: int,
    ) -> None:
        """Take the policy to train in place.

        Args:
            game: zero-sum rules.
            agent: sits in both seats.
            dialogues: finished ones that it must not unlearn, the supervised data; none where the policy's start has
                said nothing worth keeping.
            options: how long, and how.
            seed: decides deals, tokens and minibatches.

        Raises:
            ValueError: the game has another payoff.
        """
        if game.payoff is not Payoff.ZERO_SUM:
            raise ValueError(f"game: expected a zero-sum one, which somebody wins, got payoff {game.payoff.value}")
        self.game, self.agent, self.options, self.iteration = game, agent, options, 0
        self.rng = np.random.default_rng(seed)
        self._supervised = _Supervised.of(game, dialogues) if dialogues and options.sft_coef else None
        self._parameters = list(agent.model.parameters())
        self._optimizer = make_optimizer(
            self._parameters,
            learning_rate=options.learning_rate,
            weight_decay=0.0,
            adam_epsilon=options.adam_epsilon,
        )
        self._num_tokens, meter = 0, meter_of(game)
        if meter is not None:
            meter.cloning(lambda: self._num_tokens)
        self.last_played: list[PlayedEpisode] = []
        """The latest batch."""

    def __iter__(self) -> Iterator[SPAGStep]:
        """Yield after each round."""
        while self.iteration < self.options.num_rounds:
            self.last_played = rollout(self.game, self.seats, self.options.batch_size, self.rng)
            won = winners_parts(self.last_played)
            losses = [(0.0, 0.0, 0.0, 0.0)]
            if won is not None:
                with evaluating(self.agent.model):
                    lesson = self._lesson(*won)
                    losses = [self._step(lesson, rows) for rows in self._minibatches(len(lesson.batch))]
            self.iteration += 1
            yield self._report(0 if won is None else int(lesson.turn_mask.sum()), np.array(losses))

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The policy, twice."""
        return self.agent, self.agent

    def _minibatches(self, num_rows: int) -> Iterator[Tensor]:
        """Yield the rows of each gradient step of a round."""
        for _ in range(self.options.num_epochs):
            order = self.rng.permutation(num_rows)
            for rows in np.array_split(order, min(self.options.num_minibatches, num_rows)):
                yield torch.from_numpy(rows)

    @torch.no_grad()
    def _lesson(self, batch: Trajectories, players: Tensor) -> _Lesson:
        """Return what is learned from won episodes, while the policy is still the one that played them."""
        batch, players = batch.to(self.agent.model.device), players.to(self.agent.model.device)
        numbers = turn_numbers(batch.policy_token_mask)
        num_turns = int(numbers.max()) + 1
        turn_mask = torch.arange(num_turns, device=numbers.device) <= numbers.max(1, keepdim=True).values
        parts = np.array_split(np.arange(len(batch)), min(self.options.num_minibatches, len(batch)))
        ref_logprobs = torch.cat(
            [self._turn_logprobs(batch, numbers, torch.from_numpy(rows), num_turns) for rows in parts]
        )
        shares = turn_shares(turn_mask, growth=self.options.turn_growth)
        return _Lesson(batch, numbers, turn_mask, ref_logprobs, shares * batch.returns[:, None], role_weights(players))

    def _turn_logprobs(self, batch: Trajectories, numbers: Tensor, rows: Tensor, num_turns: int) -> Tensor:
        """Return log pi of each own turn of some rows; (R, K)."""
        part = batch.select(rows)
        now = self.agent.evaluate(part.tokens, part.attention_mask, part.policy_token_mask, part.legal_mask)
        return turn_sums(now.logprobs, numbers[rows, : part.tokens.shape[1]], num_turns=num_turns)

    def _step(self, lesson: _Lesson, rows: Tensor) -> tuple[float, float, float, float]:
        """Descend once; return both losses, the mean log ratio of the turns and the share of clipped ones."""
        options, mask, ref = self.options, lesson.turn_mask[rows], lesson.ref_logprobs[rows]
        logprobs = self._turn_logprobs(lesson.batch, lesson.numbers, rows, mask.shape[1])
        policy_loss = spag_loss(
            logprobs,
            ref,
            lesson.rewards[rows],
            lesson.weights[rows],
            mask,
            clip_epsilon=options.clip_epsilon,
            kl_coef=options.kl_coef,
        )
        sft_loss = policy_loss.new_zeros(())
        if self._supervised is not None:
            sft_loss = self._supervised_loss(self._supervised, len(rows))
        take_step(policy_loss + options.sft_coef * sft_loss, self._optimizer, self._parameters)
        log_ratio = masked_mean((logprobs - ref).detach(), mask)
        ratio = probability_ratio(logprobs.detach(), ref, mask)
        clipped = clip_fraction(ratio, mask, clip_epsilon=options.clip_epsilon)
        return float(policy_loss.detach()), float(sft_loss.detach()), float(log_ratio), float(clipped)

    def _supervised_loss(self, supervised: _Supervised, num_rows: int) -> Tensor:
        """Return the supervised loss of as many dialogues, drawn anew."""
        rows = torch.from_numpy(self.rng.integers(len(supervised.views), size=num_rows))
        loss, num_tokens = cloning_loss(self.agent.model, supervised.views, supervised.own, rows)
        self._num_tokens += num_tokens
        return loss

    def _report(self, num_turns: int, losses: np.ndarray) -> SPAGStep:
        winners = [winner(episode) for episode in self.last_played]
        size = len(winners)
        last_pass = losses[-self.options.num_minibatches :]
        return SPAGStep(
            iteration=self.iteration,
            mean_return=float(np.mean([episode.episode.returns[0] for episode in self.last_played])),
            win_rate_0=winners.count(0) / size,
            win_rate_1=winners.count(1) / size,
            forfeit_rate=float(np.mean([episode.episode.forfeited_by is not None for episode in self.last_played])),
            num_turns=num_turns,
            policy_loss=float(losses[:, 0].mean()),
            sft_loss_nats=None if self._supervised is None else float(losses[:, 1].mean()),
            kl_nats=float(last_pass[:, 2].mean()),
            clip_fraction=float(last_pass[:, 3].mean()),
        )


def winners_parts(played: Sequence[PlayedEpisode]) -> tuple[Trajectories, Tensor] | None:
    """Return the winners' parts of decided episodes and who won each, (B,), player 0's first.

    Ties are left out, and winners who never spoke; None if nothing is left.
    """
    parts: list[Trajectories] = []
    players: list[int] = []
    for player in PLAYERS:
        won = [
            episode
            for episode in played
            if winner(episode) == player and any(turn.player == player for turn in episode.turns)
        ]
        if won:
            parts.append(trajectories(won, player))
            players += [player] * len(won)
    if not parts:
        return None
    return (parts[0] if len(parts) == 1 else joined(*parts)), torch.tensor(players)


def own_plays(
    game: LanguageGame[Any], agent: CausalLMAgent, num_episodes: int, rng: np.random.Generator
) -> list[Dialogue[Any]]:
    """Return what an agent says to itself, forfeits left out: supervised data for a game without demonstrations.

    They are worth keeping if the agent is: a model that was trained for something, not one of random weights.

    Raises:
        ValueError: it forfeited every episode.
    """
    played = rollout(game, (agent, agent), num_episodes, rng)
    dialogues = [episode.dialogue for episode in played if episode.episode.forfeited_by is None]
    if not dialogues:
        raise ValueError(f"agent: expected one that ends an episode without a forfeit, got {num_episodes} forfeits")
    return dialogues


def _own_tokens(demonstrations: Demonstrations) -> Tensor:
    """Return (B, T), True at the viewer's own tokens; the first half are the views of player 0."""
    half = len(demonstrations) // 2
    masks = [demonstrations.loss_mask(f"player_{player}") for player in PLAYERS]
    return torch.cat([masks[0][:half], masks[1][half:]])


@dataclass(frozen=True, kw_only=True)
class SPAGConfig(TwoPlayerConfig):
    """One policy plays both seats of a zero-sum game and learns from the winner's turns.

    It starts from the folder `player_0`; without one, from a micro model, which is cloned from the game's
    demonstrations first, in `out/start`, if the game has any. The supervised loss reads the game's demonstrations, else
    what the model of `player_0` says to itself; where there is neither, there is no such loss.
    """

    algorithm: ClassVar[str] = "spag"
    shown: ClassVar[tuple[str, ...]] = ("win_rates.md",)
    out: Path = Path("runs/spag")
    """The run's folder; the policy is in its folder `player_0`, its win rates in `win_rates.md`."""
    play: Annotated[SPAGOptions, tyro.conf.arg(name="")] = field(default_factory=SPAGOptions)
    """How the policy learns."""
    num_demonstrations: Rows = 4000
    """Dialogues that the start is cloned from, and that the supervised loss reads."""
    cloning: BehaviourCloningConfig = START_CLONING
    """How the start is cloned."""
    num_evaluation_episodes: Rows = 2000
    """Episodes of each pair in the win rates."""


def make_start(game: LanguageGame[Any], config: SPAGConfig) -> CausalLMAgent:
    """Return the policy that training starts from, cloned if there is something to clone and no folder was given."""
    if config.models.player_1 is not None:
        raise ValueError(f"player_1: expected none, one policy sits in both seats, got {config.models.player_1}")
    if config.models.player_0 is not None or not isinstance(game, HasDemonstrations):
        return config.start(game, 0, config.seed)
    clone = PretrainConfig(
        options=config.options,
        out=config.out / "start",
        seed=config.seed,
        device=config.device,
        num_demonstrations=config.num_demonstrations,
        hidden_size=config.models.hidden_size,
        num_layers=config.models.num_layers,
        num_heads=config.models.num_heads,
        cloning=config.cloning,
    )
    return config.load(pretrain(clone) / "model", game, name="player_0")


def make_spag(game: LanguageGame[Any], config: SPAGConfig) -> SPAG:
    """Return the learner, its start loaded or made."""
    agent, rng = make_start(game, config), np.random.default_rng([config.seed, 1])
    dialogues: list[Dialogue[Any]] = []  # random weights have said nothing worth keeping
    if isinstance(game, HasDemonstrations):
        dialogues = demonstrations_of(game, "average", rng, config.num_demonstrations)
    elif config.models.player_0 is not None:
        dialogues = own_plays(game, agent, NUM_START_PLAYS, rng)
    return SPAG(game, agent, dialogues, config.play, seed=config.seed)


def train_spag(config: SPAGConfig) -> Path:
    """Run or resume it; return the run's folder."""
    config = config.resolved()

    def write(run: Run, learner: TwoPlayerLearner) -> None:
        assert isinstance(learner, SPAG)
        start, num_episodes = make_start(learner.game, config), config.num_evaluation_episodes
        rates = before_and_after(learner.game, start, learner.agent, num_episodes, derived_seed(config.seed, 2))
        run.write_text("win_rates.md", win_rates_table(rates) + "\n")
        run.write_json("win_rates.json", {name: asdict(rate) for name, rate in rates.items()})

    return train_two_players(
        config, lambda game: make_spag(game, config), num_steps=config.play.num_rounds, write=write
    )
