"""Solved episodes in the root state, and what a look-up agent makes of them."""

import pickle
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from duologue.agents import FunctionAgent, Utterance, View, utter
from duologue.agents.scripted import EchoAgent
from duologue.baselines.alignment.pretrain import PretrainConfig, pretrain
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.training.options import GameOptions
from duologue.envs import Demonstrated, Dialogue, LanguageGame, Turn, WithThoughts, make, make_game
from duologue.envs.games.bluff import BET, CALL, Bluff
from duologue.envs.games.running_sum import Digits, RunningSum
from duologue.envs.games.secret_code import SecretCode
from duologue.envs.games.statements import Statements
from duologue.envs.solutions import HasThoughts
from duologue.envs.testing.conformance import check_game
from duologue.envs.tree.analysis import GameTree, expected_returns, uniform_profile
from duologue.envs.wrappers.demonstrated import Prompted

CODE = SecretCode((2, 0, 1, 3))


def solved(game: SecretCode, deal: int) -> Sequence[Dialogue[int]]:
    """Return all solved episodes of a code, whatever is dealt."""
    return [game.solution(deal) for deal in range(len(game.code))]


def bluffs(deal: str) -> Sequence[Dialogue[str]]:
    """Return two finished plays of bluff."""
    return [Dialogue("ace", (BET, CALL)), Dialogue("deuce", (BET, CALL))]


def look_up(view: View, rng: np.random.Generator) -> Utterance:
    """Say what was answered to the same question in the prompt; else a legal word at random."""
    question = view.messages[-1].tokens
    eos = view.vocabulary.eos_id
    exchange = (*view.vocabulary.open_turn(0, 1), *question, eos, *view.vocabulary.open_turn(1, 1))
    told = view.messages[0].tokens
    for start in range(len(told) - len(exchange)):
        if told[start : start + len(exchange)] == exchange:
            return utter(view, told[start + len(exchange) :][:1])
    return utter(view, [int(rng.choice(np.flatnonzero(view.legal_mask(()))))])


def accuracy(num_shots: int) -> float:
    """Return the look-up agent's share of right answers in 400 episodes."""
    game = Demonstrated(CODE, partial(solved, CODE), num_shots)
    last_words = EchoAgent(skip=num_shots * 7)  # what player 0 saw of an example: 3 tokens told, 2 turns of 3
    agents = [FunctionAgent(say_legal) if num_shots else last_words, FunctionAgent(look_up)]
    played = rollout(game, agents, 400, np.random.default_rng(7))
    return float(np.mean([play.episode.returns[1] for play in played]))


def say_legal(view: View, rng: np.random.Generator) -> Utterance:
    """Say the one legal word."""
    return utter(view, np.flatnonzero(view.legal_mask(())).tolist())


def test_a_look_up_agents_accuracy_does_not_fall_in_k() -> None:
    """With k of 4 objects shown it is k/4 + (1 - k/4)/4 in the mean: 1/4, 7/16, 5/8, 13/16, 1."""
    measured = [accuracy(num_shots) for num_shots in range(5)]
    assert measured == sorted(measured)
    assert measured == pytest.approx([1 / 4, 7 / 16, 5 / 8, 13 / 16, 1.0], abs=0.08)


def test_the_prompt_stands_before_the_briefing_as_each_player_would_have_seen_it() -> None:
    """Only player 0 was told the object, in the example as in the episode itself."""
    game = Demonstrated(CODE, partial(solved, CODE), num_shots=1)
    deal = Prompted(0, (CODE.solution(1),))
    exchange = "<player_0> object1 <eos> <player_1> word0 <eos>"
    assert game.vocabulary.decode(game.briefing(deal, 0)) == f"<game> object1 <eos> {exchange} object0"
    assert game.vocabulary.decode(game.briefing(deal, 1)) == exchange


def test_a_worked_out_thought_is_shown_to_who_had_it() -> None:
    """A prompt with chains of thought teaches player 1 to think; player 0 heard the answer alone."""
    inside = RunningSum(2, 2, max_thought_tokens=2)
    example: Dialogue[Digits] = inside.solution((1, 1))
    game = Demonstrated(inside, lambda deal: [example], num_shots=1)
    briefings = [game.briefing(Prompted((0, 1), (example,)), player) for player in (0, 1)]
    assert "<player_1> 0 <eos>" in game.vocabulary.decode(briefings[0])
    assert "<player_1> <think> 1 0 </think> 0 <eos>" in game.vocabulary.decode(briefings[1])


def test_a_solution_behind_a_prompt_keeps_the_thought_that_leads_to_it() -> None:
    """1 + 1 = 0 modulo 2, by way of 1; a code states no thought, so behind a prompt it states none either."""
    inside = RunningSum(2, 2)
    game = WithThoughts(Demonstrated(inside), 2)
    said = game.solution(Prompted((1, 1), (inside.solution((0, 1)),))).turns[1]
    assert game.vocabulary.decode(said.thought) == "1 0"
    assert not isinstance(Demonstrated(CODE), HasThoughts)


@pytest.mark.parametrize("num_shots", [0, 2])
def test_games_with_examples_keep_the_contracts_of_a_game(num_shots: int) -> None:
    """In bluff the example shows player 0 its card, which player 1 may still not see."""
    check_game(Demonstrated(CODE, partial(solved, CODE), num_shots))
    check_game(Demonstrated(Bluff(), bluffs, num_shots))


