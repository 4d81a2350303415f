"""What every run shares: its folder, saved state, loop, options, costs, processes.

Imports `agents`, `envs`, `rollouts` and `functional`; no algorithm.
"""
