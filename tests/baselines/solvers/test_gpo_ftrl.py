"""GPO's theoretical algorithm: the one-shot game of 20 prompts and 8 replies, bounds, entropy, diversity."""

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duologue.baselines.solvers.gpo_ftrl import GPOFTRL, effective_number, entropy_regularised_adversary
from duologue.envs.games.bluff import Bluff
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.envs.games.random_game import RandomGame
from duologue.envs.games.tiny_bargaining import TinyBargaining
from duologue.envs.games.tiny_red_team import OneShotRedTeam, TinyRedTeam
from duologue.envs.tree.analysis import GameTree, Profile, best_response, nash_conv, uniform_profile

NUM_PROMPTS, NUM_REPLIES = 20, 8
SEEDS = range(20)
GRID = {lead * 10**power for power in range(5) for lead in (1, 2, 3, 5, 7)}


def rewards(seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the table of section 5: a row for each prompt, a column for each reply."""
    return np.random.default_rng(seed).random((NUM_PROMPTS, NUM_REPLIES))


@cache
def one_shot(seed: int) -> GameTree:
    """Return the tree of one of the twenty games."""
    return GameTree(OneShotRedTeam(rewards(seed)))


@cache
def solved(seed: int, num_iterations: int) -> GPOFTRL:
    """Return the learner at its end; rewards in [0, 1] have a range of 1, whatever was drawn.

    On its way the average is held against the bound at each iteration of `GRID`.
    """
    solver = GPOFTRL(one_shot(seed), num_iterations=num_iterations, payoff_range=1.0)
    for iteration in range(1, num_iterations + 1):
        solver.step()
        if iteration in GRID or iteration == num_iterations:
            assert average_gap(solver) <= bound_of(solver, iteration), (seed, num_iterations, iteration)
    return solver


def run(solver: GPOFTRL, num_iterations: int) -> GPOFTRL:
    """Make so many steps."""
    for _ in range(num_iterations):
        solver.step()
    return solver


def bound_of(solver: GPOFTRL, iteration: int) -> float:
    """Return the bound, which these games have."""
    bound = solver.bound(iteration)
    assert bound is not None
    return bound


def average(solver: GPOFTRL) -> Profile:
    """Return the average, which there is after a step."""
    assert solver.average_profile is not None
    return solver.average_profile


def average_gap(solver: GPOFTRL) -> float:
    """Return NashConv of the average."""
    return nash_conv(solver.tree, average(solver))


def test_games_are_the_ones_of_the_reference() -> None:
    """reference-values.md, section 5: r[0, 0] = .636962 and min_x max_y r = .796324 of seed 0."""
    table = rewards(0)
    assert table[0, 0] == pytest.approx(0.636962, abs=1e-6)
    assert table.max(1).min() == pytest.approx(0.796324, abs=1e-6)
    reply = best_response(one_shot(0), 1, uniform_profile(one_shot(0))[0])
    assert best_response(one_shot(0), 0, reply.policy).value == pytest.approx(-table.max(1).min())


@pytest.mark.parametrize(("num_iterations", "expected"), [(10, 1.8290), (100, 0.5784), (1000, 0.1829), (10000, 0.0578)])
def test_bound_is_the_closed_form(num_iterations: int, expected: float) -> None:
    """reference-values.md, section 5: sqrt(ln n / 2T) + sqrt(n ln m / 2T), with the step sizes of Hoeffding's lemma."""
    n, log_n, log_m = NUM_PROMPTS, np.log(NUM_PROMPTS), np.log(NUM_REPLIES)
    solver = GPOFTRL(one_shot(0), num_iterations=num_iterations, payoff_range=1.0)
    bound = solver.bound(num_iterations)
    assert bound == pytest.approx(np.sqrt(log_n / 2 / num_iterations) + np.sqrt(n * log_m / 2 / num_iterations))
    assert bound == pytest.approx(expected, abs=6e-5)
    assert solver.eta == pytest.approx((np.sqrt(8 * log_n / num_iterations), np.sqrt(8 * n * log_m / num_iterations)))


@pytest.mark.parametrize(
    ("num_iterations", "seed_0", "mean", "maximum"),
    [
        (10, 0.3939, 0.4016, 0.4405),
        (100, 0.1798, 0.1799, 0.2016),
        (1000, 0.0693, 0.0613, 0.0715),
        (10000, 0.0223, 0.0195, 0.0231),
    ],
)
def test_averages_approach_equilibrium_within_the_bound(
    num_iterations: int, seed_0: float, mean: float, maximum: float
) -> None:
    """reference-values.md, section 5: averages of seed 0, mean and maximum of 20 seeds.

    The bound is never exceeded: by no seed, at no iteration of the grid before T (`solved`), and not at T.
    """
    solvers = [solved(seed, num_iterations) for seed in SEEDS]
    gaps = [average_gap(solver) for solver in solvers]
    assert gaps[0] == pytest.approx(seed_0, rel=1e-3, abs=6e-5)
    assert (np.mean(gaps), max(gaps)) == pytest.approx((mean, maximum), rel=1e-3, abs=6e-5)
    assert max(gaps) <= bound_of(solvers[0], num_iterations)


@pytest.mark.parametrize("num_iterations", [1, 2, 3, 5, 20, 50, 200, 500])
def test_bound_is_exceeded_by_no_seed_whatever_the_number_of_iterations(num_iterations: int) -> None:
    """reference-values.md, section 5: sqrt(ln n / 2T) + sqrt(n ln m / 2T) is never exceeded, other T than its own."""
    bound = (np.sqrt(np.log(NUM_PROMPTS)) + np.sqrt(NUM_PROMPTS * np.log(NUM_REPLIES))) / np.sqrt(2 * num_iterations)
    gaps = [average_gap(solved(seed, num_iterations)) for seed in SEEDS]
    assert max(gaps) <= bound
    assert bound_of(solved(0, num_iterations), num_iterations) == pytest.approx(bound)


@pytest.mark.parametrize("iteration", [0, -3, 2.5, "5"])
def test_there_is_no_bound_before_the_first_iteration(iteration: Any) -> None:
    """The regret is divided by the iteration; a negative one would give a negative bound."""
    solver = GPOFTRL(one_shot(0), num_iterations=10)
    for bound in (solver.bound, solver.regularised_bound):
        with pytest.raises(ValueError, match=f"iteration: expected an integer of at least 1, got {iteration!r}"):
            bound(iteration)


@pytest.mark.parametrize(("num_iterations", "expected"), [(10, 0.2342), (100, 0.0671), (1000, 0.0028), (10000, 0.0000)])
def test_last_iterate_settles_where_a_pure_equilibrium_exists(num_iterations: int, expected: float) -> None:
    """reference-values.md, section 5: the pair (mu, pi) of T + 1, seed 0."""
    solver = solved(0, num_iterations)
    assert nash_conv(solver.tree, solver.last_profile) == pytest.approx(expected, rel=1e-3, abs=6e-5)


@pytest.mark.parametrize(("num_iterations", "expected"), [(10, 0.3563), (100, 0.1657), (1000, 0.1046), (10000, 0.0775)])
def test_average_is_not_weighted_by_the_visits_of_the_opponent(num_iterations: int, expected: float) -> None:
    """reference-values.md, section 5: the wrong average of seed 0, made here, is another number."""
    solver = GPOFTRL(one_shot(0), num_iterations=num_iterations, payoff_range=1.0)
    table, weighted = solver.tree.tables[1], np.zeros(NUM_PROMPTS * NUM_REPLIES)
    for _ in range(num_iterations):
        mu, pi = solver.last_profile
        weighted += np.repeat(mu, NUM_REPLIES) * pi
        solver.step()
    wrong = nash_conv(solver.tree, (average(solver)[0], table.normalise(weighted)))
    assert wrong == pytest.approx(expected, rel=1e-3, abs=6e-5)
    assert abs(wrong - average_gap(solver)) > 0.01
    if num_iterations == 10000:
        assert wrong > (solver.bound(num_iterations) or np.inf)


@pytest.mark.parametrize("num_iterations", [100, 1000])
def test_defender_needs_a_step_that_grows_with_the_number_of_prompts(num_iterations: int) -> None:
    """reference-values.md, section 5: without n in eta_pi, the bound without n fails for 19 of 20 seeds."""
    eta = np.sqrt(8 * np.log([NUM_PROMPTS, NUM_REPLIES]) / num_iterations)
    wrong_bound = np.sqrt(np.log([NUM_PROMPTS, NUM_REPLIES]) / 2 / num_iterations).sum()
    solvers = [run(GPOFTRL(one_shot(seed), num_iterations=1, eta=eta.tolist()), num_iterations) for seed in SEEDS]
    assert sum(average_gap(solver) > wrong_bound for solver in solvers) == 19


def test_effective_number_of_prompts_rises_with_the_weight_of_entropy() -> None:
    """reference-values.md, section 5: mu proportional to exp(-max_y r / eta) of seed 0."""
    weights, expected = [0.0, 0.02, 0.05, 0.1, 0.3], [1.0, 2.419, 9.314, 16.636, 19.653]
    numbers = [effective_number(entropy_regularised_adversary(rewards(0), eta)) for eta in weights]
    assert numbers == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("entropy_weight", [0.05, 0.1])
def test_entropy_term_leads_to_the_closed_form(entropy_weight: float) -> None:
    """algorithms.md, 2.4: mu proportional to exp(-max_y r / eta) and its best reply are the equilibrium of eq. 3.7."""
    tree, closed = one_shot(0), entropy_regularised_adversary(rewards(0), entropy_weight)
    solvers = [run(GPOFTRL(tree, num_iterations=t, entropy_weight=entropy_weight), t) for t in (100, 1000, 10000)]
    distances = [float(np.abs(solver.last_profile[0] - closed).sum()) for solver in solvers]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.3 * distances[0]
    equilibrium = closed, best_response(tree, 1, closed).policy
    assert solvers[0].regularised_nash_conv(equilibrium) == pytest.approx(0, abs=1e-12)
    assert solvers[0].regularised_nash_conv(uniform_profile(tree)) > 0.01


def test_diversity_term_leads_to_the_equilibrium_of_the_changed_rewards() -> None:
    """Eq. 3.1: an R_div that depends on the prompt alone is the same as rewards r - beta_div R_div."""
    novelty, weight = np.linspace(0, 1, NUM_PROMPTS), 0.7
    changed = GameTree(OneShotRedTeam(rewards(0) - weight * novelty[:, None]))
    with_term = GPOFTRL(one_shot(0), num_iterations=50, diversity=novelty, diversity_weight=weight, eta=(0.5, 0.9))
    without = GPOFTRL(changed, num_iterations=50, eta=(0.5, 0.9))
    for solver in (with_term, without):
        run(solver, 50)
    for ours, theirs in zip(average(with_term), average(without), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-12)
    assert with_term.regularised_nash_conv(average(with_term)) == pytest.approx(average_gap(without))
    assert average_gap(with_term) > average_gap(without) + 0.01


@given(st.integers(0, 30), st.sampled_from([1, 7, 60]), st.booleans())
def test_bound_holds_on_games_of_several_turns(seed: int, num_iterations: int, pays_every_turn: bool) -> None:
    """Property: the regrets of all information states add up, whatever the order of turns and who hears what."""
    tree = GameTree(RandomGame(seed, num_turns=4, num_deals=2, pays_every_turn=pays_every_turn))
    solver = run(GPOFTRL(tree, num_iterations=40), num_iterations)
    bound = solver.bound(num_iterations)
    assert bound is not None
    assert average_gap(solver) <= bound + 1e-12


@given(st.integers(0, 5), st.floats(0, 0.5), st.floats(0, 1), st.integers(1, 60))
def test_bound_holds_with_diversity_and_entropy(seed: int, entropy: float, weight: float, num_iterations: int) -> None:
    """Property: that of J for NashConv of J, and with the range of the terms for NashConv of the game itself."""
    diversity = np.random.default_rng(seed).random(NUM_PROMPTS)
    solver = GPOFTRL(
        one_shot(seed), num_iterations=20, diversity=diversity, diversity_weight=weight, entropy_weight=entropy
    )
    run(solver, num_iterations)
    regularised, bound = solver.regularised_bound(num_iterations), solver.bound(num_iterations)
    assert regularised is not None
    assert bound is not None
    assert solver.regularised_nash_conv(average(solver)) <= regularised + 1e-12
    assert average_gap(solver) <= bound + 1e-12


@given(st.integers(0, 20), st.floats(0, 0.5), st.floats(0, 1), st.integers(1, 60))
def test_bound_with_terms_holds_for_prompts_of_several_tokens(
    seed: int, entropy: float, weight: float, num_iterations: int
) -> None:
    """Property: as above, where chance deals a seed and a prompt is a sequence of tokens, each with its own terms."""
    tree = GameTree(RandomGame(seed, num_turns=2, num_deals=3, max_turn_tokens=2))
    diversity = np.random.default_rng(seed).random(tree.tables[0].num_actions)
    solver = GPOFTRL(tree, num_iterations=20, diversity=diversity, diversity_weight=weight, entropy_weight=entropy)
    run(solver, num_iterations)
    regularised, bound = solver.regularised_bound(num_iterations), solver.bound(num_iterations)
    assert regularised is not None
    assert bound is not None
    assert -1e-12 <= solver.regularised_nash_conv(average(solver)) <= regularised + 1e-12
    assert average_gap(solver) <= bound + 1e-12


def test_payoffs_of_another_scale_change_the_step_and_nothing_else() -> None:
    """algorithms.md, 2.3: etas are scaled by 1/D and the bound by D."""
    small, large = (GPOFTRL(GameTree(OneShotRedTeam(k * rewards(3))), num_iterations=30) for k in (1.0, 40.0))
    for solver in (small, large):
        run(solver, 30)
    assert average(large)[1] == pytest.approx(average(small)[1])
    assert large.bound(30) == pytest.approx(40 * (small.bound(30) or 0.0))


def test_hidden_intent_needs_the_average() -> None:
    """Worth 5/36 with mixing (tiny_red_team); the average is within the bound and its value near."""
    tree = GameTree(TinyRedTeam("hidden"))
    solver = run(GPOFTRL(tree, num_iterations=4000), 4000)
    gap = average_gap(solver)
    assert gap <= (solver.bound(4000) or 0.0)
    value = -best_response(tree, 1, average(solver)[0]).value
    assert value <= 5 / 36 + 1e-12
    assert value == pytest.approx(5 / 36, abs=gap)


@given(st.integers(0, 20))
def test_gap_without_terms_is_nash_conv(seed: int) -> None:
    """Eq. 3.6: NEGap is NashConv; one more route to the same number."""
    tree = GameTree(RandomGame(seed, num_turns=3))
    rng = np.random.default_rng(seed)
    first, second = (table.normalise(rng.exponential(size=table.num_actions)) for table in tree.tables)
    solver = GPOFTRL(tree, num_iterations=1)
    assert solver.regularised_nash_conv((first, second)) == pytest.approx(nash_conv(tree, (first, second)), abs=1e-12)


def test_entropy_of_every_token_counts() -> None:
    """Chain rule: a prompt's entropy is the sum of its tokens', so that a large weight makes all prompts alike."""
    tree = GameTree(RandomGame(1, num_turns=2, branching=2, num_deals=1, max_turn_tokens=2, hidden_share=0.0))
    solver = run(GPOFTRL(tree, num_iterations=400, entropy_weight=200.0), 400)
    table = tree.tables[0]
    plan = table.reach(solver.last_profile[0])
    said_out = [a for a in range(table.num_actions) if a + 1 not in table.parent_sequence]
    assert len(said_out) == 6
    assert plan[1:][said_out] == pytest.approx(1 / 6, abs=0.01)


def test_nothing_is_promised_outside_zero_sum_games() -> None:
    """Minimax needs zero sum; terms need a player 0 that has heard nothing, which Kuhn poker's second turn is not."""
    assert GPOFTRL(GameTree(TinyBargaining()), num_iterations=5).bound(5) is None
    assert GPOFTRL(GameTree(KuhnPoker()), num_iterations=5, entropy_weight=0.1).bound(5) is None
    assert GPOFTRL(GameTree(KuhnPoker()), num_iterations=5).bound(5) is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_iterations": 0}, "num_iterations: expected an integer of at least 1, got 0"),
        ({"entropy_weight": -1.0}, "entropy_weight: expected a finite number of at least 0, got -1.0"),
        ({"diversity": [1.0]}, "diversity: expected 4 finite numbers"),
        ({"payoff_range": 3.9}, "payoff_range: expected at least the tree's own 4.0, got 3.9"),
        ({"eta": [1.0]}, r"eta: expected two numbers, one a player, got \[1.0\]"),
        ({"eta": 0.1}, r"eta: expected two numbers, one a player, got 0\.1"),
        ({"eta": "ab"}, "eta: expected two numbers, one a player, got 'ab'"),
        ({"eta": ["1", 1.0]}, "eta_mu: expected a finite number above 0, got '1'"),
        ({"num_iterations": "10"}, "num_iterations: expected an integer of at least 1, got '10'"),
        ({"num_iterations": 2.5}, "num_iterations: expected an integer of at least 1, got 2.5"),
        ({"num_iterations": True}, "num_iterations: expected an integer of at least 1, got True"),
        ({"entropy_weight": "1"}, "entropy_weight: expected a finite number of at least 0, got '1'"),
        ({"entropy_weight": np.inf}, "entropy_weight: expected a finite number of at least 0, got inf"),
        ({"diversity": "much"}, "diversity: expected 4 finite numbers, got 'much'"),
        ({"diversity_weight": "1"}, "diversity_weight: expected a finite number, got '1'"),
        ({"payoff_range": "x"}, "payoff_range: expected a finite number above 0, got 'x'"),
        ({"payoff_range": np.inf}, "payoff_range: expected a finite number above 0, got inf"),
        ({"payoff_range": np.nan}, "payoff_range: expected a finite number above 0, got nan"),
        ({"payoff_range": 0}, "payoff_range: expected a finite number above 0, got 0"),
        ({"payoff_range": -4.0}, "payoff_range: expected a finite number above 0, got -4.0"),
        ({"eta": [1.0, -1.0]}, "eta_pi: expected a finite number above 0, got -1.0"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], message: str) -> None:
    """House style: the thing, the expected, the actual."""
    with pytest.raises(ValueError, match=message):
        GPOFTRL(GameTree(Bluff()), **{"num_iterations": 3, **options})


