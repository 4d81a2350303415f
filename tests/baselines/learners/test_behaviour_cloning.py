"""Behaviour cloning: whose tokens are in the loss (equations 7 and 8), what it converges to, and how it resumes."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from duologue.baselines.learners.behaviour_cloning import BehaviourCloning, BehaviourCloningConfig
from duologue.baselines.rollouts.demonstrations import Demonstrations, encode_dialogues
from duologue.envs import Dialogue, Episode, FiniteDeals, LanguageGame, Payoff, Turn, make_game
from duologue.envs.vocabulary import EOS
from duologue.tests.baselines.helpers import (
    MAYBE,
    NO,
    RED,
    VOCABULARY,
    YES,
    same,
    through_a_file,
    tiny_agent,
    weights,
)


class Exam(LanguageGame[Any]):
    """Player 0 asks and player 1 answers, up to 14 words each."""

    vocabulary = VOCABULARY
    payoff = Payoff.IDENTICAL
    deals: FiniteDeals[Any] = FiniteDeals({"": 1.0})
    max_turns = 2
    max_turn_tokens = 14

    def next_player(self, dialogue: Dialogue[Any]) -> int | None:
        return None if len(dialogue.turns) == 2 else len(dialogue.turns)

    def rewards(self, dialogue: Dialogue[Any]) -> tuple[float, float]:
        return 0.0, 0.0


QUESTION, ANSWER = (RED, YES, NO, RED, MAYBE), (YES, NO) * 6
FIGURE_5 = encode_dialogues(Exam(), [Dialogue("", (Turn(QUESTION), Turn(ANSWER)))], viewers=(1,))
"""arXiv 2402.08078, figure 5, `<eos>` among the tokens of the turn that it ends."""


def cloning(
    data: Demonstrations, config: BehaviourCloningConfig, *, game: LanguageGame[Any] | None = None, seed: int = 0
) -> BehaviourCloning:
    """Return a learner with a tiny model."""
    return BehaviourCloning(tiny_agent(game or Exam()), data, config, seed=seed)


def one_step(tokens_of: Any, data: Demonstrations = FIGURE_5) -> tuple[torch.Tensor, int]:
    """Return the loss's gradient at the logits (T - 1, V) in one step on one dialogue, and its number of tokens."""
    learner, logits = cloning(data, BehaviourCloningConfig(tokens_of=tokens_of, num_steps=1, batch_size=1)), []

    def keep(module: Any, args: Any, output: Any) -> None:
        output.logits.retain_grad()
        logits.append(output.logits)

    learner.agent.model.register_forward_hook(keep)
    step = next(iter(learner))
    return logits[0].grad[0], step.num_tokens


def test_figure_4_has_16_actions_and_17_states_all_in_the_loss() -> None:
    """Equation 7: pre-training clones every token; the first state is given, as is our first token."""
    tokens = torch.tensor([[1, *[RED, YES] * 8]])
    data = Demonstrations(tokens, torch.ones_like(tokens, dtype=torch.bool), torch.full((1, 17), -1, dtype=torch.int8))
    gradient, num_tokens = one_step("all", data)
    assert num_tokens == 16
    assert bool((gradient.abs().sum(-1) > 0).all())


def test_figure_5_has_6_question_tokens_out_and_13_answer_tokens_in() -> None:
    """Equation 8; a_19, the `<eos>` of the answer, is the last decision and not the end."""
    question, answer = FIGURE_5.loss_mask("player_0")[0], FIGURE_5.loss_mask("player_1")[0]
    tokens = FIGURE_5.tokens[0]
    assert tokens[question].tolist() == [*QUESTION, EOS]
    assert tokens[answer].tolist() == [*ANSWER, EOS]
    assert (int(question.sum()), int(answer.sum())) == (6, 13)
    assert bool(answer[-1])
    assert one_step("player_1")[1] == 13


@pytest.mark.parametrize("tokens_of", ["player_0", "player_1"])
def test_the_gradient_through_the_others_tokens_is_exactly_zero(tokens_of: str) -> None:
    """Equation 8: only the distributions that the cloned player's tokens were drawn from learn from them."""
    gradient, _ = one_step(tokens_of)
    cloned = FIGURE_5.loss_mask(tokens_of)[0, 1:]
    assert bool((gradient[~cloned] == 0).all())
    assert bool((gradient[cloned].abs().sum(-1) > 0).all())


def test_the_mask_of_equation_7_covers_every_token_but_the_first() -> None:
    """Padding is no token; what the game writes, such as who speaks, is cloned too."""
    short = Dialogue("", (Turn((RED,)), Turn((YES,))))
    data = encode_dialogues(Exam(), [Dialogue("", (Turn(QUESTION), Turn(ANSWER))), short])
    mask = data.loss_mask("all")
    assert not mask[:, 0].any()
    assert torch.equal(mask[:, 1:], data.attention_mask[:, 1:])
    assert not data.attention_mask[1].all()
    with pytest.raises(ValueError, match="tokens_of: expected one of all, player_0, player_1, got 'nobody'"):
        data.loss_mask("nobody")


