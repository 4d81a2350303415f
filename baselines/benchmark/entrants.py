"""The algorithms that come with the benchmark; all give each player `num_updates` updates on batches of one size.

Players start alike, for a seed, and learn by PPO with a KL charge to their start unless the algorithm says otherwise;
`BUDGET` says what else is not equal. SPAG takes zero-sum games that either player can win, for it learns from winners;
AdvGame takes games of one prompt and one reply.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...agents.language_model.encoders import StaticWordEncoder, words_of
from ...envs import LanguageGame, Payoff
from ...envs.game import PLAYERS
from ...envs.tree.analysis import TERMINAL, GameTree
from ...envs.tree.game_tree import prefix_returns
from ..learners.base import PlayerLearner
from ..learners.options import RESPONSE_PPO, SELF_PLAY_PPO, LearnerOptions
from ..learners.preference import PreferenceConfig, PreferenceLearner
from ..learners.reinforce import ReinforceConfig
from ..learners.rloo import RLOOConfig
from ..rollouts.groups import check_groups
from ..training.state import StateValue
from ..two_player.advgame import AdvGame, AdvGameOptions
from ..two_player.diversity_reward import DiversityReward, DiversityWeights
from ..two_player.fictitious_play import FictitiousPlay, FictitiousPlayOptions
from ..two_player.gpo import GPO, GPOStep
from ..two_player.league import League, LeagueOptions
from ..two_player.learner import Seat, Task, TwoPlayerLearner
from ..two_player.opponents import OpponentOptions
from ..two_player.psro import PSRO, MetaSolverName, PSROOptions
from ..two_player.self_play import SelfPlay, SelfPlayOptions
from ..two_player.spag import NUM_START_PLAYS, SPAG, SPAGOptions, own_plays
from ..two_player.stage_clock import GPOSchedule
from .registry import register_algorithm

UPDATES_PER_ROUND = 6
"""Updates against the same opponent in fictitious play, PSRO and GPO; between snapshots in PFSP and the league."""
DIVERSITY = DiversityWeights(bleu_weight=0.25, embedding_weight=0.05)
"""GPO's, 5 to 1 as in its release, for payoffs of range 1."""
PAYOFF_EPISODES = 32
"""Episodes of each pair of members in PSRO, and of each look at what responses gain; they teach nobody anything."""
RLOO = LearnerOptions(learner="rloo", rloo=RLOOConfig(learning_rate=5e-3, warmup_updates=1))
REINFORCE = LearnerOptions(learner="reinforce", reinforce=ReinforceConfig(learning_rate=5e-3, warmup_updates=1))
IPO = LearnerOptions(
    learner="preference", preference=PreferenceConfig(loss="ipo", learning_rate=5e-3, warmup_updates=1, kl_coef=0.1)
)
RESPONSE = LearnerOptions(ppo=RESPONSE_PPO)
ADVGAME_TREE = AdvGameOptions(prompts_per_request=2, replies_per_prompt=2)
BUDGET = f"""\
Equal for all are the updates of each player and the episodes of a batch, and nothing else. `self_play`, \
`pfsp_self_play`, `league`, `gpo` and `gpo_diversity` learn by `SELF_PLAY_PPO`: learning rate \
{SELF_PLAY_PPO.learning_rate:g}, a KL charge of {SELF_PLAY_PPO.kl_coef:g} to the start, {SELF_PLAY_PPO.num_epochs} \
passes over a batch. `fictitious_play` and `psro` respond by `RESPONSE_PPO`: learning rate \
{RESPONSE_PPO.learning_rate:g}, a KL charge of {RESPONSE_PPO.kl_coef:g}, {RESPONSE_PPO.num_epochs} passes, from a \
fresh start every {UPDATES_PER_ROUND} updates. The others have learners of their own, with other numbers of gradient \
steps. One batch serves both players in `self_play`, `spiral`, `spag` and `advgame`, one player elsewhere. On top of \
the budget `psro` plays {PAYOFF_EPISODES} episodes of each pair of members and {3 * PAYOFF_EPISODES} at each look at \
what responses gain, `spag` {NUM_START_PLAYS} of its start for its supervised data, and the four exploiters of \
`league` have as many updates each as its two main agents, who alone are measured."""
"""What is equal between these algorithms and what is not; the leaderboard's caption."""


def learner_of(task: Task, options: LearnerOptions, player: int, seed: int) -> PlayerLearner:
    """Return a fresh learner of another kind for the model that the task gives this player, unless one was chosen."""
    made = task.make_player(player, seed)
    return made if task.learner is not None else options.make(made.agent)


