"""A model folder with Python code of its own, which must not be run unless somebody asks for it."""

import json
from pathlib import Path

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

Path({marker!r}).touch()


class OwnConfig(LlamaConfig):
    model_type = "own_llama"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig


class OwnClassifier(LlamaForSequenceClassification):
    config_class = OwnConfig


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""


def write_custom_code(folder: Path) -> Path:
    """Make a folder of a model and a tokenizer need its own code; return the file that is there once the code ran."""
    marker = folder / "the_code_was_run"
    (folder / "own.py").write_text(CODE.format(marker=str(marker)), encoding="utf-8")
    models = {"AutoModelForCausalLM": "own.OwnModel", "AutoModelForSequenceClassification": "own.OwnClassifier"}
    changes = {
        "config.json": {"model_type": "own_llama", "auto_map": {"AutoConfig": "own.OwnConfig", **models}},
        "tokenizer_config.json": {
            "tokenizer_class": "OwnTokenizer",
            "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]},
        },
    }
    for name, change in changes.items():
        path = folder / name
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        path.write_text(json.dumps(known | change), encoding="utf-8")
    return marker
