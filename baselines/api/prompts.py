"""The prompts that a defender is measured on, by name, and which of these sets are benign."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from ...envs import Tokens
from ...envs.games.red_team.game import RedTeam, Seed
from ...envs.games.red_team.language import Kind, parse_prompt
from ...envs.games.red_team.prompt_sets import prompt_set
from ...envs.games.red_team_ciphers import prompt_sets as ciphers
from ...envs.games.red_team_ciphers.game import RedTeamCiphers, tokens_of
from ...envs.games.red_team_ciphers.game import Seed as CipherSeed
from ...envs.games.red_team_text.game import RedTeamText
from ...envs.games.red_team_text.requests import LABEL_COLUMN, Request, read_requests
from ...envs.judging import RedTeamGame
from ..evaluation import TEST_SETS, red_team_prompts, request_prompts
from ..training.options import GameOptions

Prompts: TypeAlias = Sequence[tuple[Any, Tokens]]
"""Each with the deal of its episode."""
HARMFUL, BENIGN, UNLABELLED = "harmful requests", "benign requests", "unlabelled requests"


def prompts_of(
    game: RedTeamGame[Any], names: Sequence[str], options: GameOptions
) -> tuple[dict[str, Prompts], set[str]]:
    """Return the prompt sets of a game by name, and which of them are benign; a set with both kinds is two.

    Args:
        game: the rules.
        names: prompt sets of red_team-v0 or -v1; none: all that are tested on, unless a file of requests is given.
        options: what the game was made by, and the file of requests.

    Raises:
        ValueError: no such prompt set, or a request in words that the game does not have.
    """
    if isinstance(game, RedTeam):
        found, benign = dict[str, Prompts](), set[str]()
        for name in names or (() if options.requests else TEST_SETS):
            prompts = red_team_prompts(name, seeded=game.max_briefing_tokens > 0)
            kinds = [prompt.topic.kind is Kind.BENIGN for prompt in prompt_set(name)]
            _add(name, prompts, kinds, found, benign)
        if options.requests is not None:
            prompts = _requests(game, options.requests, options)
            _add("requests", prompts, [deal.harmful is False for deal, _ in prompts], found, benign)
        return found, benign
    if isinstance(game, RedTeamCiphers):
        return _ciphers(names or ciphers.TEST_SETS)
    if names:
        raise ValueError(f"prompt_set: expected none, {options.game} has no prompt sets, got {', '.join(names)}")
    if not isinstance(game, RedTeamText):
        return {}, set()
    sets: dict[str, Prompts] = {
        HARMFUL: request_prompts(game.requests, harmful=True),
        BENIGN: request_prompts(game.requests, harmful=False),
        UNLABELLED: [(request, request.tokens) for request in game.requests if request.harmful is None],
    }
    return {name: prompts for name, prompts in sets.items() if prompts}, {BENIGN}


def _ciphers(names: Sequence[str]) -> tuple[dict[str, Prompts], set[str]]:
    """Return prompt sets of red_team-v1, each in its harmful and its benign part."""
    found, benign = dict[str, Prompts](), set[str]()
    for name in names:
        requests = ciphers.prompt_set(name)
        prompts = [(CipherSeed(request), tokens_of(request)) for request in requests]
        _add(name, prompts, [not request.harmful for request in requests], found, benign)
    return found, benign


def _add(name: str, prompts: Prompts, kinds: Sequence[bool], found: dict[str, Prompts], benign: set[str]) -> None:
    """Add a set, or its harmful and its benign part."""
    parts = {kind: [prompt for prompt, k in zip(prompts, kinds, strict=True) if k is kind] for kind in (False, True)}
    for kind, part in parts.items():
        label = f"{name}, {'benign' if kind else 'harmful'}" if parts[not kind] else name
        if part:
            found[label] = part
            benign |= {label} if kind else set()


def _encoded(game: RedTeam, request: Request, path: Path) -> Tokens:
    try:
        return game.vocabulary.encode(request.text)
    except (KeyError, ValueError) as error:
        raise ValueError(f"requests {path}, row {request.row}: expected words of red_team-v0: {error}") from error


def _requests(game: RedTeam, path: Path, options: GameOptions) -> list[tuple[Seed, Tokens]]:
    """Return the requests of a file in the words of red_team-v0; what they ask for says whether they are harmful."""
    rows = read_requests(
        path, request_column=options.request_column or "prompt", label_column=options.label_column or LABEL_COLUMN
    )
    encoded = [_encoded(game, request, path) for request in rows]
    seeded = game.max_briefing_tokens > 0
    asked = [parse_prompt(tuple(request.text.split())) for request in rows]
    return [(Seed(prompt if seeded else None), tokens) for prompt, tokens in zip(asked, encoded, strict=True)]
