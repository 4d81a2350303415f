"""`duologue bench`: algorithms in which both players learn, held to the exact distance in every game.

Imports the algorithms of `two_player` and what lies below them.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
