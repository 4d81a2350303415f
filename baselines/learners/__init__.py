"""One player learns from a batch: PPO, RLOO, GRPO, REINFORCE, preferences, cloning; best responses.

Imports `functional`, `rollouts` and `training`.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
