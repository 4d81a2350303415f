"""What decoding does for a token, counted rather than timed: model calls, masks, memory; and how a token is drawn."""

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, DynamicCache

from duologue.agents import CausalLMAgent
from duologue.agents.language_model import decoding, sampling
from duologue.agents.language_model.decoding import OpenTurns
from duologue.agents.language_model.micro import micro_model
from duologue.baselines.rollouts.episodes import rollout
from duologue.baselines.rollouts.trajectories import trajectories
from duologue.envs import (  # fmt: skip
    Dialogue,
    Ending,
    Episode,
    FiniteDeals,
    LanguageGame,
    Payoff,
    Tokens,
    Utterance,
    View,
    WordVocabulary,
)
from duologue.envs.vocabulary import EOS, SPECIAL_TOKENS


class NumberedVocabulary(WordVocabulary):
    """As many words as a large tokenizer has tokens, without their texts."""

    def __init__(self, size: int) -> None:
        super().__init__("one")
        self._size = size

    @property
    def size(self) -> int:
        return self._size

    @cached_property
    def sayable_mask(self) -> NDArray[np.int8]:
        mask = np.ones(self._size, dtype=np.int8)
        mask[: len(SPECIAL_TOKENS)] = 0
        return mask


class Chat(LanguageGame[int]):
    """Four turns of at most 16 tokens; player 0 is told as many tokens as the deal says, and nothing is narrowed."""

    payoff = Payoff.GENERAL
    max_turns = 4
    max_turn_tokens = 16
    max_briefing_tokens = 8

    def __init__(self, size: int, lengths: Sequence[int] = (4,)) -> None:
        self.vocabulary = NumberedVocabulary(size)
        self.deals = FiniteDeals(dict.fromkeys(lengths, 1 / len(lengths)))

    def next_player(self, dialogue: Dialogue[int]) -> int | None:
        return len(dialogue.turns) % 2 if len(dialogue.turns) < self.max_turns else None

    def rewards(self, dialogue: Dialogue[int]) -> tuple[float, float]:
        return 0.0, 0.0

    def briefing(self, deal: int, player: int) -> Tokens:
        return (9,) * deal if player == 0 else ()


