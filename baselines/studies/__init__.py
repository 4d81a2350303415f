"""What we found out, each behind one command: the demo, the stages, cross-play, the exact gap.

Imports the algorithms; nothing imports a study.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
