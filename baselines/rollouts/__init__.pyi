from .demonstrations import Demonstrations as Demonstrations
from .demonstrations import demonstrations_of as demonstrations_of
from .demonstrations import encode_dialogues as encode_dialogues
from .episodes import PlayedEpisode as PlayedEpisode
from .episodes import play_out as play_out
from .episodes import rollout as rollout
from .groups import rollout_in_groups as rollout_in_groups
from .trajectories import Trajectories as Trajectories
