"""Rollouts agree with the AEC form token for token, and every reward reaches the token that earned it."""

from typing import Any

import numpy as np
import pytest
import torch

from duologue.agents import FunctionAgent, RandomAgent, ScriptedAgent
from duologue.baselines.rollouts.episodes import PlayedEpisode, rollout
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.envs import AGENT_IDS, Ending, LanguageGame, LanguageGameEnv, Utterance, make_game
from duologue.tests.agents.language_model.helpers import dense
from duologue.tests.baselines.helpers import RED, OneWord, Wages, bluff, tiny_agent
from duologue.tests.envs.helpers import Coordination, Whisper

GAMES: list[LanguageGame[Any]] = [bluff(), make_game("red_team-v0", num_rounds=2), Whisper(), Coordination(), Wages()]


def random_play(game: LanguageGame[Any], num_episodes: int = 20) -> list[PlayedEpisode]:
    """Return episodes of two random agents."""
    return rollout(game, (RandomAgent(), RandomAgent()), num_episodes, np.random.default_rng(0))


def aec_steps(game: LanguageGame[Any], one: PlayedEpisode) -> list[tuple[int, int, int, Any, tuple[float, float]]]:
    """Replay an episode in the AEC form: player, position in its view, token, action mask and both rewards."""
    env, steps = LanguageGameEnv(game), []
    env.reset(seed=0, options={"deal": one.dialogue.deal})
    for token in (token for turn in one.turns for token in turn.utterance.tokens):
        agent_id = env.agent_selection
        observation = env.observe(agent_id)
        position = int(np.flatnonzero(observation["observation"])[-1]) + 1
        env.step(token)
        rewards = env.rewards["player_0"], env.rewards["player_1"]
        steps.append((AGENT_IDS.index(agent_id), position, token, observation["action_mask"], rewards))
    assert all(env.terminations.values())
    return steps


@pytest.mark.parametrize("player", [0, 1])
@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_trajectories_are_what_the_aec_form_shows(game: LanguageGame[Any], player: int) -> None:
    """Tokens, own tokens, legal masks and credited rewards, for the same deals and utterances."""
    played = [one for one in random_play(game) if any(turn.player == player for turn in one.turns)]
    batch = trajectories(played, player)
    assert len(batch) == len(played)
    for row, one in enumerate(played):
        own, rewards, unpaid = list[int](), np.zeros(batch.tokens.shape[1]), 0.0
        for speaker, position, token, mask, pair in aec_steps(game, one):
            if speaker == player:
                own.append(position)
                assert batch.tokens[row, position] == token
                if batch.legal_mask is not None:
                    legal = dense(batch.legal_mask.at((torch.tensor([row]), position)), game.vocabulary)
                    assert legal[0].tolist() == mask.astype(bool).tolist()
            if own:
                rewards[own[-1]] += pair[player]
            else:
                unpaid += pair[player]
        rewards[own[0]] += unpaid
        assert batch.policy_token_mask[row].nonzero().squeeze(-1).tolist() == own
        assert batch.rewards[row].tolist() == pytest.approx(rewards.tolist(), abs=1e-6)
        assert float(batch.returns[row]) == pytest.approx(one.episode.returns[player], abs=1e-5)
    assert batch.num_policy_tokens == int(batch.policy_token_mask.sum())


@pytest.mark.parametrize("game", GAMES, ids=lambda game: type(game).__name__)
def test_a_row_is_the_players_view_and_ends_with_its_last_own_token(game: LanguageGame[Any]) -> None:
    """What it hears afterwards is no state that it decides in; the rest is padding."""
    played = random_play(game)
    batch = trajectories(played, 0)
    rows = [one for one in played if any(turn.player == 0 for turn in one.turns)]
    for row, one in enumerate(rows):
        length = int(batch.attention_mask[row].sum())
        assert batch.tokens[row, :length].tolist() == one.episode.views[0, :length].tolist()
        assert batch.attention_mask[row, :length].all()
        assert batch.policy_token_mask[row, length - 1]
        for padding in (batch.tokens, batch.policy_token_mask, batch.rewards, batch.logprobs):
            assert not padding[row, length:].any()


def test_pay_in_the_others_turn_reaches_the_latest_own_token() -> None:
    """Wages by hand: player 1 is paid in turns 0, 1 and 2 and speaks once; player 0 owns turns 0 and 2."""
    game = Wages()
    played = random_play(game, 8)
    for player in (0, 1):
        batch = trajectories(played, player)
        for row, one in enumerate(played):
            pays = [pair[player] for pair in one.episode.reward_history]
            expected = [pays[0] + pays[1], pays[2]] if player == 0 else [sum(pays)]
            own = batch.rewards[row][batch.policy_token_mask[row]]
            assert own.tolist() == pytest.approx(expected, abs=1e-6)
            assert float(batch.rewards[row].sum()) == pytest.approx(sum(pays), abs=1e-5)


