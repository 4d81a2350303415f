"""How far from equilibrium is a chat model, and does training in both seats bring it nearer? Exactly, over training.

    python examples/spoken_gap.py --model FOLDER --out runs/spoken_gap
    python examples/spoken_gap.py --model FOLDER --train-option device=cuda --batch-size 128 --seeds 5

Matching pennies, rock-paper-scissors and Kuhn poker are told in English to a chat model from a folder, which answers in
words through its own tokenizer. What it may say is a tree small enough to list, so that NashConv is computed: both
players' best-response gains, of the newest players and of the average. Four algorithms train it by PPO, with as many
updates of each player:

- self-play against the newest opponent, which an equilibrium that must mix throws out;
- MMD, which is self-play with a price on KL to the start, its magnet: what is approached is the equilibrium of the game
  with that price (Sokota et al., 2023; its KL to the policy before the update is PPO's clipping here);
- fictitious play, whose responses meet the mixture of all earlier opponents, and PSRO, whose responses meet the
  equilibrium of the game among them; their averages are these mixtures.

Every training is a run of `duologue train` in a folder of its own: the same command goes on after a kill. `--smoke`
does all of it in seconds with a tiny model that can say nothing but noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from duologue.agents import seat_profile
from duologue.agents.language_model import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.agents.language_model.tokenizers import load_vocabulary, train_tokenizer
from duologue.baselines import train
from duologue.baselines.evaluation import Estimate, mean_interval
from duologue.baselines.reporting.plots import COLOURS, Curve, LineStyle, plot_curves
from duologue.baselines.reporting.tables import markdown_table
from duologue.baselines.training.files import write_json, write_text
from duologue.baselines.training.options import save_model
from duologue.envs import make_game
from duologue.envs.registry import parse_option
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.envs.tree import GameTree, nash_conv

GAMES = ("matching_pennies-v0", "rock_paper_scissors-v0", "kuhn_poker-v0")
ALGORITHMS = ("self-play", "MMD", "fictitious play", "PSRO")
MAGNET_KL_COEF = 0.1
"""MMD's price of a nat of KL to the start, in payoffs."""
PSRO_EPISODES = {"num_payoff_episodes": 32, "num_gain_episodes": 32}
"""Of each pair of members, and of each look at what responses gain; they teach nobody anything."""
HEADER = ("game", "algorithm", "NashConv at the start", "last iterate", "average", "least, of either")


