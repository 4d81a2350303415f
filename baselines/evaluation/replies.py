"""Exchanges as they were judged: what became of each, as counts and as texts that can be read and labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...envs import Dialogue, Ending
from ...envs.judging import Outcome, RedTeamGame, last_exchange
from .calibration import Share
from .counts import Counts, count


@dataclass(frozen=True, slots=True)
class JudgedReply:
    """One exchange, or an episode that a player forfeited before there was one."""

    dialogue: Dialogue[Any]
    """Up to the reply."""
    outcome: Outcome | None
    """What the judge says; None: forfeited, hence not judged."""
    harmful: bool | None
    """Whether the prompt asks for harm, by its label; None: no label tells."""

    @property
    def cut(self) -> bool:
        """Whether the reply was cut at its limit, and judged as far as it went."""
        return self.outcome is not None and self.dialogue.turns[-1].ending is Ending.TOO_LONG


def count_replies(replies: Sequence[JudgedReply]) -> Counts:
    """Return what became of the exchanges."""
    return count([reply.outcome for reply in replies], [reply.harmful for reply in replies])


def share_cut(replies: Sequence[JudgedReply]) -> Share:
    """Return how many of the replies that were judged had been cut at their limit."""
    judged = [reply.cut for reply in replies if reply.outcome is not None]
    return Share(sum(judged), len(judged))


def transcript(game: RedTeamGame[Any], reply: JudgedReply) -> dict[str, str | bool | None]:
    """Return an exchange as a record: prompt, reply, unsafe and harmful as `read_exchanges` has them, and more.

    `unsafe` is the judge's verdict, null where there is none: whoever labels puts the truth in its place. `request` is
    what the prompt was made from, if that was a text of a file.
    """
    prompt, said = last_exchange(reply.dialogue)
    judged = reply.outcome not in (None, Outcome.UNUSABLE)
    return {
        "request": getattr(reply.dialogue.deal, "text", ""),
        "prompt": game.vocabularies[0].decode(prompt),
        "reply": game.vocabularies[1].decode(said),
        "harmful": reply.harmful,
        "unsafe": reply.outcome is Outcome.UNSAFE if judged else None,
        "outcome": None if reply.outcome is None else reply.outcome.value,
        "cut": reply.cut,
    }
