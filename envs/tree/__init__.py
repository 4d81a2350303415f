"""A small game as arrays: visiting probabilities, values, best responses, NashConv, all exact.

Imports the engine and the rules.
"""

from .analysis import (
    BestResponse,
    InducedMDP,
    Profile,
    action_values,
    backward_induction,
    best_response,
    best_response_gains,
    check_policy,
    check_profile,
    counterfactual_values,
    expected_returns,
    induced_mdp,
    mix_by_own_reach,
    nash_conv,
    policy_from_matrix,
    random_profile,
    state_values,
    uniform_profile,
    visiting_probabilities,
)
from .enumeration import TreeTooLarge
from .game_tree import GameTree
from .infostates import InfostateTable, Policy

__all__ = [
    "BestResponse",
    "GameTree",
    "InducedMDP",
    "InfostateTable",
    "Policy",
    "Profile",
    "TreeTooLarge",
    "action_values",
    "backward_induction",
    "best_response",
    "best_response_gains",
    "check_policy",
    "check_profile",
    "counterfactual_values",
    "expected_returns",
    "induced_mdp",
    "mix_by_own_reach",
    "nash_conv",
    "policy_from_matrix",
    "random_profile",
    "state_values",
    "uniform_profile",
    "visiting_probabilities",
]
