"""Write the pages that are made from the code: one per registered game to docs/games/, and docs/solvers.md.

A game's page has the format of PettingZoo's environment pages. Everything on it comes from the code: the table from
the spaces, the arguments from the constructor, the rest from the docstring of the game's module. The solvers' page
comes from their registry. `--check` writes nothing and fails if a page on disk differs.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import docstring_parser
from gymnasium import spaces

import duologue.envs
from duologue.baselines.solvers.registry import algorithm_table
from duologue.envs.registry import game_factory

DOCS = Path(__file__).resolve().parent
SECTIONS = ("Rules", "Observation", "Actions", "Rewards", "Known values", "References", "Version history")
SOLVERS_PAGE = """# Solvers of the exact tier

`duologue solve GAME --algorithm NAME --iterations N` runs one on the exact tree of a game and prints how far its last
and its average iterate are from equilibrium (NashConv, both players' best-response gains summed). In Python:

```python
from duologue.baselines.solvers.registry import make_solver
from duologue.baselines.solvers.solver import solve
from duologue.envs import make_game
from duologue.envs.tree import GameTree

solver = make_solver("cfr_plus", GameTree(make_game("kuhn_poker-v0")), 50)
for step in solve(solver, 50, every=10):
    print(step.iteration, step.nash_conv_average, step.value)
```

{table}

The tests are in tests/baselines/solvers/.

<!-- Written by docs/generate.py from the registry; `make docs` writes it again. -->
"""
CREATION = """```python
import duologue.envs, gymnasium, pettingzoo

env = duologue.envs.make("{name}"{options})  # PettingZoo's AEC interface, one token a step
env = pettingzoo.make("aec", "duologue/{name}"{options})  # the same through PettingZoo's registry
env = gymnasium.make("duologue/{name}", player=0, opponent="random"{options})  # one player's side
```"""


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or compare them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, fail if a page is stale")
    check: bool = parser.parse_args(arguments).check
    pages = {f"games/{name}.md": page(name) for name in duologue.envs.registered_games()}
    pages["solvers.md"] = SOLVERS_PAGE.format(table=algorithm_table())
    stale = stale_pages(pages)
    if check:
        for file in stale:
            print(
                f"docs/{file}: expected what the code says, got an old page; run `make docs`",
                file=sys.stderr,
            )
        return 1 if stale else 0
    for file in stale:
        if file in pages:
            (DOCS / file).write_text(pages[file], encoding="utf-8")
        else:
            (DOCS / file).unlink()
    print(f"docs: {len(pages)} pages, {len(stale)} of them changed")
    return 0


def stale_pages(pages: dict[str, str]) -> list[str]:
    """Return the files on disk that are missing, differ, or belong to no game."""
    files = [*DOCS.glob("games/*.md"), *DOCS.glob("solvers.md")]
    on_disk = {file.relative_to(DOCS).as_posix(): file.read_text(encoding="utf-8") for file in files}
    return sorted(file for file in pages.keys() | on_disk.keys() if pages.get(file) != on_disk.get(file))


def page(name: str) -> str:
    """Return the page of the game registered as `name`."""
    factory = game_factory(name)
    summary, sections = split_docstring(inspect.getdoc(inspect.getmodule(factory)) or "", name=name)
    blocks = [
        f"# {name}",
        summary,
        CREATION.format(name=name, options=required_options(factory)),
        markdown_table(facts(name)),
        *(f"## {title}\n\n{text}" for title, text in sections.items() if title != "Version history"),
        f"## Arguments\n\n{arguments_text(factory)}",
        f"## Version history\n\n{sections['Version history']}",
        "<!-- Written by docs/generate.py from the code; `make docs` writes it again. -->",
    ]
    return "\n\n".join(blocks) + "\n"


def split_docstring(text: str, *, name: str) -> tuple[str, dict[str, str]]:
    """Split a game's module docstring into what precedes the sections and the text of each.

    Raises:
        ValueError: a section that every game's page needs is missing.
    """
    pieces = re.split(rf"^(?:#+ )?({'|'.join(SECTIONS)})(?::[ \n]|\n[-=]+\n|\n)", text, flags=re.MULTILINE)
    sections = {
        title: sentence_case(inspect.cleandoc(body)) for title, body in zip(pieces[1::2], pieces[2::2], strict=True)
    }
    missing = [title for title in SECTIONS if not sections.get(title)]
    if missing:
        raise ValueError(f"{name}: expected a module docstring with the sections {SECTIONS}, got none on {missing}")
    return pieces[0].strip(), sections


def sentence_case(text: str) -> str:
    """Return `text`, which followed a colon, with a capital first letter; a version (v0) keeps its own."""
    return text if re.match(r"v\d", text) else text[:1].upper() + text[1:]


def facts(name: str) -> Iterator[tuple[str, str]]:
    """Yield the rows of the table at the top of a page."""
    factory = game_factory(name)
    yield "Import", f'`duologue.envs.make("{name}"{required_options(factory)})`'
    yield "Actions", "Discrete, one token of the vocabulary"
    yield "Parallel API", "No"
    yield "Manual control", f"`duologue play {name} --player 0`"
    if required_options(factory):
        yield "Shapes", "follow from the arguments: L the longest view, V the size of the vocabulary"
        return
    env = duologue.envs.make(name)
    agents, game = env.possible_agents, env.game
    action, observation = env.action_space(agents[0]), env.observation_space(agents[0])
    assert isinstance(action, spaces.Discrete)
    assert isinstance(observation, spaces.Dict)
    yield "Agents", f"`agents = {agents}`, " + " and ".join(game.roles)
    yield "Number of agents", str(len(agents))
    yield "Action shape", f"`{action.shape}`"
    yield "Action values", f"[{action.start}, {action.start + action.n - 1}]; 0 is padding and never legal"
    yield "Observation shape", each_box(observation, lambda box: f"`{box.shape}`")
    yield "Observation values", each_box(observation, lambda box: f"[{box.low.min()}, {box.high.max()}]")
    yield "State shape", f"`{env.state_space.shape}`"
    yield "Payoff", f"{game.payoff.replace('_', '-')}; a forfeited turn costs {game.forfeit_cost:g}"
    yield "Length", f"at most {game.max_turns} turns of {game.max_turn_tokens} tokens"


def each_box(space: spaces.Dict, describe: Callable[[spaces.Box], str]) -> str:
    """Return the description of every entry of a dictionary space, by its key."""
    boxes = {key: box for key, box in space.items() if isinstance(box, spaces.Box)}
    return ", ".join(f"`{key}` {describe(box)}" for key, box in boxes.items())


def required_options(factory: Callable[..., object]) -> str:
    """Return the arguments that have no default, as they stand in a call."""
    parameters = inspect.signature(factory).parameters.values()
    return "".join(f", {option.name}=..." for option in parameters if option.default is option.empty)


def arguments_text(factory: Callable[..., object]) -> str:
    """Return a table of the constructor's options, with what its docstring or the class's says of them."""
    options = inspect.signature(factory).parameters.values()
    if not options:
        return "None."
    init = inspect.getdoc(factory.__init__) if inspect.isclass(factory) else None
    said = {
        param.arg_name: " ".join((param.description or "").split())
        for text in (inspect.getdoc(factory), init)
        for param in docstring_parser.parse(text or "").params
    }
    rows = [(f"`{option.name}`", f"`{default_text(option)}`", said.get(option.name, "")) for option in options]
    return markdown_table([("Argument", "Default", "Meaning"), *rows])


def default_text(option: inspect.Parameter) -> str:
    """Return an option's default as one would write it."""
    if option.default is option.empty:
        return "required"
    return str(getattr(option.default, "__name__", None) or repr(option.default))


def markdown_table(rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    """Return the rows, of which the first is the head, as a Markdown table."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    columns = lines[0].replace("\\|", "").count("|") - 1
    return "\n".join([lines[0], "|" + " --- |" * columns, *lines[1:]])


if __name__ == "__main__":
    raise SystemExit(main())
