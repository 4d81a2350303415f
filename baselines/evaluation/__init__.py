"""How players and judges are measured: attack success, head to head, exploitability, intervals.

Imports `learners` and what lies below them; measures, and trains only responders.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
