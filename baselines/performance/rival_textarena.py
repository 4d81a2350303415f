"""Turns a second on Kuhn poker: the batched form beside TextArena's own game, in its raw, unwrapped form.

A round here and there is the same game: three cards, one bet, the same words. Run alone, it prints and nothing else:

    python -m duologue.baselines.performance.rival_textarena
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

from ...envs.games.kuhn_poker import KuhnPoker
from ...envs.vocabulary import Tokens
from .rivals import TurnRates, compare_turns

NAME = "KuhnPoker-v0-raw"
NUM_EPISODES = 4_096
NUM_ROUNDS = 5
"""How often TextArena plays the recorded games in one measurement."""


def compare_on_kuhn_poker(num_episodes: int) -> TurnRates | None:
    """Play the same recorded betting here and there; None where TextArena is not installed.

    Looked at, TextArena is asked for the mover's observation before every turn, as its own loop does; otherwise a round
    is reset and its turns are said. One environment of one round is reset again and again.
    """
    try:
        import textarena
    except ImportError:
        return None
    env: Any = textarena.make(NAME, max_rounds=1)
    state = random.getstate()  # TextArena seeds and draws from Python's global generator
    try:
        return compare_turns(KuhnPoker(), num_episodes, lambda games, look: _arena_rate(env, games, look=look))
    finally:
        random.setstate(state)


def _arena_rate(env: Any, games: Sequence[Tokens], *, look: bool) -> float:
    """Return the turns per second of TextArena."""
    texts = NUM_ROUNDS * [[f"[{KuhnPoker.vocabulary.decode((token,))}]" for token in tokens] for tokens in games]
    start = time.process_time()
    for actions in texts:
        env.reset(num_players=2)
        done = False
        for action in actions:
            if look:
                env.get_observation()
            done, _ = env.step(action)
        assert done
    return sum(map(len, texts)) / (time.process_time() - start)


def textarena_line(rates: TurnRates | None) -> str:
    """Return the comparison in words, or why there is none."""
    if rates is None:
        return (
            "TextArena's Kuhn poker was not measured, as TextArena is not installed where this page was written\n"
            "(`pip install --constraint constraints.txt textarena`)."
        )
    return (
        f"On Kuhn poker recorded games give {rates.ours:,.0f} turns a second. TextArena's `{NAME}`\n"
        f"gives {rates.theirs:,.0f} if the mover's observation is asked for at every turn, as its own loop does, and\n"
        f"{rates.theirs_unseen:,.0f} if nothing is looked at: ours is {rates.ratio:.3g} and {rates.ratio_unseen:.3g} "
        "times as fast."
    )


if __name__ == "__main__":
    print(textarena_line(compare_on_kuhn_poker(NUM_EPISODES)))
