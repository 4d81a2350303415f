"""Games of others and games for others: Gambit's files, OpenSpiel, TextArena.

Imports anything of `envs`; a guest is imported where it is used, and its absence names the extra.
"""
