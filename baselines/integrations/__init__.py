"""Learners of other libraries in our games: Stable-Baselines3, TRL.

Imports `alignment` and what lies below it; nothing imports these.
"""
