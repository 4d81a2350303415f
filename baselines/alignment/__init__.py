"""The stages of arXiv 2402.08078, one player at a time: pre-training, SFT, reward model, RLHF, DPO, attack.

Imports `evaluation`, `learners`, `data` and what lies below them.
"""
