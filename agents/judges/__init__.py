"""Whoever gives verdicts that are learned: classifiers, safety tokens, reward models.

Imports `envs` and the language models.
"""
