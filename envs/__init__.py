"""Two-player language games and every way to play them. Importing this package registers the games."""

from .. import __version__ as __version__
from .aec import AGENT_IDS, LanguageGameEnv
from .engine import Episode, deal_episodes, speak_all
from .game import Deals, Dialogue, Ending, FiniteDeals, LanguageGame, Payoff, SampledDeals, Turn
from .registry import make, make_game, register_game, registered_games
from .single_player import SinglePlayerEnv
from .speaker import Message, Observation, RandomAgent, Speaker, Utterance, View
from .vocabulary import Tokens, Vocabulary, WordVocabulary

register_game("bluff-v0", "duologue.envs.games.bluff:Bluff")
register_game("red_team-v0", "duologue.envs.games.red_team.game:RedTeam")
register_game("red_team_text-v0", "duologue.envs.games.red_team_text.game:RedTeamText")

__all__ = [
    "AGENT_IDS",
    "Deals",
    "Dialogue",
    "Ending",
    "Episode",
    "FiniteDeals",
    "LanguageGame",
    "LanguageGameEnv",
    "Message",
    "Observation",
    "Payoff",
    "RandomAgent",
    "SampledDeals",
    "SinglePlayerEnv",
    "Speaker",
    "Tokens",
    "Turn",
    "Utterance",
    "View",
    "Vocabulary",
    "WordVocabulary",
    "deal_episodes",
    "make",
    "make_game",
    "register_game",
    "registered_games",
    "speak_all",
]
