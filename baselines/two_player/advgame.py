"""AdvGame: adversary and defender learn at once from preferences over a tree of prompts and replies.

AdvGame (2025, arXiv 2512.20806) plays, for each of B seed requests, A prompts by the adversary, and to each of them D
replies by the defender. A prompt is worth what the best of its D replies earned the adversary, an estimate against the
luck of one reply; a prompt that is not faithful to its seed is worth less than any that is. From each group the best
and the worst make a pair for DPO or IPO, labelled by how much more the one is worth, so that what is learned is the
game's own payoffs (see `learners.preference`). By ordinal labels, the paper's, the best is simply preferred, and ties
are skipped: that is the judge's game, and another one where payoffs are amounts. Running averages of the parameters,
theta_ema <- .95 theta_ema + .05 theta, speak in all episodes and are the reference of the loss. The game's table
"advgame" is the role swap: on harmful seeds the adversary wants compliance, on benign ones refusal.

Differs from the paper in: harmful and benign seeds come in one batch, in the game's proportions; the judge of pairs is
the game's own rewards unless one is given; an unusable verdict is worth 0 instead of being masked; labels are linear in
what is earned unless `labels` says "ordinal". (An optimistic adversary, the paper's, plays for the best of D replies,
which is more than it earns: a game is left as it is only without.) Only its DPO form is
here; GRPO on both players is `duologue train self_play --learner grpo`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias

import numpy as np
import torch
import tyro
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ...envs import LanguageGame
from ...envs.judging import RedTeamGame
from ..alignment.starts import BothPlayersOptions
from ..learners.preference import PreferenceConfig, PreferenceLearner, PreferenceUpdate, ReplyPairs
from ..learners.ptx import PretrainingDataOptions
from ..rollouts.episodes import PlayedEpisode
from ..rollouts.trajectories import trajectories
from ..rollouts.trees import check_one_exchange, rollout_tree
from ..training.checks import AtLeastTwo, Count, Options, Rows, Share
from ..training.costs import CostMeter
from ..training.loop import Training, trainer
from ..training.options import GameOptions, leaves
from ..training.state import Stateful
from ..training.watchers import Transcripts
from .learner import Seat
from .opponents import ema_update

Pair: TypeAlias = tuple[PlayedEpisode, PlayedEpisode, float]
"""The best and the worst episode of a group, and how much more the best is worth: 0 for a tie, inf if it alone is
faithful."""

PairJudge: TypeAlias = Callable[[Sequence[PlayedEpisode], Sequence[PlayedEpisode], int], NDArray[np.float64]]
"""Scores of N first and N second episodes for a player, seen side by side: (N, 2), in any units."""


@dataclass(frozen=True, kw_only=True)
class AdvGameOptions(Options):
    """How long, and the shape of the tree."""

    num_steps: Count = 60
    """Updates of each player."""
    num_requests: Rows = 48
    """Seed requests in a step (B); each gives the adversary a pair at most, the defender one for each prompt."""
    prompts_per_request: AtLeastTwo = 2
    """Prompts to each of them (A)."""
    replies_per_prompt: AtLeastTwo = 2
    """Replies to each prompt (D)."""
    optimistic: bool = True
    """Whether a prompt is worth the best of its replies; else their mean."""
    ema_decay: Share = 0.95
    """The share of averaged parameters that stays at a step."""


@dataclass(frozen=True, kw_only=True)
class AdvGameConfig(BothPlayersOptions, PretrainingDataOptions):
    """Both players, by DPO or IPO on fresh pairs."""

    algorithm: ClassVar[str] = "advgame"
    length: ClassVar[str] = "play.num_steps"
    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(
        default_factory=lambda: GameOptions(game_option=("table=advgame",))
    )
    out: Path = Path("runs/advgame")
    """The run's folder; the models are in its folders `defender` and `adversary`."""
    play: Annotated[AdvGameOptions, tyro.conf.arg(name="")] = field(default_factory=AdvGameOptions)
    """How long, and the shape of the tree."""
    learner: PreferenceConfig = field(default_factory=PreferenceConfig)
    """How both learn; the paper: DPO or IPO with kl_coef 0.1."""
    save_every: Count = 20
    """Steps between two saved states."""


