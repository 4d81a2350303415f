"""Numbers that follow from what a run starts from, unless they are said; and runs that go on elsewhere, or longer."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from duologue.agents import CausalLMAgent
from duologue.agents.language_model.adapters import NewAdapter, shared_base
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.alignment.rlhf import RLHFConfig, rlhf
from duologue.baselines.learners.base import ClippedConfig
from duologue.baselines.learners.options import LearnerOptions
from duologue.baselines.learners.ppo import PPOConfig
from duologue.baselines.learners.registry import LEARNERS
from duologue.baselines.training.options import GameOptions, ModelOptions, save_model
from duologue.baselines.training.presets import PRESETS, is_pretrained
from duologue.baselines.training.run import read_metrics
from duologue.baselines.two_player.fictitious_play import FictitiousPlayConfig
from duologue.baselines.two_player.gpo import GPOConfig, gpo
from duologue.baselines.two_player.psro import PSROConfig, PSROOptions, train_psro
from duologue.baselines.two_player.self_play import SelfPlayConfig, SelfPlayOptions, self_play
from duologue.baselines.two_player.spag import SPAGConfig
from duologue.baselines.two_player.stage_clock import GPOSchedule
from duologue.envs import make_game

VOCABULARY = make_game("red_team-v0").vocabulary
needs_peft = pytest.mark.skipif(find_spec("peft") is None, reason="adapters need peft, an optional extra")
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """Return the folder of a micro model that this package wrote."""
    model = micro_model(VOCABULARY, hidden_size=16, num_layers=1, num_heads=2)
    save_model(CausalLMAgent(model, VOCABULARY), tmp_path / "ours")
    return tmp_path / "ours"


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Return a folder as transformers alone writes it."""
    micro_model(VOCABULARY, hidden_size=16, num_layers=1, num_heads=2).save_pretrained(tmp_path / "theirs")
    return tmp_path / "theirs"


def test_a_micro_model_keeps_its_numbers(ours: Path) -> None:
    """One of ours, and none at all."""
    for config in (RLHFConfig(), RLHFConfig(defender=ours)):
        found = config.resolved()
        assert found == replace(config, preset="micro")
        assert (found.lora_rank, found.batch_size, found.ppo.learning_rate) == (0, 192, 2e-3)


def test_another_folder_brings_small_steps_and_adapters(theirs: Path) -> None:
    """And a limit to each update; the same for the learners of both players and for responses."""
    lora = PRESETS["pretrained_lora"]
    found = RLHFConfig(defender=theirs).resolved()
    assert found.preset == "pretrained_lora"
    for name in ("lora_rank", "batch_size"):
        assert getattr(found, name) == lora[name]
    for config in (found.ppo, GPOConfig(defender=theirs).resolved().adversary_learner.ppo):
        for name in ("learning_rate", "kl_coef", "target_kl", "tokens_at_once", "adam_epsilon"):
            assert getattr(config, name) == lora[name]
    response = PSROConfig(models=ModelOptions(player_1=theirs)).resolved()
    assert (response.learner.ppo.learning_rate, response.play.batch_size) == (1e-4, 32)
    assert response.learner.ppo.num_epochs == 4  # no number that a preset has


def test_what_was_said_stays_even_if_it_is_the_same_number(theirs: Path) -> None:
    """2e-3 said is 2e-3; without adapters all weights are trained, by smaller steps."""
    said = RLHFConfig(defender=theirs, lora_rank=0, batch_size=192, ppo=PPOConfig(learning_rate=2e-3, target_kl=9.0))
    found = said.resolved()
    assert found.preset == "pretrained_full"
    assert (found.lora_rank, found.batch_size, found.ppo.learning_rate) == (0, 192, 2e-3)
    assert (found.ppo.target_kl, found.ppo.kl_coef) == (9.0, 0.05)
    assert RLHFConfig(defender=theirs, lora_rank=0).resolved().ppo.learning_rate == 3e-6
    assert RLHFConfig(defender=theirs, ppo=PPOConfig(target_kl=0)).resolved().ppo.target_kl == 0
    assert RLHFConfig(defender=theirs, preset="micro").resolved().batch_size == 192


