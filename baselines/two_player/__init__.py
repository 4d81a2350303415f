"""Both players learn: self-play, fictitious play, PSRO, league, GPO, AdvGame, SPAG.

Imports `alignment`, for its starts, and what lies below it.
"""
