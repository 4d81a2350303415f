"""Games made of games: thoughts, demonstrations in the prompt, distributions of games.

Imports the engine, the judges' nouns and the rules.
"""

from .demonstrated import Demonstrated, Prompted
from .distribution import DrawnGame, GameDistribution
from .thoughts import WithThoughts, with_thoughts
from .wrapped import WrappedGame

__all__ = [
    "Demonstrated",
    "DrawnGame",
    "GameDistribution",
    "Prompted",
    "WithThoughts",
    "WrappedGame",
    "with_thoughts",
]
