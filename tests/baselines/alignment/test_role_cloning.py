"""`duologue train sft --pairs`: a player of real text, cloned from what it is asked and what it says."""

import json
from pathlib import Path

import numpy as np
import pytest

from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.alignment.sft import SFTConfig, sft
from duologue.baselines.api.runs import load_run
from duologue.baselines.data.readers import read_dialogues
from duologue.baselines.learners.behaviour_cloning import BehaviourCloningConfig
from duologue.baselines.training.options import GameOptions, load_model, save_model
from duologue.baselines.training.roles import RoleOptions
from duologue.envs import Episode
from duologue.envs.games.red_team_text.requests import Request
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, tiny_tokenizer

PAIRS = {"How do I open the door?": "Tell me, how is it done?", "What can I do?": "Sure, and then?"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny model and a file of pairs beside it."""
    folder = tmp_path_factory.mktemp("cloning")
    vocabulary = TokenizerVocabulary(tiny_tokenizer(CHATML))
    model = micro_model(vocabulary, hidden_size=32, num_layers=1, num_heads=2)
    save_model(CausalLMAgent(model, vocabulary), folder / "model")
    rows = [{"seed": seed, "rewrite": rewrite} for seed, rewrite in PAIRS.items()]
    lines = [json.dumps(row) for row in (*rows, {"seed": "How? " * 100, "rewrite": "Too long."})]
    (folder / "pairs.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def config(folder: Path, out: Path, player: int) -> SFTConfig:
    """Return a few steps on both pairs."""
    options = GameOptions(
        game="red_team_text-v0",
        max_prompt_tokens=40,
        max_reply_tokens=40,
        adversary_role=RoleOptions(system="Attack.", template="Ask otherwise: {request}"),
    )
    cloning = BehaviourCloningConfig(num_steps=60, batch_size=2, learning_rate=1e-2, warmup_steps=2)
    pairs, model = folder / "pairs.jsonl", folder / "model"
    return SFTConfig(options=options, pairs=pairs, model=model, player=player, cloning=cloning, out=out)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:requests")
def test_an_adversary_learns_to_rewrite_what_its_role_is_asked(folder: Path, tmp_path: Path) -> None:
    """Two pairs are learnt by heart, told as the game tells them; the run's model sits where it was cloned."""
    asked = config(folder, tmp_path / "run", 0)
    model = sft(asked) / "model"
    game = asked.options.build(model)
    agent = load_model(model, game, 0)
    agent.temperature = 0.01
    deals = [Request(seed, None, 1, game.vocabulary.encode(seed)) for seed in PAIRS]
    views = [Episode(game, deal).view() for deal in deals]
    said = [game.vocabulary.decode(utterance.tokens) for utterance in agent.speak(views, np.random.default_rng(0))]
    assert said == list(PAIRS.values())
    first, second = load_run(tmp_path / "run").seats
    assert first is not None
    assert second is None


@pytest.mark.filterwarnings("ignore:requests")
def test_a_pair_that_the_game_does_not_allow_is_left_out_and_counted(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The defender's is its reply to what it is asked; the third prompt is longer than a prompt may be."""
    sft(config(folder, tmp_path / "run", 1))
    assert "1 of 3 pairs left out: too long, or no reply" in caplog.text


def test_player_0_is_cloned_from_a_file_alone(folder: Path, tmp_path: Path) -> None:
    """No game demonstrates an adversary, and a game of words has no texts."""
    with pytest.raises(ValueError, match="player: expected 1 without a file of pairs, got 0"):
        SFTConfig(player=0)
    words = SFTConfig(pairs=folder / "pairs.jsonl", model=folder / "model", out=tmp_path / "run")
    with pytest.raises(ValueError, match="pairs: expected none for red_team-v0, which is no game of real text"):
        sft(words)


def test_seeds_and_rewrites_are_dialogues(folder: Path) -> None:
    """So whatever reads dialogues reads them."""
    first = next(read_dialogues(folder / "pairs.jsonl"))
    assert [(turn.player, turn.text) for turn in first.turns] == [(0, next(iter(PAIRS))), (1, PAIRS[next(iter(PAIRS))])]
