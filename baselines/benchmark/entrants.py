"""The algorithms that come with the benchmark; all give each player `num_updates` updates on batches of one size.

Players start alike, for a seed, and learn by PPO with a KL charge to their start unless the algorithm says otherwise;
`budget` says what else is not equal. SPAG takes zero-sum games that either player can win, for it learns from winners;
AdvGame takes games of one prompt and one reply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

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
from ..training.presets import usual, with_preset
from ..training.state import StateValue
from ..two_player import factories
from ..two_player.advgame import AdvGame, AdvGameOptions
from ..two_player.diversity_reward import DiversityWeights
from ..two_player.gpo import GPO, GPOStep
from ..two_player.learner import Seat, Task, TwoPlayerLearner
from ..two_player.opponents import OpponentOptions
from ..two_player.spag import SPAG, SPAGOptions
from .registry import register_algorithm

UPDATES_PER_ROUND = 6
"""Updates against the same opponent in fictitious play, PSRO and GPO; between snapshots in PFSP and the league."""
DIVERSITY = DiversityWeights(bleu_weight=0.25, embedding_weight=0.05)
"""GPO's, 5 to 1 as in its release, for payoffs of range 1."""
PAYOFF_EPISODES = 32
"""Episodes of each pair of members in PSRO, and of each look at what responses gain; they teach nobody anything."""
RLOO = LearnerOptions(learner="rloo", rloo=RLOOConfig(learning_rate=usual(5e-3), warmup_updates=1))
REINFORCE = LearnerOptions(learner="reinforce", reinforce=ReinforceConfig(learning_rate=usual(5e-3), warmup_updates=1))
IPO = LearnerOptions(
    learner="preference",
    preference=PreferenceConfig(loss="ipo", learning_rate=usual(5e-3), warmup_updates=1, kl_coef=0.1, payoff_range=1.0),
)
"""Online IPO's and AdvGame's; a task's payoffs have a range of 1."""
RESPONSE = LearnerOptions(ppo=RESPONSE_PPO)
ADVGAME_TREE = AdvGameOptions(prompts_per_request=2, replies_per_prompt=2)


def budget(numbers: Mapping[str, Any], *, spoken: bool = False) -> str:
    """Return what is equal between these algorithms and what is not; the leaderboard's caption.

    Args:
        numbers: of the preset that held, as in `BenchSettings.numbers`.
        spoken: whether a chat model played in both seats.
    """
    own, response = (with_preset(options, numbers) for options in (SELF_PLAY_PPO, RESPONSE_PPO))
    start = "the chat model of a folder, as adapters of rank " + str(numbers.get("lora_rank", 0))
    said = (
        f"All start from {start if spoken else 'one random micro model'}. Equal for all are the updates of each player "
        f"and the episodes of a batch, and nothing else. `self_play`, `pfsp_self_play`, `league`, `gpo` and "
        f"`gpo_diversity` learn by `SELF_PLAY_PPO`: learning rate {own.learning_rate:g}, a KL charge of "
        f"{own.kl_coef:g} to the start, {own.num_epochs} passes over a batch. `fictitious_play` and `psro` respond by "
        f"`RESPONSE_PPO`: learning rate {response.learning_rate:g}, a KL charge of {response.kl_coef:g}, "
        f"{response.num_epochs} passes, from a fresh start every {UPDATES_PER_ROUND} updates. The others have learners "
        f"of their own, with other numbers of gradient steps. One batch serves both players in `self_play`, `spiral`, "
        f"`spag` and `advgame`, one player elsewhere. On top of the budget `psro` plays {PAYOFF_EPISODES} episodes of "
        f"each pair of members and {3 * PAYOFF_EPISODES} at each look at what responses gain, and the four exploiters "
        f"of `league` have as many updates each as its two main agents, who alone are measured. `spag` has no "
        f"supervised loss, as a random start has nothing to keep, and takes "
        f"{SPAGOptions().num_epochs * SPAGOptions().num_minibatches} gradient steps on a batch."
    )
    if own.target_kl:
        said += f" An update by PPO ends once it is {own.target_kl:g} nats a token from where it began."
    return said


def by_learner(task: Task, options: LearnerOptions) -> Task:
    """Return the task with players that learn otherwise, from the same models; one that was chosen for it stays."""
    if task.learner is not None:
        return task

    def make_player(player: int, seed: int) -> PlayerLearner:
        return task.tuned(options).make(task.make_player(player, seed).agent)

    return replace(task, make_player=make_player, group_size=options.replies_per_prompt)


