"""The league: AlphaStar's shares of matches, who is frozen and who starts anew, and a resumed run."""

import json
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.agents import CausalLMAgent
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.learners.base import PlayerLearner
from duologue.baselines.learners.options import SELF_PLAY_PPO
from duologue.baselines.learners.ppo import PPOLearner
from duologue.baselines.two_player.league import Contender, League, LeagueOptions
from duologue.baselines.two_player.learner import TwoPlayerLearner
from duologue.baselines.two_player.matchmaking import ROLES, Role, WinRates, forgotten_weights, is_ready, match_weights
from duologue.tests.baselines.helpers import bluff, same, through_a_file, tiny_agent, weights

GAME = bluff()
MAINS: tuple[Role, ...] = ("main",) * 4
weigh = partial(match_weights, self_play=0.35, forgotten=0.15, power=2.0)


def make_player(player: int, seed: int) -> PlayerLearner:
    """Return a tiny model with random weights, by player and seed, that learns by PPO."""
    return PPOLearner(tiny_agent(GAME, seed=2 * seed + player), SELF_PLAY_PPO)


def make(*, num_updates: int = 5, snapshot_every: int = 2, folder: Path | None = None, **options: object) -> League:
    """Return a league with batches of 8 that freezes its players after two updates, or four."""
    play = LeagueOptions(num_updates=num_updates, batch_size=8, snapshot_every=snapshot_every, **options)  # type: ignore[arg-type]
    return League(GAME, make_player, play, seed=0, folder=folder)


def test_a_main_agent_meets_the_other_35_its_league_50_and_the_forgotten_15_times_in_100() -> None:
    """By hand after Vinyals et al. (2019, Methods), from win rates .9, .5, .8, .6 over time.

    (1 - x)^2 is .01, .25, .04, .16. As the rates rise after the second, the first three count as forgotten.
    """
    found = weigh("main", 0.5, np.array([0.9, 0.5, 0.8, 0.6]), MAINS)
    league, forgotten = np.array([1, 25, 4, 16]) / 46, np.array([1, 25, 4, 0]) / 30
    assert found[0] == pytest.approx(0.35)
    assert found[1:] == pytest.approx(0.5 * league + 0.15 * forgotten)


def test_with_nobody_forgotten_that_share_is_self_play() -> None:
    """Win rates that only fall towards newer players, or only such above .7, are no forgetting: .35 + .15."""
    for past in ([0.9, 0.8, 0.5, 0.4], [0.8, 0.9, 0.8, 0.9]):
        assert forgotten_weights(np.array(past), MAINS, 2.0) is None
        found = weigh("main", 0.5, np.array(past), MAINS)
        assert found[0] == pytest.approx(0.5)
        assert found[1:].sum() == pytest.approx(0.5)


def test_strong_main_exploiters_are_met_before_the_forgotten() -> None:
    """One of two is beaten less than .3 of the time: both share the 15 %, by (1 - x)^2, whatever the main agents do."""
    roles: tuple[Role, ...] = ("main", "main", "main_exploiter", "main_exploiter", "league_exploiter")
    past = np.array([0.2, 0.6, 0.2, 0.6, 0.1])
    assert forgotten_weights(past, roles, 2.0) == pytest.approx(np.array([0, 0, 0.8, 0.2, 0]))
    past[2] = 0.4
    assert forgotten_weights(past, roles, 2.0) == pytest.approx(np.array([0.8, 0.2, 0, 0, 0]))


def test_who_is_too_weak_for_the_main_agent_meets_its_past() -> None:
    """By f_var = x (1 - x): .09, .25, .16, .24 of .74; at most .3 for a main agent and .1 for a main exploiter."""
    past = np.array([0.9, 0.5, 0.2, 0.4])
    curriculum = np.array([9, 25, 16, 24]) / 74
    assert weigh("main_exploiter", 0.11, past, MAINS).tolist() == [1, 0, 0, 0, 0]
    assert weigh("main_exploiter", 0.1, past, MAINS) == pytest.approx(np.array([0, *curriculum]))
    assert weigh("main", 0.31, past, MAINS)[0] == pytest.approx(0.35)
    assert weigh("main", 0.3, past, MAINS)[0] == 0


