"""How players learn and how they are measured; a room for each kind of thing.

The names below are what somebody needs who trains, measures or adds an algorithm; importing this imports none of them.
The README has the tree of rooms; import-linter holds its floors.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
