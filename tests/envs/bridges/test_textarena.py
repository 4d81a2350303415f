"""TextArena both ways; skipped where it is not installed (`make guests GUESTS=textarena` makes such a place)."""

import random
import re
from functools import partial
from typing import Any

import numpy as np
import pytest

from duologue.agents import RandomAgent
from duologue.envs import Episode, LanguageGameEnv, SinglePlayerEnv, WordVocabulary, make_game, speak_all
from duologue.envs.bridges.textarena import TextArenaGame, from_textarena, to_textarena
from duologue.envs.testing.conformance import check_game

textarena = pytest.importorskip("textarena", reason="textarena is not installed")


def listen(text: str) -> str:
    """Keep the card and the moves."""
    found = re.findall(r"Your card is: '([JQK])'|submitted move: '\[(\w+)\]'", text)
    return " ".join(card or move for card, move in found)


def legal(env: Any) -> list[str]:
    """Read off the state what may be said."""
    return list(env.state.game_state["current_legal_action_tree"])


ONE_ROUND = partial(textarena.make, "KuhnPoker-v0-raw", max_rounds=1)


def kuhn_poker() -> TextArenaGame:
    """Return one round of TextArena's Kuhn poker."""
    return from_textarena(
        ONE_ROUND,
        WordVocabulary("J Q K check bet call fold"),
        listen=listen,
        legal=legal,
        max_turns=3,
        max_told_tokens=4,
    )


def test_textarenas_game_conforms() -> None:
    """The suite that every game of ours passes."""
    check_game(kuhn_poker())


def test_episodes_agree_with_textarena_played_directly() -> None:
    """Same seed, same moves: the same rewards."""
    game, rng = kuhn_poker(), np.random.default_rng(0)
    for seed in range(30):
        episode = Episode(game, seed)
        env = ONE_ROUND()
        env.reset(num_players=2, seed=seed)
        done = False
        while not done:
            assert episode.player == env.get_observation()[0]
            (utterance,) = RandomAgent().speak([episode.view()], rng)
            done, _ = env.step(f"[{game.vocabulary.decode(utterance.tokens[:1])}]")
            speak_all([episode], [utterance])
        assert episode.over
        assert dict(enumerate(episode.returns)) == env.close()[0]


def test_pythons_generator_is_left_alone() -> None:
    """TextArena seeds it; two environments must not disturb each other."""
    random.seed(5)
    expected = random.Random(5).random()
    env = SinglePlayerEnv(kuhn_poker(), player=0)
    env.reset(seed=0)
    assert random.random() == expected


def test_free_text_is_judged_by_textarena() -> None:
    """A second move that it cannot read loses there: -1 and 1."""
    words = WordVocabulary("J Q K check bet call fold nonsense")
    game = from_textarena(
        ONE_ROUND,
        words,
        listen=listen,
        max_turns=4,
        max_told_tokens=4,
    )
    env = LanguageGameEnv(game)
    env.reset(seed=0)
    first = env.agent_selection
    for _ in range(2):
        env.step(words.encode("nonsense")[0])
    assert env.rewards[first] == -1.0
    assert sum(env.rewards.values()) == 0.0


def test_our_game_there_pays_as_here() -> None:
    """Bluff by its texts: bet, call; two chips either way, and the seed decides the card."""
    env = to_textarena(make_game("bluff-v0"))
    env.reset(num_players=2, seed=0)
    player, told = env.get_observation()
    assert player == 0
    assert any("You are told: " in text for _, text, _ in told)
    assert env.step("bet") == (False, {})
    player, told = env.get_observation()
    assert player == 1
    assert (0, "bet") in [(author, text) for author, text, _ in told]
    done, _ = env.step(" call ")
    assert done
    rewards, _ = env.close()
    assert rewards == dict(enumerate(env.episode.returns))
    assert abs(rewards[0]) == 2.0


def test_our_game_there_allows_one_mistake() -> None:
    """TextArena's custom; the second in a row costs the game's forfeit, 1 in bluff."""
    env = to_textarena(make_game("bluff-v0"))
    env.reset(num_players=2, seed=0)
    assert env.step("raise")[0] is False
    assert env.get_observation()[0] == 0
    assert env.step("call")[0] is True
    assert env.close()[0] == {0: -1.0, 1: 1.0}