@needs_peft
def test_numbers_for_adapters_train_no_whole_model_and_the_other_way_round(theirs: Path, tmp_path: Path) -> None:
    """By hand, and where one player is an adapter and the other is not; an adapter alone goes on whatever the rank."""
    adapter = tmp_path / "adapter"
    shared_base(theirs, device=torch.device("cpu")).new(NewAdapter(rank=2)).save_pretrained(adapter)
    for preset, rank in (("pretrained_lora", 0), ("pretrained_full", 8)):
        wrong = RLHFConfig(defender=theirs, preset=preset, lora_rank=rank)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"expected one above 0 with|got pretrained_full with lora_rank 8"):
            wrong.resolved()
    with pytest.raises(ValueError, match="got pretrained_full with the adapter"):
        RLHFConfig(defender=adapter, preset="pretrained_full").resolved()
    with pytest.raises(ValueError, match=f"all weights of {theirs} would be trained"):
        GPOConfig(defender=adapter, adversary=theirs, lora_rank=0).resolved()
    alone = RLHFConfig(defender=adapter, lora_rank=0).resolved()
    assert (alone.preset, alone.resolved()) == ("pretrained_lora", alone)


def test_distillation_and_spag_take_them_too(theirs: Path) -> None:
    """What fits a mixture of chat models, and what learns from its own games."""
    models = ModelOptions(player_0=theirs)
    distillation = FictitiousPlayConfig(models=models).resolved().play.distillation
    assert (distillation.batch_size, distillation.learning_rate) == (32, 1e-4)
    spag = SPAGConfig(models=models).resolved().play
    assert (spag.batch_size, spag.learning_rate) == (32, 1e-4)
    assert SPAGConfig().resolved().play.learning_rate == 1e-3


def test_a_learner_from_a_file_takes_them_too(theirs: Path, tmp_path: Path) -> None:
    """Its options are texts; one that was said stays."""
    (tmp_path / "mine.py").write_text(
        "from duologue.baselines.learners.base import ClippedConfig\n"
        "from duologue.baselines.learners.registry import register_learner\n"
        "@register_learner('of_a_file', config=ClippedConfig)\n"
        "class OfAFile: ...\n"
    )
    config = RLHFConfig(
        defender=theirs, learner="of_a_file", learner_file=tmp_path / "mine.py", learner_option=("learning_rate=0.001",)
    )
    found = config.resolved().config
    LEARNERS.pop("of_a_file")
    assert isinstance(found, ClippedConfig)
    assert (found.learning_rate, found.target_kl, found.tokens_at_once, found.kl_coef) == (1e-3, 0.03, 4096, 0.05)