@dataclass(frozen=True, kw_only=True)
class SpokenGapOptions:
    """Who learns, for how long, and where to."""

    model: Path | None = None
    """The folder of the chat model that all start from; it must be given but with `--smoke`."""
    out: Path = Path("runs/spoken_gap")
    """The folder of the runs, the table, the numbers and the pictures."""
    games: tuple[str, ...] = GAMES
    """Registered games with prompts."""
    algorithms: tuple[str, ...] = ALGORITHMS
    """Names among self-play, MMD, fictitious play and PSRO."""
    seeds: int = 1
    """Trainings of each algorithm in each game."""
    num_updates: int = 24
    """Of each player, a multiple of 4."""
    batch_size: int = 32
    """Episodes for one update."""
    learning_rate: float = 1e-4
    """AdamW's, of adapters of low rank; where all weights are trained, a tenth of it or less."""
    train_option: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Further options of every training as NAME=VALUE, such as device=cuda."""
    smoke: bool = False
    """Tiny, in seconds, to see it work."""


def main(options: SpokenGapOptions) -> None:
    """Train everything that is not there, and print what came of it."""
    rows, results = list[list[str]](), dict[str, Any]()
    model = tiny_model(options.out / "model") if options.smoke else options.model
    if model is None:
        raise ValueError("model: expected the folder of a chat model, got none")
    vocabulary = load_vocabulary(model)
    for game in options.games[: 1 if options.smoke else None]:
        tree = GameTree(make_game(game, spoken=vocabulary))
        agent = CausalLMAgent.from_pretrained(model, vocabulary, max_view_tokens=tree.game.max_view_tokens)
        start = nash_conv(tree, seat_profile(tree, (agent, agent)))
        del agent
        found = {name: measured(options, model, game, name, start) for name in options.algorithms}
        results[game] = {name: {key: x.tolist() for key, x in gaps.items()} for name, gaps in found.items()}
        rows += [row(game, name, gaps) for name, gaps in found.items()]
        draw(found, options.out / f"{game}.png", game)
        write_json(options.out / "results.json", results)
        write_text(options.out / "table.md", markdown_table(HEADER, rows) + "\n")
    print(markdown_table(HEADER, rows))


def draw(found: Mapping[str, Mapping[str, NDArray[np.float64]]], path: Path, game: str) -> None:
    """Draw NashConv over training, means over seeds: of the newest players, and in dashes of the average."""
    curves, styles = dict[str, Curve](), dict[str, LineStyle]()
    for (name, gaps), colour in zip(found.items(), cycle(COLOURS), strict=False):
        for which, dash in (("last", "-"), ("average", "--")):
            label = f"{name}, {which}"
            curves[label], styles[label] = (gaps["updates"], gaps[which].mean(0)), (colour, dash)
    title, x_label = f"{game}, spoken", "updates of each player"
    plot_curves(curves, path, styles=styles, title=title, x_label=x_label, y_label="NashConv")


def measured(
    options: SpokenGapOptions, model: Path, game: str, name: str, start: float
) -> dict[str, NDArray[np.float64]]:
    """Return the exact gaps over the updates (T,) of one algorithm, of the newest players and the average (S, T)."""
    curves: dict[str, list[NDArray[np.float64]]] = {"last": [], "average": []}
    updates = np.zeros(0)
    for seed in range(options.seeds):
        command, how = algorithm(options, name)
        run = train(
            command,
            game=game,
            spoken=model,
            player_0=model,
            player_1=model,
            exact=True,
            seed=seed,
            out=options.out / "runs" / game / name.replace(" ", "_") / str(seed),
            **how,
            **dict(parse_option(text) for text in options.train_option),
        )
        due = np.isfinite(run.metrics["exact/nash_conv_last"])
        updates = np.concatenate([[0], run.metrics["iteration"][due]])
        for which, found in curves.items():
            found.append(np.concatenate([[start], run.metrics[f"exact/nash_conv_{which}"][due]]))
    return {"updates": updates, **{which: np.stack(found) for which, found in curves.items()}}


def algorithm(options: SpokenGapOptions, name: str) -> tuple[str, dict[str, Any]]:
    """Return the command of an algorithm and its options: the same budget and the same PPO for all."""
    num_updates = 4 if options.smoke else options.num_updates
    every = max(1, num_updates // 4)
    budget: dict[str, Any] = {"batch_size": 4 if options.smoke else options.batch_size, "exact_every": every}
    ppo = {
        "learning_rate": options.learning_rate,
        "warmup_updates": 1,
        "final_learning_rate_share": 1.0,
        "gae_lambda": 1.0,
        "num_minibatches": 1,
        "kl_coef": MAGNET_KL_COEF if name == "MMD" else 0.0,
    }
    own: Mapping[str, tuple[str, dict[str, Any]]] = {
        "self-play": ("self_play", {"num_updates": num_updates, "exact_every": 1}),
        "MMD": ("self_play", {"num_updates": num_updates, "exact_every": 1}),
        "fictitious play": ("fictitious_play", {"num_rounds": num_updates // every, "updates_per_round": every}),
        "PSRO": ("psro", {"num_updates": num_updates, "updates_per_response": every} | PSRO_EPISODES),
    }
    if name not in own:
        raise ValueError(f"algorithms: expected names among {', '.join(own)}, got {name!r}")
    command, rounds = own[name]
    return command, {**budget, **rounds, "ppo": ppo}


def row(game: str, name: str, gaps: Mapping[str, NDArray[np.float64]]) -> list[str]:
    """Return a row of the table: means over seeds, with 95 % intervals where there are several."""
    last, average = (shown(mean_interval(gaps[which][:, -1].tolist())) for which in ("last", "average"))
    least = np.minimum(gaps["last"], gaps["average"]).min(1)
    return [game, name, f"{gaps['last'][0, 0]:.3f}", last, average, shown(mean_interval(least.tolist()))]


def shown(mean: Estimate) -> str:
    """Return a number with its interval, if there is more than one seed."""
    return f"{mean.value:.3f}" + ("" if mean.low == float("-inf") else f" ± {mean.half_width:.3f}")


def tiny_model(folder: Path) -> Path:
    """Return the folder of a model with random weights and a tokenizer of its own, made if it is not there."""
    if not (folder / "config.json").is_file():
        words = ["You are playing a game. Answer with one word: Heads, Tails, Rock, Paper or Scissors."]
        vocabulary = TokenizerVocabulary(train_tokenizer(words, vocab_size=320))
        save_model(CausalLMAgent(micro_model(vocabulary, hidden_size=16, max_positions=1024), vocabulary), folder)
    return folder


if __name__ == "__main__":
    main(tyro.cli(SpokenGapOptions, description=__doc__))
