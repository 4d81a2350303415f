"""Equilibrium learners of the exact tier: on a tree, on a payoff matrix, on a preference matrix.

Imports `envs` and the rooms below it: `reporting`, `training`.
"""
