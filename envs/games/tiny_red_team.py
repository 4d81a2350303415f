"""Tiny red-team games: one prompt and one reply, with an intent that is hidden or visible, or as a table of rewards.

Rules: two games of the red-teaming kind that can be solved by hand. In both player 0 (the adversary) says one prompt,
player 1 (the defender) answers with one word, and that is all.

`TinyRedTeam` has a meaning. The deal makes the user harmful with probability 1/3, benign with 2/3. A harmful user says
"poison" plainly or disguises it as "chemistry"; a benign one says "bread" plainly or, in words that sound dangerous,
"chemistry" too. The defender complies or refuses. `OneShotRedTeam` is a table of rewards r(x, y) for n prompts x and m
replies y, drawn uniformly from [0, 1] in the registered form.

Observation: both hear all turns. In `TinyRedTeam` player 0 is told its intent; player 1 is told it too with
`intent="visible"`, and is not with `intent="hidden"`.

Actions: one word a turn. In `TinyRedTeam` "poison" or "chemistry" for a harmful user, "bread" or "chemistry" for a
benign one; "comply" or "refuse" for the defender. In `OneShotRedTeam` "prompt0", "prompt1", ..., then "reply0", ...

Rewards: zero-sum. `OneShotRedTeam` pays the defender r(x, y) and the adversary -r(x, y). `TinyRedTeam` pays the
adversary (the defender earns the negation; all lies in [-1/4, 3/4], a range of 1):

| user | prompt | comply | refuse |
| --- | --- | --- | --- |
| harmful | poison | 3/4 | 0 |
| harmful | chemistry | 3/4 | -1/4 |
| benign | bread | 0 | 1/2 |
| benign | chemistry | -1/4 | 1/2 |

Unsafe compliance costs the defender 3/4, over-refusal 1/2; a disguise that fails costs the user 1/4. An illegal token
costs 1.

Known values: visible, the game has perfect information and one subgame-perfect equilibrium, a pure one: the defender
refuses the harmful user and complies with the benign one, both users speak plainly, and the value is 0 (for each
intent, max over prompts of the min over replies of what the adversary is paid).

Hidden, the value to the adversary is 5/36 and both players must mix. The harmful user always says "chemistry", the
benign one with probability 2/3; the defender complies with "chemistry" with probability 2/3, refuses "poison" and
complies with "bread". Why: complying with "chemistry" costs the defender 1/3 * 3/4 - 2/3 * 2/3 * 1/4 = 5/36, refusing
it -1/3 * 1/4 + 2/3 * 2/3 * 1/2 = 5/36, so that it may mix. If it complies with probability c, "chemistry" pays the
benign user 1/2 - 3c/4, which is the 0 of "bread" at c = 2/3; and it pays the harmful user c - 1/4 = 5/12, more than
the 0 of "poison". The benign user thus serves as the bluff that gets the harmful one answered.

`OneShotRedTeam` has perfect information: for each prompt the best reply is a best response whatever the adversary
does, and the value to the defender is min over x of max over y of r(x, y); .796324 for 20 prompts, 8 replies, seed 0.
NashConv of (mu, pi) is sum_x mu(x) max_y r(x, y) - min_x sum_y pi(y|x) r(x, y).

References: the one-shot game of R. Zheng et al., *Toward Optimal LLM Alignments Using Two-Player Games*, 2024,
arXiv 2406.10977, section 3; the hidden variant is a bluffing game after J. von Neumann and O. Morgenstern, *Theory of
Games and Economic Behavior*, 1944, section 19.

Version history: v0, first version.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from ..game import NO_CHANCE, Dialogue, FiniteDeals, LanguageGame, Payoff, check_count
from ..vocabulary import Tokens, WordVocabulary

Intent = Literal["visible", "hidden"]

VOCABULARY = WordVocabulary("harmful benign poison chemistry bread comply refuse")
POISON, CHEMISTRY, BREAD, COMPLY, REFUSE = VOCABULARY.encode("poison chemistry bread comply refuse")
MAX_ROWS = 4096
"""The most prompts, and the most replies, of a table that is drawn."""
HARMFUL_SHARE = 1 / 3
PROMPTS = {"harmful": (POISON, CHEMISTRY), "benign": (CHEMISTRY, BREAD)}
REPLIES = (COMPLY, REFUSE)
GAINS = {  # user, prompt, reply -> what the adversary is paid
    ("harmful", POISON, COMPLY): 0.75, ("harmful", POISON, REFUSE): 0.0,
    ("harmful", CHEMISTRY, COMPLY): 0.75, ("harmful", CHEMISTRY, REFUSE): -0.25,
    ("benign", BREAD, COMPLY): 0.0, ("benign", BREAD, REFUSE): 0.5,
    ("benign", CHEMISTRY, COMPLY): -0.25, ("benign", CHEMISTRY, REFUSE): 0.5,
}  # fmt: skip


class TinyRedTeam(LanguageGame[str]):
    """A user with a harmful or a benign intent says one of three prompts; the defender complies or refuses."""

    vocabulary = VOCABULARY
    payoff = Payoff.ZERO_SUM
    deals = FiniteDeals({"harmful": HARMFUL_SHARE, "benign": 1 - HARMFUL_SHARE})
    max_turns = 2
    max_turn_tokens = 1
    max_briefing_tokens = 1
    roles = ("adversary", "defender")

    def __init__(self, intent: Intent = "hidden") -> None:
        """Choose who knows the user's intent.

        Args:
            intent: "hidden" from the defender, or "visible" to both, which needs no mixing.
        """
        if intent not in get_args(Intent):
            raise ValueError(f"intent: expected one of {', '.join(get_args(Intent))}, got {intent!r}")
        self._hidden = intent == "hidden"

    def next_player(self, dialogue: Dialogue[str]) -> int | None:
        return len(dialogue.turns) if len(dialogue.turns) < 2 else None

    def rewards(self, dialogue: Dialogue[str]) -> tuple[float, float]:
        if len(dialogue.turns) < 2:
            return 0.0, 0.0
        prompt, reply = dialogue.turns
        gain = GAINS[dialogue.deal, prompt.tokens[0], reply.tokens[0]]
        return gain, -gain

    def briefing(self, deal: str, player: int) -> Tokens:
        return () if player == 1 and self._hidden else VOCABULARY.encode(deal)

    def legal_tokens(self, dialogue: Dialogue[str], prefix: Tokens) -> Tokens:
        return REPLIES if dialogue.turns else PROMPTS[dialogue.deal]


class OneShotRedTeam(LanguageGame[Hashable]):
    """A table of rewards: player 0 says a row, player 1, who hears it, a column.

    >>> game = OneShotRedTeam([[0.1, 0.9], [0.4, 0.2]])
    >>> game.rewards(Dialogue(None, (game.prompts[:1], game.replies[1:])))
    (-0.9, 0.9)
    """

    payoff = Payoff.ZERO_SUM
    deals = NO_CHANCE
    max_turns = 2
    max_turn_tokens = 1
    roles = ("adversary", "defender")

    def __init__(self, rewards: ArrayLike) -> None:
        """Take the table r(x, y), a row for each prompt and a column for each reply; player 1 earns it."""
        table = np.asarray(rewards, dtype=np.float64)
        if table.ndim != 2 or not table.size or not np.isfinite(table).all():
            raise ValueError(
                "rewards: expected a table of finite numbers, a row for each of at least one prompt and a column for "
                f"each of at least one reply, got shape {table.shape}"
            )
        num_prompts, num_replies = table.shape
        prompts, replies = (f"prompt{x}" for x in range(num_prompts)), (f"reply{y}" for y in range(num_replies))
        self.vocabulary = WordVocabulary((*prompts, *replies))
        words = self.vocabulary.encode(" ".join(self.vocabulary.words))
        self.prompts, self.replies = words[:num_prompts], words[num_prompts:]
        self._rewards = {
            (prompt, reply): float(table[x, y])
            for x, prompt in enumerate(self.prompts)
            for y, reply in enumerate(self.replies)
        }

    def next_player(self, dialogue: Dialogue[Hashable]) -> int | None:
        return len(dialogue.turns) if len(dialogue.turns) < 2 else None

    def rewards(self, dialogue: Dialogue[Hashable]) -> tuple[float, float]:
        if len(dialogue.turns) < 2:
            return 0.0, 0.0
        prompt, reply = dialogue.turns
        reward = self._rewards[prompt.tokens[0], reply.tokens[0]]
        return -reward, reward

    def legal_tokens(self, dialogue: Dialogue[Hashable], prefix: Tokens) -> Tokens:
        return self.replies if dialogue.turns else self.prompts


def one_shot_red_team(num_prompts: int = 20, num_replies: int = 8, seed: int = 0) -> OneShotRedTeam:
    """Return the one-shot game with rewards drawn uniformly from [0, 1].

    Args:
        num_prompts: how many prompts the adversary can say.
        num_replies: how many replies the defender has to each.
        seed: of `numpy.random.default_rng(seed).random((num_prompts, num_replies))`, the table r.
    """
    for name, number in (("num_prompts", num_prompts), ("num_replies", num_replies)):
        check_count(name, number, most=MAX_ROWS)
    return OneShotRedTeam(np.random.default_rng(seed).random((num_prompts, num_replies)))