def test_both_players_views_know_who_spoke() -> None:
    """Player 0's view has its briefing besides, which nobody said; a turn cut off at the limit has no own `<eos>`."""
    game = make_game("red_team-v0")
    dialogue: Dialogue[Any] = game.demonstrations("average", np.random.default_rng(0), 1)[0]  # type: ignore[attr-defined]
    data = encode_dialogues(game, [dialogue])
    for viewer in (0, 1):
        for player in (0, 1):
            said = data.tokens[viewer][data.speaker[viewer] == player].tolist()
            assert said == [*dialogue.turns[player].tokens, EOS]
    cut = encode_dialogues(Exam(), [Dialogue("", (Turn((RED,) * 14), Turn((YES,))))], viewers=(0,))
    assert cut.tokens[0][cut.speaker[0] == 0].tolist() == [RED] * 14


def test_a_dialogue_that_goes_on_after_the_end_is_refused() -> None:
    """The rules end it after two turns."""
    with pytest.raises(ValueError, match="dialogue: expected its rules to end it after the last turn, got more"):
        encode_dialogues(Exam(), [Dialogue("", (Turn((RED,)), Turn((YES,)), Turn((NO,))))])


def test_the_optimum_is_the_empirical_frequency() -> None:
    """Equation 8 on a table: of eight answers to one question six are yes and two are no."""
    answers = [(YES,)] * 6 + [(NO,)] * 2
    data = encode_dialogues(Exam(), [Dialogue("", (Turn((RED,)), Turn(a))) for a in answers], viewers=(1,))
    config = BehaviourCloningConfig(
        tokens_of="player_1", num_steps=200, batch_size=8, learning_rate=2e-2, weight_decay=0.0
    )
    learner = cloning(data, config)
    losses = [step.loss_nats for step in learner]
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert losses[-1] == pytest.approx(entropy / 2, abs=0.01)  # half of the cloned tokens are a certain <eos>
    episode = Episode(Exam(), "")
    episode.speak(_asked())
    episode.settle((0.0, 0.0))
    said = learner.agent.speak([episode.view()] * 2000, np.random.default_rng(0))
    assert np.mean([one.tokens == (YES, EOS) for one in said]) == pytest.approx(0.75, abs=0.05)


def _asked() -> Any:
    from duologue.envs import Utterance

    return Utterance((RED, EOS))


def many() -> Demonstrations:
    """Return demonstrations that make two and a half batches of 8."""
    game = make_game("red_team-v0")
    return encode_dialogues(game, game.demonstrations("average", np.random.default_rng(0), 10))  # type: ignore[attr-defined]


def test_a_resumed_run_ends_with_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    """Put down in the second of four epochs, and taken up by a learner that starts from other weights."""
    data, config = many(), BehaviourCloningConfig(num_steps=8, batch_size=8, warmup_steps=2)
    game = make_game("red_team-v0")
    whole = cloning(data, config, game=game)
    losses = [step.loss_nats for step in whole]
    first = cloning(data, config, game=game)
    resumed_losses = [step.loss_nats for step in islice(first, 3)]
    second = BehaviourCloning(tiny_agent(game, seed=9), data, config, seed=0)
    second.load_state_dict(through_a_file(tmp_path, first))
    resumed_losses += [step.loss_nats for step in second]
    assert resumed_losses == losses
    assert same(weights(second.agent.model), weights(whole.agent.model))


def test_an_epoch_sees_every_view_at_most_once_and_the_seed_orders_them() -> None:
    """Batches hold views of like length; what makes no whole batch is left out until the next epoch."""
    data, config = many(), BehaviourCloningConfig(num_steps=1, batch_size=8)
    learner, other = (cloning(data, config, game=make_game("red_team-v0"), seed=seed) for seed in (0, 1))
    rows = np.concatenate(learner._batches(0))
    assert len(rows) == len(set(rows.tolist())) == 16
    assert rows.tolist() == np.concatenate(learner._batches(0)).tolist()
    assert rows.tolist() != np.concatenate(learner._batches(1)).tolist()
    assert rows.tolist() != np.concatenate(other._batches(0)).tolist()


def test_the_learning_rate_warms_up_and_falls() -> None:
    """Linear up to the peak, linear down to 2 % of it."""
    config = BehaviourCloningConfig(learning_rate=1.0, warmup_steps=10, num_steps=100)
    assert config.learning_rate_at(0) == pytest.approx(0.1)
    assert config.learning_rate_at(50) == pytest.approx(0.5)
    assert config.learning_rate_at(99) == pytest.approx(0.02)


def test_too_few_demonstrations_are_refused() -> None:
    """A batch would not be full."""
    with pytest.raises(ValueError, match="demonstrations: expected at least batch_size=2, got 1"):
        cloning(FIGURE_5, BehaviourCloningConfig(batch_size=2))
