"""What every training command asks for: where its run is kept, which game, which models."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias, TypeVar

import torch

from ...agents.judges.making import make_judge
from ...agents.judges.specs import parse_judge
from ...agents.language_model.adapters import NewAdapter, is_adapter
from ...agents.language_model.causal_lm import Attention, CausalLMAgent, DType
from ...agents.language_model.micro import micro_model
from ...agents.language_model.quantised import Bits
from ...agents.language_model.tokenizers import are_alike, has_tokenizer, load_tokenizer, load_vocabulary
from ...agents.loading import spoken_options
from ...agents.scripted import EchoAgent
from ...envs import Demonstrated, LanguageGame, Vocabulary, make_game
from ...envs.engine.contract import the_vocabulary
from ...envs.games.red_team_text.roles import Role
from ...envs.judging import Judge, RedTeamGame
from ...envs.printable import shown
from ...envs.registry import game_factory, parse_option
from ...envs.tokenizer_vocabulary import TokenizerVocabulary
from .checks import Count, Options, Rows, Seed, Threads, Whole, Width, check_model_size
from .costs import CostMeter, metered_game
from .presets import PRESETS, Preset, preset_of, require_fitting, usual, with_preset
from .roles import REWRITER, RoleOptions
from .run import Run

ModelT = TypeVar("ModelT", bound=torch.nn.Module)


def check_judge(name: str, text: str) -> str:
    """Return the option called `name`; raise ValueError unless it names judges."""
    if not isinstance(text, str):
        raise ValueError(f"{name}: expected text such as classifier:FOLDER, got {shown(text)}")
    parse_judge(text)
    return text


JudgeText: TypeAlias = Annotated[str, check_judge]
"""Judges by their text; see `duologue.agents.judges.specs`."""


TrainedDType: TypeAlias = Literal["float32", "bfloat16"]
"""What models are trained in; float16 would need its losses scaled."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(Options):
    """Where a run is kept, and what decides its luck."""

    algorithm: ClassVar[str] = ""
    """What is run: the name after `duologue train`, which the run's folder keeps."""
    length: ClassVar[str] = ""
    """The option that says how long a run is, if one may be lengthened: it goes on from its last state, and where the
    learning rate falls to the last planned update, it falls from there on to the new one."""
    shown: ClassVar[tuple[str, ...]] = ()
    """Files of the run that the command prints at its end."""
    out: Path = Path("runs/run")
    """The run's folder."""
    seed: Seed = 0
    """Decides random weights, deals, sampled tokens and minibatches."""
    save_every: Count = 20
    """Steps between two saved states."""
    num_threads: Threads = 0
    """Threads of torch; 0: its default."""

    def prepared(self) -> Self:
        """Return the options with whatever a run starts from made where it was not given; here nothing is."""
        return self

    def resolved(self) -> Self:
        """Return the options as the run's folder keeps them, with what follows from others filled in; here nothing."""
        return self


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(RunOptions):
    """The same of a run that trains language models, and what they are computed on."""

    device: str = "cpu"
    """Where the models are."""
    dtype: TrainedDType = "float32"
    """What models compute in. In bfloat16 a base under adapters has its weights in it, and a model that is trained as a
    whole keeps them in float32, since small steps would be rounded away."""
    preset: Preset | None = None
    """Which numbers hold where none is said: a micro model's, or a real one's with adapters or without; None: by what
    the model folders hold, see `duologue.baselines.training.presets`."""
    lora_rank: Whole = usual(0)
    """The rank of the adapters that are trained, on a base that stays as it is and that players share; 0: all weights
    are trained. A real model's: 8."""
    gradient_checkpointing: bool = False
    """Whether layers keep their inputs alone and are computed again for their gradients: less memory, more time."""
    attn_implementation: Attention | None = None
    """How attention is computed; None: as transformers has it for the model."""
    base_bits: Bits | None = None
    """What the weights of a base under adapters are rounded to, by bitsandbytes; None: they are not, but for an adapter
    that was trained on such a base, which is trained on as it was."""

    def resolved(self) -> Self:
        """Return the options with the numbers of the preset where none was said.

        Raises:
            ValueError: the preset is another than that of what is trained, adapters or all weights.
        """
        preset = preset_of(self) if self.preset is None else self.preset
        found = replace(with_preset(self, PRESETS[preset]), preset=preset)
        require_fitting(found)
        return found

    @property
    def compute_dtype(self) -> torch.dtype | None:
        """What autocast computes in where all weights are trained, in float32; None: in float32."""
        return None if self.dtype == "float32" else getattr(torch, self.dtype)

    def load(
        self,
        folder: Path,
        game: LanguageGame[Any],
        player: int | None = None,
        *,
        name: str,
        role: RoleOptions | None = None,
        seed: int | None = None,
    ) -> CausalLMAgent:
        """Return the model of a folder as it is to be trained: all of it, or an adapter on a base that players share.

        Args:
            folder: a model's, or an adapter's, which is trained on whatever the rank.
            game: the rules.
            player: whose seat it takes; None: any, as both share one vocabulary.
            name: whose it is, as "defender".
            role: how its tokens are drawn; None: as its folder says.
            seed: decides a new adapter; None: the run's.

        Raises:
            ValueError: it is no model of the game, or one of another tokenizer than the seat's.
        """
        vocabulary = the_vocabulary(game, f"model {folder}") if player is None else game.vocabularies[player]
        agent = self.load_as(folder, vocabulary, name=name, seed=seed, max_view_tokens=game.max_view_tokens)
        return agent if role is None else role.drawn(agent)

    def load_as(
        self, folder: Path, vocabulary: Vocabulary, *, name: str, seed: int | None = None, max_view_tokens: int = 0
    ) -> CausalLMAgent:
        """Return the same for a vocabulary, where there is no game."""
        require_device(self.device)
        rank, device = int(self.lora_rank), torch.device(self.device)
        adapter = NewAdapter(rank=rank, name=name, seed=self.seed if seed is None else seed) if rank else None
        adapted = adapter is not None or is_adapter(folder)
        agent = CausalLMAgent.from_pretrained(
            folder,
            vocabulary,
            device=self.device,
            dtype=self.dtype if adapted else "float32",
            max_view_tokens=max_view_tokens,
            adapter=adapter,
            attn_implementation=self.attn_implementation,
            base_bits=self.base_bits,
        )
        if not adapted:
            agent.compute_dtype = self.compute_dtype
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32
        agent.gradient_checkpointing = self.gradient_checkpointing
        return agent


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """The models that players start from."""

    player_0: Path | None = None
    """The folder of player 0's model; None: a micro model with random weights."""
    player_1: Path | None = None
    """The folder of player 1's model; None: a micro model with random weights."""
    hidden_size: Width = 32
    """Width of a micro model."""
    num_layers: Width = 1
    """Depth of a micro model."""
    num_heads: Width = 2
    """Attention heads of a micro model; they divide its width."""

    def __post_init__(self) -> None:
        """Check the sizes; raise ValueError where one is absurd."""
        super().__post_init__()
        check_model_size(hidden_size=self.hidden_size, num_layers=self.num_layers, num_heads=self.num_heads)

    def folder(self, player: int) -> Path | None:
        """Return the folder of a player's model; None where there is none."""
        return (self.player_0, self.player_1)[player]

    def make(self, game: LanguageGame[Any], player: int, seed: int, *, device: str = "cpu") -> CausalLMAgent:
        """Return the model that a player starts from; `seed` decides the weights of a micro model."""
        folder, vocabulary = self.folder(player), game.vocabularies[player]
        if folder is not None:
            return load_model(folder, game, player, device=device)
        model = micro_model(
            vocabulary,
            hidden_size=self.hidden_size,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            max_positions=max(8, game.max_view_tokens),
            seed=2 * seed + player,
        )
        return CausalLMAgent(placed(model, device), vocabulary)


