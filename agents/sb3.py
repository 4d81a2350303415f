"""Policies of Stable-Baselines3 as agents, and the features that theirs read in place of token numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from typing_extensions import override

from ..envs import Ending, Observation, Utterance, View, Vocabulary
from ..envs.extras import from_extra
from ..envs.vocabulary import PAD
from .folders import SB3_CONFIG_FILE, checked_words, models_in, read_json, reading_tensors, require_words, words_of
from .language_model.causal_lm import evaluating
from .language_model.sampling import draw, require_numbers
from .weights import require_finite

with from_extra("sb3", need="SB3Agent: expected stable-baselines3 and sb3-contrib"):
    from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy, MaskableMultiInputActorCriticPolicy
    from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

SB3Policy: TypeAlias = ActorCriticPolicy | MaskableActorCriticPolicy
"""What PPO and A2C, or MaskablePPO, call `model.policy`."""

WEIGHTS_FILE = "policy.safetensors"
SIZES = ("vocabulary_size", "max_view_tokens", "embedding_size")


class SB3Agent:
    """Speaks with a policy of Stable-Baselines3, token by token; batched over views.

    Only legal tokens are said: the distribution of PPO and A2C, who know no masks, is renormalised over them. The
    policy is held, not copied: while it learns, so does the agent (`snapshot` stays as it is).
    """

    def __init__(
        self, policy: SB3Policy, vocabulary: Vocabulary, *, game: str | None = None, players: Sequence[int] = ()
    ) -> None:
        """Take the policy of a trained model: `SB3Agent(model.policy, game.vocabulary)`.

        Args:
            policy: of PPO, A2C or MaskablePPO.
            vocabulary: the tokens of the game.
            game: the name of the game that it was trained in, which is saved and shown.
            players: the seats that it was trained in, likewise.

        Raises:
            ValueError: the policy was made for another vocabulary or for other observations, or it has no distribution
                over tokens, as those of DQN, or a memory, as recurrent ones.
        """
        _require_distribution(policy)
        self.max_view_tokens, size = _lengths(policy.observation_space, "policy's observation_space")
        if size != vocabulary.size:
            raise ValueError(f"policy: expected one for a vocabulary of {vocabulary.size} tokens, got one for {size}")
        actions = policy.action_space
        if not isinstance(actions, spaces.Discrete) or (int(actions.n), int(actions.start)) != (size, 0):
            raise ValueError(f"policy: expected one that chooses among {size} tokens, got one with actions {actions}")
        self.policy, self.vocabulary = policy, vocabulary
        self.game, self.players = game, tuple(players)

    def __repr__(self) -> str:
        """Return where it was trained, as far as that is known."""
        return f"SB3Agent({_origin(self.game, self.players) or type(self.policy).__name__})"

    @classmethod
    def from_pretrained(cls, folder: str | Path, vocabulary: Vocabulary) -> SB3Agent:
        """Load a folder written by `save_pretrained`; nothing in it is run.

        Raises:
            ValueError: it is no such folder, it is damaged, or the game has other words than those it was saved with.
        """
        folder = Path(folder)
        if not (folder / SB3_CONFIG_FILE).is_file():
            raise ValueError(
                f"SB3 policy: expected a folder with a {SB3_CONFIG_FILE}, got {folder}{models_in(folder)}; a zip of "
                "Stable-Baselines3 is a pickle, which can run anything when it is read: load it with its own class, as "
                "in MaskablePPO.load(...), and give its policy to SB3Agent"
            )
        config = read_json(folder / SB3_CONFIG_FILE)
        game, players, words = config.pop("game", None), config.pop("players", []), config.pop("words", None)
        words = checked_words(words, folder / SB3_CONFIG_FILE)
        if not (game is None or isinstance(game, str)) or not isinstance(players, list):
            found = f"{game!r:.80} and {players!r:.80}"
            raise ValueError(f"{folder / SB3_CONFIG_FILE}: expected a game's name and a list of players, got {found}")
        _require_sizes(folder / SB3_CONFIG_FILE, config)
        what = f"policy {folder} ({_origin(game, players)})" if game else f"policy {folder}"
        require_words(what, words, vocabulary)
        if not (folder / WEIGHTS_FILE).is_file():
            raise ValueError(f"policy {folder}: expected a folder with {WEIGHTS_FILE}, got one without")
        _require_weights(folder / WEIGHTS_FILE, config)
        policy = _build(**config)
        try:
            with reading_tensors(folder / WEIGHTS_FILE):
                load_model(policy, folder / WEIGHTS_FILE)
        except RuntimeError as error:  # names and sizes
            said = " ".join(str(error).split())
            raise ValueError(f"{folder / WEIGHTS_FILE}: expected the weights of the policy, got {said:.300}") from error
        require_finite(policy.state_dict(), str(folder / WEIGHTS_FILE))
        return cls(policy.eval(), vocabulary, game=game, players=players)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the policy's weights and sizes, the game's words, and where it was trained.

        Raises:
            ValueError: a policy that is not made as `duologue train sb3` makes them, which could not be loaded.
        """
        folder, policy = Path(folder), self.policy
        known = (MultiInputActorCriticPolicy, MaskableMultiInputActorCriticPolicy)
        extractor = policy.features_extractor
        plain = type(policy) in known and type(extractor) is TokenFeatures and policy.activation_fn is nn.Tanh
        if not plain or not policy.share_features_extractor or not isinstance(policy.net_arch, list):
            raise ValueError(
                "save_pretrained: expected a MultiInputPolicy with one TokenFeatures, tanh and a list as net_arch, got "
                f"{type(policy).__name__} with {type(extractor).__name__}; model.save keeps any policy"
            )
        assert isinstance(extractor, TokenFeatures)
        config = {
            "maskable": isinstance(policy, MaskableActorCriticPolicy),
            "vocabulary_size": self.vocabulary.size,
            "max_view_tokens": self.max_view_tokens,
            "embedding_size": extractor.embedding.embedding_dim,
            "net_arch": policy.net_arch,
            "words": words_of(self.vocabulary),
            "game": self.game,
            "players": self.players,
        }
        folder.mkdir(parents=True, exist_ok=True)
        save_model(policy, str(folder / WEIGHTS_FILE))
        (folder / SB3_CONFIG_FILE).write_text(json.dumps(config), encoding="utf-8")

    def snapshot(self) -> SB3Agent:
        """Return an agent that stays as this one is now."""
        with torch.random.fork_rng(devices=[]):  # first weights, which are replaced, are drawn from torch's generator
            policy = type(self.policy)(**self.policy._get_constructor_parameters())
        policy.load_state_dict(self.policy.state_dict())
        frozen = policy.to(self.policy.device).eval().requires_grad_(False)
        return SB3Agent(frozen, self.vocabulary, game=self.game, players=self.players)

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Sample one turn for each view, in one batch; a row leaves it once its turn has ended."""
        tokens: list[list[int]] = [[] for _ in views]
        logprobs: list[list[float]] = [[] for _ in views]
        masks = {row: view.legal_mask(()) for row, view in enumerate(views)}
        while masks:
            told = [np.concatenate([views[row].tokens, np.array(tokens[row], dtype=np.int64)]) for row in masks]
            drawn, drawn_logprobs = draw(self._legal_logits(told, list(masks.values())), rng)
            for row, token, logprob in zip(masks, drawn.tolist(), drawn_logprobs.tolist(), strict=True):
                tokens[row].append(token)
                logprobs[row].append(logprob)
            after = {row: views[row].legal_mask(tuple(tokens[row])) for row in masks}
            masks = {row: mask for row, mask in after.items() if mask.any()}
        return [
            Utterance(tuple(said), tuple(logs), _ending(view, said))
            for view, said, logs in zip(views, tokens, logprobs, strict=True)
        ]

    def act(self, observation: Observation, rng: np.random.Generator) -> int:
        """Return one legal token for an AEC observation."""
        logits = self._legal_logits([observation["observation"]], [observation["action_mask"]])
        return int(draw(logits, rng)[0])

    def token_probabilities(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """Return the distribution of its next token at each observation, 0 where it is not legal; shape (N, V)."""
        if not observations:
            return np.zeros((0, self.vocabulary.size))
        logits = self._legal_logits(
            [observation["observation"] for observation in observations],
            [observation["action_mask"] for observation in observations],
        )
        probabilities: NDArray[np.float64] = logits.softmax(-1).numpy()
        require_numbers(torch.from_numpy(probabilities), "logits")
        return probabilities

    @torch.no_grad()
    def _legal_logits(self, told: Sequence[NDArray[np.int64]], masks: Sequence[NDArray[np.int8]]) -> Tensor:
        """Return the logits of views, padded or not, -inf where a token is not legal; (N, V), float64."""
        padded = np.zeros((len(told), self.max_view_tokens), dtype=np.int64)
        for row, tokens in zip(padded, told, strict=True):
            if len(tokens) > self.max_view_tokens:
                raise ValueError(f"view: expected at most {self.max_view_tokens} tokens, got {len(tokens)}")
            row[: len(tokens)] = tokens
        legal = np.stack(masks)
        observed, _ = self.policy.obs_to_tensor({"observation": padded, "action_mask": legal})
        unlike = "policy: expected finite logits, got NaN; are its weights finite?"
        try:
            with evaluating(self.policy):
                distribution = self.policy.get_distribution(observed).distribution
        except ValueError as error:  # torch's check of its parameters, which lists them
            raise ValueError(unlike) from error
        assert isinstance(distribution, torch.distributions.Categorical)
        logits = distribution.logits.cpu().double()
        if logits.isnan().any():  # other libraries switch torch's check off, for all
            raise ValueError(unlike)
        return logits.masked_fill_(torch.from_numpy(legal == 0), -torch.inf)


def _require_distribution(policy: object) -> None:
    """Refuse what states no distribution of its next token from what it sees alone."""
    kind, expected = type(policy).__name__, "policy: expected that of PPO, A2C or MaskablePPO"
    if not isinstance(policy, ActorCriticPolicy | MaskableActorCriticPolicy):
        raise ValueError(f"{expected}, which states the probabilities of actions, got {kind}")
    if hasattr(policy, "lstm_actor"):
        raise ValueError(f"{expected}, got {kind}, whose memory of the episode so far an agent does not keep")


def _require_sizes(path: Path, config: dict[str, Any]) -> None:
    """Check what a policy's JSON says of its network."""
    sizes, layers = [config.get(name) for name in SIZES], config.get("net_arch")
    whole = isinstance(layers, list) and all(type(size) is int and size > 0 for size in (*sizes, *layers))
    if not whole or type(config.get("maskable")) is not bool or len(config) > len(SIZES) + 2:
        raise ValueError(
            f"{path}: expected maskable, true or false, {', '.join(SIZES)}, whole numbers > 0, and net_arch, a list of "
            f"such, got {config!r:.200}"
        )


