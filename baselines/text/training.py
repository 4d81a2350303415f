"""Pre-training (eq. 7) and fine-tuning (eq. 8) of a causal language model on text dialogues, in one command.

Equation 7 of arXiv 2402.08078, section 4, clones the average player two from every token; equation 8 clones the ideal
player two from its own tokens alone. Of preference pairs the first stage reads both replies and the second the
preferred one. Batches are packed rows (`packing.py`); what is held out is measured before and after each stage,
against a bigram model of the same tokens (`bigram.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ...agents.language_model.causal_lm import Attention
from ...agents.language_model.tokenizers import load_tokenizer
from ...envs.tokenizer_vocabulary import TokenizerVocabulary
from ..training.distributed import Processes, processes_on
from ..training.loop import recorded, use_threads
from ..training.run import FINISHED_FILE, STATE_FOLDER, Run
from ..training.state import read_state
from ..training.stopping import heeding_stops
from .bigram import Bigram
from .causal_models import FLASH, add_lora, load_causal_model, new_model, save_causal_model
from .cloning import StageData, TextTraining, TextTrainingConfig, TextTrainingStep
from .corpora import TextSource, new_tokenizer
from .packing import LeftOut, check_isolation, encode_corpus

MODEL_FOLDER, TOKENIZER_FOLDER, RESULTS_FILE = "model", "tokenizer", "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What a stage came to, on dialogues that were held out."""

    stage: str
    perplexity_before: float
    """exp of the mean negative log-likelihood of a cloned token, before the stage."""
    perplexity_after: float
    bigram_perplexity: float
    """Of a bigram model fitted to the same tokens as the stage."""
    num_train_tokens: int
    """Cloned tokens of one pass."""
    num_heldout_tokens: int
    """Cloned tokens that were measured."""
    train_left_out: LeftOut
    heldout_left_out: LeftOut


def train_text(config: TextTrainingConfig) -> Path:
    """Run or resume it; return the run's folder."""
    use_threads(config.num_threads)
    processes = processes_on(config.device)
    run = Run.open(config.out, config, name=config.algorithm) if processes.rank == 0 else None
    with nullcontext() if run is None else run:
        processes.wait()
        if not (config.out / FINISHED_FILE).is_file():
            _train(config, run, processes)
    processes.wait()
    return config.out


def _train(config: TextTrainingConfig, run: Run | None, processes: Processes) -> None:
    """Train through all stages; the main process, which has the run, writes a model after each."""
    tokenizer = _tokenizer(config, run, processes)
    data = _stage_data(config, TokenizerVocabulary(tokenizer))
    learner = TextTraining(_model(config, tokenizer, processes.device), data, config, processes)
    for step in _recorded(learner, config, run):
        if run is not None and learner.ends_stage(step):
            last = step.stage == list(config.stages)[-1]
            save = partial(save_causal_model, learner.model, tokenizer)
            run.write_folder(MODEL_FOLDER if last else step.stage, save)
    if run is not None:
        run.write_json(RESULTS_FILE, {"stages": stage_results(learner, len(tokenizer))})
        run.finish()


def stage_results(learner: TextTraining, vocabulary_size: int) -> list[StageResult]:
    """Return what each stage came to, once all have ended."""
    results = []
    for number, (name, stage) in enumerate(learner.config.stages.items()):
        data = learner.data[name]
        bigram = Bigram(data.train, tokens_of=stage.tokens_of, vocabulary_size=vocabulary_size)
        results.append(
            StageResult(
                stage=name,
                perplexity_before=math.exp(learner.heldout_nats[2 * number]),
                perplexity_after=math.exp(learner.heldout_nats[2 * number + 1]),
                bigram_perplexity=math.exp(bigram.nats(data.heldout)),
                num_train_tokens=int(data.train.loss_mask(stage.tokens_of).sum()),
                num_heldout_tokens=int(data.heldout.loss_mask(stage.tokens_of).sum()),
                train_left_out=data.train.left_out,
                heldout_left_out=data.heldout.left_out,
            )
        )
    return results


def _recorded(learner: TextTraining, config: TextTrainingConfig, run: Run | None) -> Iterator[TextTrainingStep]:
    """Iterate over a learner: the main process records, the others start where it does."""
    if run is not None:
        num_steps = sum(stage.num_steps for stage in config.stages.values())
        yield from recorded(learner, run, num_steps=num_steps, save_every=config.save_every)
        return
    state = read_state(config.out / STATE_FOLDER)
    if state is not None:
        learner.load_state_dict(state["parts"]["learner"])
    with heeding_stops(config.algorithm) as stop:  # the main process needs this one until the step's end
        for step in learner:
            yield step
            stop.heed("the main process saves")


def _source(config: TextTrainingConfig) -> TextSource:
    return TextSource(
        paths=config.data,
        format=config.data_format,
        on_error=config.on_error,
        heldout_share=config.heldout_share,
        seed=config.seed,
    )


def _tokenizer(config: TextTrainingConfig, run: Run | None, processes: Processes) -> PreTrainedTokenizerBase:
    """Return the tokenizer that was given, the model's, or a new one, which the main process writes for all."""
    given = config.tokenizer if config.tokenizer is not None else config.model
    folder = config.out / TOKENIZER_FOLDER if given is None else given
    if given is None and run is not None and not folder.is_dir():
        dialogues = _source(config).dialogues("both", heldout=False)
        run.write_folder(TOKENIZER_FOLDER, new_tokenizer(dialogues, vocab_size=config.vocab_size).save_pretrained)
    processes.wait()
    return load_tokenizer(folder, trust_remote_code=config.trust_remote_code and given is not None)


def _stage_data(config: TextTrainingConfig, vocabulary: TokenizerVocabulary) -> dict[str, StageData]:
    source = _source(config)
    return {
        name: StageData(
            *(
                encode_corpus(
                    source.dialogues(stage.replies, heldout=heldout), vocabulary, max_tokens=config.max_row_tokens
                )
                for heldout in (False, True)
            )
        )
        for name, stage in config.stages.items()
    }


def _model(config: TextTrainingConfig, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> nn.Module:
    width, attention = config.max_row_tokens, config.attn_implementation
    model: PreTrainedModel
    if config.model is None:
        model = new_model(tokenizer, config.size, max_positions=width, seed=config.seed, attn_implementation=attention)
    else:
        model = load_causal_model(
            config.model,
            tokenizer,
            max_positions=width,
            attn_implementation=attention,
            trust_remote_code=config.trust_remote_code,
        )
    nn.Module.to(model, device)  # transformers' own `to` is not typed
    if config.pack:
        _check_isolation(model, attention)
    if config.gradient_checkpointing:
        # transformers 5 renamed it on the way
        enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
        enable({"use_reentrant": False})
    return add_lora(model, rank=config.lora_rank, seed=config.seed) if config.lora_rank else model


def _check_isolation(model: PreTrainedModel, attention: Attention) -> None:
    """Check it in the precision that the attention has: flash attention knows no float32, and bfloat16 rounds more."""
    with torch.autocast(model.device.type, torch.bfloat16, enabled=attention == FLASH):
        check_isolation(model, tolerance=3e-2 if attention == FLASH else 1e-3)
