"""`duologue bench`: algorithms in which both players learn, held to the exact distance in every game.

Imports the algorithms of `two_player` and what lies below them.
"""
