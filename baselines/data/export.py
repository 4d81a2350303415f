"""Episodes of games as text dialogues and as records of messages, and files of records."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
from tqdm import tqdm

from ...agents.population import Seat
from ...envs import Episode, LanguageGame
from ..rollouts.episodes import rollout
from ..training.checks import check_count
from ..training.files import Json, check_output, replacing
from .dialogues import ASSISTANT, TextDialogue, TextTurn
from .documents import MARKERS, to_document
from .messages import to_messages
from .readers import DOCUMENT_END

EPISODES_AT_ONCE = 64
BYTE_ORDER_MARK = "\ufeff"
Form: TypeAlias = Literal["messages", "text"]
"""Records of messages, or documents of marked lines."""
Written = TypeVar("Written")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was played and written."""

    path: Path
    num_episodes: int
    mean_returns: tuple[float, float]
    num_forfeits: int
    """Episodes that somebody lost by an utterance that was no legal turn."""


def export_play(
    game: LanguageGame[Any],
    seats: Sequence[Seat],
    num_episodes: int,
    path: Path,
    *,
    viewer: int = ASSISTANT,
    seed: int = 0,
    form: Form = "messages",
) -> Exported:
    """Play episodes and write them as they come, with a progress bar on a terminal; the file is whole or absent.

    Args:
        game: the rules.
        seats: who plays.
        num_episodes: how many.
        path: of the file; .gz by name.
        viewer: whose view is written.
        seed: decides deals and tokens.
        form: how an episode is written; as a document it is without rewards.

    Raises:
        ValueError: fewer than one episode, or a file that cannot be written.
    """
    check_count("episodes", num_episodes)
    check_output("out", path)
    rng, returns, num_forfeits = np.random.default_rng(seed), np.zeros(2), 0

    def episodes() -> Iterator[Episode[Any]]:
        nonlocal num_forfeits
        for start in range(0, num_episodes, EPISODES_AT_ONCE):
            for played in rollout(game, seats, min(EPISODES_AT_ONCE, num_episodes - start), rng):
                returns[:] += played.episode.returns
                num_forfeits += played.episode.forfeited_by is not None
                yield played.episode

    texts: Iterator[str]
    if form == "text":
        texts = (to_document(episode_dialogue(episode, viewer), MARKERS["qa"], DOCUMENT_END) for episode in episodes())
    else:
        texts = map(json_line, export_episodes(game, episodes(), viewer=viewer))
    write_texts(path, ticking(texts, "episodes", num_episodes))
    first, second = (returns / num_episodes).tolist()
    return Exported(path, num_episodes, (first, second), num_forfeits)


def episode_dialogue(episode: Episode[Any], viewer: int = ASSISTANT) -> TextDialogue:
    """Return an episode as `viewer` knows it: what it was told, what it heard, what it thought and said.

    A briefing or an announcement to the other player and the other's thoughts are not in it, so that whoever learns
    from it learns from nothing that a player cannot know. A turn that was forfeited is heard by nobody else.
    """
    game, dialogue = episode.game, episode.dialogue
    decode = game.vocabularies[viewer].decode
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
    """Return a record as one line of JSON.

    Raises:
        ValueError: it holds a number that JSON does not have.
    """
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise ValueError(f"record: expected finite numbers, got others ({error})") from error


def write_texts(path: Path, texts: Iterable[str]) -> int:
    """Write texts one after the other (.gz by name), the file whole or not at all, and return their number.

    Raises:
        ValueError: a folder is in its place.
    """
    if path.is_dir():
        raise ValueError(f"{path}: expected a file to write, got a folder")
    number = 0
    with replacing(path) as written, _text_file(written, path.name.endswith(".gz")) as file:
        for text in texts:
            if number == 0 and text.startswith(BYTE_ORDER_MARK):
                file.write(BYTE_ORDER_MARK)  # readers leave out the first of a file
            file.write(text)
            number += 1
    return number


def ticking(items: Iterable[Written], unit: str, total: int | None = None) -> Iterator[Written]:
    """Yield the items; a bar on a terminal shows how many there were."""
    with tqdm(total=total, unit=f" {unit}", leave=False, disable=not sys.stderr.isatty()) as bar:
        for item in items:
            yield item
            bar.update()


@contextmanager
def _text_file(path: Path, compressed: bool) -> Iterator[io.TextIOWrapper]:
    """Open a UTF-8 file whose line breaks are written as they are; the same text gives the same compressed file."""
    with path.open("wb") as raw:
        binary = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) if compressed else raw
        with io.TextIOWrapper(binary, encoding="utf-8", newline="") as file:
            yield file
