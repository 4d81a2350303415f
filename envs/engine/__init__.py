"""One episode: whose turn it is, token by token or turn by turn, and what each player is told.

Imports the rules, `game` and `vocabulary`, and nothing above them.
"""
