"""Thoughts as an option of any game: they are private, and they are what makes a sum of several steps learnable."""

import copy
import pickle
from typing import Any

import gymnasium
import numpy as np
import pettingzoo
import pytest
import torch

from duologue.agents import CausalLMAgent, EchoAgent
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.evaluation.red_team import evaluate_prompts, red_team_prompts
from duologue.baselines.learners.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from duologue.baselines.rollouts.demonstrations import encode_dialogues
from duologue.baselines.rollouts.episodes import rollout
from duologue.envs import (
    Dialogue,
    Episode,
    LanguageGame,
    LanguageGameEnv,
    Turn,
    WithThoughts,
    make,
    make_game,
    registered_games,
)
from duologue.envs.games.bluff import BET, CALL, Bluff
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.red_team.game import RedTeam
from duologue.envs.games.running_sum import RunningSum
from duologue.envs.judging import RedTeamGame
from duologue.envs.solutions import HasDemonstrations, HasExamples, HasSolutions
from duologue.envs.testing.conformance import check_game
from duologue.envs.wrappers.thoughts import with_thoughts


@pytest.mark.parametrize("name", ["bluff-v0", "kuhn_poker-v0", "tiny_bargaining-v0", "tiny_red_team-v0"])
def test_any_game_with_thoughts_keeps_the_contracts_of_a_game(name: str) -> None:
    """The suite replays episodes with other thoughts: nothing of them may reach the other player."""
    check_game(WithThoughts(make_game(name), max_thought_tokens=2))


@pytest.mark.parametrize("game", [Bluff(), KuhnPoker(), make_game("tiny_red_team-v0")], ids=lambda g: type(g).__name__)
def test_player_0_observes_the_same_with_and_without_thoughts(game: LanguageGame[object]) -> None:
    """Section 4.5 of arXiv 2402.08078: the thought precedes the response and is no message; P(s) stays as it was."""
    thoughtful = WithThoughts(game, max_thought_tokens=3)
    opening, closing = game.vocabulary.think_ids or (-1, -1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        deal = game.deals.sample(rng)
        plain, thinking = Episode(game, deal), Episode(thoughtful, deal)
        while plain.player is not None:
            assert thinking.player == plain.player
            if plain.player == 1 and not plain.open_turn.spoken:
                words = rng.choice(np.flatnonzero(game.vocabulary.sayable_mask), 2)
                for token in (opening, *words.tolist(), closing):
                    thinking.push(token)
            token = int(rng.choice(np.flatnonzero(plain.open_turn.legal_mask)))
            plain.push(token)
            thinking.push(token)
            told = plain.lengths[0]
            assert thinking.lengths[0] == told
            assert np.array_equal(thinking.views[0, :told], plain.views[0, :told])
        assert thinking.player is None
        assert thinking.reward_history == plain.reward_history


def test_the_rules_inside_never_see_a_thought() -> None:
    """Bluff's table of chips is keyed by whole turns, so a thought left in would make the call pay 0."""
    game = WithThoughts(Bluff(), max_thought_tokens=1)
    dialogue = Dialogue("ace", (Turn(BET, thought=CALL), Turn(CALL, thought=BET)))
    assert game.rewards(dialogue) == (2.0, -2.0)
    assert game.next_player(dialogue) is None


@pytest.mark.parametrize(
    ("game", "length", "message"),
    [
        (Bluff(), 0, "max_thought_tokens: expected a whole number of at least 1, got 0"),
        (Bluff(), True, "max_thought_tokens: expected a whole number of at least 1, got True"),
        (RunningSum(max_thought_tokens=2), 1, "RunningSum: expected a game without thoughts, got max_thought_tokens=2"),
    ],
)
def test_thoughts_that_cannot_be_had_are_refused(game: LanguageGame[object], length: int, message: str) -> None:
    """Both would give a game whose thoughts are not what its caller asked for."""
    with pytest.raises(ValueError, match=message):
        WithThoughts(game, length)
    with pytest.raises(ValueError, match="expected a whole number from 1 to 4,194,304, got an integer of 16610 bits"):
        WithThoughts(Bluff(), 10**5000)


def test_sizes_of_numpy_are_sizes() -> None:
    """As where games are played."""
    two: Any = np.int64(2)
    assert WithThoughts(Bluff(), two).max_view_tokens == WithThoughts(Bluff(), 2).max_view_tokens
    assert RunningSum(num_terms=two).max_view_tokens == RunningSum(num_terms=2).max_view_tokens


@pytest.mark.parametrize("name", [name for name in registered_games() if name != "red_team_text-v0"])
def test_thoughts_are_an_option_of_any_game_of_words(name: str) -> None:
    """Both players' first token may open a thought; red_team_text-v0 needs a tokenizer of its caller's."""
    game = make_game(name, max_thought_tokens=3)
    assert game.max_thought_tokens == 3
    opening, _ = game.vocabulary.think_ids or (-1, -1)
    episode = Episode(game, game.deals.sample(np.random.default_rng(0)))
    assert episode.open_turn.legal_mask[opening]
    assert make_game(name, max_thought_tokens=0).max_thought_tokens == 0


def test_thoughts_are_an_option_of_every_way_to_make_a_game() -> None:
    """PettingZoo's and Gymnasium's `make` hand options on."""
    opening = 6  # <think>
    env = make("bluff-v0", max_thought_tokens=2)
    env.reset(seed=0)
    assert env.observe("player_0")["action_mask"][opening]
    zoo = pettingzoo.make("aec", "duologue/bluff-v0", max_thought_tokens=2)
    assert isinstance(zoo.unwrapped, LanguageGameEnv)
    assert zoo.unwrapped.game.max_thought_tokens == 2
    single = gymnasium.make("duologue/bluff-v0", player=0, max_thought_tokens=2)
    observation, _ = single.reset(seed=0)
    assert observation["action_mask"][opening]


def test_a_game_with_thoughts_of_its_own_keeps_them() -> None:
    """running_sum-v0 has an option of that name, which also writes its solutions out."""
    assert type(make_game("running_sum-v0", max_thought_tokens=6)) is RunningSum


def test_a_vocabulary_without_thought_tokens_is_refused() -> None:
    """As most tokenizers have none; the message says which they are."""

    class Mute(Bluff):
        vocabulary = copy.copy(Bluff.vocabulary)

    Mute.vocabulary.think_ids = None  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"Mute: expected a vocabulary with thought tokens, got none.*<think>"):
        WithThoughts(Mute(), 1)


