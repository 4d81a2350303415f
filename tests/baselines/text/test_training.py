"""The command `duologue train text`, on dialogues that a few lines of Python write."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from duologue.agents.language_model.causal_lm import Attention
from duologue.agents.language_model.tokenizers import load_tokenizer
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.text.causal_models import ModelSize, new_model
from duologue.baselines.text.cloning import StageConfig, StageData, TextTraining, TextTrainingConfig, one_row_logits
from duologue.baselines.text.corpora import TextSource, new_tokenizer
from duologue.baselines.text.packing import TokenCorpus, encode_corpus, epoch_rows, next_token_logits, pack
from duologue.baselines.text.training import stage_results, train_text
from duologue.baselines.training.distributed import OneProcess
from duologue.baselines.training.run import read_metrics
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary

ATTENTIONS: tuple[Attention, ...] = get_args(Attention)
TINY = ModelSize(hidden_size=32, num_layers=2, num_heads=2)
NAMES = "anna ben carla david emma felix greta hugo ida jonas".split()
THINGS = "apples pears plums figs dates limes".split()


def write_dialogues(path: Path, num_dialogues: int = 300, *, thoughts: bool = False) -> Path:
    """Write what a bigram model cannot tell: the answer repeats what stood ten words before."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(num_dialogues):
            name, thing, count = rng.choice(NAMES), rng.choice(THINGS), rng.integers(2, 9)
            question = f"{name} has {count} {thing} in basket {number}. who has {thing}?"
            answer = {"role": "assistant", "content": f"it is {name} who has {count} {thing}."}
            if thoughts:
                answer["reasoning_content"] = f"{thing} {name}"
            messages = [{"role": "user", "content": question}, answer]
            file.write(json.dumps({"messages": messages}) + "\n")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of three hundred dialogues."""
    return write_dialogues(tmp_path_factory.mktemp("text") / "dialogues.jsonl")


def config_of(data: Path, out: Path, *, steps: tuple[int, int] = (4, 3)) -> TextTrainingConfig:
    """Return a run that takes a second."""
    return TextTrainingConfig(
        data=(data,),
        out=out,
        vocab_size=400,
        size=TINY,
        pretrain=StageConfig(tokens_of="all", replies="both", num_steps=steps[0], learning_rate=1e-2, warmup_steps=2),
        sft=StageConfig(tokens_of="player_1", replies="chosen", num_steps=steps[1], learning_rate=5e-3, warmup_steps=2),
        max_row_tokens=128,
        num_threads=1,
    )


def numbers(folder: Path, name: str) -> list[float]:
    """Return what a run logged under a name."""
    return [float(str(record[name])) for record in read_metrics(folder)]


def losses(folder: Path) -> list[float]:
    """Return the losses of a run."""
    return numbers(folder, "loss_nats")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a run's model."""
    return load_file(folder / "model" / "model.safetensors")


def assert_equal_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], *, atol: float = 0) -> None:
    """Check that two models have the same weights."""
    assert one.keys() == other.keys()
    for name, weight in one.items():
        torch.testing.assert_close(weight, other[name], atol=atol, rtol=0)


def test_training_beats_the_bigram_and_leaves_what_transformers_alone_loads(data: Path, tmp_path: Path) -> None:
    """The answer repeats name, number and thing of the question, which attention finds and a bigram cannot."""
    folder = train_text(config_of(data, tmp_path / "run", steps=(80, 30))) / "model"
    stages = json.loads((folder.parent / "results.json").read_text())["stages"]
    assert [stage["stage"] for stage in stages] == ["pretrain", "sft"]
    for stage in stages:
        assert stage["perplexity_after"] < stage["bigram_perplexity"] < 100
    assert stages[0]["perplexity_before"] == pytest.approx(400, rel=0.1)  # a new model is nearly uniform
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.vocab_size == len(tokenizer) == 400
    assert not list(tmp_path.rglob("*.bin")) + list(tmp_path.rglob("*.pt"))