def _require_weights(path: Path, config: dict[str, Any]) -> None:
    """Refuse to build a network of sizes that the weights do not have: the JSON may ask for terabytes."""
    with reading_tensors(path), safe_open(path, "numpy") as file:
        shapes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118  no mapping
    width = config["max_view_tokens"] * config["embedding_size"]
    asked = {config["vocabulary_size"], config["embedding_size"], width, *config["net_arch"]}
    found = {size for shape in shapes for size in shape}
    if not asked <= found or len(config["net_arch"]) > len(shapes):
        raise ValueError(
            f"{path}: expected weights of the sizes that {SB3_CONFIG_FILE} gives, got none of {sorted(asked - found)}"
        )


def _build(
    *, maskable: bool, vocabulary_size: int, max_view_tokens: int, embedding_size: int, net_arch: list[int]
) -> SB3Policy:
    """Return a fresh policy; torch's own generator, which draws its first weights, is left as it was."""
    view = spaces.Box(0, vocabulary_size - 1, (max_view_tokens,), np.int64)
    space = spaces.Dict({"observation": view, "action_mask": spaces.Box(0, 1, (vocabulary_size,), np.int8)})
    make = MaskableMultiInputActorCriticPolicy if maskable else MultiInputActorCriticPolicy
    with torch.random.fork_rng(devices=[]):
        return make(
            space,
            spaces.Discrete(vocabulary_size),
            lambda _: 0.0,
            net_arch=net_arch,
            features_extractor_class=TokenFeatures,
            features_extractor_kwargs={"embedding_size": embedding_size},
        )


