"""What two players need: the counts are those of models that are built."""

import pytest

from duologue.baselines.performance.memory import FAMILIES, Family, need, table

TINY = Family(
    name="tiny", hidden_size=8, num_layers=2, num_heads=2, num_key_value_heads=2, intermediate_size=16, vocab_size=10,
    tied=False,
)  # fmt: skip
MAPS = [(8, 8)] * 4 + [(8, 16), (8, 16), (16, 8)]
NUM_WEIGHTS = 2 * 10 * 8 + 2 * (sum(a * b for a, b in MAPS) + 2 * 8) + 8


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_adapters_and_whole_models_are_counted_by_hand() -> None:
    """A of rank 3 has 3 numbers for each input, B as many for each output; the base is there once, and frozen."""
    pytest.importorskip("peft")
    adapter = 2 * sum(3 * (a + b) for a, b in MAPS)
    given = {"tokens_at_once": 100, "gradient_checkpointing": True}
    lora = need(TINY, lora_rank=3, half=True, **given)  # type: ignore[arg-type]
    assert lora.weights == 2 * NUM_WEIGHTS + 2 * 4 * adapter
    assert (lora.references, lora.gradients, lora.moments) == (0, 4 * adapter, 8 * adapter)
    whole = need(TINY, lora_rank=0, half=False, **given)  # type: ignore[arg-type]
    assert (whole.weights, whole.references) == (8 * NUM_WEIGHTS, 8 * NUM_WEIGHTS)
    assert (whole.gradients, whole.moments) == (4 * NUM_WEIGHTS, 8 * NUM_WEIGHTS)
    assert whole.total == sum(getattr(whole, name) for name in type(whole).__slots__)
    assert whole.activations == 2 * lora.activations


def test_families_have_the_sizes_of_their_names() -> None:
    """Within a tenth, embeddings included; 8 B are 8.03 by its makers."""
    counts = {}
    for family in FAMILIES:
        found = need(family, lora_rank=0, tokens_at_once=1, gradient_checkpointing=True, half=False)
        counts[family.name] = found.moments / 8e9
    assert counts["8 B"] == pytest.approx(8.03, abs=0.01)
    assert counts["0.5 B"] == pytest.approx(0.494, abs=0.005)  # without its biases
    assert counts["1.5 B"] == pytest.approx(1.54, abs=0.01)
    assert counts["3 B"] == pytest.approx(3.09, abs=0.01)


def test_the_table_has_a_row_for_each_size_and_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Markdown, ready for a page."""
    pytest.importorskip("peft")
    monkeypatch.setattr("duologue.baselines.performance.memory.FAMILIES", (TINY,))
    lines = table().splitlines()
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
