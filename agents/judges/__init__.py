"""Whoever gives verdicts that are learned: classifiers, safety tokens, reward models.

Imports `envs` and the language models.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .learned import ClassifierJudge, LearnedJudge, SafetyTokenJudge
    from .reward_files import load_reward_judge, load_reward_model, save_reward_model
    from .reward_model import LinearRewardModel, RewardModel, RewardModelJudge, SafetyRewardModel, SequenceRewardModel

_HOMES = {
    "ClassifierJudge": "learned",
    "LearnedJudge": "learned",
    "SafetyTokenJudge": "learned",
    "load_reward_judge": "reward_files",
    "load_reward_model": "reward_files",
    "save_reward_model": "reward_files",
    "LinearRewardModel": "reward_model",
    "RewardModel": "reward_model",
    "RewardModelJudge": "reward_model",
    "SafetyRewardModel": "reward_model",
    "SequenceRewardModel": "reward_model",
}

__all__ = [
    "ClassifierJudge",
    "LearnedJudge",
    "LinearRewardModel",
    "RewardModel",
    "RewardModelJudge",
    "SafetyRewardModel",
    "SafetyTokenJudge",
    "SequenceRewardModel",
    "load_reward_judge",
    "load_reward_model",
    "save_reward_model",
]


def __getattr__(name: str) -> object:
    """Import a name's module, and with it torch, when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
