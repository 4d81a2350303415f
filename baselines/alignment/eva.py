"""eva: the defender learns from a pool of prompts that grows where its replies differ most in reward.

Z. Ye et al., *Evolving Alignment via Asymmetric Self-Play*, 2024, arXiv 2411.00062. A creator rewrites prompts and a
solver is aligned on them. A prompt is worth its regret, estimated as the reward of the best of K replies minus that of
the worst: nothing is to be learnt where all replies fare alike. Prompts are drawn with a probability proportional to
it, rewritten, and join the pool; the creator itself never learns.

Here the creator is a frozen model in player 0's seat, such as the base model, which rewrites a prompt as it rewrites a
request that was dealt. The pool starts as the requests of the game, and these stay in it; of their rewrites those with
the least regret leave once there are too many. A share of each batch is prompts of the pool as they stand, drawn
evenly among the first.

Differs from the paper in: rewrites are one model's samples, not made by instructions to evolve in depth and in breadth;
the solver learns by any learner of rewards, which sees the K replies that regret is estimated on; regret is estimated
anew whenever a prompt is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agents import utter
from ...envs import Episode, Speaker, Tokens, speak_all
from ...envs.judging import RedTeamGame
from ..learners.base import PlayerLearner
from ..rollouts.episodes import PlayedEpisode, SpokenTurn, play_out
from ..rollouts.trajectories import trajectories
from ..training.checks import AtLeastTwo, Count, Options, Rows, ShareBelowOne, check_multiple
from ..training.run import Config

DealOf = Callable[[Any, Tokens], Any]
"""(deal of the prompt that was rewritten, rewrite) -> the deal whose request the rewrite is."""


@dataclass(frozen=True, kw_only=True)
class EvaOptions(Options):
    """How long, and how the pool grows."""

    num_updates: Count = 120
    """Updates of the defender."""
    batch_size: Rows = 192
    """Replies for one update."""
    static_share: ShareBelowOne = 0.5
    """Share of them, 0 to 1, to the requests of the game, all alike; the others are to prompts drawn by regret."""
    replies_per_prompt: AtLeastTwo = 4
    """Replies to each prompt (K): what regret is estimated on."""
    updates_per_round: Count = 12
    """Updates between two rounds of rewriting."""
    rewrites_per_round: Rows = 64
    """Prompts that are rewritten in a round."""
    capacity: Rows = 512
    """Rewrites in the pool, at most."""

    def __post_init__(self) -> None:
        """Check that a batch is whole groups, besides the ranges."""
        super().__post_init__()
        check_multiple("batch_size", self.batch_size, self.replies_per_prompt, called="replies_per_prompt")

    @property
    def num_static(self) -> int:
        """Prompts of a batch that are requests of the game."""
        return round(self.static_share * self.batch_size / self.replies_per_prompt)

    @property
    def num_drawn(self) -> int:
        """Prompts of a batch that are drawn by regret."""
        return self.batch_size // self.replies_per_prompt - self.num_static


@dataclass(slots=True)
class PooledPrompt:
    """A prompt with what it is dealt as, and what there is to be learnt from it."""

    deal: Any
    prompt: Tokens
    regret: float
    """Reward of the best minus that of the worst of the latest replies."""


@dataclass(frozen=True, slots=True)
class EvaStep:
    """What one update reports."""

    iteration: int
    """Updates so far."""
    mean_return: float
    """Mean return of a reply to the defender."""
    mean_regret: float
    """Mean regret of the prompts of the batch."""
    num_prompts: int
    """Prompts in the pool, requests of the game included."""
    update: Config
    """The update's own numbers, a record of the learner's."""


class Eva:
    """The loop: iterate over it to train the defender."""

    def __init__(
        self,
        game: RedTeamGame[Any],
        learner: PlayerLearner,
        creator: Speaker,
        options: EvaOptions,
        *,
        seed: int,
        deal_of: DealOf,
    ) -> None:
        """Take the defender's learner and the creator, who never learns.

        Args:
            game: one prompt and one reply, with deals that can be listed, each of which is a request.
            learner: of player 1.
            creator: in player 0's seat; it rewrites the request of a deal.
            options: how long, and how the pool grows.
            seed: decides prompts, tokens and minibatches.
            deal_of: makes a deal of a rewrite, so that it can be rewritten in its turn.

        Raises:
            ValueError: the game has more turns than two, or its deals cannot be listed.
        """
        deals = game.deals.outcomes()
        if game.max_turns != 2 or deals is None:
            raise ValueError(f"game: expected one prompt and one reply, and a list of deals, got {type(game).__name__}")
        self.game, self.learner, self.creator, self.options = game, learner, creator, options
        self.deal_of, self.iteration, self.rng = deal_of, 0, np.random.default_rng(seed)
        self.requests = [PooledPrompt(deal, game.briefing(deal, 0), 0.0) for deal in deals]
        """The requests of the game."""
        self.rewrites: list[PooledPrompt] = []
        """What the creator has made of them."""

    def __iter__(self) -> Iterator[EvaStep]:
        """Yield after each update."""
        options = self.options
        while self.iteration < options.num_updates:
            if self.iteration % options.updates_per_round == 0:
                self.evolve()
            static = self.rng.integers(len(self.requests), size=options.num_static)
            prompts = [self.requests[k] for k in static] + self.draw(options.num_drawn)
            played = self.reply_to(prompts)
            update = self.learner.update(trajectories(played, 1), self.rng)
            self.iteration += 1
            mean_return = float(np.mean([episode.episode.returns[1] for episode in played]))
            mean_regret = float(np.mean([prompt.regret for prompt in prompts]))
            yield EvaStep(self.iteration, mean_return, mean_regret, len(self.requests) + len(self.rewrites), update)

    def draw(self, num_prompts: int) -> list[PooledPrompt]:
        """Return prompts of the pool, with replacement, by their regret; all alike where none has any."""
        pool = [*self.requests, *self.rewrites]
        rows = self.rng.choice(len(pool), size=num_prompts, p=by_regret([prompt.regret for prompt in pool]))
        return [pool[row] for row in rows]

    def evolve(self) -> None:
        """Estimate the regret of some requests, rewrite prompts by regret, and let the new ones join."""
        num_rewrites = self.options.rewrites_per_round
        rows = self.rng.integers(len(self.requests), size=num_rewrites)
        self.reply_to([self.requests[row] for row in rows])
        parents = self.draw(num_rewrites)
        known = {prompt.prompt for prompt in (*self.requests, *self.rewrites)}
        made = {}
        for parent, prompt in zip(parents, self._written(parents), strict=True):
            if prompt is not None and prompt not in known:
                made[prompt] = PooledPrompt(self.deal_of(parent.deal, prompt), prompt, 0.0)
        if made:
            self.reply_to(list(made.values()))
        kept = sorted([*self.rewrites, *made.values()], key=lambda prompt: -prompt.regret)
        self.rewrites = kept[: self.options.capacity]

    def reply_to(self, prompts: Sequence[PooledPrompt]) -> list[PlayedEpisode]:
        """Return K replies to each prompt, those to one in a row, and note what they say of its regret."""
        num_replies = self.options.replies_per_prompt
        opened = [self._opened(prompt) for prompt in prompts for _ in range(num_replies)]
        replied = play_out([episode for episode, _ in opened], (self.creator, self.learner.agent), self.rng)
        played = [
            PlayedEpisode(episode.episode, (opening, *episode.turns))
            for (_, opening), episode in zip(opened, replied, strict=True)
        ]
        returns = np.array([episode.episode.returns[1] for episode in played]).reshape(-1, num_replies)
        for prompt, regret in zip(prompts, np.ptp(returns, axis=1).tolist(), strict=True):
            prompt.regret = regret
        return played

    def _opened(self, prompt: PooledPrompt) -> tuple[Episode[Any], SpokenTurn]:
        """Return an episode in which the prompt has been said, for which nobody is paid, and its turn."""
        episode: Episode[Any] = Episode(self.game, prompt.deal)
        view = episode.view()
        said = utter(view, prompt.prompt)
        episode.speak(said)
        if not episode.settled:
            episode.settle((0.0, 0.0))
        return episode, SpokenTurn(0, view, said)

    def _written(self, parents: Sequence[PooledPrompt]) -> list[Tokens | None]:
        """Return what the creator makes of each prompt; None where the game does not admit it."""
        episodes: list[Episode[Any]] = [Episode(self.game, parent.deal) for parent in parents]
        utterances = self.creator.speak([episode.view() for episode in episodes], self.rng)
        speak_all(episodes, utterances)
        admitted = [episode.forfeited_by is None and self.game.faithful(episode.dialogue) for episode in episodes]
        return [
            episode.dialogue.turns[0].tokens if fits else None for episode, fits in zip(episodes, admitted, strict=True)
        ]


def by_regret(regrets: Sequence[float]) -> NDArray[np.float64]:
    """Return probabilities proportional to regret, (n,); all alike where nothing is regretted.

    >>> by_regret([0.0, 1.5, 0.5]).tolist(), by_regret([0.0, 0.0]).tolist()
    ([0.0, 0.75, 0.25], [0.5, 0.5])
    """
    values = np.asarray(regrets, dtype=np.float64)
    total = values.sum()
    return values / total if total > 0 else np.full(len(values), 1 / len(values))