@dataclass(frozen=True, kw_only=True)
class GameOptions(Options):
    """Which game is played; options that a game does not have are refused."""

    game: str = "red_team-v0"
    """The registered name; see `duologue games`."""
    requests: Path | None = None
    """A file of seed requests (CSV, TSV, JSON, JSON lines, Parquet, or .txt of plain lines), for red_team_text-v0."""
    request_column: str | None = None
    """The column that holds a request's text."""
    label_column: str | None = None
    """The column that says whether it is harmful."""
    max_prompt_tokens: Rows | None = None
    """The longest prompt, for games that let it be chosen."""
    max_reply_tokens: Rows | None = None
    """The longest reply, likewise."""
    judge: JudgeText | None = None
    """Who judges, as KIND:WHERE?OPTION=VALUE&...: classifier:FOLDER, guard:FOLDER, reward:FOLDER, encoder:FOLDER,
    python:FILE.py:FUNCTION, refusal, or several joined by +, which vote; None: the game's own oracle."""
    game_option: tuple[str, ...] = ()
    """Further options of the game as NAME=VALUE, such as intent=hidden; values are JSON or plain text."""
    tokenizer: Path | None = None
    """The folder of a tokenizer, for games over real text; None: each player's own model's."""
    spoken: Path | None = None
    """The folder of a chat model or of its tokenizer, in whose text a game of words is played, in English."""
    adversary_role: RoleOptions = REWRITER
    """What player 0 is told beside a request of red_team_text-v0, and how its tokens are drawn in any game."""
    defender_role: RoleOptions = field(default_factory=RoleOptions)
    """The same of player 1, which is asked the adversary's prompts."""

    @property
    def roles(self) -> tuple[RoleOptions, RoleOptions]:
        """The roles of player 0 and of player 1."""
        return self.adversary_role, self.defender_role

    def build(
        self,
        *model_folders: Path | None,
        seats: tuple[Path | None, Path | None] = (None, None),
        split: str | None = None,
        meter: CostMeter | None = None,
        device: str = "cpu",
        judged: bool = True,
    ) -> LanguageGame[Any]:
        """Return the rules, their judge loaded and tried.

        Args:
            model_folders: where a tokenizer may lie if none was given, and a seat has none.
            seats: the folders of player 0's model and of player 1's; each reads and speaks by its own tokenizer.
            split: which of the requests to deal, for games that split them.
            meter: counts what is played by these rules, and what their judge is asked.
            device: where the judge is, unless it says so itself.
            judged: whether they are played by, so that requests of one's own need a judge.

        Raises:
            ValueError: no such game, a folder that does not hold what it should, or no judge where one is needed.
            TypeError: an option that the game does not have.
        """
        names = ("requests", "request_column", "label_column", "max_prompt_tokens", "max_reply_tokens")
        options = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        options |= dict(parse_option(text) for text in self.game_option)
        known = inspect.signature(game_factory(self.game)).parameters
        if "vocabulary" in known:
            options["vocabulary"] = self._vocabularies(seats, *model_folders)
        options |= self._told(known) | spoken_options(self.spoken)
        if self.judge is not None:
            read = options.get("vocabulary") or make_game(self.game, **options).vocabulary
            judge = loaded_judge(self.judge, read[1] if isinstance(read, tuple) else read, device)
            options["judge"] = judge if meter is None else meter.judge(judge)
        elif judged and "request_column" in known and options.get("requests") is not None:
            raise ValueError(f"judge: expected one for the requests of {self.game}, such as refusal, got none")
        if "split" in known and split is not None:
            options["split"] = split
        game = make_game(self.game, **options)
        return game if meter is None else metered_game(game, meter)

    def _told(self, known: Collection[str]) -> dict[str, Role]:
        """Return the options of the game by which players are told their roles; a game without them refuses others."""
        names = ("adversary", "defender")
        if set(names) <= set(known):
            return {name: role.role() for name, role in zip(names, self.roles, strict=True)}
        for name, role, default in zip(names, self.roles, GameOptions().roles, strict=True):
            if (role.system, role.template) != (default.system, default.template):
                raise ValueError(f"{name}_role: expected no system prompt and no template for {self.game}, got {role}")
        return {}

    def _vocabularies(
        self, seats: tuple[Path | None, Path | None], *model_folders: Path | None
    ) -> TokenizerVocabulary | tuple[TokenizerVocabulary, TokenizerVocabulary]:
        """Return the vocabulary of the game, or of both seats where their models have two tokenizers."""
        own = [folder for folder in seats if folder is not None and has_tokenizer(folder)]
        folder = next((folder for folder in (self.tokenizer, *own, *model_folders) if folder is not None), None)
        if folder is None:
            raise ValueError(f"{self.game}: expected the folder of a tokenizer or of a model with one, got none")
        if self.tokenizer is not None or len(own) < len(seats) or own[0] == own[1]:
            return load_vocabulary(folder)
        first, second = (load_tokenizer(folder) for folder in own)
        vocabulary = TokenizerVocabulary(first)
        return vocabulary if are_alike(first, second) else (vocabulary, TokenizerVocabulary(second))