def test_a_large_model_of_ours_is_no_micro_model(ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chat model that was fine-tuned lies in a folder that has our files."""
    assert not is_pretrained(ours)
    monkeypatch.setattr("duologue.baselines.training.presets.MICRO_BYTES", 100)
    assert is_pretrained(ours)


def rlhf_config(start: Path, out: Path, **changes: Any) -> RLHFConfig:
    """Return three small updates."""
    config = RLHFConfig(defender=start, out=out, num_steps=3, batch_size=4, save_every=1, ppo=PPOConfig(num_epochs=1))
    return replace(config, **changes)


@needs_peft
def test_a_run_keeps_the_numbers_that_it_had_and_leaves_an_adapter(theirs: Path, tmp_path: Path) -> None:
    """`config.json` has those of the preset; the state holds the adapter and its moments, and no reference."""
    out = rlhf(rlhf_config(theirs, tmp_path / "run"))
    kept = json.loads((out / "config.json").read_text())["config"]
    assert (kept["preset"], kept["lora_rank"], kept["ppo"]["learning_rate"]) == ("pretrained_lora", 8, 1e-4)
    assert {path.name for path in (out / "model").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert not list((out / "model").glob("model*.safetensors"))
    state = load_file(next(path for path in (out / "state").rglob("tensors.safetensors")))
    adapter = load_file(out / "model" / "adapter_model.safetensors")
    head = 16 + 1
    numbers = sum(weight.numel() for weight in adapter.values()) + head
    steps = len(adapter) + 2
    assert sum(tensor.numel() for tensor in state.values()) == 3 * numbers + steps
    again = rlhf(rlhf_config(out / "model", tmp_path / "again"))
    assert (again / "model" / "adapter_config.json").is_file()


@needs_peft
def test_a_stopped_adapter_run_goes_on_bit_for_bit(theirs: Path, tmp_path: Path) -> None:
    """GPO with both players on one base, put down after one of two rounds, and lengthened to two."""
    schedule = GPOSchedule(num_rounds=2, defend_steps=1, attack_steps=1, batch_size=4)
    learner = LearnerOptions(ppo=PPOConfig(num_epochs=1, final_learning_rate_share=1.0))
    config = GPOConfig(
        defender=theirs, adversary=theirs, schedule=schedule, defender_learner=learner, adversary_learner=learner
    )
    whole = gpo(replace(config, out=tmp_path / "whole"))
    short = replace(config, out=tmp_path / "short", schedule=replace(schedule, num_rounds=1))
    gpo(short)
    longer = gpo(replace(config, out=tmp_path / "short"))
    assert read_metrics(longer) == read_metrics(whole)
    for name in ("defender", "adversary"):
        first, second = (load_file(run / name / "adapter_model.safetensors") for run in (whole, longer))
        assert all(torch.equal(first[key], second[key]) for key in first)
    with pytest.raises(ValueError, match=r"other options.*num_rounds: 2 there, 1 asked for"):
        gpo(short)


@needs_peft
@pytest.mark.parametrize("choice", ["uniform", "ema"])
def test_past_selves_are_adapters(theirs: Path, tmp_path: Path, choice: Any) -> None:
    """Snapshots in the pool's folders and averages: each plays, none is a whole model; a stopped run finds them."""
    play = SelfPlayOptions(num_updates=2, batch_size=4)
    play = replace(play, opponents=replace(play.opponents, choice=choice, snapshot_every=1))
    if choice == "ema":
        play = replace(play, reference="ema")
    config = SelfPlayConfig(
        options=GameOptions(game="red_team-v0"),
        models=ModelOptions(player_0=theirs, player_1=theirs),
        play=play,
        out=tmp_path / "run",
        save_every=1,
    )
    self_play(replace(config, play=replace(play, num_updates=1)))
    self_play(config)
    assert len(read_metrics(tmp_path / "run")) == 2
    assert not list((tmp_path / "run").rglob("model.safetensors"))
    members = list((tmp_path / "run" / "pool").rglob("adapter_model.safetensors"))
    assert len(members) == (2 * 3 if choice == "uniform" else 0)


@needs_peft
def test_psro_grows_by_adapters(theirs: Path, tmp_path: Path) -> None:
    """Each response is a new adapter on the base, the start included."""
    config = PSROConfig(
        models=ModelOptions(player_0=theirs, player_1=theirs),
        play=PSROOptions(
            num_updates=2, updates_per_response=1, batch_size=4, num_payoff_episodes=4, num_gain_episodes=4,
            meta_solver="uniform",
        ),
        out=tmp_path / "run",
    )  # fmt: skip
    train_psro(config)
    assert len(list((tmp_path / "run" / "pool").rglob("adapter_model.safetensors"))) == 2 * 3
    assert not list((tmp_path / "run").rglob("model.safetensors"))


def test_where_a_run_goes_on_is_free_and_how_long_it_is_may_grow(ours: Path, tmp_path: Path) -> None:
    """Threads and the saving of states decide nothing; a finished run takes more steps and not fewer."""
    config = rlhf_config(ours, tmp_path / "run")
    rlhf(replace(config, num_steps=1))
    rlhf(replace(config, num_steps=2, num_threads=1, save_every=2))
    assert len(read_metrics(tmp_path / "run")) == 2
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["num_steps"] == 2
    with pytest.raises(ValueError, match=r"other options.*num_steps: 2 there, 1 asked for"):
        rlhf(replace(config, num_steps=1))
    with pytest.raises(ValueError, match=r"other options.*batch_size: 4 there, 8 asked for"):
        rlhf(replace(config, num_steps=3, batch_size=8))


def test_an_update_ends_where_it_has_gone_far_enough(ours: Path, tmp_path: Path) -> None:
    """By KL from where it began; the first step is always taken. What is far from the start is warned of."""
    free = rlhf(rlhf_config(ours, tmp_path / "free", num_steps=1, ppo=PPOConfig(learning_rate=0.1, warmup_updates=0)))
    held = PPOConfig(learning_rate=0.1, warmup_updates=0, target_kl=1e-3)
    stopped = rlhf(rlhf_config(ours, tmp_path / "held", num_steps=1, ppo=held))
    never = rlhf(rlhf_config(ours, tmp_path / "never", num_steps=1, ppo=replace(held, target_kl=0)))
    steps = [read_metrics(run)[0]["update"]["num_gradient_steps"] for run in (free, stopped, never)]  # type: ignore[index, call-overload]
    assert steps == [4, 1, 4]


def test_a_policy_that_says_nothing_it_was_taught_is_warned_of(
    ours: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """More than a nat a token from its start, in the next update's estimates."""
    rlhf(rlhf_config(ours, tmp_path / "run", ppo=PPOConfig(learning_rate=1.0, warmup_updates=0)))
    assert "nats a token from its start" in caplog.text
    found = [record["update"] for record in read_metrics(tmp_path / "run")]
    assert found[-1]["kl_nats_per_token"] > 1  # type: ignore[index, call-overload, operator]
