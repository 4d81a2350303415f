"""Games of others and games for others: Gambit's files, OpenSpiel, TextArena.

Imports anything of `envs`; a guest is imported where it is used, and its absence names the extra.
"""

from .efg import read_efg, write_efg
from .efg_reader import EfgError
from .explicit import ExplicitGame, ExplicitNode
from .openspiel import OpenSpielGame, from_openspiel
from .textarena import TextArenaGame, from_textarena, to_textarena

__all__ = [
    "EfgError",
    "ExplicitGame",
    "ExplicitNode",
    "OpenSpielGame",
    "TextArenaGame",
    "from_openspiel",
    "from_textarena",
    "read_efg",
    "to_textarena",
    "write_efg",
]
