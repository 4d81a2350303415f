"""Both players learn: self-play, fictitious play, PSRO, league, GPO, AdvGame, SPAG.

Imports `alignment`, for its starts, and what lies below it.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
