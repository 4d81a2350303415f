"""Losses, advantages, divergences, diversity: pure functions, formula and equation in the docstring.

Imports torch and numpy, and nothing of the package.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
