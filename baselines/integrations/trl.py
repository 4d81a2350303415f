"""TRL: episodes for its `GRPOTrainer`, the opponent played inside; `rollout_func` and `env_mask` are its names.

`GRPOTrainer(rollout_func=...)` (TRL, experimental) hands over prompts and takes back token ids. A prompt is here the
text of an integer, the seed of a deal, so that the generations of one prompt form a group on one deal (Shao et al.,
2024, arXiv 2402.03300). `env_mask` is 1 at the learner's own tokens, and the opponent's are left out of the loss.

Differs from our own GRPO in: TRL computes log-probabilities without the legal mask that tokens were sampled with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...agents import Speaker, View
from ...agents.language_model.causal_lm import CausalLMAgent
from ...envs import Episode, LanguageGame, speak_all

RolloutFunc = Callable[[list[str], Any], dict[str, list[Any]]]


def rollout_func(game: LanguageGame[Any], *, player: int, opponent: Speaker, seed: int = 0) -> RolloutFunc:
    """Return what TRL calls with prompts and the trainer.

    The result has `prompt_ids` (the view before the learner's first token), `completion_ids` (what follows, up to its
    last token), `logprobs`, `env_mask` and `returns`, which reward functions receive by that name: see `paid`. Tokens
    are sampled at the trainer's temperature, by which TRL divides logits wherever it computes log-probabilities.

    Args:
        game: the rules; its vocabulary's tokens are the model's.
        player: the learner's seat.
        opponent: who sits opposite.
        seed: decides all tokens that are sampled.

    Raises:
        ValueError: when called: the trainer samples in a way that its log-probabilities do not know, as by top-p.
    """
    rng = np.random.default_rng(seed)

    def play(prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        deals = [game.deals.sample(np.random.default_rng(int(prompt))) for prompt in prompts]
        model = trainer.accelerator.unwrap_model(trainer.model)
        learner = CausalLMAgent(model, game.vocabulary, temperature=_temperature_of(trainer))
        games = [_Seat(Episode(game, deal), player) for deal in deals]
        while waiting := [part for part in games if not part.episode.over]:
            for seat, agent in ((player, learner), (1 - player, opponent)):
                turn = [part for part in waiting if part.episode.player == seat]
                if turn:
                    _speak(turn, agent, rng, own=seat == player)
        return {
            "prompt_ids": [part.prompt for part in games],
            "completion_ids": [part.completion for part in games],
            "logprobs": [part.logprobs for part in games],
            "env_mask": [part.mask for part in games],
            "returns": [part.episode.returns[player] for part in games],
        }

    return play


def paid(returns: Sequence[float], **_: object) -> list[float]:
    """Return the episodes' returns: the reward function that belongs to `rollout_func`."""
    return list(returns)


NEUTRAL: dict[str, tuple[object, ...]] = {
    "top_p": (None, 1.0),
    "top_k": (None, 0, -1),
    "min_p": (None, 0.0),
    "repetition_penalty": (None, 1.0),
    "generation_kwargs": (None, {}),
}
"""What TRL calls the other ways to sample, and where they change nothing."""


def _temperature_of(trainer: Any) -> float:
    """Return the temperature of a trainer, 1 where it has none."""
    args = getattr(trainer, "args", None)
    for name, neutral in NEUTRAL.items():
        asked = getattr(trainer, name, getattr(args, name, None))
        if asked not in neutral:
            raise ValueError(
                f"{name}: expected a trainer that samples from the model's own distribution, that is {neutral[-1]!r}, "
                f"got {asked!r}"
            )
    temperature = getattr(trainer, "temperature", getattr(args, "temperature", 1.0))
    return float(temperature)


class _Seat:
    """The learner's part of one episode."""

    def __init__(self, episode: Episode[Any], player: int) -> None:
        self.episode, self.player = episode, player
        self.prompt: list[int] = []
        self.completion: list[int] = []
        self.logprobs: list[float] = []
        self.mask: list[int] = []

    def heard(self, view: View) -> None:
        """Take in what stands in the view before the learner's turn."""
        tokens = view.tokens.tolist()
        if not self.prompt:
            self.prompt = tokens
        news = tokens[len(self.prompt) + len(self.completion) :]
        self.completion += news
        self.logprobs += [0.0] * len(news)
        self.mask += [0] * len(news)

    def said(self, tokens: Sequence[int], logprobs: Sequence[float]) -> None:
        """Take in the learner's own turn."""
        self.completion += tokens
        self.logprobs += logprobs
        self.mask += [1] * len(tokens)


def _speak(turn: Sequence[_Seat], agent: Speaker, rng: np.random.Generator, *, own: bool) -> None:
    views = [part.episode.view() for part in turn]
    utterances = agent.speak(views, rng)
    if own:
        for part, view, utterance in zip(turn, views, utterances, strict=True):
            part.heard(view)
            part.said(utterance.tokens, utterance.logprobs or ())
    speak_all([part.episode for part in turn], utterances)