def test_examples_change_no_value_of_uniform_play() -> None:
    """Both games' trees, exactly: 2 deals by 2 examples, each as likely as the other."""
    plain, shown = GameTree(Bluff()), GameTree(Demonstrated(Bluff(), bluffs, num_shots=1))
    assert shown.deals != plain.deals
    assert len(shown.deals) == 4
    assert expected_returns(shown, uniform_profile(shown)) == pytest.approx(
        expected_returns(plain, uniform_profile(plain))
    )


def test_too_few_examples_are_refused() -> None:
    """Repeating one would make k shots of k - 1."""
    game = Demonstrated(Bluff(), bluffs, num_shots=3)
    with pytest.raises(ValueError, match=r"examples: expected at least num_shots=3 for '(ace|deuce)', got 2"):
        game.deals.sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match="num_shots: expected a whole number of at least 0, got -1"):
        Demonstrated(Bluff(), bluffs, num_shots=-1)


def test_shots_are_an_option_of_any_game_that_states_solutions() -> None:
    """The examples of two objects: each player 1 is shown 2 exchanges of 6 tokens."""
    game = make_game("secret_code-v0", num_shots=2)
    assert isinstance(game, Demonstrated)
    briefing = game.briefing(game.deals.sample(np.random.default_rng(0)), 1)
    assert game.vocabulary.decode(briefing).count("<player_1> word") == 2
    env = make("statements-v0", num_shots=1, max_thought_tokens=4)
    assert env.game.max_thought_tokens == 4
    check_game(env.game, episodes=4)


@pytest.mark.parametrize(
    ("name", "num_shots", "message"),
    [
        ("bluff-v0", 1, r"Bluff: expected a game that states solved episodes, by solution\(deal\) or examples\(deal\)"),
        ("statements-v0", 3, "examples: expected at least num_shots=3 for '.*', got 2"),
        ("secret_code-v0", -1, "num_shots: expected a whole number of at least 0, got -1"),
    ],
)
def test_shots_that_cannot_be_had_are_refused_when_the_game_is_made(name: str, num_shots: int, message: str) -> None:
    """Not at some later deal."""
    with pytest.raises(ValueError, match=message):
        make_game(name, num_shots=num_shots)


def test_examples_of_a_thinking_game_show_its_thoughts() -> None:
    """Two thoughts of two sums each, in what player 1 is shown."""
    game = make_game("running_sum-v0", modulus=2, num_terms=2, max_thought_tokens=2, num_shots=2)
    told = game.vocabulary.decode(game.briefing(game.deals.sample(np.random.default_rng(0)), 1))
    assert told.count("<think>") == 2


@pytest.mark.parametrize("game", [SecretCode(), RunningSum(2, 3), Statements()], ids=lambda game: type(game).__name__)
def test_demonstrations_are_dialogues_of_the_prompted_game(game: LanguageGame[object]) -> None:
    """Each has its own examples and is paid as the game inside pays it: 1 for a solution."""
    prompted = Demonstrated(game, num_shots=2)
    made = prompted.demonstrations("ideal", np.random.default_rng(0), 20)
    assert {len(dialogue.deal.examples) for dialogue in made} == {2}
    assert {prompted.rewards(dialogue) for dialogue in made} == {(1.0, 1.0)}
    deal = made[0].deal
    assert prompted.solution(deal).turns == game.solution(deal.deal).turns  # type: ignore[attr-defined]
    copied = pickle.loads(pickle.dumps(prompted))
    assert copied.solution(deal).turns == prompted.solution(deal).turns


@pytest.mark.parametrize("num_shots", [0, 1, 3])
def test_player_0s_own_briefing_begins_after_the_examples(num_shots: int) -> None:
    """An echoing player 0 that skips them asks the question: nobody forfeits."""
    game = make_game("secret_code-v0") if not num_shots else make_game("secret_code-v0", num_shots=num_shots)
    skip = game.num_example_tokens if isinstance(game, Demonstrated) else 0
    assert skip == 9 * num_shots  # <game> object0 <eos>, <player_0> object0 <eos>, <player_1> word2 <eos>
    played = rollout(game, [EchoAgent(skip=skip), FunctionAgent(look_up)], 10, np.random.default_rng(0))
    assert not any(episode.forfeited_by(0) for episode in played)


def test_examples_of_unlike_lengths_have_no_common_end() -> None:
    """Then nothing says where player 0's own briefing begins."""

    def unlike(deal: int) -> list[Dialogue[int]]:
        long, short = CODE.solution(0), CODE.solution(1)
        return [long, replace(short, turns=(replace(short.turns[0], player=0), Turn(())))] if deal else [long, long]

    with pytest.raises(ValueError, match="SecretCode: expected examples of one length for player 0, got"):
        _ = Demonstrated(CODE, unlike, num_shots=1).num_example_tokens


def test_a_trainer_clones_prompted_thinking_players(tmp_path: Path) -> None:
    """`duologue train pretrain --game secret_code-v0 --game-option num_shots=2 --game-option max_thought_tokens=3`."""
    options = GameOptions(game="secret_code-v0", game_option=("num_shots=2", "max_thought_tokens=3"))
    config = PretrainConfig(options=options, out=tmp_path / "run", num_demonstrations=48, hidden_size=16, num_layers=1)
    config = replace(config, cloning=replace(config.cloning, num_steps=2))
    assert (pretrain(config) / "model" / "model.safetensors").is_file()
