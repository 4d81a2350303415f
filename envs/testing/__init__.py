"""What a game must keep to: the conformance checks, for our games and for yours.

Imports anything of `envs`, and nothing of `envs` imports it.
"""

from .answers import ConformanceError
from .conformance import check_game

__all__ = [
    "ConformanceError",
    "check_game",
]
