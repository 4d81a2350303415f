"""Causal language models as agents: decoding, sampling, legal tokens, micro models, tokenizers, encoders.

Imports `envs` and what an agent is.
"""

import lazy_loader

# what stands in __init__.pyi, imported when it is first asked for
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
