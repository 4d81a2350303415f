"""Two agents play a batch of episodes; what one player learns from it as tensors.

Imports `agents` and `envs`.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