@register_algorithm("self_play", source="PPO (1707.06347) in both seats at once, against the newest opponent")
def ppo_self_play(task: Task) -> TwoPlayerLearner:
    """Return naive self-play by PPO."""
    return factories.self_play(task)


@register_algorithm("rloo_self_play", source="RLOO (2402.14740), groups of 4, against the newest opponent")
def rloo_self_play(task: Task) -> TwoPlayerLearner:
    """Return naive self-play by RLOO."""
    return factories.self_play(by_learner(task, RLOO))


@register_algorithm("pfsp_self_play", source="PPO against snapshots drawn by PFSP (Vinyals et al., 2019)")
def pfsp_self_play(task: Task) -> TwoPlayerLearner:
    """Return self-play against a pool of past selves."""
    return factories.self_play(task, opponents=OpponentOptions(choice="pfsp", snapshot_every=UPDATES_PER_ROUND))


@register_algorithm("spiral", source="SPIRAL (2506.24119): one policy, REINFORCE, role-conditioned advantages")
def spiral(task: Task) -> TwoPlayerLearner:
    """Return self-play of one policy with role-conditioned advantages."""
    return factories.self_play(by_learner(task, REINFORCE), one_policy=True, role_advantages=True)


@register_algorithm(
    "online_ipo",
    source="online IPO (2403.08635), fresh pairs labelled by how much more one earned, groups of 4",
)
def online_ipo(task: Task) -> TwoPlayerLearner:
    """Return self-play by online IPO: towards the Nash equilibrium of the game in which a nat of KL costs .2.

    That is 2 kl_coef of the payoff range; see `learners.preference`.
    """
    return factories.self_play(by_learner(task, IPO))


@register_algorithm("league", source="a league (Vinyals et al., 2019): main agents, and two exploiters a side on top")
def league(task: Task) -> TwoPlayerLearner:
    """Return a league; its main agents have the task's budget, and each exploiter as much again."""
    return factories.league(task, snapshot_every=UPDATES_PER_ROUND)


@register_algorithm("fictitious_play", source="FSP (Heinrich, Lanctot & Silver, 2015), responses by PPO")
def fictitious_self_play(task: Task) -> TwoPlayerLearner:
    """Return fictitious self-play."""
    return factories.fictitious_play(by_learner(task, RESPONSE), updates_per_round=UPDATES_PER_ROUND)


@register_algorithm(
    "psro", source="PSRO (1711.00832), responses by PPO; the equilibrium of the members, PRD if not zero-sum"
)
def psro(task: Task) -> TwoPlayerLearner:
    """Return double oracle with learned responses; where the game is not zero-sum, projected replicator dynamics."""
    return factories.psro(
        by_learner(task, RESPONSE),
        updates_per_response=UPDATES_PER_ROUND,
        num_payoff_episodes=PAYOFF_EPISODES,
        num_gain_episodes=PAYOFF_EPISODES,
    )


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
    """Return SPAG, a round on each batch; random weights have nothing to keep, hence no supervised loss."""
    agent = task.make_player(0, task.seed).agent
    options = SPAGOptions(num_rounds=task.num_updates, batch_size=task.batch_size, sft_coef=0.0)
    return SPAG(task.game, agent, (), task.tuned(options), seed=task.seed)


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
    config = task.tuned(IPO.preference)
    learners = [PreferenceLearner(task.make_player(player, task.seed).agent, config) for player in PLAYERS]
    return AdvGame(task.game, learners, options, seed=task.seed)


@register_algorithm("gpo", source="GPO (2406.10977) without its diversity reward")
def plain_gpo(task: Task) -> TwoPlayerLearner:
    """Return GPO: PPO of the defender and of the adversary in turn."""
    return InPairs(factories.gpo(task, updates_per_stage=UPDATES_PER_ROUND))


@register_algorithm("gpo_diversity", source="GPO (2406.10977) with SelfBLEU and embedding diversity, 5 to 1")
def diverse_gpo(task: Task) -> TwoPlayerLearner:
    """Return GPO whose adversary is paid for novelty."""
    return InPairs(factories.gpo(task, DIVERSITY, updates_per_stage=UPDATES_PER_ROUND))


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
