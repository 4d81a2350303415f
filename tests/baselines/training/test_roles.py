"""The roles of players as options: what they are told, how they speak, and whose tokenizer each of them reads by."""

from pathlib import Path

import pytest

from duologue.agents import RandomAgent
from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.agents.language_model.sampling import Truncation
from duologue.baselines.api.evaluate import EvaluateConfig, RulesOptions, _loaded
from duologue.baselines.api.runs import load_run
from duologue.baselines.training.inputs import inputs_of
from duologue.baselines.training.options import GameOptions, load_model, save_model
from duologue.baselines.training.roles import REWRITER, RoleOptions
from duologue.baselines.two_player.gpo import GPOConfig, gpo
from duologue.baselines.two_player.stage_clock import GPOSchedule
from duologue.envs.games.red_team_text.game import RedTeamText
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, tiny_tokenizer

TEXT = "red_team_text-v0"


def saved(folder: Path, size: int = 340) -> Path:
    """Leave a tiny model with a tokenizer of so many tokens in a folder."""
    vocabulary = TokenizerVocabulary(tiny_tokenizer(CHATML, vocab_size=size))
    model = micro_model(vocabulary, hidden_size=16, num_layers=1, num_heads=2, max_positions=2048)
    save_model(CausalLMAgent(model, vocabulary), folder)
    return folder


def test_each_player_is_told_its_role_from_a_text_or_from_a_file(tmp_path: Path) -> None:
    """A template with its place is one; else it names the file, which the run then rests on."""
    file = tmp_path / "ask.txt"
    file.write_text("Say otherwise:\n{request}\n", encoding="utf-8")
    roles = RoleOptions(system="You attack.", template=str(file)), RoleOptions(template="Q: {request}")
    options = GameOptions(game=TEXT, adversary_role=roles[0], defender_role=roles[1])
    game = options.build(saved(tmp_path / "model"))
    request = next(iter(game.deals.outcomes() or ()))
    assert game.vocabulary.decode(game.briefing(request, 0)) == f"Say otherwise:\n{request.text}"
    assert inputs_of(options) == {"adversary_role.template": file}
    for none in (str(tmp_path / "missing"), "", "Say it otherwise."):
        with pytest.raises(ValueError, match=r"template: expected \{request\} in it, or a file that has it, got"):
            RoleOptions(template=none).role()
    with pytest.raises(ValueError, match=r"system: expected \{request\} in the template alone, got 'Ask \{request\}'"):
        RoleOptions(system="Ask {request}").role()


def test_without_a_word_the_adversary_is_told_to_rewrite() -> None:
    """A chat model that is asked a request alone answers it."""
    assert GameOptions().adversary_role == REWRITER
    assert REWRITER.role().filled("How?").endswith("Question: How?\n\nNew question:")
    assert GameOptions().defender_role == RoleOptions()


def test_a_game_without_roles_refuses_them_and_takes_how_tokens_are_drawn() -> None:
    """A system prompt would be lost in silence."""
    GameOptions(game="bluff-v0", defender_role=RoleOptions(temperature=0.5)).build()
    with pytest.raises(ValueError, match="defender_role: expected no system prompt and no template for bluff-v0"):
        GameOptions(game="bluff-v0", defender_role=RoleOptions(system="Bluff.")).build()


def test_how_tokens_are_drawn_replaces_what_the_folder_says(tmp_path: Path) -> None:
    """Only what is given, and of a twin; a player that is no language model has nothing to be drawn from."""
    folder = saved(tmp_path / "model")
    game = GameOptions(game=TEXT).build(folder)
    agent = load_model(folder, game, 0, role=RoleOptions(temperature=0.5, top_p=0.9))
    assert (agent.temperature, agent.truncation) == (0.5, Truncation(top_p=0.9))
    twin = RoleOptions(stop=("\n",)).drawn(agent)
    assert (twin.temperature, twin.truncation) == (0.5, Truncation(top_p=0.9, stop=("\n",)))
    assert (agent.temperature, agent.truncation, twin.model) == (0.5, Truncation(top_p=0.9), agent.model)
    assert RoleOptions().drawn(RandomAgent()) is not None
    with pytest.raises(ValueError, match="expected a language model to draw from, got"):
        RoleOptions(temperature=0.5).drawn(RandomAgent())


def test_each_seat_reads_by_the_tokenizer_of_its_own_model(tmp_path: Path) -> None:
    """One vocabulary where they are alike, as of one model, and the seat's tokenizer is named where another sits."""
    small, large = saved(tmp_path / "small", 300), saved(tmp_path / "large", 360)
    alike = GameOptions(game=TEXT).build(seats=(small, saved(tmp_path / "twin", 300)))
    assert alike.vocabularies[0] is alike.vocabularies[1]
    game = GameOptions(game=TEXT).build(seats=(small, large))
    assert [vocabulary.size for vocabulary in game.vocabularies] == [300, 360]
    assert load_model(large, game, 1).vocabulary is game.vocabularies[1]
    with pytest.raises(ValueError, match=r"model .*large: expected a game of its vocabulary, 360 tokens, got 300"):
        load_model(large, game, 0)
    with pytest.raises(ValueError, match=r"model .*large: expected a game whose players share one vocabulary"):
        load_model(large, game)
    both = GameOptions(game=TEXT, tokenizer=large).build(seats=(small, large))
    assert both.vocabularies[0] is both.vocabularies[1]


def test_two_models_of_two_tokenizers_train_against_each_other_and_are_loaded_again(tmp_path: Path) -> None:
    """GPO, a defend and an attack stage: each is saved with its own tokenizer, and plays with it afterwards."""
    adversary, defender = saved(tmp_path / "a", 300), saved(tmp_path / "b", 360)
    options = GameOptions(
        game=TEXT, max_prompt_tokens=48, max_reply_tokens=8, defender_role=RoleOptions(system="Help.")
    )
    schedule = GPOSchedule(num_rounds=1, defend_steps=1, attack_steps=1, batch_size=4)
    out = tmp_path / "run"
    config = GPOConfig(options=options, adversary=adversary, defender=defender, schedule=schedule, out=out)
    run = load_run(gpo(config))
    sizes = [player.vocabulary.size for player in run.players.values() if isinstance(player, CausalLMAgent)]
    assert sizes == [300, 360]
    game = run.game()
    assert isinstance(game, RedTeamText)
    assert [vocabulary.size for vocabulary in game.vocabularies] == [300, 360]
    transcript = (tmp_path / "run/transcripts/00002.txt").read_text(encoding="utf-8")
    assert "[adversary is told] Write one question like this one" in transcript


def test_a_model_is_evaluated_as_its_role_says(tmp_path: Path) -> None:
    """`duologue evaluate FOLDER --defender-role.temperature .5`: what it is told, and how its tokens are drawn."""
    rules = RulesOptions(game=TEXT, defender_role=RoleOptions(system="Help.", temperature=0.5, top_p=0.9))
    measured = _loaded(EvaluateConfig(player=saved(tmp_path / "model"), options=rules))
    agent = measured.seats[1]
    assert isinstance(agent, CausalLMAgent)
    assert (agent.temperature, agent.truncation.top_p) == (0.5, 0.9)
    assert "Help." in agent.vocabulary.decode(measured.game.vocabularies[1].begin(1))
