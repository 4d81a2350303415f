"""What every test run shares: no network, one thread per worker, no window, the same examples each time."""

import os

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
