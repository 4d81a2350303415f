"""Language modelling on real text: corpora, packing, tokenizers and models from nothing.

Imports `evaluation`, `learners`, `data` and what lies below them.
"""
