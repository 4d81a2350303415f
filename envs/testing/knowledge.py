"""What each player may know in a play, from the rules alone, and what the environment lets reach it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from ..engine.plays import Play
from ..game import PLAYERS, Dialogue, LanguageGame
from ..interfaces.aec import AGENT_IDS, LanguageGameEnv
from ..vocabulary import Tokens

Known = tuple[int, Hashable, Tokens | None]
"""A player, all it was told and said, and its open turn (None while the other speaks)."""
Observed = tuple[bytes, bytes, tuple[object, ...]]
"""All that reaches a player: observation, legal mask, and, if it is to speak, its turn's limit and its messages."""


def all_observed(game: LanguageGame[Any], play: Play, player: int) -> list[Observed]:
    """Return what reaches a player, in order, each once: for longer thoughts it only waits longer."""
    return list(dict.fromkeys(observed for (viewer, *_), observed in knowledge(game, play) if viewer == player))


def knowledge(game: LanguageGame[Any], play: Play) -> Iterator[tuple[Known, Observed]]:
    """Yield, before each token and at the end, what each player may know and what reaches it."""
    env, said = LanguageGameEnv(game), list[int]()
    env.reset(options={"deal": play.deal})
    told: list[tuple[Hashable, ...]] = [(game.briefing(play.deal, player),) for player in PLAYERS]
    for token in (*play.tokens, None):
        over = env.terminations[env.agent_selection]
        for player, agent_id in enumerate(AGENT_IDS):
            speaks = not over and env.agent_selection == agent_id
            observation = env.observe(agent_id)
            told_to_speak: tuple[object, ...] = ()
            if speaks:
                view = env.view(agent_id)
                told_to_speak = (view.max_turn_tokens, *view.messages)
            observed = (observation["observation"].tobytes(), observation["action_mask"].tobytes(), told_to_speak)
            yield (player, told[player], tuple(said) if speaks else None), observed
        if token is None or over:
            return
        num_turns = len(env.dialogue.turns)
        env.step(token)
        said.append(token)
        if len(env.dialogue.turns) > num_turns:
            told = [(*told[p], *_told_by_turn(game, env.dialogue, p, tuple(said))) for p in PLAYERS]
            said = []


def _told_by_turn(
    game: LanguageGame[Any], dialogue: Dialogue[Any], player: int, said: Tokens
) -> Iterator[tuple[str, Tokens]]:
    """Yield what the last turn, said in the tokens `said`, told a player, from the rules alone."""
    own, forfeited = dialogue.turns[-1].player == player, dialogue.turns[-1].ending.forfeits
    if own:
        yield "said", said
    if forfeited:
        return
    heard = None if own else game.hears(dialogue, player)
    if heard is not None:
        yield "heard", heard
    announced = game.announcement(dialogue, player)
    if announced:
        yield "announced", announced