def _origin(game: str | None, players: Sequence[int]) -> str:
    """Return "player 1 of bluff-v0"; empty if the game is not known."""
    seats = " and ".join(map(str, players))
    return f"player {seats} of {game}" if game and seats else game or ""


def _ending(view: View, tokens: Sequence[int]) -> Ending:
    return Ending.END_OF_TURN if tokens[-1] == view.vocabulary.eos_id else Ending.TOO_LONG


class TokenFeatures(BaseFeaturesExtractor):
    """Embeds the tokens of a view and lays the embeddings side by side; padding is zeros, and the mask is not read.

    A linear layer behind it sees which token stands at which place, which small games are learnt from in fewer steps
    than from a transformer or a mean over tokens; the number of weights grows with the longest view.

    >>> from duologue.envs import SinglePlayerEnv, make_game
    >>> TokenFeatures(SinglePlayerEnv(make_game("bluff-v0")).observation_space, embedding_size=4).features_dim
    40
    """

    def __init__(self, observation_space: spaces.Space[object], *, embedding_size: int = 32) -> None:
        """Take the space of a `SinglePlayerEnv`.

        Raises:
            ValueError: another space, or a size below 1.
        """
        length, size = _lengths(observation_space, "observation_space")
        if embedding_size < 1:
            raise ValueError(f"embedding_size: expected at least 1, got {embedding_size}")
        super().__init__(observation_space, features_dim=length * embedding_size)
        self.embedding = nn.Embedding(size, embedding_size, padding_idx=PAD)

    @override
    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        """Return the features (B, L * E) of tokens (B, L), which Stable-Baselines3 hands over as floats."""
        embedded: Tensor = self.embedding(observations["observation"].to(torch.int64))
        return embedded.flatten(1)


def _lengths(space: spaces.Space[Any], name: str) -> tuple[int, int]:
    """Return the longest view and the size of the vocabulary."""
    parts = space.spaces if isinstance(space, spaces.Dict) else {}
    shapes = {name: part.shape or () for name, part in parts.items()}
    if sorted(shapes) != ["action_mask", "observation"] or any(len(shape) != 1 for shape in shapes.values()):
        raise ValueError(f"{name}: expected Dict(action_mask, observation), got {space}")
    return shapes["observation"][0], shapes["action_mask"][0]
