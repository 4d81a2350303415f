"""How a defender fares on given prompts: attack success, refusals, help, by prompt set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ...envs import Episode, Speaker, Tokens, Utterance
from ...envs.games.red_team.game import VOCABULARY, Seed
from ...envs.games.red_team.language import render_prompt
from ...envs.games.red_team.prompt_sets import PROMPT_SETS, prompt_set
from ...envs.games.red_team_text.requests import Request
from ...envs.judging import RedTeamGame
from .counts import NO_EXCHANGES, Counts
from .replies import JudgedReply, count_replies

DealT = TypeVar("DealT")

TEST_SETS = PROMPT_SETS[1:]
"""All prompt sets but the one that is trained on."""

OUT_OF_DISTRIBUTION = ("unseen_styles", "unseen_compositions", "unseen_topics")
"""The sets that are pooled as outside the static set: what RLHF on it has not met.

Whoever is trained with an adversary that the base corpus taught may have met all of it.
"""


def evaluate_prompts(
    game: RedTeamGame[DealT],
    defender: Speaker,
    prompts: Sequence[tuple[DealT, Tokens]],
    rng: np.random.Generator,
    *,
    batch_size: int = 256,
) -> Counts:
    """Let the defender reply once to each prompt, and count what the game's judge says.

    Args:
        game: the rules; of several rounds only the first is played.
        defender: player 1.
        prompts: each with the deal of its episode.
        rng: draws the replies.
        batch_size: prompts at once.
    """
    return count_replies(prompt_replies(game, defender, prompts, rng, batch_size=batch_size))


def prompt_replies(
    game: RedTeamGame[DealT],
    defender: Speaker,
    prompts: Sequence[tuple[DealT, Tokens]],
    rng: np.random.Generator,
    *,
    batch_size: int = 256,
) -> list[JudgedReply]:
    """Return the exchanges that `evaluate_prompts` counts, in order."""
    replies = list[JudgedReply]()
    for start in range(0, len(prompts), batch_size):
        episodes = [_prompted(game, deal, prompt) for deal, prompt in prompts[start : start + batch_size]]
        utterances = defender.speak([episode.view() for episode in episodes], rng)
        for episode, utterance in zip(episodes, utterances, strict=True):
            episode.speak(utterance)
        judged = [episode.dialogue for episode in episodes if episode.forfeited_by is None]
        verdicts = iter(game.verdicts(judged) if judged else ())
        for episode in episodes:
            dialogue = episode.dialogue.upto(2)
            outcome = next(verdicts).outcome if episode.forfeited_by is None else None
            replies.append(JudgedReply(dialogue, outcome, game.harmful(dialogue)))
    return replies


def red_team_prompts(name: str, *, seeded: bool = True) -> list[tuple[Seed, Tokens]]:
    """Return a prompt set of red_team-v0 with deals to which every prompt is faithful: itself, or no seed."""
    return [
        (Seed(prompt) if seeded else Seed(), VOCABULARY.encode(" ".join(render_prompt(prompt))))
        for prompt in prompt_set(name)
    ]


def request_prompts(requests: Sequence[Request], *, harmful: bool) -> list[tuple[Request | None, Tokens]]:
    """Return the requests of red_team_text-v0 with a label, as prompts just as they stand.

    Args:
        requests: with their tokens, such as those of a game with `split="test"`.
        harmful: which label: the harmful ones measure attack success, the safe ones over-refusal.
    """
    return [(request, request.tokens) for request in requests if request.harmful is harmful]


def evaluate_prompt_sets(
    game: RedTeamGame[Seed],
    defender: Speaker,
    rng: np.random.Generator,
    names: Sequence[str] = TEST_SETS,
    *,
    batch_size: int = 256,
) -> dict[str, Counts]:
    """Evaluate the defender on prompt sets of red_team-v0, by name; see `evaluate_prompts`.

    Args:
        game: the rules.
        defender: player 1.
        rng: draws the replies.
        names: out of `PROMPT_SETS`.
        batch_size: prompts at once.
    """
    seeded = game.max_briefing_tokens > 0
    prompts = {name: red_team_prompts(name, seeded=seeded) for name in names}
    return {
        name: evaluate_prompts(game, defender, asked, rng, batch_size=batch_size) for name, asked in prompts.items()
    }


def pooled(results: Mapping[str, Counts], names: Sequence[str] = OUT_OF_DISTRIBUTION) -> Counts:
    """Return the counts of several prompt sets together."""
    return sum((results[name] for name in names), start=NO_EXCHANGES)


def _prompted(game: RedTeamGame[DealT], deal: DealT, prompt: Tokens) -> Episode[Any]:
    """Return an episode in which player 0 has said the prompt; nobody is paid for it, no judge is asked."""
    episode: Episode[Any] = Episode(game, deal)
    limit = game.turn_limit(episode.dialogue)
    closed = len(prompt) == limit
    try:
        episode.speak(Utterance(prompt if closed else (*prompt, game.vocabulary.eos_id)))
    except ValueError as error:
        raise ValueError(f"prompt: expected at most {limit} tokens, got {len(prompt)}: {prompt!r}") from error
    if episode.forfeited_by is not None:
        raise ValueError(f"prompt: expected a legal turn of player 0, got {game.vocabulary.decode(prompt)!r}")
    episode.settle((0.0, 0.0))
    return episode
