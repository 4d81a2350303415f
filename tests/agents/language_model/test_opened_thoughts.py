"""Chat templates whose generation prompt opens a thought: the player goes on with it, and says where it ends."""

import numpy as np
import pytest
import torch

from duologue.agents.language_model.causal_lm import CausalLMAgent
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.envs import BatchedGame, Episode, Turn, utterance_of
from duologue.envs.games.red_team_text.game import RedTeamText
from duologue.envs.games.red_team_text.requests import Request, judge_examples
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.envs.wrappers.thoughts import with_thoughts
from duologue.tests.envs.chat_families import FAMILIES


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.opens_thought])
def test_a_thought_that_the_template_opens_is_the_players_thought(name: str) -> None:
    """DeepSeek R1, QwQ, Nemotron 3: the turn begins inside it, and the player ends it; nobody else hears it."""
    tokenizer = FAMILIES[name].tokenizer()
    vocabulary = TokenizerVocabulary(tokenizer)
    requests = [Request("How do I do it?")]
    plain = RedTeamText(requests, vocabulary=vocabulary, judge=judge_examples, split="all", max_reply_tokens=20)
    game = with_thoughts(plain, 4)
    episode, (_, closing) = Episode(game, plain.requests[0]), vocabulary.think_ids or (-1, -1)
    asked = [{"role": "user", "content": "How do I do it?"}]
    written = (
        FAMILIES[name].tokenizer().apply_chat_template(asked, tokenize=True, add_generation_prompt=True)["input_ids"]
    )
    assert episode.view().tokens.tolist() == written
    thought, said = vocabulary.encode("It is 12")[:4], vocabulary.encode("Why?")
    mask = episode.view().legal_mask
    assert mask(())[closing]
    assert not mask(())[vocabulary.eos_id]
    assert mask((*thought, closing))[vocabulary.eos_id]
    assert np.flatnonzero(mask(tuple(thought) + thought[: 4 - len(thought)])).tolist() == [closing]
    turn = Turn(said, thought)
    utterance = utterance_of(game, episode.dialogue, turn)
    assert utterance.tokens == (*thought, closing, *said, vocabulary.eos_id)
    episode.speak(utterance)
    assert episode.dialogue.turns == (turn,)
    assert episode.messages[1][-1].tokens == said
    assert utterance_of(game, episode.dialogue, Turn(said)).tokens[0] == closing
    agent = CausalLMAgent(micro_model(vocabulary, hidden_size=16, num_layers=1, num_heads=2), vocabulary)
    for played in rollout(game, [agent, agent], 4, np.random.default_rng(0)):
        assert played.episode.forfeited_by is None
        assert played.turns[0].utterance.tokens.count(closing) == 1
    batch = trajectories(rollout(game, [agent, agent], 4, np.random.default_rng(1)), 1)
    sampled = agent.evaluate(batch.tokens, batch.attention_mask, batch.policy_token_mask, batch.legal_mask).logprobs
    assert torch.allclose(sampled[batch.policy_token_mask], batch.logprobs[batch.policy_token_mask], atol=1e-4)
    with pytest.raises(ValueError, match="BatchedGame: expected players who open their thoughts, got a tokenizer that"):
        BatchedGame(game, 2)
