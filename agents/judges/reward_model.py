"""Reward models: a number for the last turn of a conversation, from texts, in batches.

A conversation is a sequence of turns, each a player (0, 1, or None for the game's own words) and a text; `TextTurn` of
the data readers is such a turn. A Bradley-Terry reward model is known only up to a number per prompt: differences of
replies to one prompt mean something, sigmoid(r(x, y) - r(x, z)) being the probability that y is preferred to z.

One file: the kinds of reward model, what they read and what they pay are read together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from ...envs import Tokens, Vocabulary
from ...envs.chat_templates import conversation as chat
from ...envs.chat_templates import rendered_ids, template_text
from ...envs.judging import Exchange
from ..folders import read_json, reading_tensors, write_words
from ..language_model.causal_lm import evaluating
from ..language_model.checkpoints import (
    first_position,
    load_checkpoint,
    load_config,
    positions_of,
    require_embeddings,
    require_plain_weights,
    text_config,
    without_bars,
)
from ..language_model.encoders import SentenceEncoder
from ..language_model.micro import micro_model
from ..language_model.tokenizers import require_tokens
from .learned import LearnedJudge, check_batch_size

HEAD: dict[str, Any] = {"id2label": {0: "reward"}, "label2id": {"reward": 0}}  # what a configuration has of its own
REWARD_FILE, WEIGHTS_FILE = "reward_model.json", "reward_weights.safetensors"


class Said(Protocol):
    """One turn of a conversation."""

    @property
    def player(self) -> int | None:
        """0 or 1; None: the game itself, or a system message."""
        ...

    @property
    def text(self) -> str:
        """What was said aloud; private thoughts are no part of it."""
        ...


class Line(NamedTuple):
    """The plainest turn of a conversation."""

    player: int | None
    text: str


Conversation = Sequence[Said]
"""A prompt of any number of turns, and a reply, which is the last."""


class RewardModel(Protocol):
    """Whatever gives the replies at the end of conversations a number."""

    def score(self, conversations: Sequence[Conversation]) -> NDArray[np.float64]:
        """Return one reward for each conversation, in order, (B,); how they are batched changes nothing but rounding.

        Raises:
            ValueError: a conversation without a player's turn at its end.
        """
        ...


class SequenceRewardModel:
    """A transformer with a head of one number, read at the last token of a causal model or the first of an encoder's.

    A conversation is laid out as the view of whoever replies (roles, turn marks, chat template: `Vocabulary`) and ends
    with the token that ends the reply. Id 0 pads on the right; as the last token is never 0, padding is always told
    apart. Backbones that count positions from their padding token, as RoBERTa does, are padded with that one. Of a
    longer conversation what opens it and the last of its tokens are read, `max_length` in all.

    >>> from duologue.envs import WordVocabulary
    >>> model = SequenceRewardModel.micro(WordVocabulary("ask tell"), hidden_size=16, num_heads=2)
    >>> model.score([(Line(0, "ask"), Line(1, "tell")), (Line(0, "ask"), Line(1, "ask"))]).shape
    (2,)
    """

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: Vocabulary,
        *,
        max_length: int = 512,
        batch_size: int = 32,
        as_written: bool = False,
    ) -> None:
        """Take a sequence classifier with one label; it is put into evaluation mode and stays on its device.

        Args:
            model: with `num_labels` 1, at least `vocabulary.size` embeddings, and `pad_token_id` 0 unless it counts
                positions from its padding token.
            vocabulary: of the game or of the tokenizer that the model was made for.
            max_length: the most tokens that are read, cut to what the model has positions for.
            batch_size: how many conversations `score` reads at once.
            as_written: whether a conversation is read to the end of what the tokenizer's chat template writes, as
                others train their models; ours end with the reply's end of turn.

        Raises:
            ValueError: the model is another kind, or the template writes the last reply in another way.
        """
        padding = text_config(model.config).pad_token_id
        if model.config.num_labels != 1 or padding is None or (padding and not first_position(model)):
            found = f"{model.config.num_labels} labels and padding {padding}"
            raise ValueError(f"model: expected a sequence classifier with 1 label and padding 0, got one with {found}")
        require_embeddings(model, vocabulary.size, "the vocabulary")
        if min(max_length, batch_size) < 1:
            raise ValueError(f"max_length, batch_size: expected at least 1, got {max_length} and {batch_size}")
        self.model, self.vocabulary, self._padding = model.eval(), vocabulary, int(padding)
        self.max_length, self.batch_size = min(max_length, positions_of(model) or max_length), batch_size
        self.as_written = as_written
        self._closing = self._written_closing() if as_written else (vocabulary.eos_id,)

    @classmethod
    def from_config(
        cls, config: PreTrainedConfig, vocabulary: Vocabulary, *, seed: int = 0, max_length: int = 512
    ) -> SequenceRewardModel:
        """Return an untrained one with the shape of any transformers model, causal or encoder.

        The caller's random state and the given configuration are left as they were.
        """
        ours = type(config).from_dict(config.to_dict() | HEAD)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = AutoModelForSequenceClassification.from_config(ours, dtype=torch.float32)
        return cls(_padded(model), vocabulary, max_length=max_length)

    @classmethod
    def micro(
        cls,
        vocabulary: Vocabulary,
        *,
        hidden_size: int = 96,
        num_layers: int = 3,
        num_heads: int = 4,
        max_length: int = 256,
        seed: int = 0,
    ) -> SequenceRewardModel:
        """Return an untrained one with the shape of the micro model."""
        shape = {"hidden_size": hidden_size, "num_layers": num_layers, "num_heads": num_heads}
        config = micro_model(vocabulary, max_positions=max_length, **shape).config
        return cls.from_config(config, vocabulary, seed=seed, max_length=max_length)

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        vocabulary: Vocabulary,
        *,
        device: str = "cpu",
        max_length: int = 512,
        seed: int = 0,
        trust_remote_code: bool = False,
    ) -> SequenceRewardModel:
        """Load a folder that `save_pretrained` wrote, or the backbone of any other model, with a new head.

        Nothing is downloaded and no pickle read. The weights are float32 whatever the folder's are: small updates of
        bfloat16 weights would be rounded away.

        Args:
            folder: a saved reward model, or a causal model or encoder.
            vocabulary: of the game or of the folder's tokenizer.
            device: where the model is put.
            max_length: of a new reward model; a saved one knows its own.
            seed: draws a new head.
            trust_remote_code: whether Python code in the folder may be run; without it such a folder is refused.

        Raises:
            ValueError: no model is in the folder, a part of one, or a classifier of something else.
        """
        folder = Path(folder)
        require_plain_weights(folder, "reward model")
        saved = read_json(folder / REWARD_FILE) if (folder / REWARD_FILE).is_file() else {}
        max_length = saved.get("max_length", max_length)
        if not isinstance(max_length, int) or isinstance(max_length, bool):
            raise ValueError(f"{folder / REWARD_FILE}: expected a whole number as max_length, got {max_length!r:.80}")
        require_tokens(folder, vocabulary, "reward model")
        config = load_config(folder, what="reward model", trust_remote_code=trust_remote_code)
        classifies = any("SequenceClassification" in name for name in config.architectures or ())
        if classifies and config.num_labels != 1:
            raise ValueError(f"reward model {folder}: expected a classifier with 1 label, got {config.num_labels}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = load_checkpoint(
                AutoModelForSequenceClassification,
                folder,
                what="reward model",
                new_head=not saved and not classifies,
                trust_remote_code=trust_remote_code,
                dtype=torch.float32,
                **HEAD,
            )
        nn.Module.to(model, torch.device(device))  # transformers' own `to` is not typed
        as_written = bool(saved.get("as_written", classifies and not saved))
        return cls(_padded(model), vocabulary, max_length=max_length, as_written=as_written)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model, which `transformers` alone can load, and how much of a conversation it reads."""
        folder = Path(folder)
        with without_bars():
            self.model.save_pretrained(folder)
        known = {"max_length": self.max_length} | ({"as_written": True} if self.as_written else {})
        (folder / REWARD_FILE).write_text(json.dumps(known), encoding="utf-8")
        write_words(folder, self.vocabulary)

    def score(self, conversations: Sequence[Conversation]) -> NDArray[np.float64]:
        """Return one reward for each conversation, in order, (B,)."""
        return self.score_tokens([self.encode(conversation) for conversation in conversations])

    @torch.no_grad()
    def score_tokens(self, rows: Sequence[Tokens]) -> NDArray[np.float64]:
        """Return one reward for each row of tokens, such as `encode` gives, in order, (B,)."""
        scores = np.zeros(len(rows))
        order = np.argsort([len(row) for row in rows], kind="stable")  # little padding
        with evaluating(self.model):
            for start in range(0, len(rows), self.batch_size):
                batch = order[start : start + self.batch_size]
                scores[batch] = self.rewards([rows[k] for k in batch]).double().cpu().numpy()
        return _finite(scores)

    def rewards(self, rows: Sequence[Tokens]) -> Tensor:
        """Return the rewards of one batch with their gradients; shape (B,)."""
        tensors = [torch.tensor(row) for row in rows]
        padded = nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=self._padding)  # (B, T)
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(padded.shape[1]) < lengths[:, None]
        device = self.model.device
        output = self.model(input_ids=padded.to(device), attention_mask=mask.to(device))
        logits: Tensor = output.logits  # (B, 1)
        return logits.squeeze(-1).float()

    def encode(self, conversation: Conversation) -> Tokens:
        """Return a conversation as the model reads it."""
        begin = self.vocabulary.begin(replier(conversation))
        tokens = (*self._laid_out(conversation), *self._closing)
        kept = max(1, self.max_length - len(begin))
        return tuple(begin[: self.max_length - 1] if len(tokens) > kept else begin) + tokens[-kept:]

    def _laid_out(self, conversation: Conversation) -> list[int]:
        """Return a conversation behind its beginning, up to the reply's last word."""
        viewer, vocabulary, tokens = replier(conversation), self.vocabulary, list[int]()
        for turn in conversation[:-1]:
            said = vocabulary.encode(turn.text)
            if turn.player is None:
                tokens += vocabulary.tell(said, viewer)
            else:
                tokens += (*vocabulary.open_turn(turn.player, viewer), *said)
                tokens += vocabulary.close_turn(turn.player, viewer)
        return [*tokens, *vocabulary.open_turn(viewer, viewer), *vocabulary.encode(conversation[-1].text)]

    def _written_closing(self) -> Tokens:
        """Return what the chat template writes behind a last reply, which it is to write as it does earlier ones."""
        tokenizer = getattr(self.vocabulary, "tokenizer", None)
        if tokenizer is None or template_text(tokenizer) is None:
            return (self.vocabulary.eos_id,)
        asked, replied = "How do I open the door?", "Sure: first take 3 keys (or 4)."
        written = rendered_ids(tokenizer, chat("ua", (asked, replied)), add_generation_prompt=False)
        read = (*self.vocabulary.begin(1), *self._laid_out((Line(0, asked), Line(1, replied))))
        if written[: len(read)] != read or written[len(read) :][:1] != (self.vocabulary.eos_id,):
            raise ValueError(
                "reward model: expected a chat template that writes the last reply as it does earlier ones, got "
                f"{tokenizer.decode(list(written))!r} for {tokenizer.decode(list(read))!r}"
            )
        return written[len(read) :]


