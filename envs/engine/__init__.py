"""One episode: whose turn it is, token by token or turn by turn, and what each player is told.

Imports the rules, `game` and `vocabulary`, and nothing above them.
"""

from .episode import Episode, deal_episodes, speak_all
from .views import Message, Observation, RandomAgent, Speaker, Utterance, View, utterance_of

__all__ = [
    "Episode",
    "Message",
    "Observation",
    "RandomAgent",
    "Speaker",
    "Utterance",
    "View",
    "deal_episodes",
    "speak_all",
    "utterance_of",
]
