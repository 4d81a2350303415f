"""Two-player language games and every way to play them. Importing this package registers the games."""

from .. import __version__ as __version__
from .batched import BatchedGame
from .engine import (
    Episode,
    Message,
    Observation,
    RandomAgent,
    Speaker,
    Utterance,
    View,
    deal_episodes,
    speak_all,
    utterance_of,
)
from .game import Deals, Dialogue, Ending, FiniteDeals, LanguageGame, Payoff, SampledDeals, Turn
from .interfaces import (
    AGENT_IDS,
    GymnasiumMaskToInfo,
    LanguageGameEnv,
    LanguageGameVectorEnv,
    MaskToInfo,
    PlayerTransition,
    PlayerTransitions,
    SinglePlayerEnv,
    TurnLevelEnv,
)
from .judging import Exchange, Judge, Outcome, RedTeamGame, Verdict
from .registry import make, make_game, make_turn_level, register_game, registered_games
from .vocabulary import Tokens, Vocabulary, WordVocabulary
from .wrappers import Demonstrated, GameDistribution, WithThoughts

GAMES = {
    "battle_of_the_sexes-v0": "matrix.battle_of_the_sexes:BattleOfTheSexes",
    "bluff-v0": "bluff:Bluff",
    "dictator-v0": "matrix.dictator:Dictator",
    "kuhn_poker-v0": "kuhn_poker:KuhnPoker",
    "leduc_poker-v0": "leduc_poker:LeducPoker",
    "matching_pennies-v0": "matrix.matching_pennies:MatchingPennies",
    "one_shot_red_team-v0": "tiny_red_team:one_shot_red_team",
    "perturbed_rock_paper_scissors-v0": "matrix.perturbed_rock_paper_scissors:PerturbedRockPaperScissors",
    "prisoners_dilemma-v0": "matrix.prisoners_dilemma:PrisonersDilemma",
    "random_game-v0": "random_game:RandomGame",
    "random_preference-v0": "matrix.random_preference:RandomPreference",
    "red_team-v0": "red_team.game:RedTeam",
    "red_team-v1": "red_team_ciphers.game:RedTeamCiphers",
    "red_team_text-v0": "red_team_text.game:RedTeamText",
    "ring_network-v0": "matrix.ring_network:RingNetwork",
    "robinson_goforth-v0": "matrix.robinson_goforth:RobinsonGoforth",
    "rock_paper_scissors-v0": "matrix.rock_paper_scissors:RockPaperScissors",
    "running_sum-v0": "running_sum:RunningSum",
    "secret_code-v0": "secret_code:SecretCode",
    "statements-v0": "statements:Statements",
    "taboo-v0": "taboo:Taboo",
    "tic_tac_toe-v0": "tic_tac_toe:TicTacToe",
    "tiny_bargaining-v0": "tiny_bargaining:TinyBargaining",
    "tiny_red_team-v0": "tiny_red_team:TinyRedTeam",
    "tiny_referential-v0": "tiny_referential:TinyReferential",
}
"""The package's own games: the class or factory, below `duologue.envs.games`."""

for _name, _entry_point in GAMES.items():
    register_game(_name, f"duologue.envs.games.{_entry_point}")

__all__ = [
    "AGENT_IDS",
    "BatchedGame",
    "Deals",
    "Demonstrated",
    "Dialogue",
    "Ending",
    "Episode",
    "Exchange",
    "FiniteDeals",
    "GameDistribution",
    "GymnasiumMaskToInfo",
    "Judge",
    "LanguageGame",
    "LanguageGameEnv",
    "LanguageGameVectorEnv",
    "MaskToInfo",
    "Message",
    "Observation",
    "Outcome",
    "Payoff",
    "PlayerTransition",
    "PlayerTransitions",
    "RandomAgent",
    "RedTeamGame",
    "SampledDeals",
    "SinglePlayerEnv",
    "Speaker",
    "Tokens",
    "Turn",
    "TurnLevelEnv",
    "Utterance",
    "Verdict",
    "View",
    "Vocabulary",
    "WithThoughts",
    "WordVocabulary",
    "deal_episodes",
    "make",
    "make_game",
    "make_turn_level",
    "register_game",
    "registered_games",
    "speak_all",
    "utterance_of",
]