def test_logprobs_are_the_utterances() -> None:
    """0 off the player's own tokens, and where an agent gives none."""
    game = make_game("red_team-v0")
    played = rollout(game, (tiny_agent(game), RandomAgent()), 5, np.random.default_rng(0))
    batch = trajectories(played, 0)
    said = [logprob for one in played for logprob in one.turns[0].utterance.logprobs or ()]
    assert batch.logprobs[batch.policy_token_mask].tolist() == pytest.approx(said)
    assert not batch.logprobs[~batch.policy_token_mask].any()
    scripted = rollout(bluff(), (ScriptedAgent(["bet"]), ScriptedAgent(["call"])), 2, np.random.default_rng(0))
    assert not trajectories(scripted, 1).logprobs.any()


def test_narrowed_games_have_legal_masks_and_others_none() -> None:
    """None costs nothing, whatever the size of the vocabulary."""
    masks = [trajectories(random_play(game), 0).legal_mask for game in GAMES]
    assert [mask is None for mask in masks] == [False, True, False, True, False]


def test_a_bonus_is_paid_at_the_last_own_token() -> None:
    """GPO's diversity reward; the batch that it came from stays as it was."""
    batch = trajectories(random_play(Wages(), 3), 0)
    before, bonus = batch.rewards.clone(), np.array([1.0, -2.0, 0.5])
    paid = batch.with_bonus(bonus)
    assert torch.equal(batch.rewards, before)
    added = paid.rewards - before
    assert added.sum(1).tolist() == pytest.approx(bonus.tolist(), abs=1e-6)
    last = batch.attention_mask.sum(1) - 1
    assert added[torch.arange(3), last].tolist() == pytest.approx(bonus.tolist(), abs=1e-6)
    with pytest.raises(ValueError, match=r"bonus: expected one number for each of 3 episodes, got shape \(2,\)"):
        batch.with_bonus(bonus[:2])


def test_selected_rows_are_trimmed_to_their_longest() -> None:
    """Nothing but padding is lost, whatever the order of the rows."""
    batch = trajectories(random_play(Whisper()), 0)
    shortest = int(batch.attention_mask.sum(1).argmin())
    part = batch.select(torch.tensor([shortest]))
    width = int(batch.attention_mask[shortest].sum())
    assert width < batch.tokens.shape[1]
    assert part.tokens.shape == (1, width)
    assert part.tokens[0].tolist() == batch.tokens[shortest, :width].tolist()
    assert part.legal_mask is not None
    assert part.legal_mask.sets.shape == (1, width)
    assert torch.equal(batch.select(torch.arange(len(batch))).rewards, batch.rewards)


def test_episodes_without_an_own_token_are_left_out() -> None:
    """In bluff player 1 never speaks after a fold; where nobody is left there is nothing to learn from."""
    played = random_play(bluff(), 30)
    folded = sum(len(one.turns) == 1 for one in played)
    assert 0 < folded < 30
    assert len(trajectories(played, 1)) == 30 - folded
    with pytest.raises(ValueError, match="expected an episode in which player 1 speaks, got none"):
        trajectories(random_play(OneWord()), 1)


def test_a_forfeit_names_who_lost_by_it() -> None:
    """Player 1's text cannot be read: its empty utterance has no token to learn from."""

    class Mumbler:
        """Never says anything that can be read."""

        def speak(self, views: Any, rng: np.random.Generator) -> list[Utterance]:
            return [Utterance((), None, Ending.UNREADABLE) for _ in views]

    played = rollout(bluff(), (ScriptedAgent(["bet"]), Mumbler()), 2, np.random.default_rng(0))
    assert [one.forfeited_by(1) for one in played] == [True, True]
    assert not any(one.forfeited_by(0) for one in played)
    batch = trajectories(played, 0)
    assert batch.returns.tolist() == [1.0, 1.0]


def test_the_same_generator_gives_the_same_episodes() -> None:
    """Deals and tokens come from `rng` alone."""
    dialogues = [[one.dialogue for one in random_play(Wages())] for _ in range(2)]
    assert dialogues[0] == dialogues[1]
    assert {turn.tokens for dialogue in dialogues[0] for turn in dialogue.turns} > {(RED,)}


def test_an_illegal_token_is_the_policy_token_that_lost_the_episode() -> None:
    """The view closes the forfeited turn with `<eos>`; the learner sees the token that it chose, and its cost."""
    game = bluff()
    call = game.vocabulary.encode("call")
    played = rollout(
        game, (FunctionAgent(lambda view, rng: Utterance(call)), RandomAgent()), 3, np.random.default_rng(0)
    )
    batch = trajectories(played, 0)
    assert all(one.forfeited_by(0) for one in played)
    assert batch.tokens[batch.policy_token_mask].tolist() == [call[0]] * 3
    assert batch.returns.tolist() == [-1.0] * 3
