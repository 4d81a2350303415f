"""Losses, advantages, divergences and diversity as functions: tensors and named numbers in, tensors out."""