def loaded_judge(text: str, vocabulary: Vocabulary, device: str) -> Judge:
    """Return the judge that a text names, loaded and tried; ValueError where this machine lacks the device."""
    for spec in parse_judge(text):
        require_device(str(spec.options.get("device", device)))
    return make_judge(text, vocabulary, device=device)


def static_prompts(game: LanguageGame[Any]) -> EchoAgent:
    """Return who says each request as it was dealt: static prompts, RLHF's."""
    skip = 0
    while isinstance(game, Demonstrated):
        skip, game = skip + game.num_example_tokens, game.game
    return EchoAgent(skip=skip, request_in=game.request_in if isinstance(game, RedTeamGame) else None)


def load_model(
    folder: Path,
    game: LanguageGame[Any],
    player: int | None = None,
    *,
    role: RoleOptions | None = None,
    device: str = "cpu",
    dtype: DType = "float32",
) -> CausalLMAgent:
    """Return the model of a folder as an agent of the game.

    Args:
        folder: of the model.
        game: the rules.
        player: whose seat it takes; None: any, as both share one vocabulary.
        role: how its tokens are drawn; None: as its folder says.
        device: where it is to stand.
        dtype: the precision of its weights.

    Raises:
        ValueError: it is no such model, or one of another tokenizer than the seat's.
    """
    require_device(device)
    vocabulary = the_vocabulary(game, f"model {folder}") if player is None else game.vocabularies[player]
    agent = CausalLMAgent.from_pretrained(
        folder, vocabulary, device=device, dtype=dtype, max_view_tokens=game.max_view_tokens
    )
    return agent if role is None else role.drawn(agent)


