"""Whoever gives verdicts: classifiers, safety tokens, reward models, heads on encoders, rules, by one text each.

Imports `envs` and the language models.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