@dataclass(frozen=True, slots=True)
class AdvGameStep:
    """What one tree and one update of each player report."""

    iteration: int
    """Updates of each player so far."""
    adversary_return: float
    """Mean return of an episode to the adversary."""
    defender_return: float
    """Mean return of an episode to the defender."""
    faithful_rate: float
    """Share of the prompts, 0 to 1, that keep what they must of their seed."""
    adversary: PreferenceUpdate | None
    """The adversary's update; None if no group had a pair to learn from."""
    defender: PreferenceUpdate | None
    """The defender's update; None if no group had a pair to learn from."""


class AdvGame(Stateful):
    """The learner: iterate over it to train both players; it can be saved between two steps."""

    saved = ("iteration", "rng", "learners")

    average: tuple[Seat, Seat] | None = None
    """None: the average of parameters is a heuristic, and no average of policies."""

    def __init__(
        self,
        game: LanguageGame[Any],
        learners: Sequence[PreferenceLearner],
        options: AdvGameOptions,
        *,
        seed: int,
        judge: PairJudge | None = None,
    ) -> None:
        """Take the adversary and the defender; their references become the running averages.

        Args:
            game: one prompt and one reply.
            learners: of player 0 and of player 1.
            options: how long, and the shape of the tree.
            seed: decides deals, tokens and minibatches.
            judge: scores two episodes side by side, asked in both orders; None: the game's rewards.

        Raises:
            ValueError: the game has more turns than two.
        """
        check_one_exchange(game, "game")
        self.game, self.learners, self.options, self.iteration = game, tuple(learners), options, 0
        self.judge = returns_of if judge is None else both_orders(judge)
        self.rng = np.random.default_rng(seed)
        for learner in learners:
            learner.move_reference()
        self._speakers = tuple(learner.agent.with_model(learner.ref_model) for learner in learners)
        self.last_played: list[PlayedEpisode] = []
        """The latest tree's leaves, [seed, prompt, reply] in order."""

    def __iter__(self) -> Iterator[AdvGameStep]:
        """Yield after each update of both players."""
        options = self.options
        shape = (options.num_requests, options.prompts_per_request, options.replies_per_prompt)
        while self.iteration < options.num_steps:
            played = self.last_played = rollout_tree(self.game, self._speakers, self.rng, shape)
            leaves = np.arange(len(played)).reshape(shape)
            faithful = np.array([is_faithful(played[row]) for row in leaves[:, :, 0].flat]).reshape(shape[:2])
            prompts = self._prompt_pairs(played, leaves, faithful)
            replies = self._reply_pairs(played, leaves, faithful)
            updates = [self._fit(player, pairs) for player, pairs in enumerate((prompts, replies))]
            self.iteration += 1
            adversary, defender = np.mean([episode.episode.returns for episode in played], axis=0).tolist()
            yield AdvGameStep(self.iteration, adversary, defender, float(faithful.mean()), *updates)

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """The newest players."""
        return self.learners[0].agent, self.learners[1].agent

    def _prompt_pairs(
        self, played: Sequence[PlayedEpisode], leaves: NDArray[np.int64], faithful: NDArray[np.bool_]
    ) -> list[Pair]:
        """Return, for each seed whose prompts differ in worth, an episode of the best and one of the worst."""
        beside = [
            (a, b) for tree in leaves for first, second in combinations(tree, 2) for a, b in product(first, second)
        ]
        scores = self._scores(played, beside, player=0)[leaves]  # (B, A, D)
        worth = scores.max(axis=2) if self.options.optimistic else scores.mean(axis=2)
        return self._pairs(played, np.where(faithful, worth, -np.inf), leaves[:, :, 0], player=0)

    def _reply_pairs(
        self, played: Sequence[PlayedEpisode], leaves: NDArray[np.int64], faithful: NDArray[np.bool_]
    ) -> list[Pair]:
        """Return, for each faithful prompt whose replies differ in score, the best and the worst of them."""
        groups = leaves[faithful]  # (faithful prompts, D)
        beside = [pair for group in groups for pair in combinations(group, 2)]
        return self._pairs(played, self._scores(played, beside, player=1)[groups], groups, player=1)

    def _pairs(
        self, played: Sequence[PlayedEpisode], scores: NDArray[np.float64], groups: NDArray[np.int64], *, player: int
    ) -> list[Pair]:
        """Return the pair of each group; a tie is one to linear labels alone: it says that neither is better."""
        pairs = best_and_worst(played, scores, groups)
        return [pair for pair in pairs if pair[2] > 0 or self.learners[player].config.labels == "linear"]

    def _scores(
        self, played: Sequence[PlayedEpisode], beside: Sequence[tuple[int, int]], *, player: int
    ) -> NDArray[np.float64]:
        """Return each leaf's mean score over the pairs that it is judged in, (N,); 0 for a leaf in none."""
        sums, counts = np.zeros(len(played)), np.zeros(len(played))
        if beside:
            judged = self.judge([played[a] for a, _ in beside], [played[b] for _, b in beside], player)
            for side, rows in enumerate(np.array(beside).T):
                np.add.at(sums, rows, judged[:, side])
                np.add.at(counts, rows, 1)
        return sums / np.maximum(counts, 1)

    def _fit(self, player: int, pairs: Sequence[Pair]) -> PreferenceUpdate | None:
        """Learn that the first of each pair is preferred, and let the average follow."""
        learner, update = self.learners[player], None
        if pairs:
            best, worst, gains = zip(*pairs, strict=True)
            replies = trajectories(best, player), trajectories(worst, player)
            update = learner.fit(ReplyPairs(*replies, labels_of(learner, torch.tensor(gains))), self.rng)
        ema_update(learner.ref_model, learner.agent.model, decay=self.options.ema_decay)
        return update


