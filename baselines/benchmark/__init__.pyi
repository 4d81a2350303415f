from .command import SUITES as SUITES
from .command import BenchConfig as BenchConfig
from .games import GAMES as GAMES
from .registry import ALGORITHMS as ALGORITHMS
from .registry import register_algorithm as register_algorithm
