"""Episodes of games as text dialogues and as records of messages, and files of records."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...envs import Episode, LanguageGame
from ..training.files import Json, replacing
from .dialogues import ASSISTANT, TextDialogue, TextTurn
from .messages import to_messages


def episode_dialogue(episode: Episode[Any], viewer: int = ASSISTANT) -> TextDialogue:
    """Return an episode as `viewer` knows it: what it was told, what it heard, what it thought and said.

    A briefing or an announcement to the other player and the other's thoughts are not in it, so that whoever learns
    from it learns from nothing that a player cannot know. A turn that was forfeited is heard by nobody else.
    """
    game, dialogue = episode.game, episode.dialogue
    decode = game.vocabulary.decode
    briefing = game.briefing(dialogue.deal, viewer)
    turns = [TextTurn(None, decode(briefing))] if briefing else []
    for number, turn in enumerate(dialogue.turns, start=1):
        so_far = dialogue.upto(number)
        if turn.player == viewer:
            turns.append(TextTurn(viewer, decode(turn.tokens), decode(turn.thought)))
        elif not turn.ending.forfeits and (heard := game.hears(so_far, viewer)) is not None:
            turns.append(TextTurn(turn.player, decode(heard)))
        announced = () if turn.ending.forfeits else game.announcement(so_far, viewer)
        turns += [TextTurn(None, decode(announced))] if announced else []
    return TextDialogue(tuple(turns))


def export_episodes(
    game: LanguageGame[Any], episodes: Iterable[Episode[Any]], *, viewer: int = ASSISTANT
) -> Iterator[dict[str, Json]]:
    """Yield each episode as a record of messages, one at a time; `read_dialogues` gives `episode_dialogue` back.

    Player 0 is the user and player 1 the assistant, whoever the viewer is; what the game tells the viewer is a
    system message, and the viewer's thoughts are `reasoning_content`. Beside `messages` stand `rewards`, a pair for
    each turn of the episode (unheard ones, too), `viewer`, and `forfeited_by`: who lost by an illegal turn, or null.

    Raises:
        ValueError: an episode of another game.
    """
    for episode in episodes:
        if episode.game is not game:
            got = type(episode.game).__name__
            raise ValueError(f"episode: expected one of this {type(game).__name__}, got one of another game, {got}")
        rewards: list[Json] = [list(pair) for pair in episode.reward_history]
        yield {
            "messages": to_messages(episode_dialogue(episode, viewer)),
            "rewards": rewards,
            "viewer": viewer,
            "forfeited_by": episode.forfeited_by,
        }


def write_records(path: Path, records: Iterable[dict[str, Json]]) -> int:
    """Write records as JSON lines (.gz by name), the file whole or not at all, and return their number."""
    return write_texts(path, map(json_line, records))


def json_line(record: dict[str, Json]) -> str:
    """Return a record as one line of JSON."""
    return json.dumps(record, ensure_ascii=False) + "\n"


def write_texts(path: Path, texts: Iterable[str]) -> int:
    """Write texts one after the other (.gz by name), the file whole or not at all, and return their number."""
    number = 0
    with replacing(path) as written, _text_file(written, path.name.endswith(".gz")) as file:
        for text in texts:
            file.write(text)
            number += 1
    return number


@contextmanager
def _text_file(path: Path, compressed: bool) -> Iterator[io.TextIOWrapper]:
    """Open a UTF-8 file whose line breaks are written as they are; the same text gives the same compressed file."""
    with path.open("wb") as raw:
        binary = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if compressed else raw
        with io.TextIOWrapper(binary, encoding="utf-8", newline="") as file:
            yield file
