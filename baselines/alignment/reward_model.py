"""Reward models from preference pairs: Bradley-Terry on a transformer, or on a frozen sentence encoder.

Stage three of the pipeline in arXiv 2402.08078, section 4.4, learns against a reward model; this is where it comes
from. The loss is equation 1 of Ouyang et al. (2022, arXiv 2203.02155), -log sigmoid(r(x, y_w) - r(x, y_l)). A run's
folder has the reward model in `model`, and in `report.md`, `report.json` and `reliability.png` what it is worth on
pairs whose prompts it has not seen.

Differs from the paper in: pairs, not rankings of several replies; rewards are not shifted to mean 0 afterwards; the
weights with the least loss on validation pairs are kept, because a model from nothing soon learns few pairs by heart.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ...agents.judges.reward_files import save_reward_model
from ...agents.judges.reward_model import (
    Conversation,
    LinearRewardModel,
    RewardModel,
    SequenceRewardModel,
    reply_features,
)
from ...agents.language_model.encoders import SentenceEncoder, SentenceTransformerEncoder
from ...agents.language_model.tokenizers import load_tokenizer, train_tokenizer
from ...envs import Tokens, Vocabulary
from ...envs.extras import from_extra
from ...envs.tokenizer_vocabulary import TokenizerVocabulary
from ..data.dialogues import PreferencePair
from ..data.readers import OnError, read_pairs
from ..evaluation.calibration import PairReport, longer_is_preferred, pair_report
from ..functional.supervised import bradley_terry_loss
from ..learners.optimisation import SupervisedConfig, make_optimizer, numbered, set_learning_rate, take_step
from ..training.checks import Count, LearningRate, Positive, Rows, check_count
from ..training.loop import Training, train
from ..training.options import TrainedDType, load_model
from ..training.presets import PRESETS, is_pretrained, usual, with_preset
from ..training.run import Run
from ..training.state import Stateful
from .preference_pairs import PairSplit, oracle_pairs, split_by_prompt
from .starts import DefenderOptions

L2_STRENGTHS = tuple(float(strength) for strength in np.logspace(-1, 4, 11))
"""What the weight of |w|^2 / 2 in the summed loss of a linear head is chosen from."""


@dataclass(frozen=True, kw_only=True)
class BradleyTerryConfig(SupervisedConfig):
    """How a transformer learns from pairs."""

    learning_rate: LearningRate = usual(1e-3)
    """Peak learning rate; linear warm-up, then linear decay to 2 % of it. On a real backbone: 3e-6."""
    check_every: Count = 25
    """Steps between two looks at the validation pairs; the best weights seen there are kept."""
    rows_at_once: Rows = 16
    """Replies in one forward pass, of about equal length so that little is padding; the loss is that of the batch."""


def check_fold(name: str, number: int) -> int:
    """Return the option called `name`; raise ValueError unless it is the number of a fifth of the prompts."""
    return check_count(name, number, least=0, most=4)


Fold: TypeAlias = Annotated[int, check_fold]
"""0 to 4."""


@dataclass(frozen=True, kw_only=True)
class RewardModelConfig(DefenderOptions):
    """A reward model from the pairs of a file, or from pairs of a game's replies that its oracle orders."""

    algorithm: ClassVar[str] = "reward_model"
    shown: ClassVar[tuple[str, ...]] = ("report.md",)
    data: Path | None = None
    """A file or folder of preference pairs, in any format that is read; None: replies of `defender` in the game."""
    on_error: OnError = "raise"
    """Whether a line of the data that is no pair is fatal, or skipped and counted."""
    defender: Path | None = None
    """Whose replies are compared; None: the micro defender, trained first in `out`."""
    num_pairs: Rows = 3000
    """Pairs drawn from a game."""
    temperature: Positive = 0.25
    """The noise of the oracle's choices: the first of two replies is chosen with sigmoid(gain in return / this)."""
    encoder: str | None = None
    """A sentence-transformers model, by name or folder, to put a linear head on; None: a transformer is trained."""
    model: Path | None = None
    """The backbone's folder, any causal model or encoder with its tokenizer; None: the micro model, from nothing."""
    vocab_size: Rows = 4096
    """Tokens of the tokenizer that is made from a file's training pairs where no folder has one."""
    max_length: Rows = 256
    """The most tokens of prompt and reply; the beginning is cut."""
    out: Path = Path("runs/reward_model")
    """The run's folder; the reward model is in its folder `model`."""
    fold: Fold | None = None
    """0 to 4: the fifth of the prompts to test on, of a split that is the same for every seed; None: `seed` decides."""
    dtype: TrainedDType = "float32"
    """What training computes in (autocast); weights, their updates and the final test are float32."""
    training: BradleyTerryConfig = field(default_factory=BradleyTerryConfig)
    """How a transformer learns."""
    save_every: Count = 50
    """Steps between two saved states."""

    def prepared(self) -> Self:
        """Return the options with the defender's folder, where pairs of its replies are drawn."""
        return self if self.data is not None else super().prepared()

    def resolved(self) -> Self:
        """Return the options with the rate of what is trained where none was said: all weights of the backbone.

        Raises:
            ValueError: adapters are asked for.
        """
        if self.lora_rank or self.preset == "pretrained_lora":
            got = f"lora_rank {self.lora_rank}" if self.lora_rank else f"preset {self.preset}"
            raise ValueError(f"lora_rank: expected 0, as a reward model is trained as a whole, got {got}")
        is_real = self.model is not None and self.model.is_dir() and is_pretrained(self.model)
        preset = self.preset or ("pretrained_full" if is_real else "micro")
        return replace(self, preset=preset, training=with_preset(self.training, PRESETS[preset]))


