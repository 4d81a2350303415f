"""Stages: fixed lengths, MAGIC's early switch, and a clock that is put down and taken up."""

import pytest

from duologue.baselines.two_player.stage_clock import GPOSchedule, StageClock


def stages(schedule: GPOSchedule, returns: list[float]) -> list[str]:
    """Return who learns from each batch, by its first letter, and the round."""
    clock, seen = StageClock(schedule), []
    for one in returns:
        seen.append(f"{clock.stage[0]}{clock.round}")
        clock.advance(one)
    return seen


@pytest.mark.parametrize(
    ("defend", "attack", "expected"),
    [
        (2, 1, ["d1", "d1", "a1", "d2", "d2", "a2"]),
        (0, 2, ["a1", "a1", "a2", "a2", "a3", "a3"]),
        (3, 0, ["d1", "d1", "d1", "d2", "d2", "d2"]),
    ],
)
def test_stages_are_as_long_as_configured_and_the_defender_goes_first(
    defend: int, attack: int, expected: list[str]
) -> None:
    """A stage of no batches is passed over; a round is over once the adversary's stage is."""
    assert stages(GPOSchedule(defend_steps=defend, attack_steps=attack), [0.0] * 6) == expected


def test_a_stage_ends_once_its_learner_has_left_the_band() -> None:
    """MAGIC (arXiv 2602.01539): mean above .90 over 3 batches ends the defence, below .80 the attack; else 15."""
    magic = GPOSchedule(defend_steps=15, attack_steps=15, band=(0.8, 0.9), band_window=3)
    won_early = [0.0, 0.95, 0.95, 0.95, 0.85, 0.85, 0.5, 0.95, 0.95, 0.95, 0.95]
    assert stages(magic, won_early) == ["d1"] * 4 + ["a1"] * 3 + ["d2"] * 3 + ["a2"]
    never = [0.85] * 32
    assert stages(magic, never) == ["d1"] * 15 + ["a1"] * 15 + ["d2"] * 2


def test_a_high_return_does_not_end_the_attack_nor_a_low_one_the_defence() -> None:
    """Only the learner's own success ends its stage, and only over a whole window of that stage."""
    schedule = GPOSchedule(defend_steps=4, attack_steps=3, band=(0.0, 0.0), band_window=2)
    assert stages(schedule, [-1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 0.0]) == ["d1"] * 4 + ["a1"] * 3 + ["d2"]
    assert stages(schedule, [1.0, 1.0, -1.0, -1.0, 1.0]) == ["d1", "d1", "a1", "a1", "d2"]


def test_a_clock_taken_up_goes_on_where_it_was() -> None:
    """After every number of batches, the returns of the open stage included."""
    schedule = GPOSchedule(defend_steps=5, attack_steps=4, band=(0.2, 0.6), band_window=2)
    returns = [0.0, 0.7, 0.7, 0.1, 0.1, 0.5, 0.9, 0.9, 0.3, 0.0]
    whole = stages(schedule, returns)
    for cut in range(len(returns)):
        first, second = StageClock(schedule), StageClock(schedule)
        for one in returns[:cut]:
            first.advance(one)
        second.load_state_dict(first.state_dict())
        rest = []
        for one in returns[cut:]:
            rest.append(f"{second.stage[0]}{second.round}")
            second.advance(one)
        assert rest == whole[cut:]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_rounds": 0}, "num_rounds: expected an integer of at least 1"),
        ({"defend_steps": 0, "attack_steps": 0}, "expected numbers >= 0, one of them > 0"),
        ({"static_share": 1.0}, "static_share: expected a number in"),
        ({"band": (0.9, 0.8)}, "band: expected a lower and an upper number, got 0.9 and 0.8"),
        ({"band_window": 0}, "band_window: expected an integer of at least 1"),
    ],
)
def test_bad_schedules_are_refused(options: dict[str, float], message: str) -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match=message):
        GPOSchedule(**options)  # type: ignore[arg-type]
