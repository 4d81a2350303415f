"""Folders from elsewhere: their own Python code is run only if that is asked for, and pickles are not read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from duologue.agents.judges.learned import ClassifierJudge, SafetyTokenJudge
from duologue.agents.judges.reward_model import SequenceRewardModel
from duologue.agents.language_model.tokenizers import load_tokenizer
from duologue.baselines.text.causal_models import load_causal_model
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, tiny_tokenizer, write_custom_code

TOKENIZER = tiny_tokenizer(CHATML)
GUARD = "{prompt} {reply} "

LOADERS: dict[str, Callable[[Path], object]] = {
    "tokenizer": load_tokenizer,
    "causal model": lambda folder: load_causal_model(folder, TOKENIZER, max_positions=8),
    "reward model": lambda folder: SequenceRewardModel.from_pretrained(folder, TokenizerVocabulary(TOKENIZER)),
    "classifier": ClassifierJudge.from_folder,
    "guard": lambda folder: SafetyTokenJudge.from_folder(folder, template=GUARD),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of a tiny model and its tokenizer."""
    size: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    LlamaForCausalLM(LlamaConfig(vocab_size=len(TOKENIZER), **size)).save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", list(LOADERS))
def test_a_folder_with_code_of_its_own_is_refused_unless_asked_for(name: str, folder: Path) -> None:
    """Transformers' `trust_remote_code`, which left unset asks at a terminal; the code would leave a file."""
    ran = write_custom_code(folder)
    with pytest.raises(ValueError, match="trust_remote_code"):
        LOADERS[name](folder)
    assert not ran.exists()


@pytest.mark.parametrize("name", ["causal model", "reward model"])
def test_code_in_the_models_half_alone_is_refused_as_well(name: str, folder: Path) -> None:
    """With a tokenizer from elsewhere nothing but the model could have refused."""
    ran = write_custom_code(folder)
    TOKENIZER.save_pretrained(folder)
    load_tokenizer(folder)
    with pytest.raises(ValueError, match="trust_remote_code"):
        LOADERS[name](folder)
    assert not ran.exists()


def test_whoever_asks_for_it_gets_the_folders_own_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other side of the refusal: the same folder loads, by its code."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(folder / "modules"))
    ran = write_custom_code(folder)
    model = load_causal_model(folder, TOKENIZER, max_positions=8, trust_remote_code=True)
    assert type(model).__name__ == "OwnModel"
    assert ran.exists()


@pytest.mark.parametrize("name", ["causal model", "reward model", "classifier", "guard"])
def test_pickled_weights_are_not_read(name: str, folder: Path) -> None:
    """Reading a pickle can run anything; this one would not even be a pickle."""
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises((OSError, ValueError), match="safetensors"):
        LOADERS[name](folder)