def test_a_solution_is_stated_with_the_thought_that_leads_to_it() -> None:
    """The wrapper states of the plain game what the game with scratch paper of its own states of itself."""
    plain, own = RunningSum(3, 4), RunningSum(3, 4, max_thought_tokens=4)
    wrapped = WithThoughts(plain, 4)
    for deal in [(0, 0, 0, 0), (2, 1, 2, 2)]:
        assert wrapped.solution(deal) == own.solution(deal)
        assert WithThoughts(plain, 3).solution(deal) == plain.solution(deal)
    assert wrapped.demonstrations("ideal", np.random.default_rng(0), 5) == own.demonstrations(
        "ideal", np.random.default_rng(0), 5
    )


def test_a_dialogue_that_is_no_solution_gets_no_thought() -> None:
    """The partial sums would lead to another answer than the one given."""

    class Wrong(RunningSum):
        def demonstrations(
            self, source: str, rng: np.random.Generator, num_dialogues: int
        ) -> list[Dialogue[tuple[int, ...]]]:
            return [Dialogue((1, 1), (Turn(self.briefing((1, 1), 0)), Turn(self.digits[:1])))] * num_dialogues

    (said,) = WithThoughts(Wrong(3, 2), 2).demonstrations("average", np.random.default_rng(0), 1)
    assert said.turns[1] == Turn(Wrong(3, 2).digits[:1])


def test_a_wrapper_states_what_the_game_inside_states_and_no_more() -> None:
    """A trainer that asks bluff for demonstrations gets its usual message, with thoughts as without."""
    for protocol in (HasSolutions, HasExamples, HasDemonstrations):
        assert not isinstance(WithThoughts(Bluff(), 1), protocol)
        assert isinstance(make_game("secret_code-v0", max_thought_tokens=1), protocol)
    copied = pickle.loads(pickle.dumps(make_game("statements-v0", max_thought_tokens=1)))
    assert copied.solution("coal") == make_game("statements-v0").solution("coal")  # type: ignore[attr-defined]


def test_a_red_team_game_with_thoughts_is_still_one() -> None:
    """Its verdicts, payoffs, prompt sets and demonstrations are those of the game without."""
    plain, rng = RedTeam(table="advgame", intent="hidden"), np.random.default_rng(0)
    game = with_thoughts(plain, 2)
    assert isinstance(game, RedTeamGame)
    assert game.request_in((7, 8, 9)) == plain.request_in((7, 8, 9)) != (7, 8, 9)
    check_game(game, episodes=4)
    word = game.vocabulary.encode("what")
    dialogues = plain.demonstrations("average", rng, 30)
    thinking = [
        Dialogue(dialogue.deal, tuple(Turn(turn.tokens, word) for turn in dialogue.turns)) for dialogue in dialogues
    ]
    assert game.verdicts(thinking) == plain.verdicts(dialogues)
    assert game.rewards_batch(thinking) == plain.rewards_batch(dialogues)
    verdict = plain.verdicts(dialogues[:1])[0]
    assert game.payoffs(thinking[0], verdict) == plain.payoffs(dialogues[0], verdict)
    assert [game.faithful(dialogue) for dialogue in thinking] == [plain.faithful(dialogue) for dialogue in dialogues]
    no_request = game.vocabulary.encode("sorry sorry")  # any prompt but "" is faithful in the base class
    asked, thought = (Dialogue(dialogues[0].deal, (Turn(no_request, head),)) for head in ((), word))
    assert (plain.faithful(asked), game.faithful(asked), game.faithful(thought)) == (False, False, False)


