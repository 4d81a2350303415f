"""The forms other code plays through: PettingZoo, Gymnasium, a turn a step, transitions of one player.

Imports the engine, the arrays of `batched` and the wrappers.
"""

from .aec import AGENT_IDS, LanguageGameEnv
from .mask_to_info import GymnasiumMaskToInfo, MaskToInfo
from .single_player import SinglePlayerEnv
from .transitions import PlayerTransition, PlayerTransitions
from .turn_level import TurnLevelEnv
from .vector import LanguageGameVectorEnv

__all__ = [
    "AGENT_IDS",
    "GymnasiumMaskToInfo",
    "LanguageGameEnv",
    "LanguageGameVectorEnv",
    "MaskToInfo",
    "PlayerTransition",
    "PlayerTransitions",
    "SinglePlayerEnv",
    "TurnLevelEnv",
]
