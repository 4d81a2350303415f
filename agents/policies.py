"""Agents as policies on the exact tree: what an agent would say, asked once in every information state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..envs import Observation, Speaker, Tokens, Utterance
from ..envs.tree import PLAYERS, GameTree, Policy, Profile, policy_from_matrix


@runtime_checkable
class TokenPolicy(Protocol):
    """Whoever can state the distribution of its next token; it must be the one that its words are drawn from."""

    def token_probabilities(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """Return each token's probability at each observation, 0 where it is not legal; shape (N, V)."""
        ...


def policy_of(tree: GameTree, player: int, agent: TokenPolicy) -> Policy:
    """Return the policy that an agent follows as `player`; all information states are asked in one call.

    Raises:
        TypeError: the agent does not state its probabilities.
        ValueError: a row puts weight on an illegal token or does not sum to 1; the message says where.
    """
    return policies_of(tree, player, [agent])[0]


def policies_of(tree: GameTree, player: int, agents: Sequence[TokenPolicy]) -> list[Policy]:
    """Return `policy_of` each of several agents at one seat; the game is replayed once for all of them."""
    for agent in agents:
        if not isinstance(agent, TokenPolicy):
            raise TypeError(
                f"{type(agent).__name__}: expected an agent with token_probabilities, got none; `pure_policy_of` asks "
                "agents that never draw"
            )
    observations = tree.observations(player)
    if not observations:  # who never speaks need not know how many tokens there are
        return [tree.tables[player].uniform() for _ in agents]
    return [policy_from_matrix(tree, player, agent.token_probabilities(observations)) for agent in agents]


def profile_of(tree: GameTree, agents: Sequence[TokenPolicy]) -> Profile:
    """Return the policies of the agents at player 0 and at player 1; raises as `policy_of` does."""
    if len(agents) != len(PLAYERS):
        raise ValueError(f"agents: expected {len(PLAYERS)}, one a player, got {len(agents)}")
    return policy_of(tree, 0, agents[0]), policy_of(tree, 1, agents[1])


def pure_policy_of(tree: GameTree, player: int, agent: Speaker) -> Policy:
    """Return the policy of an agent that speaks without drawing, such as a scripted one.

    Inside a turn that the agent would not have begun like this, all tokens are equally likely: it never comes there.

    Raises:
        TypeError: the agent draws random numbers, so that what it says is only a sample.
        ValueError: what it says is no legal turn; the message says where.
    """
    table, rng = tree.tables[player], np.random.default_rng(0)
    untouched, policy = rng.bit_generator.state, table.uniform()
    for infostate, node in enumerate(table.nodes.tolist()):
        said = tree.episode(node).open_turn.said()
        turn_start = _ancestor(tree, node, len(said))
        utterance = agent.speak([tree.episode(turn_start).view()], rng)[0]
        if rng.bit_generator.state != untouched:
            raise TypeError(f"{type(agent).__name__}: expected an agent that never draws, got one that does")
        if utterance.tokens[: len(said)] == said:
            actions = slice(int(table.offsets[infostate]), int(table.offsets[infostate + 1]))
            next_token = _next_token(tree, player, infostate, utterance, said)
            policy[actions] = table.tokens[actions] == next_token
    return policy


def _ancestor(tree: GameTree, node: int, steps: int) -> int:
    for _ in range(steps):
        node = int(tree.parent[node])
    return node


def _next_token(tree: GameTree, player: int, infostate: int, utterance: Utterance, said: Tokens) -> int:
    table = tree.tables[player]
    legal = table.tokens[table.offsets[infostate] : table.offsets[infostate + 1]].tolist()
    later = utterance.tokens[len(said) :]
    if utterance.ending.forfeits or not later or later[0] not in legal:
        decode = tree.game.vocabulary.decode
        raise ValueError(
            f"agent of player {player}: expected one of {decode(legal)!r} at "
            f"{tree.infostate_text(player, infostate)!r}, got the turn {decode(utterance.tokens)!r} "
            f"({utterance.ending.value})"
        )
    return later[0]