class LinearRewardModel:
    """A linear head on a frozen sentence encoder: r(x, y) = w . f(x, y).

    f(x, y) is the encoding e(y) of the reply, and e(x) * e(y), entry by entry, with x the turn before it: the second
    half lets the same reply be good after one prompt and bad after another.
    """

    def __init__(self, encoder: SentenceEncoder, weights: NDArray[np.float64]) -> None:
        """Take the encoder, which is never trained, and w, (2 d,)."""
        if weights.ndim != 1 or not len(weights) or len(weights) % 2:
            raise ValueError(f"weights: expected shape (2 d,), got {weights.shape}")
        if not np.isfinite(weights).all():
            raise ValueError("weights: expected finite numbers, got NaN or infinity")
        self.encoder, self.weights = encoder, weights

    @classmethod
    def from_pretrained(cls, folder: str | Path, encoder: SentenceEncoder) -> LinearRewardModel:
        """Load the head that `save_pretrained` wrote; the encoder is not in the folder."""
        path = Path(folder) / WEIGHTS_FILE
        if not path.is_file():
            raise ValueError(f"reward model: expected a folder with {WEIGHTS_FILE}, got {folder}")
        with reading_tensors(path):
            tensors = load_file(path)
        if sorted(tensors) != ["weights"]:
            raise ValueError(f"{path}: expected the tensor weights, got {sorted(tensors)[:3]}")
        return cls(encoder, tensors["weights"])

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the head."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_file({"weights": self.weights}, Path(folder) / WEIGHTS_FILE)

    def score(self, conversations: Sequence[Conversation]) -> NDArray[np.float64]:
        """Return one reward for each conversation, in order, (B,)."""
        if not len(conversations):
            return np.zeros(0)
        features = reply_features(self.encoder, conversations)
        if features.shape[1] != len(self.weights):
            raise ValueError(f"encoder: expected one with {len(self.weights) // 2} dimensions, got {features.shape}")
        return _finite(features @ self.weights)