@dataclass(frozen=True, slots=True)
class RewardModelStep:
    """What one gradient step reports."""

    iteration: int
    """Gradient steps so far."""
    loss_nats: float
    """The Bradley-Terry loss of the batch; log 2 for a model that knows nothing."""
    accuracy: float
    """Share of the batch, 0 to 1, in which the chosen reply has the higher reward."""
    validation_loss_nats: float | None
    """The loss on the validation pairs; None between two looks."""
    validation_accuracy: float | None
    """The accuracy on them."""


class BradleyTerry(Stateful):
    """The learner: iterate over it to train; it stops after `num_steps` and can be saved between two steps."""

    saved = ("iteration", "reward_model.model", "_optimizer", "best_loss", "_best")

    def __init__(
        self,
        reward_model: SequenceRewardModel,
        train: Sequence[PreferencePair],
        validation: Sequence[PreferencePair],
        config: BradleyTerryConfig,
        *,
        seed: int,
        dtype: TrainedDType = "float32",
    ) -> None:
        """Take the reward model to train in place; `seed` orders the batches and draws dropout, `dtype` is computed in.

        Raises:
            ValueError: fewer pairs than a batch, or none to validate on.
        """
        if len(train) < config.batch_size or not validation:
            expected = f"at least batch_size={config.batch_size} to train on and 1 to validate on"
            raise ValueError(f"pairs: expected {expected}, got {len(train)} and {len(validation)}")
        self.reward_model, self.config, self.seed, self.iteration = reward_model, config, seed, 0
        self.dtype = dtype
        self._train, self._validation = _encoded(reward_model, train), _encoded(reward_model, validation)
        self._parameters = list(reward_model.model.parameters())
        self._optimizer = make_optimizer(
            self._parameters, learning_rate=config.learning_rate, weight_decay=config.weight_decay
        )
        self.best_loss, self._best = float("inf"), self._weights()

    def __iter__(self) -> Iterator[RewardModelStep]:
        """Yield after each gradient step; after the last the model has its best weights."""
        per_epoch = len(self._train) // self.config.batch_size
        while self.iteration < self.config.num_steps:
            epoch, number = divmod(self.iteration, per_epoch)
            rows = np.random.default_rng([self.seed, epoch]).permutation(len(self._train))
            batch = [self._train[k] for k in rows[number * self.config.batch_size :][: self.config.batch_size]]
            loss, accuracy = self._step(batch)
            yield RewardModelStep(self.iteration, loss, accuracy, *self._look())
        self.reward_model.model.load_state_dict(self._best)
        self.reward_model.model.eval()

    def _step(self, batch: Sequence[tuple[Tokens, Tokens]]) -> tuple[float, float]:
        """Descend once; return loss and accuracy of the batch."""
        self.reward_model.model.train()
        device = self.reward_model.model.device
        # dropout draws from the global generator, which stays as it was
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed((1_000_003 * self.seed + self.iteration) % 2**63)
            rewards = self._rewards([row for side in zip(*batch, strict=True) for row in side])
        chosen, rejected = rewards.chunk(2)
        loss = bradley_terry_loss(chosen, rejected)
        set_learning_rate(self._optimizer, self.config.learning_rate_at(self.iteration))
        with numbered("step", self.iteration + 1):
            take_step(loss, self._optimizer, self._parameters, max_grad_norm=self.config.max_grad_norm)
        self.iteration += 1
        return float(loss.detach()), float((chosen > rejected).float().mean())

    def _rewards(self, rows: Sequence[Tokens]) -> torch.Tensor:
        """Return the rewards of a batch, in order; rows of about equal length go through the model together."""
        order, at_once = np.argsort([len(row) for row in rows], kind="stable"), self.config.rows_at_once
        parts = []
        with self._autocast():
            for start in range(0, len(rows), at_once):
                parts.append(self.reward_model.rewards([rows[k] for k in order[start : start + at_once]]))
        return torch.cat(parts)[torch.from_numpy(np.argsort(order))]

    def _autocast(self) -> torch.autocast:
        device = self.reward_model.model.device.type
        return torch.autocast(device, torch.bfloat16, enabled=self.dtype == "bfloat16")

    def _look(self) -> tuple[float | None, float | None]:
        """Return loss and accuracy on the validation pairs when it is time, and keep the best weights."""
        if self.iteration % self.config.check_every and self.iteration != self.config.num_steps:
            return None, None
        with self._autocast():
            chosen, rejected = (self.reward_model.score_tokens(side) for side in zip(*self._validation, strict=True))
        loss = float(np.logaddexp(0, rejected - chosen).mean())
        if loss < self.best_loss:
            self.best_loss, self._best = loss, self._weights()
        return loss, float((chosen > rejected).mean())

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: weight.detach().clone() for name, weight in self.reward_model.model.state_dict().items()}


