from .registry import SOLVERS as SOLVERS
from .registry import make_solver as make_solver
from .solver import Solver as Solver
from .solver import SolveStep as SolveStep
