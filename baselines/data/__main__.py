"""The command line of text data: `python -m duologue.baselines.data export` and `... convert`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar, get_args

from ...agents import load_agent
from ...envs import make_game
from ...envs.printable import printable_lines
from ...envs.registry import parse_option
from ..training.checks import check_count
from ..training.files import Json
from .dialogues import PreferencePair, TextDialogue
from .documents import MARKERS, Markers, to_document
from .export import export_play, json_line, ticking, write_texts
from .messages import to_hh_pair, to_messages, to_pair
from .readers import DOCUMENT_END, Format, Reader, read_dialogues, read_pairs

T = TypeVar("T", TextDialogue, PreferencePair)

OUTPUTS = ("messages", "text", "hh", "pairs")
EPILOG = """\
examples:
  python -m duologue.baselines.data export kuhn_poker-v0 --episodes 100 --out plays.jsonl
  python -m duologue.baselines.data convert pairs.jsonl.gz chats.jsonl --from hh --to messages
  python -m duologue.baselines.data convert faq.txt faq.jsonl --from text --markers Q:=user,A:=assistant --to messages
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    options = _parser().parse_args(sys.argv[1:] if argv is None else argv)
    try:
        print(_export(options) if options.command == "export" else _convert(options))
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"duologue data: {printable_lines(str(error))}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="duologue.baselines.data",
        description="Text dialogues: from games, and from one format to another.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_export_options(commands.add_parser("export", help="play a game and write its episodes as messages"))
    _add_convert_options(commands.add_parser("convert", help="write dialogues or preference pairs in another format"))
    return parser


def _add_export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("game", metavar="GAME", help="a registered name, such as kuhn_poker-v0")
    for player in (0, 1):
        what = "random, echo, or the folder of a model (default: random)"
        parser.add_argument(f"--agent{player}", default="random", help=what)
    parser.add_argument("--episodes", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--viewer", type=int, choices=(0, 1), default=1, help="whose view is written (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="decides deals and tokens (default: 0)")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the game")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON lines; .gz by name")


def _add_convert_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="IN", help="a file or a folder")
    parser.add_argument("target", type=Path, metavar="OUT", help="a file; .gz by name")
    parser.add_argument("--from", dest="format", choices=get_args(Format), default="auto", help="(default: auto)")
    parser.add_argument("--to", choices=OUTPUTS, default="messages", help="hh and pairs need preference pairs")
    parser.add_argument("--on-error", choices=("raise", "skip"), default="raise", help="(default: raise)")
    parser.add_argument("--which", choices=("chosen", "rejected"), default="chosen", help="side of pairs to read")
    named = ", ".join(MARKERS)
    parser.add_argument("--markers", default="qa", metavar="MARKS", help=f"{named} or MARK=PART,... (default: qa)")
    parser.add_argument("--document-end", default=DOCUMENT_END, metavar="LINE", help=f"(default: {DOCUMENT_END})")


def _export(options: argparse.Namespace) -> str:
    check_count("--episodes", options.episodes)
    game = make_game(options.game, **dict(parse_option(text) for text in options.option))
    seats = [load_agent(spec, game.vocabulary, game=options.game) for spec in (options.agent0, options.agent1)]
    done = export_play(game, seats, options.episodes, options.out, viewer=options.viewer, seed=options.seed)
    return (
        f"{done.num_episodes} episodes of {options.game} as player {options.viewer} sees them: {done.path}\n"
        f"mean returns {done.mean_returns[0]:+.3f} {done.mean_returns[1]:+.3f}, {done.num_forfeits} forfeits"
    )


def _convert(options: argparse.Namespace) -> str:
    markers = MARKERS[options.markers] if options.markers in MARKERS else Markers.parse(options.markers)
    if options.to in ("hh", "pairs"):
        if options.format not in ("auto", "hh", "pairs"):
            raise ValueError(f"--to {options.to}: expected preference pairs (--from hh or pairs), got {options.format}")
        write_pair = to_hh_pair if options.to == "hh" else to_pair
        return _run(options, read_pairs(options.source, format=options.format, on_error=options.on_error), write_pair)
    reader = read_dialogues(
        options.source, format=options.format, on_error=options.on_error, which=options.which, markers=markers,
        document_end=options.document_end,
    )  # fmt: skip
    if options.to == "text":
        return _run(options, reader, lambda dialogue: to_document(dialogue, markers, options.document_end))
    return _run(options, reader, lambda dialogue: {"messages": to_messages(dialogue)})


def _run(options: argparse.Namespace, reader: Reader[T], write: Callable[[T], str | dict[str, Json]]) -> str:
    """Write what a reader reads and return the counts in words."""
    refused: list[str] = []

    def written() -> Iterator[str | dict[str, Json]]:
        for value in reader:
            try:
                yield write(value)
            except ValueError as error:
                if options.on_error == "raise":
                    raise ValueError(f"{options.source}, dialogue {reader.num_read}: {error}") from error
                refused.append(f"dialogue {reader.num_read}: {error}")

    number = write_texts(options.target, ticking(map(_line, written()), "rows"))
    counts = f"{reader.num_read} read, {reader.num_skipped} skipped, {len(refused)} not writable, {number} written"
    return "\n".join([f"{counts}: {options.target}", *refused[:5]])


def _line(written: str | dict[str, Json]) -> str:
    return written if isinstance(written, str) else json_line(written)


if __name__ == "__main__":
    sys.exit(main())
