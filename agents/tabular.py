"""Agents on a tree, both ways: an agent as a policy of the exact tree, a policy of the tree as an agent.

Asked once in every information state, an agent becomes a policy (`policy_of`; `pure_policy_of` if it never draws), and
so does whoever sits at a seat (`seat_policy`). A policy from a solver plays in every form of the game as a
`TabularAgent`, and several of them, one drawn an episode, as a `MixtureAgent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..envs import Ending, Observation, Speaker, Tokens, Utterance, View, Vocabulary
from ..envs.engine.views import Choice
from ..envs.game import PLAYERS
from ..envs.tree import GameTree, Policy, Profile, check_policy, policy_from_matrix
from .population import Population, Seat


@runtime_checkable
class TokenPolicy(Protocol):
    """Whoever can state the distribution of its next token; it must be the one that its words are drawn from."""

    def token_probabilities(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """Return each token's probability at each observation, 0 where it is not legal; shape (N, V)."""
        ...


@runtime_checkable
class ChoicePolicy(TokenPolicy, Protocol):
    """One that can state it for the legal tokens alone: of tens of thousands of tokens a handful may be said."""

    def choice_probabilities(self, choices: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """Return the legal tokens' probabilities at each choice, in their order; (n,) each."""
        ...


def policy_of(tree: GameTree, player: int, agent: TokenPolicy) -> Policy:
    """Return the policy that an agent follows as `player`; all information states are asked in one call.

    A `ChoicePolicy` is not asked where one token alone is legal.

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
    if not tree.tables[player].num_infostates:  # who never speaks need not know how many tokens there are
        return [tree.tables[player].uniform() for _ in agents]
    observations, choices = cache(tree.observations), cache(tree.choices)

    def stated(agent: TokenPolicy) -> Policy:
        if isinstance(agent, ChoicePolicy):
            return _policy_at_choices(tree, player, agent, *choices(player))
        return policy_from_matrix(tree, player, agent.token_probabilities(observations(player)))

    return [stated(agent) for agent in agents]


def _policy_at_choices(
    tree: GameTree, player: int, agent: ChoicePolicy, infostates: NDArray[np.int64], choices: Sequence[Choice]
) -> Policy:
    table = tree.tables[player]
    policy = table.uniform()
    for infostate, probabilities in zip(infostates.tolist(), agent.choice_probabilities(choices), strict=True):
        policy[table.offsets[infostate] : table.offsets[infostate + 1]] = probabilities
    return check_policy(tree, player, policy)


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


class TabularAgent:
    """Looks up what it knows in a table of distributions, and draws from them.

    >>> from duologue.envs.games.bluff import Bluff
    >>> from duologue.envs.tree import uniform_profile
    >>> tree = GameTree(Bluff())
    >>> agent = TabularAgent(tree, 1, uniform_profile(tree)[1])
    >>> agent.token_probabilities(tree.observations(1)).max()
    np.float64(0.5)
    """

    def __init__(self, tree: GameTree, player: int, policy: Policy) -> None:
        """Take one player's policy; raises ValueError where it is none (`check_policy`)."""
        self.player, self.policy = player, check_policy(tree, player, policy)
        self._vocabulary: Vocabulary = tree.game.vocabulary
        table = tree.tables[player]
        self._offsets, self._tokens = table.offsets, table.tokens
        observed = (observation["observation"] for observation in tree.observations(player))
        self._infostates = {_key(tokens): infostate for infostate, tokens in enumerate(observed)}

    def infostate_of(self, tokens: NDArray[np.int64]) -> int:
        """Return the number of the information state in which the player knows `tokens`, padded or not.

        Raises:
            ValueError: the tree has no such information state of this player.
        """
        infostate = self._infostates.get(_key(tokens))
        if infostate is None:
            raise ValueError(
                f"view: expected one of the {len(self._infostates)} information states of player {self.player} in the "
                f"tree, got {self._vocabulary.decode(tokens.tolist())!r}"
            )
        return infostate

    def token_probabilities(self, observations: Sequence[Observation]) -> NDArray[np.float64]:
        """Return the distribution of its next token at each observation; shape (N, V)."""
        probabilities = np.zeros((len(observations), self._vocabulary.size))
        for row, observation in zip(probabilities, observations, strict=True):
            here = self._row(observation["observation"])
            row[here.tokens] = here.probabilities
        return probabilities

    def choice_probabilities(self, choices: Sequence[Choice]) -> list[NDArray[np.float64]]:
        """Return the same for the legal tokens alone, (n,) each."""
        return [self._row(np.array(choice.tokens, dtype=np.int64)).probabilities for choice in choices]

    def act(self, observation: Observation, rng: np.random.Generator) -> int:
        """Return one legal token for an AEC observation."""
        return self._draw(self._row(observation["observation"]), rng)[0]

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        """Return one utterance for each view, with the logprobs of its tokens."""
        return [self._utter(view, rng) for view in views]

    def _utter(self, view: View, rng: np.random.Generator) -> Utterance:
        said: list[int] = []
        logprobs: list[float] = []
        while view.legal_mask(tuple(said)).any():
            row = self._row(np.concatenate([view.tokens, np.asarray(said, dtype=np.int64)]))
            token, probability = self._draw(row, rng)
            said.append(token)
            logprobs.append(float(np.log(probability)))
        ending = Ending.END_OF_TURN if said[-1] == view.vocabulary.eos_id else Ending.TOO_LONG
        return Utterance(tuple(said), tuple(logprobs), ending)

    def _row(self, tokens: NDArray[np.int64]) -> _Row:
        infostate = self.infostate_of(tokens)
        actions = slice(int(self._offsets[infostate]), int(self._offsets[infostate + 1]))
        return _Row(self._tokens[actions], self.policy[actions])

    def _draw(self, row: _Row, rng: np.random.Generator) -> tuple[int, float]:
        cumulative = row.probabilities.cumsum()
        drawn = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
        return int(row.tokens[drawn]), float(row.probabilities[drawn])


class _Row(NamedTuple):
    """The actions of one information state."""

    tokens: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def _key(tokens: NDArray[np.int64]) -> bytes:
    return np.trim_zeros(tokens.astype(np.int64), "b").tobytes()


class MixtureAgent(TabularAgent):
    """Speaks as if one of its members, drawn by weight, had been seated for the whole episode.

    Token probabilities are never averaged as they stand: mixing an agent that says "a a" with one that says "b b"
    gives no "a b". Agents keep no memory, so nothing is remembered of the draw. Instead the player's own tokens in the
    view tell how likely each member is to be the one that sits there,

        p(k | view) proportional to weight_k * product over the player's own tokens of p_k(token | view before it),

    and the next token has the probability sum_k p(k | view) p_k(token | view). By Kuhn (1953) that is the same
    distribution over episodes, against every opponent, as drawing the member. Where no member would have come, legal
    tokens are equally likely. What members say is asked once, now: a member that learns on changes nothing here. In a
    game too large for a tree, draw a member for each episode and seat it for all of it.
    """

    def __init__(
        self,
        tree: GameTree,
        player: int,
        members: Sequence[TokenPolicy],
        weights: Sequence[float] | None = None,
    ) -> None:
        """Take the members.

        Args:
            tree: of the game.
            player: the seat of all of them.
            members: at least one agent that states its probabilities.
            weights: >= 0, not all 0, one a member; they need not sum to 1. None: all alike.

        Raises:
            ValueError: weights that are none.
        """
        prior = np.ones(len(members)) if weights is None else np.asarray(weights, dtype=np.float64)
        if not members or prior.shape != (len(members),) or not (prior >= 0).all() or not 0 < prior.sum() < np.inf:
            raise ValueError(f"weights: expected {len(members)} numbers >= 0, one a member, not all 0, got {weights}")
        self.weights = prior / prior.sum()
        """The probability that each member is drawn; shape (K,)."""
        table = tree.tables[player]
        policies = np.stack(policies_of(tree, player, members))
        reach = np.stack([table.reach(policy) for policy in policies])[:, table.parent_sequence]
        joint = self.weights[:, None] * reach
        total = joint.sum(0)
        self._posterior = np.divide(joint, total, where=total > 0, out=np.zeros_like(joint))
        averaged = (self._posterior[:, table.infostate_of] * policies).sum(0)
        super().__init__(tree, player, table.normalise(averaged))

    def posterior(self, observation: Observation) -> NDArray[np.float64]:
        """Return how likely each member is to be the one that spoke so far, all 0 where none would; shape (K,)."""
        probabilities: NDArray[np.float64] = self._posterior[:, self.infostate_of(observation["observation"])]
        return probabilities


def seat_profile(tree: GameTree, seats: tuple[Seat, Seat]) -> Profile:
    """Return what two seats play as a behaviour profile; raises as `policy_of` does."""
    return seat_policy(tree, 0, seats[0]), seat_policy(tree, 1, seats[1])


def seat_policy(tree: GameTree, player: int, seat: Seat) -> Policy:
    """Return the policy of an agent, or of a population: its members' realisation plans, averaged (Kuhn, 1953).

    Raises:
        TypeError: whoever sits there does not state its probabilities.
        ValueError: what it states is no distribution over legal tokens.
    """
    members, weights = (seat.members, seat.weights) if isinstance(seat, Population) else ((seat,), (1.0,))
    agents: list[TokenPolicy] = [member for member in members if isinstance(member, TokenPolicy)]
    if len(agents) < len(members):
        raise TypeError(f"player {player}: expected agents with token_probabilities, got {members}")
    policies = policies_of(tree, player, agents)
    if len(policies) == 1:
        return policies[0]
    table = tree.tables[player]
    plan = np.sum([weight * table.reach(policy) for weight, policy in zip(weights, policies, strict=True)], axis=0)
    return table.policy_of(plan)