class Model:
    """A causal model that records how it is called."""

    def __init__(self, game: LanguageGame[Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[dict[str, Any]] = []
        self.selections: list[int] = []
        self.agent = CausalLMAgent(
            micro_model(game.vocabulary, hidden_size=8, num_layers=1, num_heads=2), game.vocabulary
        )
        select = DynamicCache.reorder_cache

        def counted(cache: DynamicCache, indices: torch.LongTensor) -> None:
            self.selections.append(len(indices))
            select(cache, indices)

        monkeypatch.setattr(DynamicCache, "reorder_cache", counted)
        self.agent.model.register_forward_pre_hook(self._record, with_kwargs=True)

    def _record(self, module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.calls.append(kwargs)


class Filler:
    """Says 15 words and `<eos>`, whatever it is told."""

    def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
        return [Utterance((*range(8, 23), EOS), (-1.0,) * 16) for _ in views]


def views_of(game: Chat, deals: Sequence[int]) -> list[View]:
    """Return the first view of an episode with each deal."""
    return [Episode(game, deal).view() for deal in deals]


def test_a_batch_without_padding_is_decoded_by_bare_model_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call a token, one column each after the first, without mask or positions that it would read anew."""
    game = Chat(40)
    model = Model(game, monkeypatch)
    said = model.agent.speak(views_of(game, [4, 4, 4]), np.random.default_rng(0))
    assert len(model.calls) == max(len(utterance.tokens) for utterance in said)
    assert {call["input_ids"].shape[1] for call in model.calls[1:]} == {1}
    assert {(call["attention_mask"], call["position_ids"]) for call in model.calls} == {(None, None)}


def test_the_cache_is_rearranged_only_when_a_row_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of rows that go on fall strictly; rows that end together are dropped together."""
    game = Chat(12)
    model = Model(game, monkeypatch)
    lengths = [len(said.tokens) for said in model.agent.speak(views_of(game, [4] * 6), np.random.default_rng(0))]
    assert len(set(lengths)) > 1
    going = [sum(length > step for length in lengths) for step in sorted(set(lengths))]
    assert model.selections == [count for count in going if count]


def test_turns_of_a_batch_end_each_at_its_own_limit_or_eos() -> None:
    """Three rows of other limits, the second narrowed to one word and `<eos>`; rows that go on keep their order."""
    first = views_of(Chat(40), [4])[0]
    words = [np.array([9]), np.array([EOS]), np.array([], dtype=np.int64)]
    narrowed = replace(first, unrestricted=False, legal_tokens=lambda prefix: words[len(prefix)])
    turns = OpenTurns([replace(first, max_turn_tokens=2), narrowed, replace(first, max_turn_tokens=3)])
    assert [None if ids is None else ids.tolist() for ids in turns.legal or []] == [None, [9], None]
    for tokens, going in (([8, 9, 10], [0, 1, 2]), ([11, EOS, 12], [2]), ([13], [])):
        assert turns.say(np.array(tokens), -np.array(tokens) / 2).tolist() == going
    said = turns.utterances()
    assert [utterance.tokens for utterance in said] == [(8, 11), (9, EOS), (10, 12, 13)]
    assert [utterance.ending for utterance in said] == [Ending.TOO_LONG, Ending.END_OF_TURN, Ending.TOO_LONG]
    assert said[2].logprobs == (-5.0, -6.0, -6.5)


def test_a_padded_batch_gives_each_row_its_own_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views of different lengths are padded on the left, so that the next position is each view's length."""
    game = Chat(40)
    model = Model(game, monkeypatch)
    views = views_of(game, [1, 8, 3])
    model.agent.speak(views, np.random.default_rng(0))
    assert model.calls[1]["position_ids"].tolist() == [[len(view.tokens)] for view in views]
    assert model.calls[0]["attention_mask"].sum(1).tolist() == [len(view.tokens) for view in views]


def test_play_of_an_unrestricted_game_needs_memory_for_no_mask_of_its_own() -> None:
    """256 tokens of 152,000 choices would take 39 MB of masks; what is kept are the few that the game shares."""
    size, game = 152_000, Chat(152_000)
    episodes = rollout(game, (Filler(), Filler()), 1, np.random.default_rng(0))  # builds the shared masks
    tracemalloc.start()
    episodes = rollout(game, (Filler(), Filler()), 4, np.random.default_rng(0))
    batch = trajectories(episodes, player=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batch.legal_mask is None
    assert sum(len(turn.utterance.tokens) for episode in episodes for turn in episode.turns) == 256
    assert peak < size


def test_sampling_asks_an_unrestricted_view_for_no_mask() -> None:
    """One mask on the model's side serves every row and every token."""
    game = Chat(40)
    agent = CausalLMAgent(micro_model(game.vocabulary, hidden_size=8, num_layers=1, num_heads=2), game.vocabulary)
    view = Episode(game, 4).view()

    def refuse(prefix: Tokens) -> Any:
        raise AssertionError(prefix)

    asked = replace(view, legal_mask=refuse, legal_tokens=refuse)
    assert all(said.tokens for said in agent.speak([asked] * 3, np.random.default_rng(0)))


@given(
    st.integers(1, 3 * sampling.TOKENS_IN_BLOCK),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.5, 1 - 2**-53]),
    st.floats(0, 0.999),
)
@settings(max_examples=60, deadline=None)
def test_drawing_by_blocks_finds_the_token_that_one_running_sum_finds(
    size: int, seed: int, edge: float, share_impossible: float
) -> None:
    """Both invert one distribution, in a vocabulary of any size, and neither ever says what has weight 0."""
    rng = np.random.default_rng(seed)
    weights = torch.from_numpy(rng.exponential(size=(3, size)) * (rng.random((3, size)) >= share_impossible)).float()
    weights[:, int(rng.integers(size))] = 1.0
    uniform = torch.tensor([[rng.random()], [rng.random()], [edge]], dtype=torch.float64)
    plain, (blocks, total) = sampling._invert(weights, uniform), sampling._invert_by_blocks(weights, uniform)
    assert total.squeeze(1).tolist() == pytest.approx(weights.double().sum(1).tolist())
    assert (weights.gather(1, blocks) > 0).all()
    ends = weights.double().cumsum(1)
    off = (ends.gather(1, blocks) - uniform * ends[:, -1:]) * (blocks != plain)
    assert off.abs().max() < 1e-6  # another token only where rounding decides


def test_a_large_vocabulary_is_sampled_with_its_probabilities() -> None:
    """Weights of 1, 2 and 7 tenths in three blocks; 1,000 draws, within four standard errors."""
    probabilities = {3: 0.1, sampling.TOKENS_IN_BLOCK: 0.2, sampling.LARGE_VOCABULARY: 0.7}
    logits = torch.full((1, sampling.LARGE_VOCABULARY + 1), -torch.inf)
    for token, probability in probabilities.items():
        logits[0, token] = float(np.log(probability))
    rng, drawn = np.random.default_rng(0), list[int]()
    for _ in range(10):
        tokens, logprobs = sampling.draw(logits.repeat(100, 1), rng)
        drawn += tokens.tolist()
        assert logprobs.exp().tolist() == pytest.approx([probabilities[token] for token in tokens.tolist()])
    for token, probability in probabilities.items():
        spread = np.sqrt(probability * (1 - probability) / len(drawn))
        assert np.mean([token == drawn_token for drawn_token in drawn]) == pytest.approx(probability, abs=4 * spread)


def test_a_folder_is_loaded_without_its_code_and_from_safetensors_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What transformers is asked for; a folder from elsewhere must not be able to run anything."""
    game, asked = Chat(12), dict[str, Any]()
    micro_model(game.vocabulary, hidden_size=8, num_layers=1, num_heads=2).save_pretrained(tmp_path)
    load = AutoModelForCausalLM.from_pretrained

    def recorded(folder: Path, **options: Any) -> Any:
        asked.update(options)
        return load(folder, **options)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", recorded)
    agent = CausalLMAgent.from_pretrained(tmp_path, game.vocabulary, dtype="bfloat16", device="cpu")
    assert asked["trust_remote_code"] is False
    assert asked["use_safetensors"] is True
    assert agent.model.dtype is torch.bfloat16
    said = agent.speak(views_of(game, [4, 2]), np.random.default_rng(0))
    assert all(np.isfinite(utterance.logprobs or ()).all() for utterance in said)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    """Reading a pickle can run anything, so a folder that holds nothing else is not read at all."""
    game = Chat(12)
    model = micro_model(game.vocabulary, hidden_size=8, num_layers=1, num_heads=2)
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"expected weights as safetensors.*got pytorch_model.bin, a pickle"):
        CausalLMAgent.from_pretrained(tmp_path, game.vocabulary)


def test_an_unknown_dtype_is_named(tmp_path: Path) -> None:
    """The precisions that the package has are listed."""
    game = Chat(12)
    micro_model(game.vocabulary, hidden_size=8, num_layers=1, num_heads=2).save_pretrained(tmp_path)
    dtype: Any = "int4"
    with pytest.raises(ValueError, match=r"dtype: expected one of float32, bfloat16, float16, got 'int4'"):
        CausalLMAgent.from_pretrained(tmp_path, game.vocabulary, dtype=dtype)


NOTHING, TOO_MUCH, NO_NUMBER = -float("inf"), float("inf"), float("nan")


@pytest.mark.parametrize("size", [8, sampling.LARGE_VOCABULARY])
@pytest.mark.parametrize(
    "row",
    [[NOTHING], [0.0, TOO_MUCH], [0.0, NO_NUMBER], [NO_NUMBER], [TOO_MUCH], [NO_NUMBER, NOTHING], [1e39]],
    ids=["nothing", "+inf", "NaN", "all NaN", "all +inf", "NaN and -inf", "past float32"],
)
def test_logits_that_are_no_numbers_are_refused(size: int, row: list[float]) -> None:
    """Else the last token of the vocabulary would be drawn, at the price of a NaN; the row is named."""
    logits = torch.zeros(3, size)
    logits[1] = torch.tensor((row * size)[:size])
    with pytest.raises(ValueError, match=r"logits: expected finite numbers for the legal tokens, got NaN.* in row 1"):
        sampling.draw(logits, np.random.default_rng(0))


@pytest.mark.parametrize("size", [8, sampling.LARGE_VOCABULARY])
def test_tokens_that_are_impossible_are_no_fault(size: int) -> None:
    """-inf is how an illegal token is written, and as low as float32 goes is still a number."""
    logits = torch.full((2, size), NOTHING)
    logits[0, 3], logits[1, 5], logits[1, 6] = 0.0, torch.finfo(torch.float32).min, torch.finfo(torch.float32).max
    tokens, logprobs = sampling.draw(logits, np.random.default_rng(0))
    assert tokens.tolist() == [3, 6]
    assert logprobs.tolist() == [0.0, 0.0]


def test_a_model_of_broken_weights_says_nothing() -> None:
    """However it is asked: it must not be counted as a player that is never unsafe."""
    game = Chat(40)
    agent = CausalLMAgent(micro_model(game.vocabulary, hidden_size=8, num_layers=1, num_heads=2), game.vocabulary)
    view, rng = views_of(game, [4])[0], np.random.default_rng(0)
    padded = np.pad(view.tokens, (0, 2))
    mask = view.legal_mask(())
    tokens = torch.tensor([[*view.tokens.tolist(), 9]])
    own = torch.arange(tokens.shape[1])[None] == len(view.tokens)
    with torch.no_grad():
        for parameter in agent.model.parameters():
            parameter.fill_(NO_NUMBER)
    asked: list[Callable[[], object]] = [
        lambda: agent.speak([view], rng),
        lambda: agent.act({"observation": padded, "action_mask": mask}, rng),
        lambda: agent.token_probabilities([{"observation": padded, "action_mask": mask}]),
        lambda: agent.evaluate(tokens, torch.ones_like(own), own),
    ]
    for ask in asked:
        with pytest.raises(ValueError, match="logits: expected finite numbers"):
            ask()


@pytest.mark.parametrize("lengths", [(4,), (2, 4, 7)], ids=["one length", "padded"])
def test_equal_views_are_read_once_and_drawn_from_apart(
    lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turns of a batch of 24 are those that are drawn when each view is read; the model reads one of each kind."""
    game = Chat(20, lengths)
    agent = CausalLMAgent(micro_model(game.vocabulary, hidden_size=16), game.vocabulary)
    monkeypatch.setattr(decoding, "WORTH_SHARING", 0)
    sharing = CausalLMAgent(agent.model, game.vocabulary)
    assert agent._extends
    views = [played.turns[0].view for played in rollout(game, [agent, agent], 24, np.random.default_rng(0))]
    read: list[int] = []
    forward = type(agent.model).forward

    def noted(model: Any, input_ids: torch.Tensor, **given: Any) -> Any:
        read.append(len(input_ids))
        return forward(model, input_ids, **given)

    monkeypatch.setattr(type(agent.model), "forward", noted)
    apart = agent.speak(views, np.random.default_rng(1))
    assert read[0] == len(views)
    read.clear()
    shared = sharing.speak(views, np.random.default_rng(1))
    assert read[0] == len(lengths)
    assert read[1] > len(lengths)
    assert [turn.tokens for turn in shared] == [turn.tokens for turn in apart]
    for one, other in zip(shared, apart, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-5)
