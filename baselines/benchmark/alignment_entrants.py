"""The alignment algorithms that come with the benchmark; each gives the defender the budget's number of updates.

All start from one base model and one fine-tuned defender of the seed and learn by the same learners at the same
settings (`alignment.ciphers`). What an algorithm adds is whom the defender meets: requests as they stand, rewrites by
an adversary that never learns, or an adversary that learns too.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

import numpy as np

from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.language_model.encoders import StaticWordEncoder, words_of
from ...agents.population import Population, Seat
from ..alignment.ciphers import CEILING_TIMES, LearnerName
from ..alignment.dpo import DPO, DPOConfig, encode_pairs
from ..alignment.eva import Eva, EvaOptions
from ..alignment.preference_pairs import oracle_pairs
from ..learners.base import PlayerLearner
from ..learners.best_response import BestResponse
from ..learners.preference import PreferenceLearner
from ..training.options import static_prompts
from ..two_player import factories
from ..two_player.advgame import AdvGame, AdvGameOptions
from ..two_player.diversity_reward import MICRO_DIVERSITY, DiversityReward, DiversityWeights
from ..two_player.fictitious_play import FictitiousPlay
from ..two_player.gpo import GPO
from ..two_player.learner import Task
from ..two_player.stage_clock import GPOSchedule
from .alignment_language import language_of
from .alignments import AlignmentBudget, Game, register_alignment

SUCCESS_CELLS = DiversityWeights(success_cell_weight=1.0)
"""Of GPO that pays for new ways that succeed."""
LEARNERS: dict[LearnerName, str] = {
    "ppo": "PPO (1707.06347)",
    "reinforce": "REINFORCE (Williams, 1992)",
    "rloo": "RLOO (2402.14740)",
    "grpo": "GRPO (2402.03300)",
    "reinforce_pp": "REINFORCE++ (2501.03262)",
}
"""By which RLHF is done."""
NUM_CANDIDATES = 4
"""Prompts among which the adversary that only searches chooses."""
NUM_PAIRS = 2048
"""Preference pairs of offline DPO, at most."""
REPLIES = 4
"""By eva to each prompt, and by all learners that compare replies."""


def exhaust(steps: Iterable[object]) -> None:
    """Train to the end."""
    deque(steps, maxlen=0)


@register_alignment("sft", source="the start of all: supervised fine-tuning, and nothing after it", reference="floor")
def nothing(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the fine-tuned defender as it is."""
    return sft


def rlhf(
    game: Game, sft: CausalLMAgent, budget: AlignmentBudget, seed: int, learner: LearnerName, *, times_updates: int = 1
) -> CausalLMAgent:
    """Return a defender that has learnt to reply to the requests that the game deals."""
    num_steps = times_updates * budget.num_updates
    exhaust(
        BestResponse(
            game,
            budget.make_learner(sft, learner, num_planned=num_steps),
            static_prompts(game),
            player=1,
            batch_size=budget.batch_size,
            num_steps=num_steps,
            seed=seed,
            group_size=budget.replies_per_prompt(learner),
        )
    )
    return sft