def fit_linear(
    encoder: SentenceEncoder, train: Sequence[PreferencePair], validation: Sequence[PreferencePair]
) -> LinearRewardModel:
    """Return a linear head on a frozen encoder: logistic regression on differences of features, without intercept.

    The l2 penalty is the one of `L2_STRENGTHS` with the least loss on the validation pairs. Each difference is given
    with both signs and both labels, so that the fit is that of the Bradley-Terry loss.
    """
    with from_extra("encoders", need="fit_linear: expected scikit-learn"):
        from sklearn.linear_model import LogisticRegression  # slow to import
    if not train or not validation:
        raise ValueError(f"pairs: expected some to train on and to validate on, got {len(train)} and {len(validation)}")
    learnt, held_out = (_feature_differences(encoder, pairs) for pairs in (train, validation))
    signed, labels = np.concatenate([learnt, -learnt]), np.repeat([1, 0], len(learnt))
    fits = []
    for strength in L2_STRENGTHS:
        # Every pair counts twice in the fit, so half of the inverse is its weight beside |w|^2 / 2.
        regression = LogisticRegression(C=0.5 / strength, fit_intercept=False, max_iter=5000).fit(signed, labels)
        weights: NDArray[np.float64] = regression.coef_[0].astype(np.float64)
        fits.append((float(np.logaddexp(0, -held_out @ weights).mean()), weights))
    return LinearRewardModel(encoder, min(fits, key=lambda fit: fit[0])[1])


class RememberingEncoder:
    """A sentence encoder that encodes a text once, for heads that are fitted to several splits of the same pairs."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        """Take the encoder."""
        self._encoder, self._known = encoder, dict[str, NDArray[np.float32]]()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return a row for each text, (B, d)."""
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        if new:
            self._known |= dict(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._known[text] for text in texts])


def train_reward_model(config: RewardModelConfig, *, encoder: SentenceEncoder | None = None) -> Path:
    """Run or resume it; return the run's folder.

    Args:
        config: the options.
        encoder: what `config.encoder` names, where it is loaded already.
    """
    return train(config, partial(_training, encoder=encoder))


def _training(config: RewardModelConfig, *, encoder: SentenceEncoder | None) -> Training:
    split, vocabulary = _pairs(config)
    if config.encoder is None:
        trained = _start(config, split, vocabulary)
        learner = BradleyTerry(
            trained, split.train, split.validation, config.training, seed=config.seed, dtype=config.dtype
        )
        write = partial(_write, trained=trained, split=split, encoder=None)
        return Training(learner=learner, num_steps=config.training.num_steps, write=write)
    if encoder is None:
        encoder = RememberingEncoder(SentenceTransformerEncoder(config.encoder, device=config.device))
    head = fit_linear(encoder, split.train, split.validation)
    return Training(write=partial(_write, trained=head, split=split, encoder=config.encoder))


