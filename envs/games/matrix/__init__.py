"""Matrix games spoken in words, their repetitions, and preference games."""

from .base import MatrixGame
from .preferences import PreferenceGame

__all__ = ["MatrixGame", "PreferenceGame"]
