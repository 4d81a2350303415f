"""Equilibrium learners of the exact tier: on a tree, on a payoff matrix, on a preference matrix.

Imports `envs` and the rooms below it: `reporting`, `training`.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
