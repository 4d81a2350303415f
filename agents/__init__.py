"""Who decides: random, scripted, echoing, tabular, human, and language models. Importing this needs no torch."""

from typing import TYPE_CHECKING

from .agent import Agent, RandomAgent, Speaker, Utterance, View, utter
from .human import HumanAgent, Quit
from .loading import AGENT_SPECS, load_agent
from .population import Population, Seat
from .scripted import EchoAgent, FunctionAgent, ScriptedAgent
from .search import BestOfN, TurnSearch
from .tabular import (
    MixtureAgent,
    TabularAgent,
    TokenPolicy,
    policy_of,
    profile_of,
    pure_policy_of,
    seat_policy,
    seat_profile,
)
from .world_model import WorldModel

if TYPE_CHECKING:
    from .language_model import CausalLMAgent

__all__ = [
    "AGENT_SPECS",
    "Agent",
    "BestOfN",
    "CausalLMAgent",
    "EchoAgent",
    "FunctionAgent",
    "HumanAgent",
    "MixtureAgent",
    "Population",
    "Quit",
    "RandomAgent",
    "ScriptedAgent",
    "Seat",
    "Speaker",
    "TabularAgent",
    "TokenPolicy",
    "TurnSearch",
    "Utterance",
    "View",
    "WorldModel",
    "load_agent",
    "policy_of",
    "profile_of",
    "pure_policy_of",
    "seat_policy",
    "seat_profile",
    "utter",
]


def __getattr__(name: str) -> object:
    """Import `CausalLMAgent`, and with it torch, when it is first asked for."""
    if name == "CausalLMAgent":
        from .language_model import CausalLMAgent

        return CausalLMAgent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
