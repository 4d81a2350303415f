"""What every run shares: its folder, saved state, loop, options, costs, processes.

Imports `agents`, `envs`, `rollouts` and `functional`; no algorithm.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