def _register_rlhf(learner: LearnerName, source: str) -> None:
    @register_alignment(f"rlhf_{learner}", source=f"RLHF on static requests by {source}")
    def align(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
        return rlhf(game, sft, budget, seed, learner)


for _learner, _source in LEARNERS.items():
    _register_rlhf(_learner, _source)


@register_alignment("online_dpo", source="DPO (2305.18290) on fresh pairs of replies, labelled by their rewards")
def online_dpo(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return a defender that has learnt from pairs of its own replies."""
    return rlhf(game, sft, budget, seed, "preference")


@register_alignment("offline_dpo", source="DPO (2305.18290) on pairs that the start drew once")
def offline_dpo(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return a defender that has learnt from given pairs; two replies make a pair, so a batch has half as many."""
    batch_size = max(1, budget.batch_size // 2)
    num_pairs = max(batch_size, min(NUM_PAIRS, budget.num_updates * batch_size))
    rng = np.random.default_rng([seed, 2])
    pairs = oracle_pairs(game, sft, num_pairs, rng, temperature=DPOConfig.label_temperature)
    learner = budget.make_learner(sft, "preference")
    assert isinstance(learner, PreferenceLearner)
    encoded = encode_pairs(game.vocabulary, pairs)
    exhaust(DPO(learner, encoded, num_steps=budget.num_updates, batch_size=batch_size, seed=seed))
    return sft


def gpo(
    game: Game,
    players: tuple[CausalLMAgent, CausalLMAgent],
    budget: AlignmentBudget,
    seed: int,
    *,
    attack: bool = True,
    best_of: int = 1,
    weights: DiversityWeights | None = None,
    band: tuple[float, float] | None = None,
    num_rounds: int | None = None,
) -> GPO:
    """Return GPO of adversary and defender in the rounds of the settings; without `attack` the former never learns."""
    settings = budget.settings
    schedule = GPOSchedule(
        num_rounds=settings.num_rounds if num_rounds is None else num_rounds,
        defend_steps=settings.updates_per_round,
        attack_steps=settings.attack_updates_per_round if attack else 0,
        batch_size=settings.batch_size,
        static_share=settings.static_share,
        best_of=best_of,
        band=band,
    )
    encoder = StaticWordEncoder(words_of(game))
    return GPO(
        game,
        budget.make_learner(players[0], player=0, num_planned=settings.num_rounds * settings.attack_updates_per_round),
        budget.make_learner(players[1]),
        DiversityReward(encoder, DiversityWeights() if weights is None else weights),
        schedule,
        encoder=encoder,
        seed=seed,
    )


@register_alignment("paraphrase", source="static requests, and rewrites of them by the base model, which never learns")
def paraphrase(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return a defender that has met what the base model makes of requests."""
    exhaust(gpo(game, (base, sft), budget, seed, attack=False))
    return sft


@register_alignment(
    "best_of_n", source=f"the worst of {NUM_CANDIDATES} rewrites by the base model, which searches and never learns"
)
def best_of_n(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return a defender that has met the rewrites that did best against it."""
    exhaust(gpo(game, (base, sft), budget, seed, attack=False, best_of=NUM_CANDIDATES))
    return sft


@register_alignment(
    "eva", source="eva (2411.00062): prompts evolved by the base model, chosen by the regret of replies"
)
def eva(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return a defender that has met a pool of prompts which grows where its replies differ in reward."""
    settings = budget.settings
    options = EvaOptions(
        num_updates=settings.num_updates,
        batch_size=settings.batch_size,
        static_share=settings.static_share,
        updates_per_round=settings.updates_per_round,
        replies_per_prompt=REPLIES,
    )
    exhaust(Eva(game, budget.make_learner(sft), base, options, seed=seed, deal_of=language_of(game).deal_of))
    return sft


@register_alignment("gpo", source="GPO (2406.10977) without its diversity reward")
def plain_gpo(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the last defender of GPO."""
    exhaust(gpo(game, (base, sft), budget, seed))
    return sft


@register_alignment("gpo_div", source="GPO (2406.10977) with SelfBLEU and embedding diversity, 2 to 1")
def diverse_gpo(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the last defender of GPO whose adversary is paid for novelty."""
    exhaust(gpo(game, (base, sft), budget, seed, weights=MICRO_DIVERSITY))
    return sft


@register_alignment("gpo_cells", source="GPO (2406.10977), novelty of topic and styles paid for successes alone")
def cells_gpo(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the last defender of GPO whose adversary is paid for new ways that succeed."""
    exhaust(gpo(game, (base, sft), budget, seed, weights=SUCCESS_CELLS))
    return sft


@register_alignment(
    "gpo_switch",
    source="GPO with MAGIC's switch (2602.01539): a stage ends once its learner fares well enough, until the defender "
    "has had its updates",
)
def switched_gpo(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the defender after as many updates as GPO's; how many the adversary has had follows from the play."""
    band, updates = language_of(game).switch_band, budget.num_updates
    learner = gpo(game, (base, sft), budget, seed, band=band, num_rounds=updates)  # of one update at least
    exhaust(islice((step for step in learner if step.stage == "defend"), updates))
    return sft


def task_of(
    game: Game, players: tuple[CausalLMAgent, CausalLMAgent], budget: AlignmentBudget, seed: int, num_planned: int
) -> Task:
    """Return the cell as the two-player learners take it; all players of a seat start from the same weights."""

    def make_player(player: int, _: int) -> PlayerLearner:
        return budget.make_learner(copy.deepcopy(players[player]), player=player, num_planned=num_planned)

    return Task(
        game=game, seed=seed, num_updates=budget.num_updates, batch_size=budget.batch_size, make_player=make_player
    )


@register_alignment("self_play", source="PPO (1707.06347) in both seats at once, against the newest opponent")
def self_play(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the last defender of naive self-play."""
    learner = factories.self_play(task_of(game, (base, sft), budget, seed, budget.num_updates))
    exhaust(learner)
    return learner.seats[1]


def fictitious_self_play(
    game: Game, players: tuple[CausalLMAgent, CausalLMAgent], budget: AlignmentBudget, seed: int
) -> FictitiousPlay:
    """Return fictitious self-play, trained to the end; each response goes on from the one before."""
    learner = factories.fictitious_play(
        task_of(game, players, budget, seed, budget.num_updates),
        updates_per_round=budget.settings.updates_per_round,
        warm_start=True,
    )
    exhaust(learner)
    return learner


@register_alignment("fictitious_play", source="FSP (Heinrich, Lanctot & Silver, 2015): the mixture of all responses")
def mixture(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the mixture of all that the defender has been."""
    learner = fictitious_self_play(game, (base, sft), budget, seed)
    return learner.average[1]


@register_alignment("fictitious_play_last", source="FSP (Heinrich, Lanctot & Silver, 2015): the newest response")
def newest_response(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the last response to the mixture of all that the adversary has been."""
    learner = fictitious_self_play(game, (base, sft), budget, seed)
    return learner.seats[1]


@register_alignment(
    "fictitious_play_pruned", source="FSP (Heinrich, Lanctot & Silver, 2015): the mixture without its start"
)
def pruned_mixture(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the mixture of what the defender has learnt, without what it started as."""
    mixed = mixture(game, base, sft, budget, seed)
    assert isinstance(mixed, Population)
    return Population(mixed.members[1:], mixed.weights[1:])


@register_alignment(
    "psro",
    source="PSRO (1711.00832), double oracle: the equilibrium of members that each start anew, by one round's updates",
)
def psro(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the defender's meta-strategy; each response starts anew."""
    updates = budget.settings.updates_per_round
    learner = factories.psro(
        task_of(game, (base, sft), budget, seed, updates),
        updates_per_response=updates,
        num_payoff_episodes=budget.batch_size,
        num_gain_episodes=budget.batch_size,
    )
    exhaust(learner)
    return learner.average[1]


@register_alignment("advgame", source="AdvGame (2512.20806): online DPO on trees of prompts and replies, 2 by 2")
def advgame(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return the last defender; a tree's leaves are the batch."""
    tree = AdvGameOptions(num_steps=budget.num_updates)
    leaves = tree.prompts_per_request * tree.replies_per_prompt
    learners = [budget.make_learner(agent, "preference", player=player) for player, agent in enumerate((base, sft))]
    assert all(isinstance(learner, PreferenceLearner) for learner in learners)
    options = replace(tree, num_requests=max(1, budget.batch_size // leaves))
    exhaust(AdvGame(game, learners, options, seed=seed))  # type: ignore[arg-type]
    return sft


@register_alignment(
    "ceiling", source="RLHF by PPO on requests in all styles alike, with twice the updates", reference="ceiling"
)
def all_styles(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Return a defender that has met seen topics plain and in every style."""
    open_game = copy.copy(game)  # the same rules, counted as before
    vars(open_game)["deals"] = language_of(game).ceiling_deals()
    return rlhf(open_game, sft, budget, seed, "ppo", times_updates=CEILING_TIMES)
