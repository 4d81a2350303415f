"""The legal mask in the info instead of the observation, for libraries that look for it there.

PettingZoo's convention allows either place. With `MaskToInfo` an observation is the plain view, an array of token ids.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from numpy.typing import NDArray
from pettingzoo import AECEnv
from pettingzoo.utils import BaseWrapper
from typing_extensions import override

from ..engine.views import Observation

Ids = NDArray[np.int64]


class MaskToInfo(BaseWrapper[str, Ids, np.int64]):
    """The AEC form with views as observations and each agent's mask in `infos[agent]["action_mask"]`.

    >>> import duologue.envs
    >>> env = MaskToInfo(duologue.envs.make("bluff-v0"))
    >>> env.reset(seed=1)
    >>> observation, reward, termination, truncation, info = env.last()
    >>> observation.shape, sorted(info)
    ((10,), ['action_mask'])
    """

    def __init__(self, env: AECEnv[str, Observation, np.int64]) -> None:
        """Wrap an environment whose observations hold `observation` and `action_mask`."""
        super().__init__(env)  # type: ignore[arg-type]
        self.observation_spaces = {agent: _view_space(env.observation_space(agent)) for agent in env.possible_agents}
        self._infos: dict[str, dict[str, Any]] | None = None

    @property
    def infos(self) -> dict[str, dict[str, Any]]:  # type: ignore[override]
        """Each agent's info with its mask, in a fresh array after each step, all zero unless it is to speak."""
        if self._infos is None:
            self._infos = {agent: {**info, "action_mask": self._mask(agent)} for agent, info in self.env.infos.items()}
        return self._infos

    @override
    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Deal a new episode."""
        self._infos = None
        self.env.reset(seed=seed, options=options)

    @override
    def step(self, action: np.int64 | int | None) -> None:
        """Say one token as `agent_selection`; None removes an agent that has ended."""
        self._infos = None
        self.env.step(action)  # type: ignore[arg-type]

    @override
    def last(self, observe: bool = True) -> tuple[Ids | None, float, bool, bool, dict[str, Any]]:
        """Return the view, the reward since its last step, both ends and the info of `agent_selection`.

        Raises:
            RuntimeError: before `reset` or after both agents have been removed.
        """
        _, reward, terminated, truncated, _ = self.env.last(observe=False)
        agent = self.agent_selection
        return self.observe(agent) if observe else None, reward, terminated, truncated, self.infos[agent]

    @override
    def observe(self, agent: str) -> Ids:
        """Return the agent's view in a fresh array; (L,)."""
        observation: Any = self.env.observe(agent)
        view: Ids = observation["observation"]
        return view

    @override
    def observation_space(self, agent: str) -> spaces.Space[Ids]:
        """Return the agent's observation space, always the same object; KeyError if there is no such agent."""
        self.env.observation_space(agent)
        return self.observation_spaces[agent]

    def _mask(self, agent: str) -> NDArray[np.int8]:
        observation: Any = self.env.observe(agent)
        mask: NDArray[np.int8] = observation["action_mask"]
        return mask


class GymnasiumMaskToInfo(gymnasium.Wrapper[Any, np.int64, Observation, np.int64], RecordConstructorArgs):
    """The single-player form with views as observations and the mask in `info["action_mask"]`.

    >>> import gymnasium
    >>> import duologue.envs
    >>> env = GymnasiumMaskToInfo(gymnasium.make("duologue/bluff-v0"))
    >>> observation, info = env.reset(seed=1)
    >>> observation.shape, info["action_mask"].shape
    ((10,), (13,))
    """

    def __init__(self, env: gymnasium.Env[Observation, np.int64]) -> None:
        """Wrap an environment whose observations hold `observation` and `action_mask`."""
        RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, env)
        self.observation_space = _view_space(env.observation_space)

    @override
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Ids, dict[str, Any]]:
        """Deal; return the view, and the mask in the info."""
        return _parted(*self.env.reset(seed=seed, options=options))

    @override
    def step(self, action: np.int64) -> tuple[Ids, Any, bool, bool, dict[str, Any]]:
        """Say one token; return the view, and the mask in the info."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        view, info = _parted(observation, info)
        return view, reward, terminated, truncated, info


def _parted(observation: Observation, info: dict[str, Any]) -> tuple[Ids, dict[str, Any]]:
    return observation["observation"], {**info, "action_mask": observation["action_mask"]}


def _view_space(space: spaces.Space[Any]) -> spaces.Space[Ids]:
    if not isinstance(space, spaces.Dict) or set(space) != {"observation", "action_mask"}:
        raise ValueError(f"env: expected observations with the keys observation and action_mask, got {space}")
    view: spaces.Space[Ids] = space["observation"]
    return view