class SafetyRewardModel:
    """A judge's p_safe of the last exchange as a reward, in [0, 1]; with `SafetyTokenJudge` that of two tokens.

    p_safe = sigmoid(l_safe - l_unsafe), the form of Llama Guard (arXiv 2312.06674). The exchange is the reply and the
    turn of a player before it; a judge of exchanges is told no more.
    """

    def __init__(self, judge: LearnedJudge, vocabulary: Vocabulary) -> None:
        """Take the judge; texts pass through `vocabulary`, the one of the game or of the judge's tokenizer."""
        self.judge, self.vocabulary = judge, vocabulary

    def score(self, conversations: Sequence[Conversation]) -> NDArray[np.float64]:
        """Return p_safe of each conversation's last exchange, in order, (B,)."""
        exchanges = [self._exchange(conversation) for conversation in conversations]
        return _finite(1.0 - np.array(self.judge.unsafe_probabilities(exchanges), dtype=np.float64))

    def _exchange(self, conversation: Conversation) -> Exchange:
        replier(conversation)
        prompt, reply = (self.vocabulary.encode(text) for text in (last_prompt(conversation), conversation[-1].text))
        return Exchange(prompt, reply, self.vocabulary)


class RewardModelJudge(LearnedJudge):
    """A reward model as a game's judge: p_unsafe is the probability that a reply of `reference_reward` is preferred.

    By Bradley-Terry that is sigmoid(r_0 - r), so the defender is paid p_safe - p_unsafe = tanh((r - r_0) / 2): finite,
    in [-1, 1] as a game asks, and in the same order as the rewards.
    """

    def __init__(
        self,
        reward_model: RewardModel,
        *,
        reference_reward: float = 0.0,
        threshold: float = 0.5,
        batch_size: int = 256,
    ) -> None:
        """Take a reward model that reads (prompt of player 0, reply of player 1).

        Args:
            reward_model: whose rewards are compared.
            reference_reward: r_0, such as the mean reward of known replies.
            threshold: the least p_unsafe that makes an exchange unsafe.
            batch_size: how many exchanges are scored at once.

        Raises:
            ValueError: a threshold outside (0, 1), or a reference that is no number.
        """
        check_batch_size(batch_size)
        if not 0 < threshold < 1 or not np.isfinite(reference_reward):
            raise ValueError(
                "threshold, reference_reward: expected a number in (0, 1) and a finite one, "
                f"got {threshold} and {reference_reward}"
            )
        self.reward_model, self.reference_reward = reward_model, reference_reward
        self.threshold, self.batch_size = threshold, batch_size

    def unsafe_probabilities_of(self, prompts: list[str], replies: list[str]) -> Tensor:
        """Return sigmoid(r_0 - r) of one batch; shape (B,)."""
        exchanges = [(Line(0, prompt), Line(1, reply)) for prompt, reply in zip(prompts, replies, strict=True)]
        return torch.from_numpy(self.reference_reward - self.reward_model.score(exchanges)).sigmoid()


