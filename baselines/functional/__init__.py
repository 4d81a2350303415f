"""Losses, advantages, divergences, diversity: pure functions, formula and equation in the docstring.

Imports torch and numpy, and nothing of the package.
"""
