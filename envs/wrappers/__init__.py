"""Games made of games: thoughts, demonstrations in the prompt, distributions of games.

Imports the engine, the judges' nouns and the rules.
"""
