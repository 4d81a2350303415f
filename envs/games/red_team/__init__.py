"""The red-team game: one player writes requests, the other answers or refuses."""

from .game import RedTeam

__all__ = [
    "RedTeam",
]
