"""Offline DPO and IPO: player two learns from a fixed set of preference pairs, without playing.

The pairs are a file's (`chosen` and `rejected`, or transcripts in the form of hh-rlhf), of real text, which no game
needs to be named for, or of a game's words; or they are drawn once: two
replies of the start model to each prompt that the game deals, labelled by the game's rewards with noise of a known
temperature, so that DPO's optimum is ref exp(reward / (temperature kl_coef)). The losses are in
`learners/preference.py`; DPO and IPO on fresh pairs are `duologue train rlhf --learner preference`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...agents.language_model.causal_lm import CausalLMAgent
from ...agents.language_model.tokenizers import has_tokenizer, load_vocabulary
from ...envs import LanguageGame, Vocabulary
from ...envs.registry import game_factory
from ..data.dialogues import PreferencePair
from ..data.encoding import EncodedDialogue, encode_text_dialogue
from ..data.readers import OnError, read_pairs
from ..learners.preference import PreferenceConfig, PreferenceLearner, PreferenceUpdate, ReplyPairs
from ..learners.ptx import PretrainingDataOptions
from ..rollouts.trajectories import Trajectories
from ..training.checks import Count, Positive, Rows
from ..training.costs import CostMeter, Costs
from ..training.loop import Training, trainer
from ..training.options import leaves
from ..training.presets import usual
from ..training.state import Stateful
from .preference_pairs import oracle_pairs
from .starts import DefenderOptions

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DPOConfig(DefenderOptions, PretrainingDataOptions):
    """DPO or IPO of player two on given pairs."""

    algorithm: ClassVar[str] = "dpo"
    defender: Path | None = None
    """The model to start from, which is the reference; None: the micro defender, trained first in `out`."""
    pairs: Path | None = None
    """A file or folder of preference pairs; None: they are drawn from the start model in the game."""
    on_error: OnError = "raise"
    """Whether a row of the file that is no pair is fatal, or skipped and counted."""
    out: Path = Path("runs/dpo")
    """The run's folder; the model is in its folder `model`."""
    num_pairs: Rows = 2048
    """How many pairs are drawn, or at most read."""
    label_temperature: Positive = 0.25
    """Noise of the labels of drawn pairs: the better reply is preferred with sigmoid(gain / this)."""
    max_tokens: Rows | None = None
    """The longest prompt with reply; pairs that are longer are left out and counted. None: any."""
    num_steps: Count = 120
    """Batches, each followed by one update."""
    batch_size: Rows = usual(64)
    """Pairs in a batch."""
    preference: PreferenceConfig = field(default_factory=PreferenceConfig)
    """How the model learns from them."""
    save_every: Count = 20
    """Steps between two saved states."""

    @property
    def needs_game(self) -> bool:
        """Whether the pairs are drawn in a game or in its words; a file's are of real text to a model that reads it."""
        takes_text = "vocabulary" in inspect.signature(game_factory(self.options.game)).parameters
        return self.pairs is None or takes_text or not has_tokenizer(self.start)


@dataclass(frozen=True, slots=True)
class DPOStep:
    """What one update on given pairs reports."""

    iteration: int
    """Updates so far."""
    update: PreferenceUpdate
    """The update's own numbers."""


class DPO(Stateful):
    """The loop: iterate over it to train; it stops after `num_steps` and can be saved between two steps."""

    saved = ("iteration", "learner")

    def __init__(
        self, learner: PreferenceLearner, pairs: ReplyPairs, *, num_steps: int, batch_size: int, seed: int
    ) -> None:
        """Take the learner and all pairs; `seed` orders them, anew in each pass."""
        if not 1 <= batch_size <= len(pairs):
            raise ValueError(f"batch_size: expected from 1 to the number of pairs, {len(pairs)}, got {batch_size}")
        self.learner, self.pairs, self.num_steps = learner, pairs, num_steps
        self.batch_size, self.seed, self.iteration = batch_size, seed, 0

    def __iter__(self) -> Iterator[DPOStep]:
        """Yield after each update."""
        per_epoch = len(self.pairs) // self.batch_size
        while self.iteration < self.num_steps:
            epoch, batch = divmod(self.iteration, per_epoch)
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.pairs))
            rows = torch.from_numpy(order[batch * self.batch_size : (batch + 1) * self.batch_size])
            rng = np.random.default_rng([self.seed, epoch, batch])
            update = self.learner.fit(self.pairs.select(rows), rng)
            self.iteration += 1
            yield DPOStep(self.iteration, update)


