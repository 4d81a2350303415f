"""What every training command shares: which game, which models, and the loop that records a run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

import torch
from tqdm import tqdm

from ..agents.judges import ClassifierJudge, SafetyTokenJudge
from ..agents.language_model import CausalLMAgent, DType
from ..agents.tokenizers import load_tokenizer
from ..envs import Demonstrated, LanguageGame, Vocabulary, make_game
from ..envs.games.red_team.base import RedTeamGame
from ..envs.games.red_team.verdicts import Judge
from ..envs.registry import game_factory, parse_option
from ..envs.tokenizer_vocabulary import TokenizerVocabulary
from .evaluate.costs import CostMeter, metered_game
from .reward_files import load_reward_judge
from .run import Record, Run, StateValue

StepT = TypeVar("StepT", bound=Record, covariant=True)
TrainedDType: TypeAlias = Literal["float32", "bfloat16"]
"""What weights are trained in; float16 would need its losses scaled."""


@dataclass(frozen=True, kw_only=True)
class GameOptions:
    """Which game is played; options that a game does not have are refused."""

    game: str = "red_team-v0"
    """The registered name; see `duologue games`."""
    requests: Path | None = None
    """A file of seed requests (CSV, JSONL or plain lines), for red_team_text-v0."""
    request_column: str | None = None
    """The column that holds a request's text."""
    label_column: str | None = None
    """The column that says whether it is harmful."""
    max_prompt_tokens: int | None = None
    """The longest prompt, for games that let it be chosen."""
    max_reply_tokens: int | None = None
    """The longest reply, likewise."""
    judge: Path | None = None
    """The folder of a judge model; None: the game's own oracle."""
    judge_kind: Literal["classifier", "safety_token", "reward_model"] = "classifier"
    """A sequence classifier of (prompt, reply), a guard model that answers "safe" or "unsafe", or a reward model."""
    judge_template: Path | None = None
    """A text file with {prompt} and {reply}: what a guard model is asked."""
    game_option: tuple[str, ...] = ()
    """Further options of the game as NAME=VALUE, such as intent=hidden; values are JSON or plain text."""
    tokenizer: Path | None = None
    """The folder of a tokenizer, for games over real text; None: that of the first model folder given."""

    def build(
        self, *model_folders: Path | None, split: str | None = None, meter: CostMeter | None = None
    ) -> LanguageGame[Any]:
        """Return the rules.

        Args:
            model_folders: where a tokenizer may lie if none was given.
            split: which of the requests to deal, for games that split them.
            meter: counts what is played by these rules, and what their judge model is asked.

        Raises:
            ValueError: no such game, or a folder that does not hold what it should.
            TypeError: an option that the game does not have.
        """
        names = ("requests", "request_column", "label_column", "max_prompt_tokens", "max_reply_tokens")
        options = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        options |= dict(parse_option(text) for text in self.game_option)
        known = inspect.signature(game_factory(self.game)).parameters
        if "vocabulary" in known:
            options["vocabulary"] = self._vocabulary(*model_folders)
        if self.judge is not None:
            judge = self._judge(options.get("vocabulary") or make_game(self.game, **options).vocabulary)
            options["judge"] = judge if meter is None else meter.judge(judge)
        if "split" in known and split is not None:
            options["split"] = split
        game = make_game(self.game, **options)
        return game if meter is None else metered_game(game, meter)

    def _judge(self, vocabulary: Vocabulary) -> Judge:
        assert self.judge is not None
        if self.judge_kind == "reward_model":
            return load_reward_judge(self.judge, vocabulary)
        if self.judge_kind == "classifier":
            return ClassifierJudge.from_folder(self.judge)
        if self.judge_template is None:
            raise ValueError(
                "judge_template: expected a text file with {prompt} and {reply} for a guard model, got none"
            )
        return SafetyTokenJudge.from_folder(self.judge, template=self.judge_template.read_text(encoding="utf-8"))

    def _vocabulary(self, *model_folders: Path | None) -> TokenizerVocabulary:
        folder = next((folder for folder in (self.tokenizer, *model_folders) if folder is not None), None)
        if folder is None:
            raise ValueError(f"{self.game}: expected the folder of a tokenizer or of a model with one, got none")
        return TokenizerVocabulary(load_tokenizer(folder))


def preamble_of(game: LanguageGame[Any]) -> int:
    """Return how many tokens of a briefing precede the request that static prompts consist of."""
    if isinstance(game, Demonstrated):
        return game.num_example_tokens + preamble_of(game.game)
    return game.num_preamble_tokens if isinstance(game, RedTeamGame) else 0


def load_model(
    folder: Path, game: LanguageGame[Any], *, device: str = "cpu", dtype: DType = "float32"
) -> CausalLMAgent:
    """Return the model of a folder as an agent of the game."""
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device: expected one that this machine has, got {device!r}")
    return CausalLMAgent.from_pretrained(folder, game.vocabulary, device=device, dtype=dtype)


def save_model(agent: CausalLMAgent, folder: Path) -> None:
    """Write an agent's model, with the tokenizer of real text beside it: a folder that the next command can take."""
    agent.save_pretrained(folder)
    if isinstance(agent.vocabulary, TokenizerVocabulary):
        agent.vocabulary.tokenizer.save_pretrained(folder)


class Learner(Protocol[StepT]):
    """A training loop that can be saved between two steps."""

    iteration: int

    def __iter__(self) -> Iterator[StepT]:
        """Yield after each step until the end."""
        ...

    def state_dict(self) -> dict[str, StateValue]:
        """Return all that the next step depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        ...


def recorded(learner: Learner[StepT], run: Run, *, num_steps: int, save_every: int) -> Iterator[StepT]:
    """Run a learner to its end from wherever the run was left: log each step, show progress, save the state.

    Whoever iterates may write into the run after a step; the state is saved once it asks for the next one, so that a
    run that was killed writes the same again.
    """
    run.restore(learner=learner)
    name = run.folder.name
    bar = tqdm(initial=learner.iteration, total=num_steps, desc=name, unit="step", dynamic_ncols=True, disable=None)
    with bar:
        for step in learner:
            run.log(step)
            bar.update()
            bar.set_postfix_str(progress_line(step), refresh=False)
            yield step
            if step.iteration % save_every == 0:
                run.save(step.iteration, learner=learner)


def progress_line(step: object) -> str:
    """Return the numbers that matter of a step, for a progress bar."""
    shown = {
        "loss_nats": "loss",
        "mean_return": "return",
        "defender_return": "defender's return",
        "stage": "",
        "round": "round",
    }
    parts = []
    for field, label in shown.items():
        value = getattr(step, field, None)
        if value is not None:
            parts.append(f"{label} {value:.3f}" if isinstance(value, float) else f"{label} {value}".strip())
    return ", ".join(parts)


def use_threads(num_threads: int) -> None:
    """Let torch use this many threads; 0 leaves its default. One thread gives the same result on any machine."""
    if num_threads:
        torch.set_num_threads(num_threads)
