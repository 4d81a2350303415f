"""How players learn and how they are measured; a room for each kind of thing.

The README has the tree; import-linter holds its floors.
"""
