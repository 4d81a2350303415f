"""The forms other code plays through: PettingZoo, Gymnasium, a turn a step, transitions of one player.

Imports the engine, the arrays of `batched` and the wrappers.
"""
