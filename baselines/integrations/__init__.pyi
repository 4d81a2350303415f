from .sb3 import SB3Config as SB3Config
from .sb3 import SB3Learner as SB3Learner
from .sb3 import TrainSB3Config as TrainSB3Config
from .sb3_self_play import SB3SelfPlay as SB3SelfPlay
from .sb3_self_play import TrainSB3SelfPlayConfig as TrainSB3SelfPlayConfig
from .trl import rollout_func as rollout_func
