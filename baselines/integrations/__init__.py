"""Learners of other libraries in our games: Stable-Baselines3, TRL.

Imports `alignment` and what lies below it; nothing imports these.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