def play_itself(
    task: Task, *, learner: LearnerOptions | None = None, one_policy: bool = False, **options: Any
) -> SelfPlay:
    """Return self-play within the task's budget; `options` are those of `SelfPlayOptions`."""
    players = PLAYERS[:1] if one_policy else PLAYERS
    make = task.make_player if learner is None else partial(learner_of, task, learner)
    learners = [make(player, task.seed) for player in players]
    chosen = learner if task.learner is None else task.learner
    budget = SelfPlayOptions(num_updates=task.num_updates, batch_size=task.batch_size, **options)
    group_size = 1 if chosen is None else chosen.replies_per_prompt
    return SelfPlay(task.game, learners, budget, seed=task.seed, group_size=group_size)


@register_algorithm("self_play", source="PPO (1707.06347) in both seats at once, against the newest opponent")
def ppo_self_play(task: Task) -> TwoPlayerLearner:
    """Return naive self-play by PPO."""
    return play_itself(task)


@register_algorithm("rloo_self_play", source="RLOO (2402.14740), groups of 4, against the newest opponent")
def rloo_self_play(task: Task) -> TwoPlayerLearner:
    """Return naive self-play by RLOO."""
    return play_itself(task, learner=RLOO)


@register_algorithm("pfsp_self_play", source="PPO against snapshots drawn by PFSP (Vinyals et al., 2019)")
def pfsp_self_play(task: Task) -> TwoPlayerLearner:
    """Return self-play against a pool of past selves."""
    return play_itself(task, opponents=OpponentOptions(choice="pfsp", snapshot_every=UPDATES_PER_ROUND))


@register_algorithm("spiral", source="SPIRAL (2506.24119): one policy, REINFORCE, role-conditioned advantages")
def spiral(task: Task) -> TwoPlayerLearner:
    """Return self-play of one policy with role-conditioned advantages."""
    return play_itself(task, learner=REINFORCE, one_policy=True, role_advantages=True)


@register_algorithm(
    "online_ipo", source="online IPO (2403.08635), pairs of fresh replies labelled by return, groups of 4"
)
def online_ipo(task: Task) -> TwoPlayerLearner:
    """Return self-play by online IPO: towards the Nash equilibrium of the KL-regularised game."""
    return play_itself(task, learner=IPO)


@register_algorithm("league", source="a league (Vinyals et al., 2019): main agents, and two exploiters a side on top")
def league(task: Task) -> TwoPlayerLearner:
    """Return a league; its main agents have the task's budget, and each exploiter as much again."""
    options = LeagueOptions(num_updates=task.num_updates, batch_size=task.batch_size, snapshot_every=UPDATES_PER_ROUND)
    return League(task.game, task.make_player, options, seed=task.seed, group_size=task.replies_per_prompt)


@register_algorithm("fictitious_play", source="FSP (Heinrich, Lanctot & Silver, 2015), responses by PPO")
def fictitious_self_play(task: Task) -> TwoPlayerLearner:
    """Return fictitious self-play."""
    options = FictitiousPlayOptions(
        num_rounds=rounds(task), updates_per_round=UPDATES_PER_ROUND, batch_size=task.batch_size
    )
    make = partial(learner_of, task, RESPONSE)
    return FictitiousPlay(task.game, make, options, seed=task.seed, group_size=task.replies_per_prompt)


@register_algorithm(
    "psro", source="PSRO (1711.00832), responses by PPO; the equilibrium of the members, PRD if not zero-sum"
)
def psro(task: Task) -> TwoPlayerLearner:
    """Return double oracle with learned responses; where the game is not zero-sum, projected replicator dynamics."""
    solver: MetaSolverName = "nash" if task.game.payoff == Payoff.ZERO_SUM else "prd"
    options = PSROOptions(
        num_updates=task.num_updates,
        updates_per_response=UPDATES_PER_ROUND,
        batch_size=task.batch_size,
        meta_solver=solver,
        num_payoff_episodes=PAYOFF_EPISODES,
        num_gain_episodes=PAYOFF_EPISODES,
    )
    make = partial(learner_of, task, RESPONSE)
    return PSRO(task.game, make, options, seed=task.seed, group_size=task.replies_per_prompt)


def either_wins(game: LanguageGame[Any]) -> bool:
    """Return whether a game is zero-sum and has plays that player 0 wins, and plays that player 1 wins."""
    if game.payoff is not Payoff.ZERO_SUM:
        return False
    tree = GameTree(game)
    returns = prefix_returns(tree)[tree.player == TERMINAL, 0]
    return bool(returns.min() < 0 < returns.max())


