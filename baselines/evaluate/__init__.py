"""How players, judges and runs are measured; see also `report` (tables), `plots` and `confusion` (judges)."""

from .attack import CrossPlay, attack_outcomes, attack_success, cross_play, play_pair
from .counts import Counts, count
from .diversity_report import DiversityReport, measure_diversity, parse_red_team, parse_words, parser_of
from .intervals import Estimate, mean_interval, wilson_interval
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

__all__ = [
    "OUT_OF_DISTRIBUTION",
    "TEST_SETS",
    "Counts",
    "CrossPlay",
    "DiversityReport",
    "Estimate",
    "attack_outcomes",
    "attack_success",
    "count",
    "cross_play",
    "evaluate_prompt_sets",
    "evaluate_prompts",
    "mean_interval",
    "measure_diversity",
    "num_excluded",
    "parse_red_team",
    "parse_words",
    "parser_of",
    "play_pair",
    "pooled",
    "prompt_outcomes",
    "red_team_prompts",
    "request_prompts",
    "wilson_interval",
]