def test_prompt_sets_are_scored_with_thoughts() -> None:
    """An echoing defender answers none; every prompt of the set is counted."""
    game, prompts = with_thoughts(RedTeam(), 2), red_team_prompts("plain")[:20]
    assert isinstance(game, RedTeamGame)
    counts = [
        evaluate_prompts(red_team, EchoAgent(), prompts, np.random.default_rng(0)) for red_team in (game, RedTeam())
    ]
    assert counts[0] == counts[1]


def cloned_accuracy(game: RunningSum, *, seed: int) -> float:
    """Return the share of right answers of a one-layer model cloned for 250 steps from 2,000 solved questions."""
    rng = np.random.default_rng(seed)
    data = encode_dialogues(game, game.demonstrations("ideal", rng, 2_000), viewers=(1,))
    model = micro_model(game.vocabulary, hidden_size=32, num_layers=1, num_heads=2, max_positions=64, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)  # the default of 0.02 is for wide models: a narrow one starts on a plateau
    agent = CausalLMAgent(model, game.vocabulary)
    config = BehaviourCloningConfig(tokens_of="player_1", num_steps=250, batch_size=32, learning_rate=5e-3)
    for _ in BehaviourCloning(agent, data, config, seed=seed):
        pass
    played = rollout(game, [EchoAgent(), agent], 300, np.random.default_rng(seed + 1))
    return float(np.mean([play.episode.returns[1] for play in played]))


def test_a_sum_of_six_steps_is_learned_with_thoughts_and_not_without() -> None:
    """Same model, data, steps and questions; without scratch paper it does little better than chance, 1/3."""
    assert cloned_accuracy(RunningSum(3, 6, max_thought_tokens=6), seed=0) > 0.9
    assert cloned_accuracy(RunningSum(3, 6), seed=0) < 0.6


@pytest.mark.parametrize("max_thought_tokens", [0, 4])
def test_running_sum_keeps_the_contracts_of_a_game(max_thought_tokens: int) -> None:
    """With scratch paper and without."""
    check_game(RunningSum(3, 4, max_thought_tokens))


def test_running_sum_by_hand() -> None:
    """2 + 1 + 2 + 2 = 7 = 1 modulo 3, by way of 2, 0, 2."""
    game, deal = RunningSum(3, 4, max_thought_tokens=4), (2, 1, 2, 2)
    asked, answered = game.solution(deal).turns
    assert game.vocabulary.decode(asked.tokens) == "2 1 2 2"
    assert game.vocabulary.decode(answered.thought) == "2 0 2 1"
    assert game.vocabulary.decode(answered.tokens) == "1"
    assert game.rewards(game.solution(deal)) == (1.0, 1.0)
    assert game.rewards(Dialogue(deal, (asked, Turn(game.digits[:1])))) == (0.0, 0.0)


def test_running_sum_golden_transcript() -> None:
    """A change here is a changed rule."""
    game = RunningSum(2, 2, max_thought_tokens=2)
    episode = Episode(game, (1, 1))
    opening, closing = game.vocabulary.think_ids or (-1, -1)
    zero, one = game.digits
    for token in (one, one, opening, one, zero, closing, zero, game.vocabulary.eos_id):
        if episode.player is not None:
            episode.push(token)
    assert episode.transcript().splitlines() == [
        "[asker is told] 1 1",
        "asker: 1 1",
        "adder (thinks): 1 0",
        "adder: 0",
        "[rewards] +1 +1",
        "[over] returns +1 +1",
    ]


def test_running_sum_lists_its_questions_only_while_they_are_few() -> None:
    """3^4 = 81 questions are listed; 3^10 = 59,049 are drawn."""
    listed = RunningSum(3, 4).deals.outcomes()
    assert listed is not None
    assert len(listed) == 81
    assert RunningSum(3, 10).deals.outcomes() is None
    assert len(RunningSum(3, 10).deals.sample(np.random.default_rng(0))) == 10


def test_running_sum_refuses_what_is_no_question() -> None:
    """One digit alone is always 0, and no terms leave nothing to add."""
    with pytest.raises(ValueError, match="modulus: expected a whole number of at least 2, got 1"):
        RunningSum(modulus=1)
    with pytest.raises(ValueError, match="num_terms: expected a whole number of at least 1, got 0"):
        RunningSum(num_terms=0)