@register_algorithm(
    "spag",
    source="SPAG (2404.10642): one policy, offline on the winner's turns",
    plays=either_wins,
    takes_learners=False,
)
def spag(task: Task) -> TwoPlayerLearner:
    """Return SPAG, a round on each batch, held to what the start says to itself."""
    agent = task.make_player(0, task.seed).agent
    dialogues = own_plays(task.game, agent, NUM_START_PLAYS, np.random.default_rng([task.seed, 1]))
    options = SPAGOptions(num_rounds=task.num_updates, batch_size=task.batch_size)
    return SPAG(task.game, agent, dialogues, options, seed=task.seed)


def prompt_and_reply(game: LanguageGame[Any]) -> bool:
    """Return whether a game has one prompt and one reply."""
    return game.max_turns == 2


@register_algorithm(
    "advgame",
    source="AdvGame (2512.20806): online IPO on trees of prompts and replies, 2 by 2",
    plays=prompt_and_reply,
    takes_learners=False,
)
def advgame(task: Task) -> TwoPlayerLearner:
    """Return AdvGame, whose tree's leaves are the batch.

    Raises:
        ValueError: a batch does not make whole trees.
    """
    leaves = ADVGAME_TREE.prompts_per_request * ADVGAME_TREE.replies_per_prompt
    check_groups(task.batch_size, leaves)
    options = replace(ADVGAME_TREE, num_steps=task.num_updates, num_requests=task.batch_size // leaves)
    learners = [PreferenceLearner(task.make_player(player, task.seed).agent, IPO.preference) for player in PLAYERS]
    return AdvGame(task.game, learners, options, seed=task.seed)


@register_algorithm("gpo", source="GPO (2406.10977) without its diversity reward")
def plain_gpo(task: Task) -> TwoPlayerLearner:
    """Return GPO: PPO of the defender and of the adversary in turn."""
    return taking_turns(task, DiversityWeights())


@register_algorithm("gpo_diversity", source="GPO (2406.10977) with SelfBLEU and embedding diversity, 5 to 1")
def diverse_gpo(task: Task) -> TwoPlayerLearner:
    """Return GPO whose adversary is paid for novelty."""
    return taking_turns(task, DIVERSITY)


def rounds(task: Task) -> int:
    """Return how many rounds of `UPDATES_PER_ROUND` the budget holds.

    Raises:
        ValueError: they do not come out even.
    """
    if task.num_updates % UPDATES_PER_ROUND:
        raise ValueError(f"num_updates: expected a multiple of {UPDATES_PER_ROUND}, got {task.num_updates}")
    return task.num_updates // UPDATES_PER_ROUND


def taking_turns(task: Task, weights: DiversityWeights) -> InPairs:
    """Return GPO within the task's budget, its steps counted as updates of each player."""
    schedule = GPOSchedule(
        num_rounds=rounds(task),
        defend_steps=UPDATES_PER_ROUND,
        attack_steps=UPDATES_PER_ROUND,
        batch_size=task.batch_size,
        static_share=0.0,
    )
    encoder = StaticWordEncoder(words_of(task.game))
    reward = DiversityReward(encoder, weights)
    adversary, defender = (task.make_player(player, task.seed) for player in PLAYERS)
    return InPairs(
        GPO(
            task.game,
            adversary,
            defender,
            reward,
            schedule,
            encoder=encoder,
            seed=task.seed,
            group_sizes=(task.replies_per_prompt, task.replies_per_prompt),
        )
    )


@dataclass(frozen=True, slots=True)
class PairStep:
    """Two batches of GPO."""

    iteration: int
    """Updates of each player on average; exact at the end of a round."""
    batch: GPOStep
    """The second of them."""


class InPairs:
    """GPO with an `iteration` that counts updates of each player: one step is two of its batches."""

    average: tuple[Seat, Seat] | None = None
    """None, as GPO's."""

    def __init__(self, learner: GPO) -> None:
        """Take the learner; its stages must make an even number of batches."""
        self.learner = learner
        self.iteration = learner.iteration // 2

    def __iter__(self) -> Iterator[PairStep]:
        """Yield after every second batch."""
        for batch in self.learner:
            if batch.iteration % 2 == 0:
                self.iteration = batch.iteration // 2
                yield PairStep(self.iteration, batch)

    @property
    def seats(self) -> tuple[Seat, Seat]:
        """Adversary and defender as they are now."""
        return self.learner.seats

    def state_dict(self) -> dict[str, StateValue]:
        """Return GPO's state."""
        return self.learner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.learner.load_state_dict(state)
        self.iteration = self.learner.iteration // 2