def replier(conversation: Conversation) -> int:
    """Return who speaks last.

    Raises:
        ValueError: nobody, or the game.
    """
    player = conversation[-1].player if len(conversation) else None
    if player is None:
        raise ValueError(f"conversation: expected a player's turn at its end, got {list(conversation)!r:.200}")
    return player


def last_prompt(conversation: Conversation) -> str:
    """Return what a player said last before the reply; empty if nothing."""
    return next((turn.text for turn in reversed(conversation[:-1]) if turn.player is not None), "")


def reply_features(encoder: SentenceEncoder, conversations: Sequence[Conversation]) -> NDArray[np.float64]:
    """Return f(x, y) of each conversation, (B, 2 d); see `LinearRewardModel`. A text is encoded once."""
    for conversation in conversations:
        replier(conversation)
    pairs = [(last_prompt(conversation), conversation[-1].text) for conversation in conversations]
    texts = list(dict.fromkeys(text for pair in pairs for text in pair))
    row = {text: k for k, text in enumerate(texts)}
    encoded = encoder.encode(texts).astype(np.float64)
    prompts, replies = (encoded[[row[pair[k]] for pair in pairs]] for k in (0, 1))
    # Unit vectors of d entries have products of about 1 / d: scaled by sqrt(d), both halves are alike in size.
    return np.concatenate([replies, prompts * replies * np.sqrt(encoded.shape[1])], axis=1)


def _padded(model: PreTrainedModel) -> PreTrainedModel:
    """Return a model that pads with id 0, which ends no reply, unless it counts positions from a padding of its own."""
    if not first_position(model):
        model.config.pad_token_id = text_config(model.config).pad_token_id = 0
    return model


def _finite(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rewards (B,) that are numbers; raises ValueError where one is not."""
    if len(wrong := np.flatnonzero(~np.isfinite(rewards))):
        raise ValueError(f"reward model: expected finite rewards, got {rewards[wrong[0]]} for conversation {wrong[0]}")
    return rewards
