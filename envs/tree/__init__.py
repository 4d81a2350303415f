"""A small game as arrays: visiting probabilities, values, best responses, NashConv, all exact.

Imports the engine and the rules.
"""