def _write(
    run: Run, *, trained: SequenceRewardModel | LinearRewardModel, split: PairSplit, encoder: str | None
) -> None:
    """Write the reward model, and what it is worth."""
    save = partial(save_reward_model, trained, encoder=encoder, reference=_mean(trained, split.validation))
    run.write_folder("model", save)
    write_report(run, report_on(trained, split), split)


def report_on(reward_model: RewardModel, split: PairSplit) -> PairReport:
    """Return what a reward model is worth on the test pairs; the rule on length is learnt on the training pairs."""
    chosen, rejected = map(reward_model.score, _conversations(split.test))
    prefers_longer = longer_is_preferred(*_lengths(split.train))
    return pair_report(chosen, rejected, *_lengths(split.test), prefers_longer=prefers_longer)


def write_report(run: Run, report: PairReport, split: PairSplit) -> None:
    """Write the report as Markdown, JSON and a plot."""
    sizes = f"{len(split.train)} pairs to learn from, {len(split.validation)} to choose by, {len(split.test)} to test"
    run.write_text("report.md", f"{sizes}\n\n{report.table()}")
    run.write_json("report.json", report)
    report.reliability.plot(run.folder / "reliability.png", title="Reward model on held-out pairs")


def _pairs(config: RewardModelConfig) -> tuple[PairSplit, Vocabulary | None]:
    """Return the pairs, and the vocabulary of the game that they were played in."""
    if config.data is not None:
        return _split(list(read_pairs(config.data, on_error=config.on_error)), config), None
    game = config.options.build(config.start, split="train", device=config.device)
    agent = load_model(config.start, game, device=config.device)
    rng = np.random.default_rng([config.seed, 2])
    pairs = oracle_pairs(game, agent, config.num_pairs, rng, temperature=config.temperature)
    return _split(pairs, config), game.vocabularies[1]


def _split(pairs: Sequence[PreferencePair], config: RewardModelConfig) -> PairSplit:
    if config.fold is None:
        return split_by_prompt(pairs, seed=config.seed)
    return split_by_prompt(pairs, seed=0, fold=config.fold)


def _start(config: RewardModelConfig, split: PairSplit, vocabulary: Vocabulary | None) -> SequenceRewardModel:
    """Return the untrained reward model: on a backbone, or from nothing."""
    if vocabulary is None:
        folder = next((folder for folder in (config.options.tokenizer, config.model) if folder is not None), None)
        texts = (turn.text for pair in split.train for turn in (*pair.dialogues[0].turns, pair.rejected))
        tokenizer = train_tokenizer(texts, vocab_size=config.vocab_size) if folder is None else load_tokenizer(folder)
        vocabulary = TokenizerVocabulary(tokenizer)
    if config.model is not None:
        return SequenceRewardModel.from_pretrained(
            config.model, vocabulary, device=config.device, max_length=config.max_length, seed=config.seed
        )
    model = SequenceRewardModel.micro(vocabulary, max_length=config.max_length, seed=config.seed)
    model.model.to(torch.device(config.device))
    return model


def _encoded(model: SequenceRewardModel, pairs: Sequence[PreferencePair]) -> list[tuple[Tokens, Tokens]]:
    chosen, rejected = ([model.encode(conversation) for conversation in side] for side in _conversations(pairs))
    return list(zip(chosen, rejected, strict=True))


def _feature_differences(encoder: SentenceEncoder, pairs: Sequence[PreferencePair]) -> NDArray[np.float64]:
    chosen, rejected = _conversations(pairs)
    features = reply_features(encoder, [*chosen, *rejected])
    return features[: len(pairs)] - features[len(pairs) :]


def _conversations(pairs: Sequence[PreferencePair]) -> tuple[list[Conversation], list[Conversation]]:
    """Return the prompts with the chosen and with the rejected replies."""
    chosen, rejected = ([pair.dialogues[side].turns for pair in pairs] for side in (0, 1))
    return list(chosen), list(rejected)


def _mean(reward_model: RewardModel, pairs: Sequence[PreferencePair]) -> float:
    """Return the mean reward of all replies of the pairs."""
    return float(np.mean([reward_model.score(side) for side in _conversations(pairs)]))


def _lengths(pairs: Sequence[PreferencePair]) -> tuple[list[float], list[float]]:
    """Return the characters of the chosen and of the rejected replies."""
    return [float(len(pair.chosen.text)) for pair in pairs], [float(len(pair.rejected.text)) for pair in pairs]
