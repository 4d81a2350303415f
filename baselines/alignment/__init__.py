"""The stages of arXiv 2402.08078, one player at a time: pre-training, SFT, reward model, RLHF, DPO, attack.

Imports `evaluation`, `learners`, `data` and what lies below them.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
