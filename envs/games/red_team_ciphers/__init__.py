"""The red-team game of ciphers: what is harmful depends on the style that it is said in."""

from .game import RedTeamCiphers

__all__ = [
    "RedTeamCiphers",
]