def test_negative_entropy_is_refused_by_the_closed_form() -> None:
    """It would reward the adversary for predictability; what is no number has no closed form."""
    for eta in (-0.1, np.nan, np.inf, "0.1"):
        with pytest.raises(ValueError, match=f"eta: expected a finite number of at least 0, got {eta!r}"):
            entropy_regularised_adversary(rewards(0), eta)  # type: ignore[arg-type]


@pytest.mark.parametrize("table", [[[np.nan, 0.0], [0.5, 0.5]], [[np.inf]], [0.5, 0.5], np.zeros((0, 2))])
def test_rewards_that_are_no_finite_matrix_are_refused_by_the_closed_form(table: Any) -> None:
    """The best reply to a prompt is a maximum over its row, which a NaN has none of."""
    with pytest.raises(ValueError, match=r"rewards: expected finite numbers of shape \(n, m\), n and m >= 1, got"):
        entropy_regularised_adversary(table, 0.1)


@pytest.mark.parametrize("eta", [0.0, 1e-320, 1e-9])
def test_closed_form_of_almost_no_entropy_is_the_worst_prompt(eta: float) -> None:
    """The limit of exp(-max_y r / eta) for eta to 0."""
    assert entropy_regularised_adversary([[1.0, 0.0], [0.25, 0.5], [0.6, 0.1]], eta).tolist() == [0.0, 1.0, 0.0]
