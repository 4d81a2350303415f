"""Scripted, echoing and random agents, and agents by name."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import duologue.agents
import duologue.agents.judges
import duologue.agents.language_model
from duologue.agents import EchoAgent, FunctionAgent, RandomAgent, ScriptedAgent, Utterance, View, load_agent, utter
from duologue.envs import Ending, Episode, make, make_game, speak_all
from duologue.envs.games.bluff import BET, CALL, FOLD
from duologue.envs.vocabulary import EOS

RNG = np.random.default_rng(0)


def red_team() -> Episode[object]:
    """Return an episode whose player 0 has been told a request and may say 22 words."""
    game = make_game("red_team-v0")
    return Episode(game, game.deals.sample(np.random.default_rng(0)))


def test_words_below_the_limit_are_closed_by_eos() -> None:
    """At the limit the engine closes the turn, and beyond it nothing is said."""
    view = red_team().view()
    word = int(np.flatnonzero(view.vocabulary.sayable_mask)[0])
    for num_words, num_said in ((0, 0), (3, 3), (22, 22), (30, 22)):
        utterance = utter(view, [word] * num_words)
        closed = num_said < view.max_turn_tokens
        assert utterance.tokens == (word,) * num_said + (EOS,) * closed
        assert utterance.ending is (Ending.END_OF_TURN if closed else Ending.TOO_LONG)


def test_scripted_agent_says_its_texts_in_order_in_every_episode() -> None:
    """It counts its own turns in the view, so one agent serves a whole batch."""
    game = make_game("red_team-v0", num_rounds=3)
    words = game.vocabulary.decode(range(8, 10)).split()
    agent = ScriptedAgent(words)
    episodes = [Episode(game, game.deals.sample(np.random.default_rng(k))) for k in range(2)]
    for _ in range(6):
        speak_all(episodes, agent.speak([episode.view() for episode in episodes], RNG))
    for episode in episodes:
        said = [game.vocabulary.decode(turn.tokens) for turn in episode.dialogue.turns]
        assert said == [words[0], words[0], words[1], words[1], words[0], words[0]]


def test_scripted_agent_needs_texts_and_known_words() -> None:
    """A string would be taken letter by letter; an unknown word is named when it is to be said."""
    no_texts: list[str] = []
    for texts in ("fold", no_texts):
        with pytest.raises(ValueError, match="texts: expected a sequence of at least one text"):
            ScriptedAgent(texts)
    with pytest.raises(ValueError, match="expected words of the vocabulary, got 'raise'"):
        ScriptedAgent(["raise"]).speak([Episode(make_game("bluff-v0"), "ace").view()], RNG)


def test_function_agent_speaks_as_a_function_of_the_view() -> None:
    """The honest bettor: bets the ace, folds the deuce."""

    def honest(view: View, rng: np.random.Generator) -> Utterance:
        return utter(view, BET if 8 in view.tokens else FOLD)

    views = [Episode(make_game("bluff-v0"), deal).view() for deal in ("ace", "deuce")]
    assert [utterance.tokens for utterance in FunctionAgent(honest).speak(views, RNG)] == [BET, FOLD]


def test_echo_says_what_it_was_briefed_with() -> None:
    """The static prompts of RLHF are the seed requests themselves."""
    episode = red_team()
    (utterance,) = EchoAgent().speak([episode.view()], RNG)
    briefing = episode.game.briefing(episode.dialogue.deal, 0)
    assert utterance.tokens == (*briefing, EOS)


def test_echo_without_a_briefing_says_nothing() -> None:
    """Bluff's caller is told nothing; that is no legal turn there, and its own loss."""
    episode = Episode(make_game("bluff-v0"), "ace")
    speak_all([episode], [Utterance(BET)])
    speak_all([episode], EchoAgent().speak([episode.view()], RNG))
    assert episode.forfeited_by == 1


def test_random_agent_acts_on_observations() -> None:
    """A legal token each time, and in the long run every one."""
    env = make("bluff-v0")
    env.reset(seed=0)
    observation, *_ = env.last()
    assert observation is not None
    rng = np.random.default_rng(0)
    acted = {RandomAgent().act(observation, rng) for _ in range(50)}
    assert acted == {*FOLD, *BET}
    assert CALL[0] not in acted


def test_agents_have_names() -> None:
    """What `--opponent` takes, folders apart."""
    vocabulary = make_game("bluff-v0").vocabulary
    assert isinstance(load_agent("random", vocabulary), RandomAgent)
    assert isinstance(load_agent("echo", vocabulary), EchoAgent)


def test_unknown_agent_is_named(tmp_path: Path) -> None:
    """A name that is no name and no folder, and a folder that holds no model."""
    vocabulary = make_game("bluff-v0").vocabulary
    with pytest.raises(ValueError, match=r"expected random, echo or the folder of .*, got 'rando': there is no such"):
        load_agent("rando", vocabulary)
    with pytest.raises(ValueError, match=r"expected a folder with a config.json"):
        load_agent(str(tmp_path), vocabulary)


def test_checkpoint_folder_is_an_agent(tmp_path: Path) -> None:
    """What training saved, plays."""
    from duologue.agents.language_model.micro import micro_model

    game = make_game("bluff-v0")
    model = micro_model(game.vocabulary, hidden_size=8, num_layers=1, num_heads=2)
    duologue.agents.CausalLMAgent(model, game.vocabulary).save_pretrained(tmp_path)
    agent = load_agent(str(tmp_path), game.vocabulary)
    (utterance,) = agent.speak([Episode(game, "ace").view()], np.random.default_rng(0))
    assert utterance.tokens in (FOLD, BET)


def test_agents_are_imported_without_torch() -> None:
    """Only a language model needs it; `duologue play` against a random agent must start at once."""
    code = (
        "import sys, duologue.agents as agents, duologue.agents.judges, duologue.agents.language_model;"
        "print('torch' in sys.modules); agents.CausalLMAgent; print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]


@pytest.mark.parametrize("package", [duologue.agents, duologue.agents.judges, duologue.agents.language_model])
def test_unknown_name_of_a_package_is_refused(package: ModuleType) -> None:
    """Lazy names must not hide misspelt ones."""
    with pytest.raises(AttributeError, match=r"attribute.*CausalLmAgent"):
        _ = package.CausalLmAgent
