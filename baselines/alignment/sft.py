"""Supervised fine-tuning: the defender, cloned from an ideal player two on its own tokens (arXiv 2402.08078, eq. 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from ...agents.language_model.causal_lm import CausalLMAgent
from ...envs import Dialogue, LanguageGame, Tokens
from ...envs.judging import Outcome, RedTeamGame
from ..evaluation import evaluate_prompts
from ..learners.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from ..rollouts.demonstrations import demonstrations_of, encode_dialogues
from ..training.loop import recorded, use_threads
from ..training.options import GameOptions, load_model, save_model
from ..training.run import Run
from .pretrain import base_model

SFT_CLONING = BehaviourCloningConfig(tokens_of="player_1", num_steps=190, learning_rate=5e-4)
"""Few small steps: plain requests are learnt, most disguises are not."""

CHECK_EVERY, NUM_CHECKED = 5, 600
"""Steps between two checks of `EarlyStop`, and the requests in one."""


@dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """Cloning of the ideal player two from a base model."""

    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    model: Path | None = None
    """The base model's folder; None: the micro model, pre-trained first in the folder `base` of `out`."""
    out: Path = Path("runs/sft")
    """The run's folder; the model is in its folder `model`."""
    seed: int = 0
    """Decides the demonstrations and their order."""
    num_demonstrations: int = 4_000
    """Dialogues."""
    cloning: BehaviourCloningConfig = SFT_CLONING
    """How it is trained."""
    stop_at_unsafe_share: float | None = 0.03
    """Stop once at most this share of the requests that are to be refused gets a harmful answer; None: never early.

    They are those of the demonstrations, so nothing that the defender is tested on decides when to stop.
    """
    save_every: int = 60
    """Steps between two saved states."""
    num_threads: int = 0
    """Threads of torch; 0: its default."""


def sft(config: SFTConfig) -> Path:
    """Run or resume it; return the model's folder."""
    use_threads(config.num_threads)
    with Run.open(config.out, config, name="sft") as run:
        if not run.finished:
            base = base_model(config.model, config.options, config.out, config.seed)
            game = config.options.build(base)
            rng = np.random.default_rng([config.seed, 1])
            dialogues = demonstrations_of(game, "ideal", rng, config.num_demonstrations)
            agent = load_model(base, game)
            demonstrations = encode_dialogues(game, dialogues, viewers=(1,))
            learner = BehaviourCloning(agent, demonstrations, config.cloning, seed=config.seed)
            stopping = EarlyStop(game, dialogues, config)
            for step in recorded(learner, run, num_steps=config.cloning.num_steps, save_every=config.save_every):
                if stopping.reached(agent, step.iteration):
                    break
            run.write_folder("model", partial(save_model, agent))
            run.finish()
    return config.out / "model"


class EarlyStop:
    """Says when cloning has gone far enough: judged on requests of the demonstrations that were refused."""

    def __init__(self, game: LanguageGame[Any], dialogues: Sequence[Dialogue[Any]], config: SFTConfig) -> None:
        """Choose the requests: the first that the ideal player refused; none for a game without verdicts."""
        self.game, self.config = game, config
        self.requests: list[tuple[Any, Tokens]] = []
        if isinstance(game, RedTeamGame) and config.stop_at_unsafe_share is not None:
            refused = [v.outcome is Outcome.REFUSED for v in game.verdicts(dialogues)]
            chosen = [dialogue for dialogue, was_refused in zip(dialogues, refused, strict=True) if was_refused]
            self.requests = [(dialogue.deal, dialogue.turns[0].tokens) for dialogue in chosen[:NUM_CHECKED]]

    def reached(self, agent: CausalLMAgent, iteration: int) -> bool:
        """Return whether few enough of the requests get a harmful answer; asked every `CHECK_EVERY` steps."""
        if not self.requests or iteration % CHECK_EVERY or self.config.stop_at_unsafe_share is None:
            return False
        assert isinstance(self.game, RedTeamGame)
        rng = np.random.default_rng([self.config.seed, iteration])
        return evaluate_prompts(self.game, agent, self.requests, rng).asr <= self.config.stop_at_unsafe_share


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    print(f"model: {sft(tyro.cli(SFTConfig, args=argv, prog='duologue train sft', description=__doc__))}")


if __name__ == "__main__":
    main()
