"""Play one episode of every registered game from the installed wheel, and show that torch is not needed."""

import sys

import duologue
import duologue.envs

assert "site-packages" in duologue.__file__, f"expected the installed package, got {duologue.__file__}"

for name in duologue.envs.registered_games():
    env = duologue.envs.make(name)
    env.reset(seed=0)
    for agent in env.agent_iter():
        observation, _, terminated, truncated, _ = env.last()
        mask = observation["action_mask"]
        env.step(None if terminated or truncated else env.action_space(agent).sample(mask))
    print(f"played {name} from the wheel")

unwanted = sorted({"torch", "transformers"} & set(sys.modules))
assert not unwanted, f"duologue.envs: expected to need numpy, gymnasium and pettingzoo only, imported {unwanted}"