def test_a_league_exploiter_meets_all_frozen_players() -> None:
    """PFSP over every role, never the current main agent: (1 - x)^2 = .25, .01, .64 of .9."""
    roles: tuple[Role, ...] = ("main", "main_exploiter", "league_exploiter")
    found = weigh("league_exploiter", 0.5, np.array([0.5, 0.9, 0.2]), roles)
    assert found == pytest.approx(np.array([0, 25, 1, 64]) / 90)


@given(
    role=st.sampled_from(ROLES),
    now=st.floats(0, 1),
    past=st.lists(st.tuples(st.floats(0, 1), st.sampled_from(ROLES)), max_size=6),
)
def test_matches_are_a_distribution_whatever_the_win_rates(
    role: Role, now: float, past: list[tuple[float, Role]]
) -> None:
    """The start of the other side's main agent is always among its past."""
    rates, roles = [0.5, *(rate for rate, _ in past)], ["main", *(one for _, one in past)]
    found = weigh(role, now, np.array(rates), roles)
    assert found.shape == (len(rates) + 1,)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1)


def test_win_rates_by_hand() -> None:
    """A win and a loss against a, a tie with b; then a win against a, to which the earlier two weigh one half each."""
    rates = WinRates(decay=0.5)
    assert rates.of(["a", "b"]).tolist() == [0.5, 0.5]
    rates.record(["a", "a", "b"], [2.0, -1.0, 0.0])
    assert rates.of(["a", "b", "c"]).tolist() == [0.5, 0.5, 0.5]
    rates.record(["a"], [1.0])
    assert rates.of(["a", "b"]).tolist() == [0.75, 0.5]


def test_when_a_player_is_frozen() -> None:
    """Once it beats all in more than .7 of the games, after `snapshot_every` updates; after twice as many anyhow."""
    strong, weak = np.array([0.8, 0.75]), np.array([0.9, 0.7])
    assert [is_ready(strong, updates, 4) for updates in (3, 4)] == [False, True]
    assert [is_ready(weak, updates, 4) for updates in (4, 7, 8)] == [False, False, True]


def roles_of(league: League) -> list[tuple[int, ...]]:
    """Return when the contenders of player 0 were frozen."""
    return [one.pool.iterations for one in league.sides[0]]


def test_all_contenders_learn_once_a_step_and_are_frozen_in_time() -> None:
    """Six contenders; with a win rate that 8 episodes hardly lift above .7 all are frozen by the fourth update."""
    league = make(num_updates=4)
    learner: TwoPlayerLearner = league
    before = [weights(one.learner.agent.model) for side in league.sides for one in side]
    assert roles_of(league) == [(0,), (), ()]
    steps = iter(league)
    first = next(steps)
    after = [weights(one.learner.agent.model) for side in league.sides for one in side]
    assert not any(same(a, b) for a, b in zip(before, after, strict=True))
    assert [one.learner.num_updates for side in league.sides for one in side] == [1] * 6  # type: ignore[attr-defined]
    assert [first.iteration, *(step.iteration for step in steps)] == [1, 2, 3, 4]
    for side in league.sides:
        assert all(one.pool.iterations and max(one.pool.iterations) in (2, 3, 4) for one in side)
    assert learner.seats == (league.sides[0][0].learner.agent, league.sides[1][0].learner.agent)
    assert learner.average is None


@pytest.mark.parametrize("reset_probability", [0.0, 1.0])
def test_main_exploiters_start_anew_and_main_agents_never(reset_probability: float) -> None:
    """After four updates each was frozen at least once; a league exploiter starts anew as often as it is told to."""
    league = make(num_updates=4, reset_probability=reset_probability)
    start = weights(make_player(0, 0).agent.model)
    steps = list(league)
    main, main_exploiter, league_exploiter = league.sides[0]
    assert main.num_resets == 0
    assert main_exploiter.num_resets == len(main_exploiter.pool) >= 1
    assert league_exploiter.num_resets == len(league_exploiter.pool) * reset_probability
    assert steps[-1].player_0.num_resets == main_exploiter.num_resets + league_exploiter.num_resets
    assert steps[-1].player_0.num_frozen == sum(len(one.pool) for one in league.sides[0])
    if main_exploiter.frozen_at == 4:
        assert same(weights(main_exploiter.learner.agent.model), start)
        assert main_exploiter.win_rates.of(["now"]).tolist() == [0.5]
    assert not same(weights(main.learner.agent.model), start)
    assert not same(weights(main_exploiter.pool.members[0].model), start)