def best_and_worst(
    played: Sequence[PlayedEpisode], scores: NDArray[np.float64], leaves: NDArray[np.int64]
) -> list[Pair]:
    """Return, for each group (row), the leaf with the highest score, one with the lowest, and the difference.

    A group in which all scores are -inf, of prompts none of which is faithful, says nothing and has no pair.
    """
    ranked = [(row, group, np.argsort(-row, kind="stable")) for row, group in zip(scores, leaves, strict=True)]
    return [
        (played[group[order[0]]], played[group[order[-1]]], float(row[order[0]] - row[order[-1]]))
        for row, group, order in ranked
        if np.isfinite(row[order[0]])
    ]


def labels_of(learner: PreferenceLearner, gains: Float[Tensor, " N"]) -> Tensor:
    """Return the probability that the best of each group is preferred; 1 where the other one is not faithful; (N,)."""
    comparable = gains.isfinite()
    labels = torch.ones(len(gains))
    labels[comparable] = learner.labels(gains[comparable], torch.zeros(int(comparable.sum())))
    return labels


def is_faithful(played: PlayedEpisode) -> bool:
    """Whether an episode's prompt was a legal turn, and one that the game admits."""
    game = played.episode.game
    if played.forfeited_by(0):
        return False
    return game.faithful(played.dialogue) if isinstance(game, RedTeamGame) else True


def returns_of(first: Sequence[PlayedEpisode], second: Sequence[PlayedEpisode], player: int) -> NDArray[np.float64]:
    """Return what each episode paid the player, whatever stands beside it."""
    return np.array([[episode.episode.returns[player] for episode in pair] for pair in zip(first, second, strict=True)])


def both_orders(judge: PairJudge) -> PairJudge:
    """Return a judge that is asked in both orders and averaged: swapping two episodes then swaps their scores."""

    def averaged(first: Sequence[PlayedEpisode], second: Sequence[PlayedEpisode], player: int) -> NDArray[np.float64]:
        return (judge(first, second, player) + judge(second, first, player)[:, ::-1]) / 2

    return averaged


@trainer
def advgame(config: AdvGameConfig) -> Training:
    """Return what a run of it trains."""
    meter, num_steps = CostMeter(), config.play.num_steps
    game = config.options.build(seats=config.starts, split="train", meter=meter, device=config.device)
    adversary, defender = (
        PreferenceLearner(
            config.load(
                folder, game, player, name=("adversary", "defender")[player], role=config.options.roles[player]
            ),
            config.learner,
            num_planned=num_steps,
            ptx=config.pretraining_data(game, player, ptx_coef=config.learner.ptx_coef, seed=config.seed),
        )
        for player, folder in enumerate(config.starts)
    )
    learner = AdvGame(game, (adversary, defender), config.play, seed=config.seed)
    return Training(
        learner=learner,
        num_steps=num_steps,
        watch=[meter, Transcripts(lambda: learner.last_played, num_steps)],
        write=leaves(adversary=adversary.agent, defender=defender.agent),
    )
