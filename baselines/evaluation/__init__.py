"""How players and judges are measured: attack success, head to head, exploitability, intervals.

Imports `learners` and what lies below them; measures, and trains only responders.
"""

from ..training.costs import CostMeter, Costs, QueryCounter, play_costs
from .aggregates import aggregate, aggregate_all
from .attack_success import CrossPlay, attack_outcomes, attack_success, cross_play, play_pair
from .counts import Counts, count
from .diversity_report import DiversityReport, measure_diversity, parse_red_team, parse_words, parser_of
from .exploitability import (
    NashConvLowerBound,
    ResponseBudget,
    ResponseLowerBound,
    best_response_lower_bound,
    nash_conv_lower_bound,
)
from .head_to_head import HeadToHead, SeatMatrix, head_to_head, play_returns, seat_matrix
from .intervals import Estimate, mean_interval, wilson_interval
from .kl import kl_to_start
from .ranking import Ranking, rank
from .red_team import (
    OUT_OF_DISTRIBUTION,
    TEST_SETS,
    evaluate_prompt_sets,
    evaluate_prompts,
    num_excluded,
    pooled,
    prompt_outcomes,
    red_team_prompts,
    request_prompts,
)
from .regret import (
    RegretGrowth,
    TrendTest,
    external_regret,
    population_regret,
    profile_regret,
    regret_growth,
    regret_trend,
)

__all__ = [
    "OUT_OF_DISTRIBUTION",
    "TEST_SETS",
    "CostMeter",
    "Costs",
    "Counts",
    "CrossPlay",
    "DiversityReport",
    "Estimate",
    "HeadToHead",
    "NashConvLowerBound",
    "QueryCounter",
    "Ranking",
    "RegretGrowth",
    "ResponseBudget",
    "ResponseLowerBound",
    "SeatMatrix",
    "TrendTest",
    "aggregate",
    "aggregate_all",
    "attack_outcomes",
    "attack_success",
    "best_response_lower_bound",
    "count",
    "cross_play",
    "evaluate_prompt_sets",
    "evaluate_prompts",
    "external_regret",
    "head_to_head",
    "kl_to_start",
    "mean_interval",
    "measure_diversity",
    "nash_conv_lower_bound",
    "num_excluded",
    "parse_red_team",
    "parse_words",
    "parser_of",
    "play_costs",
    "play_pair",
    "play_returns",
    "pooled",
    "population_regret",
    "profile_regret",
    "prompt_outcomes",
    "rank",
    "red_team_prompts",
    "regret_growth",
    "regret_trend",
    "request_prompts",
    "seat_matrix",
    "wilson_interval",
]
