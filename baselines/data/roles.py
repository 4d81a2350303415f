"""What a role of the game of real text is cloned from: pairs of what is asked and what is said."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Literal

from ...envs import Dialogue, Turn
from ...envs.games.red_team_text.game import RedTeamText
from ...envs.games.red_team_text.requests import Request
from .dialogues import TextDialogue, tidy

logger = logging.getLogger(__name__)


def role_demonstrations(
    dialogues: Iterable[TextDialogue], game: RedTeamText, player: Literal[0, 1]
) -> list[Dialogue[Request]]:
    """Return what a player is asked first in dialogues, and what it replies, as plays of the game to clone it from.

    The adversary is asked its request, and says its rewriting; the defender is asked a prompt. What is longer than the
    game lets it be is left out, with a warning that counts it.

    Raises:
        ValueError: none is left.
    """
    speak, hear = game.vocabularies[player], game.vocabularies[0]
    plays, num_read = list[Dialogue[Request]](), 0
    limits = game.turn_limit(Dialogue(None)), game.turn_limit(Dialogue(None, ((),)))
    for dialogue in dialogues:
        num_read += 1
        turns = [turn for turn in tidy(dialogue).turns if turn.player is not None][:2]
        if [turn.player for turn in turns] != [0, 1]:
            continue
        first, asked, said = turns[0], hear.encode(turns[0].text), speak.encode(turns[1].text)
        play = Dialogue(Request(first.text, None, num_read, asked), (Turn(asked), Turn(said))[1 - player :])
        if 0 < len(asked) <= limits[0] and 0 < len(said) <= limits[player]:
            plays.append(play)
    if not plays:
        raise ValueError(f"pairs: expected what is asked and a reply within the game's limits, got none of {num_read}")
    if len(plays) < num_read:
        logger.warning("%d of %d pairs left out: too long, or no reply", num_read - len(plays), num_read)
    return plays
