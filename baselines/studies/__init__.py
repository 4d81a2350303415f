"""What we found out, each behind one command: the demo, the stages, cross-play, the exact gap.

Imports the algorithms; nothing imports a study.
"""
