"""What texts share is read once: the same logits as from whole passes, at a fraction of the tokens."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, LlamaConfig, MambaConfig, MistralConfig, PreTrainedConfig

from duologue.agents import CausalLMAgent, RandomAgent, TabularAgent, policy_of
from duologue.agents.language_model import shared_prefixes
from duologue.agents.language_model.probing import reading_of
from duologue.agents.language_model.shared_prefixes import logits_after
from duologue.agents.tabular import ChoicePolicy
from duologue.envs import make_game
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.spoken import Spoken
from duologue.envs.tree import GameTree, policy_from_matrix, random_profile
from duologue.tests.agents.language_model.test_probing import model_of
from duologue.tests.envs.spoken.helpers import VOCABULARY

SIZE: dict[str, Any] = {
    "vocab_size": VOCABULARY.size,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 0,
}
KINDS: dict[str, PreTrainedConfig] = {
    "rotary positions": LlamaConfig(**SIZE),
    "a table of positions": GPT2Config(vocab_size=VOCABULARY.size, n_embd=16, n_layer=2, n_head=2, n_positions=512),
    "a window": MistralConfig(**SIZE, num_key_value_heads=1, sliding_window=8),
    "a state": MambaConfig(vocab_size=VOCABULARY.size, hidden_size=16, num_hidden_layers=2, state_size=4),
}
KUHN = GameTree(make_game("kuhn_poker-v0", spoken=VOCABULARY))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_model_says_what_it_says_of_whole_views(kind: str) -> None:
    """By sharing where its cache can be read on from, else as before; each choice alone has the same probabilities."""
    agent = CausalLMAgent(model_of(KINDS[kind]), VOCABULARY)
    choices = KUHN.choices(0)[1]
    assert reading_of(agent.model).extends is (kind != "a state")
    together = agent.choice_probabilities(choices)
    alone = [agent.choice_probabilities([choice])[0] for choice in choices]
    assert np.concatenate(together) == pytest.approx(np.concatenate(alone), abs=1e-5)
    assert np.ptp([row[0] for row in together]) > 1e-4  # contexts matter


def test_what_is_shared_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules of Kuhn poker, 400 tokens of this tokenizer, once for six information states, and no spelling."""
    agent = CausalLMAgent(model_of(KINDS["rotary positions"]), VOCABULARY)
    num_read: list[int] = []
    read_on = shared_prefixes.read_on

    def counting(model: Any, cache: Any, rows: Any) -> Any:
        num_read.append(sum(map(len, rows)))
        return read_on(model, cache, rows)

    monkeypatch.setattr(shared_prefixes, "read_on", counting)
    choices = KUHN.choices(0)[1]
    agent.choice_probabilities(choices)
    assert len(choices) == 6
    assert KUHN.tables[0].num_infostates > 30  # all others have one token
    assert len(choices[0].tokens) < sum(num_read) < 1.5 * len(choices[0].tokens)


def test_rows_come_once_whatever_they_share() -> None:
    """Equal rows, a row that begins another, rows of nothing in common; shared and whole agree."""
    model = model_of(KINDS["rotary positions"])
    start = tuple(range(5, 205))
    rows = [(*start, 7), start, (*start, 7, 8, 9), (9, 9), (*start, 7), (*start, 6, 8)]
    found = {}
    with torch.no_grad():
        for extends in (False, True):
            parts = [part for part in logits_after(model, rows, extends=extends)]
            assert sorted(number for numbers, _ in parts for number in numbers) == list(range(len(rows)))
            found[extends] = torch.stack([row for _, row in sorted(_rows(parts), key=lambda pair: pair[0])])
    assert torch.allclose(found[False], found[True], atol=1e-5)


def _rows(parts: Any) -> list[tuple[int, torch.Tensor]]:
    return [pair for numbers, logits in parts for pair in zip(numbers, logits, strict=True)]


def test_micro_games_are_read_in_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view of six words is nothing to share: a pass for each piece would cost more."""
    tree = GameTree(KuhnPoker())
    config = LlamaConfig(**(SIZE | {"vocab_size": tree.game.vocabulary.size}))
    agent = CausalLMAgent(model_of(config), tree.game.vocabulary)
    monkeypatch.setattr(shared_prefixes, "read_on", None)
    assert policy_of(tree, 0, agent).shape == (tree.tables[0].num_actions,)


@pytest.mark.parametrize("player", [0, 1])
def test_choices_alone_are_the_policy_that_whole_rows_are(player: int) -> None:
    """Of a model, of tables, of a random agent."""
    model = CausalLMAgent(model_of(KINDS["rotary positions"]), VOCABULARY, temperature=0.5)
    tables = TabularAgent(KUHN, player, random_profile(KUHN, np.random.default_rng(0))[player])
    assert isinstance(KUHN.game, Spoken)
    for agent in (model, tables, RandomAgent()):
        assert isinstance(agent, ChoicePolicy)
        rows = policy_from_matrix(KUHN, player, agent.token_probabilities(KUHN.observations(player)))
        assert policy_of(KUHN, player, agent) == pytest.approx(rows, abs=1e-6)
