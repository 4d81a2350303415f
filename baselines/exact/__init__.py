"""Equilibrium learners on the exact tree of a small game."""
