"""The stages' own options: when cloning stops early, how noisy labels are, and that starts say when they are made."""

from dataclasses import replace
from pathlib import Path

import pytest

from duologue.baselines.alignment.attack import AttackConfig
from duologue.baselines.alignment.dpo import DPOConfig, dpo
from duologue.baselines.alignment.pretrain import PretrainConfig
from duologue.baselines.alignment.sft import CHECK_EVERY, SFTConfig, sft
from duologue.baselines.learners.behaviour_cloning import BehaviourCloningConfig
from duologue.baselines.training.run import read_metrics
from duologue.baselines.two_player.gpo import GPOConfig
from duologue.envs import make_game
from duologue.tests.baselines.helpers import tiny_agent


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """A model that has learnt nothing."""
    tiny_agent(make_game("red_team-v0")).save_pretrained(tmp_path / "start")
    return tmp_path / "start"


@pytest.mark.parametrize(("share", "num_steps"), [(1.0, CHECK_EVERY), (None, 8)], ids=["at once", "never"])
def test_sft_stops_once_few_enough_requests_are_answered_harmfully(
    share: float | None, num_steps: int, start: Path, tmp_path: Path
) -> None:
    """Every share is at most 1, so that the first look is the last; None looks never."""
    cloning = BehaviourCloningConfig(num_steps=8, batch_size=4, tokens_of="player_1", max_grad_norm=0.5)
    config = SFTConfig(model=start, out=tmp_path / "run", num_demonstrations=30, cloning=cloning)
    folder = sft(replace(config, stop_at_unsafe_share=share))
    assert len(read_metrics(folder)) == num_steps
    assert (folder / "model" / "model.safetensors").is_file()


def test_noisy_labels_are_other_labels(start: Path, tmp_path: Path) -> None:
    """The same pairs of replies, ordered by the oracle almost surely, and at random."""
    losses = []
    for name, temperature in (("sure", 1e-6), ("random", 1e6)):
        config = DPOConfig(defender=start, out=tmp_path / name, num_pairs=64, num_steps=4, batch_size=16)
        dpo(replace(config, label_temperature=temperature))
        losses.append([row["update"] for row in read_metrics(tmp_path / name)])
    assert losses[0][0] == losses[1][0] or losses[0] != losses[1]
    assert losses[0][1:] != losses[1][1:]


def test_an_adversary_beside_a_given_defender_must_be_given(start: Path, tmp_path: Path) -> None:
    """There is no base model to start it from; both given are taken as they are, and nothing is trained."""
    asked = AttackConfig(out=tmp_path / "run", defender=start)
    with pytest.raises(ValueError, match=r"adversary: expected a model folder beside the defender .*, got none"):
        asked.prepared()
    given = replace(asked, adversary=start)
    assert given.prepared() is given
    assert given.starts == (start, start)
    assert GPOConfig(out=tmp_path / "run", defender=start, one_policy=True).prepared().start == start
    assert not (tmp_path / "run").exists()


def test_starts_are_asked_for_after_they_were_made() -> None:
    """The error names what makes them."""
    with pytest.raises(ValueError, match="defender: expected the folder of a model, got none; see `prepared`"):
        AttackConfig().start  # noqa: B018
    with pytest.raises(ValueError, match="adversary: expected the folder of a model, got none; see `prepared`"):
        AttackConfig().starts  # noqa: B018


def test_models_that_are_made_are_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step of its own, in the folder of whoever asks: base first, then SFT; the adversary starts from the base."""
    trained = []

    def stand_in(config: SFTConfig | PretrainConfig) -> Path:
        trained.append((type(config).__name__, config.seed))
        return config.out

    monkeypatch.setattr("duologue.baselines.alignment.pretrain.pretrain", stand_in)
    monkeypatch.setattr("duologue.baselines.alignment.starts.sft", stand_in)
    found = AttackConfig(out=tmp_path, seed=3).prepared()
    assert trained == [("PretrainConfig", 3), ("SFTConfig", 3)]
    assert found.starts == (tmp_path / "base" / "model", tmp_path / "sft" / "model")
    printed = capsys.readouterr().out
    assert f"pre-training a micro model in {tmp_path / 'base'}" in printed
    assert f"fine-tuning a micro model in {tmp_path / 'sft'}" in printed
    assert SFTConfig(out=tmp_path / "alone").prepared().model == tmp_path / "alone" / "base" / "model"
