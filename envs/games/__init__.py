"""The games, one module or folder each; importing `duologue.envs` registers them."""