def test_a_reset_forgets_and_a_frozen_player_stays() -> None:
    """What was frozen is what had learned; the contender is the start again."""
    contender = make().sides[1][1]
    start = weights(contender.learner.agent.model)
    contender.learner.agent.model.get_input_embeddings().weight.data.add_(1.0)  # type: ignore[operator]
    contender.win_rates.record(["now"], [1.0])
    learned = weights(contender.learner.agent.model)
    contender.freeze(3)
    contender.reset()
    assert (contender.frozen_at, contender.num_resets) == (3, 1)
    assert same(weights(contender.learner.agent.model), start)
    assert same(weights(contender.pool.members[0].model), learned)
    assert contender.win_rates.of(["now"]).tolist() == [0.5]


def test_opponents_are_of_the_other_side_and_drawn_by_the_shares() -> None:
    """Before any game all win rates are 1/2: .35 + .15 on the current main agent, .5 on its start."""
    league = make()
    for player, side in enumerate(league.sides):
        other = league.sides[1 - player][0]
        names, seat = league.opponents(side[0])
        assert names == ["now", "main/0"]
        assert seat.weights == pytest.approx((0.5, 0.5))
        assert seat.members == (other.learner.agent, other.pool.members[0])
        assert league.opponents(side[1])[1].weights == (1, 0)
        assert league.opponents(side[2])[1].weights == (0, 1)


@pytest.mark.parametrize(("on_disk", "stop"), [(False, 1), (True, 2)])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(on_disk: bool, stop: int, tmp_path: Path) -> None:
    """Learners, frozen players, win rates and resets."""
    folders = [tmp_path / name if on_disk else None for name in ("whole", "stopped")]
    whole = make(num_updates=3, snapshot_every=1, folder=folders[0])
    steps = list(whole)
    first = make(num_updates=3, snapshot_every=1, folder=folders[1])
    resumed = list(islice(first, stop))
    state = through_a_file(tmp_path / "state", first)
    second = make(num_updates=3, snapshot_every=1, folder=folders[1])
    second.load_state_dict(state)
    assert [*resumed, *second] == steps
    for ours, theirs in zip(_contenders(whole), _contenders(second), strict=True):
        assert ours.pool.iterations == theirs.pool.iterations
        assert ours.win_rates.state_dict() == theirs.win_rates.state_dict()
        assert same(weights(ours.learner.agent.model), weights(theirs.learner.agent.model))


def _contenders(league: League) -> list[Contender]:
    return [one for side in league.sides for one in side]


def test_the_command_writes_the_league(tmp_path: Path) -> None:
    """A folder for each frozen player, by side and role, and exact NashConv of the main agents."""
    names = {"num-updates": 2, "snapshot-every": 1, "batch-size": 8, "hidden-size": 16}
    arguments = [part for name, value in names.items() for part in (f"--{name}", str(value))]
    TRAINERS["league"].run(["--game", "bluff-v0", "--exact", "--out", str(tmp_path), *arguments])
    for folder in ["player_0", "player_1", "pool/player_0/main/000000", "pool/player_1/main_exploiter/000002"]:
        assert CausalLMAgent.from_pretrained(tmp_path / folder, GAME.vocabulary).model.config.hidden_size == 16
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [record["iteration"] for record in records] == [1, 2]
    assert all(np.isfinite(record["exact"]["nash_conv_average"]) for record in records)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("num_updates", 0, "an integer of at least 1"),
        ("batch_size", 0, "an integer of at least 1"),
        ("snapshot_every", 0, "an integer of at least 1"),
        ("self_play_share", 1.5, "a number from 0 to 1"),
        ("forgotten_share", 0.7, r"at most 1 - self_play_share=0.65"),
        ("reset_probability", -0.1, "a number from 0 to 1"),
        ("win_rate_decay", 2.0, "a number from 0 to 1"),
        ("pfsp_power", 0, "a finite number above 0"),
    ],
)
def test_options_out_of_range_are_refused(name: str, value: float, expected: str) -> None:
    """The error names the field."""
    with pytest.raises(ValueError, match=f"{name}: expected {expected}, got {value}"):
        LeagueOptions(**{name: value})  # type: ignore[arg-type]
