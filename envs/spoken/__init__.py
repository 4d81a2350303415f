"""Games spoken in English through a chat model's tokenizer, so that any chat model can play them.

Imports the games and the wrappers.
"""

from .english import PROMPTS, prompts_for, register_prompts
from .game import Spoken
from .prompts import Prompts

__all__ = ["PROMPTS", "Prompts", "Spoken", "prompts_for", "register_prompts"]
