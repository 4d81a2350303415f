"""Many episodes of one game in arrays, in lockstep.

Imports the engine and the rules; the interfaces stand above it.
"""

from .game import BatchedGame

__all__ = [
    "BatchedGame",
]
