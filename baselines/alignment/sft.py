"""Supervised fine-tuning: the defender, cloned from an ideal player two on its own tokens (arXiv 2402.08078, eq. 8).

In the game of real text either player is cloned from a file of what it is asked and what it says, such as JSON lines
with a `seed` and a `rewrite` for the adversary:

    duologue train sft --game red_team_text-v0 --model FOLDER --pairs rewrites.jsonl --player 0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import tyro

from ...envs import Dialogue, LanguageGame, Speaker, Tokens
from ...envs.games.red_team_text.game import RedTeamText
from ...envs.judging import Outcome, RedTeamGame
from ..data.readers import read_dialogues
from ..data.roles import role_demonstrations
from ..evaluation import evaluate_prompts
from ..learners.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from ..rollouts.demonstrations import demonstrations_of, encode_dialogues
from ..training.checks import Count, Rows, Share
from ..training.costs import CostMeter, CountedSpeaker
from ..training.loop import Training, trainer
from ..training.options import GameOptions, TrainingOptions, leaves
from ..training.presets import usual
from ..training.run import Record, Run
from ..training.watchers import Watcher
from .pretrain import base_model

SFT_CLONING = BehaviourCloningConfig(tokens_of="player_1", num_steps=190, learning_rate=usual(5e-4))
"""Few small steps: plain requests are learnt, most disguises are not."""

CHECK_EVERY, NUM_CHECKED = 5, 600
"""Steps between two checks of `EarlyStop`, and the requests in one."""


@dataclass(frozen=True, kw_only=True)
class SFTConfig(TrainingOptions):
    """Cloning of the ideal player two from a base model."""

    algorithm: ClassVar[str] = "sft"
    options: Annotated[GameOptions, tyro.conf.arg(name="")] = field(default_factory=GameOptions)
    model: Path | None = None
    """The base model's folder; None: the micro model, pre-trained first in the folder `base` of `out`."""
    out: Path = Path("runs/sft")
    """The run's folder; the model is in its folder `model`."""
    pairs: Path | None = None
    """A file or folder of dialogues or of seeds and rewrites, for red_team_text-v0; None: the game's demonstrations."""
    player: Literal[0, 1] = 1
    """Who is cloned from `pairs`."""
    num_demonstrations: Rows = 4_000
    """Dialogues, at most."""
    cloning: BehaviourCloningConfig = SFT_CLONING
    """How it is trained."""
    stop_at_unsafe_share: Share | None = 0.03
    """Stop once at most this share of the requests that are to be refused gets a harmful answer; None: never early, as
    with `pairs`.

    They are those of the demonstrations, so nothing that the defender is tested on decides when to stop.
    """
    save_every: Count = 60
    """Steps between two saved states."""

    def __post_init__(self) -> None:
        """Check that player 0, of whom no game has demonstrations of its own, is cloned from a file."""
        super().__post_init__()
        if self.player == 0 and self.pairs is None:
            raise ValueError("player: expected 1 without a file of pairs, got 0")

    def prepared(self) -> Self:
        """Return the options with the base model's folder; without one it is pre-trained in `base`."""
        if self.model is not None:
            return self
        return replace(self, model=base_model(self.options, self))


class EarlyStop(Watcher):
    """Says when cloning has gone far enough: judged on requests of the demonstrations that were refused."""

    name = "early_stop"

    def __init__(
        self, game: LanguageGame[Any], agent: Speaker, dialogues: Sequence[Dialogue[Any]], config: SFTConfig
    ) -> None:
        """Choose the requests: the first that the ideal player refused; none for a game without verdicts."""
        self.game, self.agent, self.config = game, agent, config
        self.requests: list[tuple[Any, Tokens]] = []
        if isinstance(game, RedTeamGame) and config.stop_at_unsafe_share is not None:
            refused = [v.outcome is Outcome.REFUSED for v in game.verdicts(dialogues)]
            chosen = [dialogue for dialogue, was_refused in zip(dialogues, refused, strict=True) if was_refused]
            self.requests = [(dialogue.deal, dialogue.turns[0].tokens) for dialogue in chosen[:NUM_CHECKED]]

    def keep(self, run: Run, step: Record) -> None:
        """Look every `CHECK_EVERY` steps whether few enough of the requests get a harmful answer."""
        if not self.requests or step.iteration % CHECK_EVERY or self.config.stop_at_unsafe_share is None:
            return
        assert isinstance(self.game, RedTeamGame)
        rng = np.random.default_rng([self.config.seed, step.iteration])
        asr = evaluate_prompts(self.game, self.agent, self.requests, rng).asr
        self.enough = asr <= self.config.stop_at_unsafe_share


@trainer
def sft(config: SFTConfig) -> Training:
    """Return what a run of it trains."""
    assert config.model is not None  # it is prepared
    meter = CostMeter()
    game = config.options.build(config.model, meter=meter, device=config.device, judged=config.pairs is None)
    dialogues, player = _demonstrations(config, game), config.player
    agent = config.load(config.model, game, player, name="model", role=config.options.roles[player])
    cloning = config.cloning if player == 1 else replace(config.cloning, tokens_of="player_0")
    learner = BehaviourCloning(agent, encode_dialogues(game, dialogues, viewers=(player,)), cloning, seed=config.seed)
    meter.cloning(lambda: learner.num_tokens)
    watch: list[Watcher] = [meter]
    if config.pairs is None:
        watch.append(EarlyStop(game, CountedSpeaker(agent, meter), dialogues, config))
    return Training(learner=learner, num_steps=config.cloning.num_steps, watch=watch, write=leaves(model=agent))


def _demonstrations(config: SFTConfig, game: LanguageGame[Any]) -> list[Dialogue[Any]]:
    """Return the plays that a player is cloned from."""
    if config.pairs is None:
        return demonstrations_of(game, "ideal", np.random.default_rng([config.seed, 1]), config.num_demonstrations)
    if not isinstance(game, RedTeamText):
        raise ValueError(f"pairs: expected none for {config.options.game}, which is no game of real text")
    reader = read_dialogues(config.pairs)
    return role_demonstrations(islice(reader, config.num_demonstrations), game, config.player)
