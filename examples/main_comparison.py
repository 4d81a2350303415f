"""Who holds against which disguises? The demo's methods on red_team-v1 over many seeds, with intervals and tests.

    python examples/main_comparison.py --seeds 10 --out runs/main_comparison
    python examples/main_comparison.py --seeds 10 --out runs/main_comparison --remedies

Defenders that train on static requests (RLHF), on a frozen paraphraser's prompts, on an adversary's that learns (GPO,
arXiv 2406.10977, without and with its reward for diversity) and, as a ceiling, on all styles alike; each is asked all
requests in no, one and two styles. With `--remedies`, GPO with one change each. Call the same command again after a
kill, with more seeds or with remedies: what is there is not trained again.
"""

import tyro

from duologue.baselines.studies.main_comparison import MainComparisonConfig, main_comparison

if __name__ == "__main__":
    print(f"\n{main_comparison(tyro.cli(MainComparisonConfig, description=__doc__))}")