def placed(model: ModelT, device: str) -> ModelT:
    """Return a model, moved to where it is trained."""
    require_device(device)
    return model.to(device=device)


def require_device(device: str) -> None:
    """Raise ValueError where this machine has no such device."""
    try:
        asked = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device: expected cpu, cuda, cuda:1 or the like, got {device!r}") from error
    here = torch.accelerator.current_accelerator(check_available=True)
    is_here = here is not None and asked.type == here.type and (asked.index or 0) < torch.accelerator.device_count()
    if asked.type != "cpu" and not is_here:
        known = "cpu" if here is None else f"cpu, {here.type} of {torch.accelerator.device_count()}"
        raise ValueError(f"device: expected one that this machine has ({known}), got {device!r}")


def leaves(**agents: CausalLMAgent) -> Callable[[Run], None]:
    """Return what writes each agent's model into a run's folder, in a folder of the name that it is given by."""

    def write(run: Run) -> None:
        for name, agent in agents.items():
            run.write_folder(name, partial(save_model, agent))

    return write


def save_model(agent: CausalLMAgent, folder: Path) -> None:
    """Write an agent's model, with the tokenizer of real text beside it: a folder that the next command can take."""
    agent.save_pretrained(folder)
    if isinstance(agent.vocabulary, TokenizerVocabulary):
        agent.vocabulary.tokenizer.save_pretrained(folder)
