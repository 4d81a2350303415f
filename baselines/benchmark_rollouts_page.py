"""The section of `docs/performance.md` that `benchmark_rollouts` writes."""

from __future__ import annotations

from collections.abc import Sequence

from ..envs.benchmark import Figure
from ..envs.benchmark_page import figure_table

HEADING = "# Performance of rollouts"

SECTION = """\
{heading}

Measured by `python -m duologue.baselines.benchmark_rollouts --markdown docs/performance.md`, which writes this section;
`--only decode` leaves out what needs TRL. Speeds are per second of wall clock, medians of repetitions that take turns.
{described}.

{figures}

`micro_decoding` is the package's micro model: 0.35 M parameters, 200 tokens, batch 64. The bare loop is a `model(...)`
with its key-value cache and one `argmax` a token; the sampling loop draws by softmax and `multinomial`. In all of them
`<eos>` is out of the model's reach, so that everybody says as many tokens. Ours samples, reports log-probabilities and,
in a rollout, deals, builds views, checks every token and pays rewards. Learning is a rollout and one update epoch: PPO
with value head and frozen reference here, TRL's RLOO with frozen reference.

{tables}
"""


def section(described: str, figures: Sequence[Figure], tables: Sequence[str]) -> str:
    """Return the page's section."""
    return SECTION.format(
        heading=HEADING, described=described, figures=figure_table(figures), tables="\n\n".join(tables)
    )