def encode_pairs(
    vocabulary: Vocabulary, pairs: Sequence[PreferencePair], *, max_tokens: int | None = None
) -> ReplyPairs:
    """Return text pairs as token rows, the first reply of each preferred; only the replies' own tokens are compared.

    A reply is what is said aloud: its thought is left out. Pairs of which a side is too long or has a word that the
    vocabulary cannot say are left out; a warning counts them.

    Raises:
        ValueError: no pair is left.
    """
    sayable = vocabulary.sayable_mask.astype(bool)
    sayable[vocabulary.eos_id] = True
    rows = [_encode_pair(vocabulary, pair, sayable, max_tokens) for pair in pairs]
    kept = [row for row in rows if row is not None]
    if not kept:
        raise ValueError(f"pairs: expected one within {max_tokens} tokens that can be said, got {len(pairs)} others")
    if len(kept) < len(rows):
        logger.warning("%d of %d pairs left out: too long, or not sayable", len(rows) - len(kept), len(rows))
    first, second = (_trajectories([row[side] for row in kept]) for side in (0, 1))
    return ReplyPairs(first, second, torch.ones(len(kept)))


Row = tuple[Tensor, Tensor]
"""Tokens (n,) and the mask of the reply's own (n,)."""


def _encode_pair(
    vocabulary: Vocabulary, pair: PreferencePair, sayable: np.ndarray, max_tokens: int | None
) -> tuple[Row, Row] | None:
    player = pair.chosen.player
    assert player is not None
    sides: list[Row] = []
    for reply in (pair.chosen, pair.rejected):
        dialogue = pair.prompt.extend(replace(reply, thought=""))
        encoded = encode_text_dialogue(vocabulary, dialogue, viewer=player, max_tokens=max_tokens)
        if encoded is None or encoded.num_cut_turns:
            return None
        tokens, own = _last_turn(encoded, player)
        if not sayable[tokens[own].numpy()].all():
            return None
        sides.append((tokens, own))
    return sides[0], sides[1]


def _last_turn(encoded: EncodedDialogue, player: int) -> Row:
    """Return the row up to the end of the player's last turn, and where that turn is; earlier turns are prompt."""
    said = encoded.speaker == player
    end = int(np.flatnonzero(said)[-1]) + 1
    own = np.arange(end) > np.flatnonzero(~said[:end])[-1]
    return torch.from_numpy(encoded.tokens[:end]), torch.from_numpy(own)


def _trajectories(rows: Sequence[Row]) -> Trajectories:
    pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    tokens, own = pad([row[0] for row in rows]), pad([row[1] for row in rows])
    lengths = torch.tensor([len(row[0]) for row in rows])
    nothing = torch.zeros(tokens.shape)
    attention = torch.arange(tokens.shape[1]) < lengths[:, None]
    players = torch.ones(len(rows), dtype=torch.int64)
    return Trajectories(tokens, attention, own, logprobs=nothing, rewards=nothing, legal_mask=None, players=players)


def _pairs(config: DPOConfig, game: LanguageGame[Any] | None, agent: CausalLMAgent) -> list[PreferencePair]:
    """Return the pairs of the file, or those that the start model draws in the game."""
    if config.pairs is None:
        assert game is not None
        rng = np.random.default_rng([config.seed, 2])
        return oracle_pairs(game, agent, config.num_pairs, rng, temperature=config.label_temperature)
    reader = read_pairs(config.pairs, on_error=config.on_error)
    pairs = list(islice(reader, config.num_pairs))
    reader.report()
    return pairs


@trainer
def dpo(config: DPOConfig) -> Training:
    """Return what a run of it trains."""
    meter = CostMeter()
    if config.needs_game:
        game = config.options.build(
            config.start, split="train", meter=meter, device=config.device, judged=config.pairs is None
        )
        agent = config.load(config.start, game, 1, name="defender", role=config.options.defender_role)
        ptx = config.pretraining_data(game, 1, ptx_coef=config.preference.ptx_coef, seed=config.seed)
    else:
        game, ptx, vocabulary = None, None, load_vocabulary(config.start)
        agent = config.load_as(config.start, vocabulary, name="defender")
    pairs = _pairs(config, game, agent)
    meter.add(Costs(preference_queries=len(pairs)))
    loop = DPO(
        PreferenceLearner(agent, config.preference, num_planned=config.num_steps, ptx=ptx),
        encode_pairs(agent.vocabulary, pairs, max_tokens=config.max_tokens),
        num_steps=config.num_steps,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    return Training(learner=loop, num_steps=config.num_steps, watch=[meter], write=leaves(model=agent))
