"""World models: the rate of false statements is the scripted one, as a metric and as a reward."""

import numpy as np
import pytest

from duologue.agents import FunctionAgent, ScriptedAgent, Utterance, View, utter
from duologue.agents.world_model import Hallucination, WorldModel, hallucination
from duologue.baselines.rollouts.episodes import rollout
from duologue.envs import Dialogue, RandomAgent, Turn, WordVocabulary
from duologue.envs.games.statements import Statements
from duologue.envs.testing.conformance import check_game

GAME = Statements()
WORLD = WorldModel(GAME.truth)


def liar(rate: float) -> FunctionAgent:
    """Return an agent that says the truth of the thing it was asked about, or with `rate` something false."""

    def say(view: View, rng: np.random.Generator) -> Utterance:
        thing = view.vocabulary.decode(view.messages[-1].tokens)
        false = rng.random() < rate
        said = [p for p in GAME.properties if (p != GAME.facts[thing]) == false]
        return utter(view, view.vocabulary.encode(f"{thing} {rng.choice(said)}"))

    return FunctionAgent(say)


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_a_scripted_agents_hallucination_rate_is_the_scripted_one(rate: float) -> None:
    """1,000 statements: three standard deviations are 0.043 at most. As a reward it is worth 1 - 2 rate."""
    played = rollout(GAME, [RandomAgent(), liar(rate)], 1_000, np.random.default_rng(0))
    found = hallucination(WORLD, [play.dialogue for play in played], player=1)
    assert found.num_statements == found.num_turns == 1_000
    assert found.rate == pytest.approx(rate, abs=0.043)
    returns = [play.episode.returns[1] for play in played]
    assert np.mean(returns) == pytest.approx(1 - 2 * found.rate)


def test_a_game_judged_by_the_world_model_pays_what_its_own_table_pays() -> None:
    """The reward is the same world's, through the constructor, wherever an answer is one statement or none."""
    judged = Statements(judge=WORLD)
    for answer in ("snow white", "snow black", "white snow", "snow", ""):
        dialogue = Dialogue("snow", (Turn(GAME.vocabulary.encode("snow")), Turn(GAME.vocabulary.encode(answer))))
        assert judged.rewards(dialogue) == GAME.rewards(dialogue)
    assert judged.rewards_batch([dialogue, dialogue.upto(1)]) == [(0.0, 0.0), (0.0, 0.0)]


def test_statements_are_read_from_left_to_right_and_the_longest_first() -> None:
    """Of a, b and c, "a b c" is false though "a b" is true; what is left claims nothing."""
    words = WordVocabulary("a b c")
    world = WorldModel.from_text(words, {"a b": True, "a b c": False, "c c": True})
    assert world.claims(words.encode("a b c a b a c c")) == (False, True, True)
    assert world.claims(words.encode("b a c")) == ()
    assert world([words.encode("a b c a b"), ()]) == [0.0, 0.0]
    assert world.holds(words.encode("a b")) is True
    assert world.holds(words.encode("b")) is None


def test_who_says_nothing_says_nothing_false_and_it_shows() -> None:
    """The rate alone would reward silence."""
    played = rollout(GAME, [RandomAgent(), ScriptedAgent([""])], 5, np.random.default_rng(0))
    found = hallucination(WORLD, [play.dialogue for play in played], player=1)
    assert found == Hallucination(num_statements=0, num_false=0, num_turns=5)
    assert (found.rate, found.statement_rate) == (0.0, 0.0)


def test_statements_keeps_the_contracts_of_a_game() -> None:
    """With its own table and judged by the world model."""
    check_game(GAME)
    check_game(Statements(judge=WORLD, max_turn_tokens=5))


def test_what_is_no_world_is_refused() -> None:
    """An empty statement would stand in every turn; a judge must score every answer."""
    with pytest.raises(ValueError, match="statements: expected at least one, none of them empty"):
        WorldModel({(): True})
    with pytest.raises(ValueError, match="statements: expected at least one fact"):
        Statements({})
    mute = Statements(judge=lambda turns: [])
    with pytest.raises(ValueError, match="judge: expected 1 scores, got 0"):
        mute.rewards(Dialogue("snow", (Turn(GAME.vocabulary.encode("snow")), Turn(()))))
