from .command import CompareConfig as CompareConfig
from .command import Measures as Measures
from .entrants import Entrant as Entrant
