"""`duologue compare`: players that were trained, by whatever, held to each other and to the tree.

Imports `two_player` and what lies below it.
"""
