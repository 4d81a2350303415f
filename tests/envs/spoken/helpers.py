"""A small tokenizer with a chat template, and policies of a game as policies of the same game spoken."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from duologue.agents import TabularAgent
from duologue.envs import Episode, LanguageGame
from duologue.envs.engine.views import Choice, utterance_of
from duologue.envs.spoken import PROMPTS, Prompts, Spoken
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.envs.tree import GameTree, Policy, Profile
from duologue.envs.vocabulary import Tokens
from duologue.tests.helpers import CHATML, tiny_tokenizer

SAID = ("You are playing a game. Answer with one word: Check or Bet, Fold or Call, Rock, Paper or Scissors.",)
VOCABULARY = TokenizerVocabulary(tiny_tokenizer(CHATML, sentences=SAID, vocab_size=330))


class BluffInFrench(Prompts[LanguageGame[Any]]):
    """What somebody writes who wants another language."""

    def briefing(self, game: LanguageGame[Any], deal: Any, player: int) -> str:
        """Return the card, to player 0."""
        return f"Vous avez {deal}." if player == 0 else "Vous ne voyez rien."

    def turns(self, game: LanguageGame[Any]) -> Mapping[str, Sequence[str]]:
        """Return the bets."""
        return {"fold": ("Passe", "Je passe"), "bet": ("Mise",), "call": ("Suis", "Je suis")}


def spoken(game: LanguageGame[Any], name: str, **options: Any) -> Spoken[Any]:
    """Return a game in the package's English."""
    return Spoken(game, VOCABULARY, PROMPTS[name], **options)


def lifted(tree: GameTree, base: GameTree, profile: Profile, rng: np.random.Generator) -> tuple[Policy, Policy]:
    """Return the profile of a spoken game's tree that does what one of the game inside does, its forms by chance."""
    first, second = (_lifted(tree, TabularAgent(base, player, profile[player]), rng) for player in (0, 1))
    return first, second


def _lifted(tree: GameTree, agent: TabularAgent, rng: np.random.Generator) -> Policy:
    table, game = tree.tables[agent.player], tree.game
    assert isinstance(game, Spoken)
    policy = table.uniform()
    shares = {words: rng.dirichlet(np.ones(len(of_words))) for words, of_words in game._forms.items()}
    for infostate, node in enumerate(table.nodes.tolist()):
        episode = tree.episode(node)
        said = episode.open_turn.said()
        chances = np.zeros(int(np.diff(table.offsets)[infostate]))
        tokens = table.tokens[table.offsets[infostate] : table.offsets[infostate + 1]].tolist()
        for words, probability in whole_turns(game, episode, agent).items():
            for form, share in zip(game._forms[words], shares[words], strict=True):
                closed = (*form, game.vocabulary.eos_id)
                if closed[: len(said)] == said:
                    chances[tokens.index(closed[len(said)])] += probability * share
        if chances.sum() > 0:
            policy[table.offsets[infostate] : table.offsets[infostate + 1]] = chances / chances.sum()
    return policy


def whole_turns(game: Spoken[Any], episode: Episode[Any], agent: TabularAgent) -> dict[Tokens, float]:
    """Return how likely the agent says each turn of one word where a spoken episode stands."""
    inner = game.inner(episode.dialogue)
    inside = Episode(game.game, inner.deal)
    for turn in inner.turns:
        inside.speak(utterance_of(game.game, inside.dialogue, turn))
        inside.settle(game.game.rewards(inside.dialogue))
    view = inside.view()
    legal = np.flatnonzero(view.legal_mask(()))
    stated = agent.choice_probabilities([Choice(tuple(view.tokens.tolist()), legal)])[0]
    return {(word,): float(chance) for word, chance in zip(legal.tolist(), stated, strict=True)}