def test_a_stopped_run_goes_on_bit_for_bit(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in either stage and between them, it ends with the weights and losses of a run that was not."""
    config = replace(config_of(data, tmp_path / "whole", steps=(6, 6)), save_every=2)
    train_text(config)
    stopped = replace(config, out=tmp_path / "stopped")
    step = TextTraining._step
    for last in (3, 6, 9):

        def stop(self: TextTraining, stage: str, last: int = last) -> object:
            if self.iteration == last:
                raise KeyboardInterrupt
            return step(self, stage)

        with monkeypatch.context() as patch:
            patch.setattr(TextTraining, "_step", stop)
            with pytest.raises(KeyboardInterrupt):
                train_text(stopped)
    train_text(stopped)
    assert losses(stopped.out) == losses(config.out)
    assert_equal_weights(weights(stopped.out), weights(config.out))
    assert (stopped.out / "results.json").read_text() == (config.out / "results.json").read_text()


@pytest.mark.parametrize("change", [{"rows_at_once": 3}, {"gradient_checkpointing": True}])
def test_memory_can_be_saved_at_no_change_of_the_losses(change: dict[str, Any], data: Path, tmp_path: Path) -> None:
    """Accumulated gradients, recomputed activations: the same mean over the same tokens, up to rounding."""
    base = config_of(data, tmp_path / "base", steps=(3, 0))
    other = replace(base, out=tmp_path / "other", **change)
    train_text(base)
    train_text(other)
    assert losses(other.out) == pytest.approx(losses(base.out), abs=1e-5)


def test_a_row_for_each_dialogue_learns_too_from_fewer_tokens_a_step(data: Path, tmp_path: Path) -> None:
    """For models that cannot keep packed dialogues apart; about three of these dialogues share a row otherwise."""
    packed = config_of(data, tmp_path / "packed", steps=(3, 0))
    alone = replace(packed, out=tmp_path / "alone", pack=False)
    train_text(packed)
    train_text(alone)
    assert losses(alone.out)[-1] < losses(alone.out)[0]
    num_tokens = [sum(numbers(config.out, "num_tokens")) for config in (packed, alone)]
    assert num_tokens[0] > 2 * num_tokens[1]


def test_bfloat16_learns_as_float32_does(data: Path, tmp_path: Path) -> None:
    """Eight bits of mantissa: losses agree to a hundredth; weights stay float32."""
    base = config_of(data, tmp_path / "base", steps=(5, 0))
    half = replace(base, out=tmp_path / "half", dtype="bfloat16")
    for config in (base, half):
        train_text(config)
    assert losses(half.out) == pytest.approx(losses(base.out), rel=1e-2)
    assert losses(half.out) != losses(base.out)
    assert all(weight.dtype == torch.float32 for weight in weights(half.out).values())


def learner_of(data: Path, model: torch.nn.Module) -> TextTraining:
    """Return a learner of the second stage alone."""
    source = TextSource(paths=(data,))
    tokenizer = new_tokenizer(source.dialogues("chosen", heldout=False), vocab_size=400)
    corpora = [
        encode_corpus(source.dialogues("chosen", heldout=h), TokenizerVocabulary(tokenizer), max_tokens=128)
        for h in (False, True)
    ]
    config = config_of(data, Path("unused"), steps=(0, 4))
    return TextTraining(model, {"sft": StageData(*corpora)}, config, OneProcess("cpu"))


def gpt2(*, dropout: float = 0.1) -> GPT2LMHeadModel:
    """Return a small GPT-2."""
    rates: dict[str, Any] = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GPT2LMHeadModel(GPT2Config(vocab_size=400, n_embd=32, n_layer=2, n_head=2, n_positions=128, **rates))


def test_any_causal_model_learns_and_the_callers_random_state_is_left_alone(data: Path) -> None:
    """GPT-2 with dropout: the same twice, though dropout draws from torch's generator."""
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, again = ([step.loss_nats for step in learner_of(data, gpt2())] for _ in range(2))
    assert first == again
    assert first[-1] < first[0]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_player_ones_words_have_no_part_in_the_loss_of_equation_8(data: Path) -> None:
    """Arbitrary questions as targets change neither the loss nor its gradient; here they are relabelled as nobody's."""
    gradients = []
    for nobody in (False, True):
        learner = learner_of(data, gpt2(dropout=0.0))
        if nobody:
            train = learner.data["sft"].train
            speaker = np.where(train.speaker == 0, -1, train.speaker).astype(np.int8)
            corpora = StageData(
                TokenCorpus(train.tokens, speaker, train.starts, train.left_out), learner.data["sft"].heldout
            )
            learner = TextTraining(gpt2(dropout=0.0), {"sft": corpora}, learner.config, OneProcess("cpu"))
        next(iter(learner))
        gradients.append([p.grad.clone() for p in learner.model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_one_long_row_gives_the_logits_of_packed_rows(data: Path) -> None:
    """What flash attention is given instead: dialogues stay apart by their positions, within rows and between them."""
    corpus = learner_of(data, gpt2()).data["sft"].train
    batch = pack(corpus, epoch_rows(corpus, 128, np.random.default_rng(0))[:3])
    tokenizer = new_tokenizer(TextSource(paths=(data,)).dialogues("chosen", heldout=False), vocab_size=400)
    model = new_model(tokenizer, TINY, max_positions=128, seed=0).eval()
    assert (batch.segments > 0).any()
    inside = batch.segments[:, 1:] >= 0  # not padding
    with torch.no_grad():
        one_row, rows = (logits(model, batch)[inside] for logits in (one_row_logits, next_token_logits))
    torch.testing.assert_close(one_row, rows, atol=1e-5, rtol=1e-5)


def test_a_plain_softmax_gives_the_losses_of_sdpa(data: Path, tmp_path: Path) -> None:
    """The same attention by two ways, also on a model that was loaded."""
    base = train_text(config_of(data, tmp_path / "base", steps=(1, 0))) / "model"
    for model in (None, base):
        configs = [
            replace(
                config_of(data, tmp_path / f"{attention}-{model is None}", steps=(2, 0)),
                model=model,
                attn_implementation=attention,
            )
            for attention in ATTENTIONS[:2]
        ]
        for config in configs:
            train_text(config)
        assert losses(configs[0].out) == pytest.approx(losses(configs[1].out), abs=1e-5)


@pytest.mark.skipif(find_spec("flash_attn") is not None, reason="the package is here")
def test_flash_attention_is_refused_where_it_cannot_be(data: Path, tmp_path: Path) -> None:
    """It knows neither CPUs nor float32; the package is asked for by name before anything is trained."""
    tokenizer = new_tokenizer(TextSource(paths=(data,)).dialogues("chosen", heldout=False), vocab_size=400)
    with pytest.raises(ImportError, match="FlashAttention2"):
        new_model(tokenizer, TINY, max_positions=128, seed=0, attn_implementation="flash_attention_2")
    config = replace(config_of(data, tmp_path / "run"), device="cuda", dtype="bfloat16")
    flash = replace(config, attn_implementation="flash_attention_2")
    changes: tuple[dict[str, Any], ...] = ({"device": "cpu"}, {"dtype": "float32"})
    for change in changes:
        with pytest.raises(ValueError, match=r"attn_implementation: expected bfloat16 on a GPU for flash_attention_2"):
            replace(flash, **change)


def test_no_bar_is_drawn_for_files_that_take_milliseconds(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A command that saves ten models would print twenty bars among its lines."""
    model = train_text(config_of(data, tmp_path / "run", steps=(1, 1))) / "model"
    train_text(replace(config_of(data, tmp_path / "again", steps=(1, 0)), model=model))
    printed = "".join(capfd.readouterr())
    assert "Writing model shards" not in printed
    assert "Loading weights" not in printed


def test_results_name_the_bigram_of_the_same_tokens(data: Path) -> None:
    """Stages measured before they ran are equal before and after; the bigram is fitted to the stage's own tokens."""
    learner = learner_of(data, gpt2())
    learner.heldout_nats = [0.0, 0.0]
    (result,) = stage_results(learner, 400)
    assert (result.perplexity_before, result.perplexity_after) == (1.0, 1.0)
    assert result.num_train_tokens == int((learner.data["sft"].train.speaker == 1).sum())


def test_no_opening_is_on_both_sides_of_the_split(data: Path) -> None:
    """Every dialogue is on one side, a tenth of them held out: within four standard deviations of 30."""
    source = TextSource(paths=(data,))
    train, heldout = (list(source.dialogues("both", heldout=side)) for side in (False, True))
    assert len(train) + len(heldout) == 300
    assert 30 - 4 * 5.2 < len(heldout) < 30 + 4 * 5.2
    assert not {d.turns[0].text for d in train} & {d.turns[0].text for d in heldout}


def test_thoughts_are_trained_between_tokens_of_their_own(tmp_path: Path) -> None:
    """Q-C-A data, arXiv 2402.08078, section 5.1: a new tokenizer has marks for the assistant's reasoning."""
    path = write_dialogues(tmp_path / "thoughts.jsonl", 20, thoughts=True)
    source = TextSource(paths=(path,))
    dialogues = list(source.dialogues("chosen", heldout=False))
    vocabulary = TokenizerVocabulary(new_tokenizer(dialogues, vocab_size=300))
    corpus = encode_corpus(dialogues, vocabulary, max_tokens=200)
    assert vocabulary.think_ids is not None
    assert (corpus.tokens[corpus.speaker == 1] == vocabulary.think_ids[1]).sum() == len(dialogues)


@pytest.mark.skipif(find_spec("peft") is None, reason="adapters need peft, an optional extra")
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks for it
def test_adapters_train_alone_and_merge_into_what_transformers_loads(data: Path, tmp_path: Path) -> None:
    """LoRA (arXiv 2106.09685): the base stays as it was; merged, the model gives what the adapted one gave."""
    base = train_text(config_of(data, tmp_path / "base", steps=(5, 0))) / "model"
    config = config_of(data, tmp_path / "lora", steps=(0, 30))
    folder = train_text(replace(config, model=base, lora_rank=4, sft=replace(config.sft, learning_rate=2e-2))) / "model"
    (stage,) = json.loads((folder.parent / "results.json").read_text())["stages"]
    assert stage["perplexity_after"] < 0.9 * stage["perplexity_before"]
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    before, after = load_file(base / "model.safetensors"), load_file(folder / "model.safetensors")
    assert torch.equal(before["model.embed_tokens.weight"], after["model.embed_tokens.weight"])
    assert not torch.equal(before["model.layers.0.mlp.up_proj.weight"], after["model.layers.0.mlp.up_proj.weight"])
    source, vocabulary = TextSource(paths=(data,)), TokenizerVocabulary(load_tokenizer(folder))
    corpora = StageData(
        *(encode_corpus(source.dialogues("chosen", heldout=h), vocabulary, max_tokens=128) for h in (False, True))
    )
    merged = TextTraining(AutoModelForCausalLM.from_pretrained(folder), {"sft": corpora}, config, OneProcess("cpu"))
    next(iter(merged))
    assert np.exp(merged.heldout_nats[0]) == pytest.approx(stage["perplexity_after"], rel=1e-4)


def test_without_peft_the_error_names_the_extra(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An optional library is asked for by name."""
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r'expected peft.*pip install "\.\[peft\]"'):
        train_text(replace(config_of(data, tmp_path / "run"), lora_rank=2))


def test_without_accelerate_the_error_names_the_extra(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes are a launcher's doing."""
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ImportError, match=r'expected accelerate.*pip install "\.\[accelerate\]"'):
        train_text(config_of(data, tmp_path / "run"))


def test_a_format_that_the_rows_do_not_have_is_refused(data: Path, tmp_path: Path) -> None:
    """Rows of messages read as Alpaca's; told from the rows themselves they are read."""
    with pytest.raises(ValueError, match="instruction"):
        train_text(replace(config_of(data, tmp_path / "run"), data_format="alpaca"))


def test_the_gradient_s_largest_norm_decides_the_second_moments(data: Path, tmp_path: Path) -> None:
    """Weights after a step differ where the gradient was scaled down to next to nothing."""
    config = config_of(data, tmp_path / "plain", steps=(2, 0))
    train_text(config)
    train_text(replace(config, out=tmp_path / "small", max_grad_norm=1e-9))
    plain, small = weights(tmp_path / "plain"), weights(tmp_path / "small")
    assert any(not np.array_equal(plain[name], small[name]) for name in plain)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("accelerate") is None, reason="several processes need accelerate, an optional extra")
def test_two_processes_give_the_loss_of_one(data: Path, tmp_path: Path) -> None:
    """`accelerate launch`, two processes on the CPU (gloo): the same global batch, so the same mean up to rounding."""
    one = config_of(data, tmp_path / "one", steps=(3, 2))
    train_text(one)
    launch = "-m accelerate.commands.launch --cpu --num_processes 2 --num_machines 1 --mixed_precision no"
    options = (
        "--vocab-size 400 --size.hidden-size 32 --size.num-layers 2 --size.num-heads 2 --max-row-tokens 128 "
        "--pretrain.num-steps 3 --pretrain.learning-rate 1e-2 --pretrain.warmup-steps 2 --num-threads 1 "
        "--sft.num-steps 2 --sft.learning-rate 5e-3 --sft.warmup-steps 2 --rows-at-once 2"
    )
    command = [
        *(sys.executable, *launch.split(), "--main_process_port", "0"),
        *("-m", "duologue", "train", "text", "--data", str(data), "--out", str(tmp_path / "two")),
        *options.split(),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    assert_equal_weights(weights(tmp_path / "two"), weights(tmp_path / "one"), atol=1e-4)


def test_the_command_line_prints_the_model_and_the_results(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finished run is not run again."""
    arguments = ["--data", str(data), "--out", str(tmp_path / "run"), "--vocab-size", "300", "--batch-rows", "4"]
    arguments += "--size.hidden-size 16 --size.num-layers 1 --size.num-heads 1 --sft.num-steps 0".split()
    arguments += "--pretrain.num-steps 2 --max-row-tokens 64 --num-threads 1".split()
    for _ in range(2):
        TRAINERS["text"].run(arguments)
    printed = capsys.readouterr().out
    assert printed.count(f"text: {tmp_path / 'run'}") == 2
    assert "bigram_perplexity" in printed
    assert len(read_metrics(tmp_path / "run")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_rows": 10_000}, "expected dialogues for at least batch_rows=10000 rows"),
        ({"model": Path("nowhere")}, "tokenizer: expected a folder"),
        ({"device": "cuda:99"}, "device: expected one that this machine has"),
    ],
)
def test_what_cannot_be_trained_is_refused(change: dict[str, Any], message: str, data: Path, tmp_path: Path) -> None:
    """Errors name the option, what it takes and what it was given."""
    if "device" in change and torch.cuda.is_available():
        pytest.skip("this machine may have the device")
    with pytest.raises(ValueError, match=message):
        train_text(replace(config_of(data, tmp_path / "run"), **change))


def test_a_later_stage_without_anything_to_clone_is_refused_before_the_first_begins(data: Path) -> None:
    """Otherwise hours of pre-training would end in an error."""
    learner = learner_of(data, gpt2())
    train = learner.data["sft"].train
    silent = TokenCorpus(train.tokens, np.zeros_like(train.speaker), train.starts, train.left_out)
    config = config_of(data, Path("unused"))
    corpora = {"pretrain": learner.data["sft"], "sft": StageData(train, silent)}
    with pytest.raises(ValueError, match="sft: expected tokens of player_1 in the held-out dialogues, got none"):
        TextTraining(gpt2(), corpora, config, OneProcess("cpu"))


def test_a_configuration_without_work_is_refused() -> None:
    """Contradictions raise before anything is read."""
    config = config_of(Path("unused"), Path("unused"))
    with pytest.raises(ValueError, match=r"sft\.num_steps: expected one above 0"):
        replace(config, pretrain=replace(config.pretrain, num_steps=0), sft=replace(config.sft, num_steps=0))
    with pytest.raises(ValueError, match="heldout_share"):
        replace(config, heldout_share=1.0)
