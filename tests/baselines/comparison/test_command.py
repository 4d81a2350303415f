"""The comparison command: known answers in rock-paper-scissors and Kuhn poker, runs, and what it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from duologue.__main__ import main as command
from duologue.agents import CausalLMAgent, FunctionAgent, RandomAgent, TabularAgent, utter
from duologue.agents.population import Population
from duologue.agents.tabular import pure_policy_of
from duologue.baselines.api.commands import TRAINERS
from duologue.baselines.comparison import command as measuring
from duologue.baselines.comparison.command import Comparing, Measures, compare, main, small_tree
from duologue.baselines.comparison.entrants import Entrant, Source, meetings, mixture_folders, pool_folders
from duologue.baselines.evaluation.deals import evaluation_seed
from duologue.baselines.evaluation.head_to_head import head_to_head
from duologue.baselines.evaluation.intervals import mean_interval
from duologue.baselines.training.options import GameOptions, ModelOptions
from duologue.envs import Speaker, make_game
from duologue.envs.games.matrix import MatrixGame
from duologue.envs.tree.analysis import GameTree
from duologue.tests.baselines.helpers import tiny_agent

WORDS = "rock paper scissors"
RPS = MatrixGame([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], words_0=WORDS, words_1=WORDS)
QUICK = ["--num-matches", "20", "--kl-episodes", "16"]


def sayer(word: str) -> Speaker:
    """Return whoever always says the word."""
    return FunctionAgent(lambda view, rng: utter(view, RPS.vocabulary.encode(word)))


def pure(word: str) -> Entrant:
    """Return the same as a table in both seats, which states its probabilities."""
    tree = GameTree(RPS)
    first, second = (TabularAgent(tree, player, pure_policy_of(tree, player, sayer(word))) for player in (0, 1))
    return Entrant(word, (first, second))


def written(folder: Path) -> dict[str, Any]:
    """Return the numbers that a comparison wrote."""
    found: dict[str, Any] = json.loads((folder / "compare.json").read_text(encoding="utf-8"))
    return found


def make_run(folder: Path, game: str = "bluff-v0", *, name: str = "psro", **options: object) -> Path:
    """Write a finished run without players."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"name": name, "config": {"options": {"game": game, "game_option": []}, **options}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "finished").touch()
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of self-play on bluff with three members of each pool: two updates of 4 episodes for each player."""
    folder = tmp_path_factory.mktemp("runs") / "self_play"
    sizes = ["--num-updates", "2", "--batch-size", "4", "--hidden-size", "16"]
    opponents = ["--opponent.choice", "uniform", "--opponent.snapshot-every", "1"]
    TRAINERS["self_play"].run(["--game", "bluff-v0", *sizes, *opponents, "--out", str(folder)])
    return folder


def test_pure_rock_paper_scissors_is_a_cycle_of_equals() -> None:
    """Each beats one and loses to one: equal ratings, alpha-rank 1/3, and both players gain 1 by the best response."""
    found = compare("rps", RPS, [pure(word) for word in WORDS.split()], Measures(num_matches=4), seed=0)
    elo, low, high = found.ranking.ratings.on_elo_scale()
    assert elo == pytest.approx(elo[0])
    assert (low < elo).all()
    assert (elo < high).all()
    assert found.ranking.alpha_rank == pytest.approx([1 / 3] * 3)
    assert [one.nash_conv for one in found.distances.values() if one is not None] == pytest.approx([2, 2, 2])
    page = found.markdown()
    assert "Cycles, > for wins against: rock > scissors > paper > rock." in page
    assert "Cyclic share of the advantages: 100.0%" in page
    assert "| rock     |          2.0000 |" in page
    assert "lower bound" not in page


def test_where_no_tree_is_listed_responders_give_what_is_named_a_lower_bound() -> None:
    """Of rock the exact NashConv is 2; responders find paper. The budget stands beside it, and nothing says exact."""
    rock = Entrant("rock", (sayer("rock"), sayer("rock")))
    other = Entrant("mixed", (Population.even([sayer(word) for word in WORDS.split()]),) * 2)
    measures = Measures(num_matches=2, max_nodes=0, response_updates=12, response_batch_size=32, response_episodes=64)
    found = compare("rps", RPS, [rock, other], measures, seed=0, responder=ModelOptions(hidden_size=16))
    distance = found.distances["rock"]
    assert distance is not None
    assert distance.nash_conv is None
    assert distance.lower_bound is not None
    assert 1 < distance.lower_bound.lower_bound.value <= 2
    page = found.markdown()
    assert "12 updates on 32 episodes each, scored on 64 fresh episodes" in page
    assert "NashConv, lower bound" in page
    assert "exact |" not in page


def test_a_responder_that_is_a_real_model_has_its_preset_s_batch(tmp_path: Path) -> None:
    """What is said stays."""
    game = make_game("bluff-v0")
    tiny_agent(game).model.save_pretrained(tmp_path / "theirs")
    models = ModelOptions(player_1=tmp_path / "theirs")
    assert Comparing(game, Measures(max_nodes=0), models, seed=0).budget.batch_size == 32
    assert Comparing(game, Measures(max_nodes=0), ModelOptions(), seed=0).budget.batch_size == 128
    said = Measures(max_nodes=0, response_batch_size=128)
    assert Comparing(game, said, models, seed=0).budget.batch_size == 128


def test_without_a_budget_lower_bounds_are_left_out() -> None:
    """Scripted entrants state no probabilities, tree or none."""
    entrants = [Entrant(word, (sayer(word), sayer(word))) for word in ("rock", "paper")]
    found = compare("rps", RPS, entrants, Measures(num_matches=2, response_updates=0), seed=0)
    assert set(found.distances.values()) == {None}
    assert "Distance" not in found.markdown()


def test_uniform_kuhn_poker_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """NashConv 11/12 (OpenSpiel, exploitability_test.py); the same seed writes the same bytes, another does not."""
    random = ["--entrant", "a=random", "--entrant", "b=random", "--num-matches", "20"]
    for name, seed in (("first", "3"), ("again", "3"), ("other", "4")):
        out = ["--seed", seed, "--out", str(tmp_path / name)]
        assert command(["compare", "--game", "kuhn_poker-v0", *random, *out]) == 0
    found = written(tmp_path / "first")
    assert [one["nash_conv"] for one in found["distances"].values()] == pytest.approx([11 / 12] * 2)
    same = [(tmp_path / name / "compare.json").read_bytes() for name in ("first", "again", "other")]
    assert same[0] == same[1]
    assert same[0] != same[2]
    assert (tmp_path / "first/compare.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "first/compare.md").read_text(encoding="utf-8") in capsys.readouterr().out


def test_a_run_brings_its_start_pool_and_costs(trained: Path, tmp_path: Path) -> None:
    """Both players' KL, regret of three members a pool, and 2 * 2 * 4 episodes; its mixture has no start of its own."""
    entrants = ["--entrant", f"newest={trained}", "--entrant", f"mixture={trained}:average"]
    main(["--game", "bluff-v0", *entrants, *QUICK, "--out", str(tmp_path)])
    found = written(tmp_path)
    assert [one["value"] is not None for one in found["kl_to_start_nats"]["newest"]] == [True, True]
    assert found["kl_to_start_nats"]["mixture"] == [None, None]
    assert found["pool_regrets"]["newest"]["num_plays"] == 3
    assert found["pool_regrets"]["newest"]["half_widths"] is None
    assert found["costs"]["newest"]["episodes"] == 16
    page = (tmp_path / "compare.md").read_text(encoding="utf-8")
    titles = ["Head to head", "Ratings", "Distance from equilibrium", "KL to the start"]
    titles += ["External regret of pools", "Costs of training"]
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == titles


def test_regret_by_play_is_close_to_that_of_the_tree(trained: Path, tmp_path: Path) -> None:
    """The members alone offer less in hindsight than all strategies: no more than the exact one, up to noise."""
    entrants = ["--entrant", f"newest={trained}", "--entrant", "random=random"]
    budget = [*QUICK, "--response-updates", "0", "--regret-episodes", "200"]
    for name, more in (("exact", []), ("played", ["--max-nodes", "0"])):
        main(["--game", "bluff-v0", *entrants, *budget, *more, "--out", str(tmp_path / name)])
    exact, played = (written(tmp_path / name)["pool_regrets"]["newest"] for name in ("exact", "played"))
    assert exact["half_widths"] is None
    assert (np.array(played["per_play"]) <= np.array(exact["per_play"]) + played["half_widths"]).all()
    assert max(played["half_widths"]) > 0
    page = (tmp_path / "played/compare.md").read_text(encoding="utf-8")
    assert "best on other episodes, with half the width of a 95 % interval: a lower bound on average" in page


def test_who_has_not_moved_is_at_distance_0_from_its_start(trained: Path, tmp_path: Path) -> None:
    """The start that is given takes the place of the run's: here the players themselves."""
    entrants = ["--entrant", f"newest={trained}", "--entrant", "random=random", "--start", f"newest={trained}"]
    main(["--game", "bluff-v0", *entrants, *QUICK, "--out", str(tmp_path)])
    assert written(tmp_path)["kl_to_start_nats"]["newest"] == [{"value": 0.0, "low": 0.0, "high": 0.0}] * 2


def test_one_model_sits_in_both_seats_and_gpo_calls_its_players_otherwise(tmp_path: Path) -> None:
    """A model's folder; and a run whose players are an adversary and a defender."""
    game = make_game("bluff-v0")
    run = make_run(tmp_path / "run")
    for seed, folder in enumerate((tmp_path / "model", run / "adversary", run / "defender")):
        tiny_agent(game, seed=seed).save_pretrained(folder)
    options = GameOptions(game="bluff-v0")
    single = Source.parse(f"one={tmp_path / 'model'}").load(game, options)
    assert single.seats[0] is single.seats[1]
    assert isinstance(single.seats[0], CausalLMAgent)
    source = Source.parse(f"two={run}")
    assert source.folders == ((run / "adversary",), (run / "defender",))
    assert source.load(game, options).costs is None
    assert isinstance(Source.parse("r=random").load(game, options).seats[1], RandomAgent)


def test_mixtures_have_the_weights_of_the_meta_game(tmp_path: Path) -> None:
    """Members without weight need not be loaded; without a meta-game all are alike."""
    weighed = {"members": [[0, 6], [0, 6]], "weights": [[0.25, 0.75], [0.0, 1.0]]}
    runs = [make_run(tmp_path / "psro"), make_run(tmp_path / "fictitious_play", name="fictitious_play")]
    (runs[0] / "meta_game.json").write_text(json.dumps(weighed), encoding="utf-8")
    for run in runs:
        for member in ("player_0/000000", "player_0/000006", "player_1/000000", "player_1/000006"):
            (run / "pool" / member).mkdir(parents=True)
    (first, second), weights = mixture_folders(runs[0])
    assert [path.name for path in first] == ["000000", "000006"]
    assert [path.name for path in second] == ["000006"]
    assert weights == ((0.25, 0.75), (1.0,))
    assert mixture_folders(runs[1])[1] == ((1.0, 1.0), (1.0, 1.0))


def test_a_game_too_large_or_without_a_list_of_deals_has_no_tree() -> None:
    """Kuhn poker has 6 deals of 9 nodes each, and the root."""
    kuhn = make_game("kuhn_poker-v0")
    tree = small_tree(kuhn, 1000)
    assert tree is not None
    assert small_tree(kuhn, tree.num_nodes - 1) is None
    assert small_tree(kuhn, 0) is None


@pytest.mark.parametrize(
    ("entrants", "message"),
    [
        (["a=random"], r"expected two or more with names of their own, got \['a'\]"),
        (["a=random", "a=echo"], r"expected two or more with names of their own, got \['a', 'a'\]"),
        (["a=random", "random"], "expected NAME=FOLDER or NAME=AGENT, got 'random'"),
        (["a=random", "b=nowhere"], "entrant b: agent: expected random, echo or the folder .*, got 'nowhere'"),
        (["a=random", "b=nowhere:average"], "entrant b: expected the folder of a run before :average, got 'nowhere'"),
        (["a=random", "b=other_game"], "entrant b: expected a run on bluff-v0, got one on kuhn_poker-v0"),
        (["a=random", "b=empty"], r"entrant b: empty: expected one of these folders .*, got \['config.json', 'fin"),
        (["a=random", "b=empty:average"], "entrant b: empty: expected members in the folder pool/player_0, got"),
        (["a=random", "b=stopped"], "entrant b: stopped: expected a finished run, got one"),
        (["a=random", "b=larger"], "entrant b: model .*: expected a game of its vocabulary, .* tokens, got 13"),
    ],
)
def test_what_cannot_be_compared_is_named(
    entrants: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entrant, what was expected, what came."""
    monkeypatch.chdir(tmp_path)
    make_run(Path("empty"))
    (make_run(Path("stopped")) / "finished").unlink()
    tiny_agent(make_game("kuhn_poker-v0")).save_pretrained(make_run(Path("other_game"), "kuhn_poker-v0") / "model")
    tiny_agent(make_game("red_team-v0")).save_pretrained(Path("larger"))
    with pytest.raises(ValueError, match=message):
        main(["--game", "bluff-v0", *(part for one in entrants for part in ("--entrant", one)), *QUICK])


def test_regret_by_play_of_known_members() -> None:
    """Rock, paper and scissors meet rock and earn 0, 1 and -1: always paper gains 1 a play; rock has no choice."""
    comparing = Comparing(RPS, Measures(max_nodes=0, regret_episodes=8), ModelOptions(), seed=0)
    gains = comparing.gains_by_play([sayer(word) for word in WORDS.split()], [sayer("rock")], [(0, 0), (1, 0), (2, 0)])
    assert gains == ((1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def test_equal_members_have_no_regret_by_play_beyond_its_interval() -> None:
    """Any word at random is worth 0, whoever turns the die: chosen by the episodes that score it, it would gain 0.1."""

    def roller(turned: int) -> Speaker:
        words = RPS.vocabulary.encode(WORDS)
        return FunctionAgent(lambda view, rng: utter(view, (words[(int(rng.integers(3)) + turned) % 3],)))

    members, measures = [roller(turned) for turned in range(3)], Measures(max_nodes=0, regret_episodes=16)
    values = [
        gain.value
        for seed in range(20)
        for gain in Comparing(RPS, measures, ModelOptions(), seed=seed).gains_by_play(
            members, members, [(0, 0), (1, 1)]
        )
    ]
    assert 0 < abs(mean_interval(values).value) < mean_interval(values).half_width


def test_matches_are_not_dealt_as_the_first_batch_of_a_run_of_the_same_seed() -> None:
    """A run of seed 0 deals by that seed itself; what it was trained on is not what it is compared on."""
    kuhn, seats = make_game("kuhn_poker-v0"), (RandomAgent(), RandomAgent())
    measures = Measures(num_matches=20, max_nodes=0, response_updates=0)
    found = compare("kuhn", kuhn, [Entrant("a", seats), Entrant("b", seats)], measures, seed=0).head_to_head
    its, raw = (head_to_head(kuhn, {"a": seats, "b": seats}, 20, seed) for seed in (evaluation_seed(0, 4), 0))
    assert (found.seat_returns == its.seat_returns).all()
    assert (found.seat_returns != raw.seat_returns).any()


def test_a_pool_is_what_the_run_still_held(tmp_path: Path) -> None:
    """With a capacity of 2 the oldest of three snapshots was dropped; its folder is the start, and still there."""
    opponents = {"choice": "uniform", "capacity": 2}
    run = make_run(tmp_path, "bluff-v0", name="self_play", play={"opponents": opponents})
    for member in ("000000", "000005", "000010"):
        for player in ("player_0", "player_1"):
            (run / "pool" / player / member).mkdir(parents=True)
    pool = pool_folders(run)
    assert pool is not None
    assert [[path.name for path in folders] for folders in pool] == [["000005", "000010"]] * 2
    assert mixture_folders(run)[0] == pool
    assert Source.parse(f"a={run}:average").folders == pool


def test_a_pool_of_nothing_but_the_start_is_no_average(tmp_path: Path) -> None:
    """So it is where the opponent stays the start, or training ends before the first snapshot."""
    run = make_run(tmp_path, "bluff-v0", name="self_play", play={"opponents": {"choice": "fixed", "capacity": 16}})
    for player in ("player_0", "player_1"):
        (run / "pool" / player / "000000").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"entrant a: .*got the untrained start alone by --opponent.choice fixed"):
        Source.parse(f"a={run}:average")


def test_a_league_is_averaged_and_regretted_over_its_main_agents(tmp_path: Path) -> None:
    """After two updates each side's main agent lies there beside exploiters; its first is the start."""
    run = tmp_path / "league"
    sizes = ["--num-updates", "3", "--batch-size", "4", "--hidden-size", "16", "--snapshot-every", "1"]
    TRAINERS["league"].run(["--game", "bluff-v0", *sizes, "--out", str(run)])
    entrants = ["--entrant", f"newest={run}", "--entrant", f"mixture={run}:average"]
    main(["--game", "bluff-v0", *entrants, *QUICK, "--out", str(tmp_path / "out")])
    found = written(tmp_path / "out")
    pool = pool_folders(run)
    assert pool is not None
    assert all(path.parent == run / "pool" / f"player_{k}" / "main" for k in (0, 1) for path in pool[k])
    assert found["pool_regrets"]["newest"]["num_plays"] == len(meetings(pool)) >= 3
    assert None not in found["kl_to_start_nats"]["newest"]


def test_pools_that_grew_at_different_times_meet_in_order(tmp_path: Path) -> None:
    """Player 0 was frozen after 0, 2 and 5 updates, player 1 after 0 and 3: at each of these times the newest meet."""
    first, second = ([tmp_path / f"{time:06d}" for time in times] for times in ((0, 2, 5), (0, 3)))
    assert meetings((tuple(first), tuple(second))) == [(0, 0), (1, 0), (1, 1), (2, 1)]


def test_spag_starts_from_what_it_cloned(tmp_path: Path) -> None:
    """One policy in both seats: the model of its folder `start`, unless it was given another."""
    game, run = make_game("bluff-v0"), make_run(tmp_path / "run", name="spag", models={"player_0": None})
    for folder in ("player_0", "player_1", "start/model"):
        tiny_agent(game).save_pretrained(run / folder)
    starts = Source.parse(f"a={run}").load(game, GameOptions(game="bluff-v0")).starts
    assert starts == (run / "start/model", run / "start/model")


def test_a_start_must_be_one_of_an_entrant_and_numbers_in_range() -> None:
    """The errors name them."""
    with pytest.raises(ValueError, match="start: expected names of entrants, a, b, got c"):
        main(["--game", "bluff-v0", "--entrant", "a=random", "--entrant", "b=random", "--start", "c=random"])
    with pytest.raises(ValueError, match="start a: expected the folder of a model or of a run, got 'random'"):
        main(["--game", "bluff-v0", "--entrant", "a=random", "--entrant", "b=random", "--start", "a=random"])
    with pytest.raises(ValueError, match="num_matches: expected an integer of at least 2, got 1"):
        Measures(num_matches=1)
    with pytest.raises(ValueError, match="kl_episodes: expected 0 or at least 2, got 1"):
        Measures(kl_episodes=1)
    with pytest.raises(ValueError, match="regret_episodes: expected 0 or at least 4, got 3"):
        Measures(regret_episodes=3)


def test_a_start_that_would_not_be_used_is_refused(trained: Path) -> None:
    """For a mixture, an agent by name, or where a second one would take its place."""
    game = ["--game", "bluff-v0", "--entrant", f"mixture={trained}:average", "--entrant", "random=random", *QUICK]
    for name, spec in (("mixture", f"{trained}:average"), ("random", "random")):
        message = f"start {name}: expected an entrant of one language model in each seat, got '{spec}'"
        with pytest.raises(ValueError, match=message):
            main([*game, "--start", f"{name}={trained}"])
    message = f"start random: expected one, got {trained}, {trained / 'player_0'}"
    with pytest.raises(ValueError, match=message):
        main([*game, "--start", f"random={trained}", "--start", f"random={trained / 'player_0'}"])


def test_other_rules_than_those_of_training_are_noted(tmp_path: Path) -> None:
    """Same game, another option: they may meet, and the page says so."""
    game, run = make_game("tiny_red_team-v0", intent="hidden"), make_run(tmp_path / "run", "tiny_red_team-v0")
    tiny_agent(game).save_pretrained(run / "model")
    options = GameOptions(game="tiny_red_team-v0", game_option=("intent=hidden",))
    note = Source.parse(f"a={run}").load(game, options).note
    assert note == "trained with game_option [], plays here with ['intent=hidden']"


def test_another_judge_and_other_requests_are_noted(tmp_path: Path) -> None:
    """Who paid in training is not who pays here; one file may be written in two ways."""
    game = make_game("tiny_red_team-v0")
    trained = {"judge": "runs/judge", "requests": "seeds.csv"}
    run = make_run(tmp_path / "run", options={"game": "tiny_red_team-v0", **trained})
    tiny_agent(game).save_pretrained(run / "model")
    source = Source.parse(f"a={run}")
    same = GameOptions(
        game="tiny_red_team-v0",
        judge=str(Path("runs/judge").resolve()),
        requests=Path("seeds.csv"),
    )
    assert source.load(game, same).note == ""
    other = "trained with requests seeds.csv, plays here with None; trained with judge runs/judge, plays here with None"
    assert source.load(game, GameOptions(game="tiny_red_team-v0")).note == other


@pytest.mark.parametrize(
    "text", ['{"episodes": "many"}', '{"money": 1}', "[1]", "{bad", '{"seconds": NaN}', '{"tokens": true}']
)
def test_damaged_costs_are_named(text: str, tmp_path: Path) -> None:
    """By their file and by the entrant's name, before anything is played."""
    run = make_run(tmp_path / "run")
    for folder in ("adversary", "defender"):
        tiny_agent(make_game("bluff-v0")).save_pretrained(run / folder)
    (run / "costs.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"entrant a: .*costs\.json.*: expected"):
        Source.parse(f"a={run}").load(make_game("bluff-v0"), GameOptions(game="bluff-v0"))


def test_a_policy_in_a_seat_that_it_was_not_trained_in_is_noted(tmp_path: Path) -> None:
    """It is measured in both all the same; and refused in another game, whose words may be the same."""
    small = ["--num-envs", "4", "--tokens-per-env", "4", "--minibatch-size", "8", "--num-updates", "1"]
    TRAINERS["sb3"].run(["--game", "secret_code-v0", "--player", "1", *small, "--out", str(tmp_path)])
    game, text = make_game("secret_code-v0"), f"a={tmp_path / 'model'}"
    entrant = Source.parse(text).load(game, GameOptions(game="secret_code-v0"))
    assert entrant.note == "sits at player 0, trained as player 1 only"
    with pytest.raises(ValueError, match=r"expected one of tiny_referential-v0, got .*secret_code-v0"):
        Source.parse(text).load(make_game("tiny_referential-v0"), GameOptions(game="tiny_referential-v0"))


@pytest.mark.parametrize(
    ("weighed", "error"),
    [
        ({"members": [[6], [6]]}, "expected the fields members, weights, got no weights"),
        ({"members": [["../x"], [6]], "weights": [[1.0], [1.0]]}, "members[0][0]: expected a whole number, got ../x"),
        ({"members": [[6], [6]], "weights": [[None], [1.0]]}, "weights[0][0]: expected a number, got null"),
        ({"members": [[6], [6]], "weights": [[0.0], [1.0]]}, "player 0: expected a weight >= 0 for each member, one"),
        ({"members": [[6], [6, 12]], "weights": [[1.0], [1.0]]}, "player 1: expected a weight >= 0 for each member"),
        ({"members": [[6, 12], [6]], "weights": [[2.0, -1.0], [1.0]]}, "player 0: expected a weight >= 0"),
        ({"members": [[6]], "weights": [[1.0]]}, "members: expected a list of 2, got a list"),
    ],
)
def test_a_damaged_meta_game_is_named(weighed: dict[str, Any], error: str, tmp_path: Path) -> None:
    """Weights that are none, members that are no numbers and would be a path."""
    run = make_run(tmp_path / "run")
    for player in (0, 1):
        (run / "pool" / f"player_{player}" / "000006").mkdir(parents=True)
    (run / "meta_game.json").write_text(json.dumps(weighed), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"entrant a: .*meta_game\.json: {re.escape(error)}"):
        Source.parse(f"a={run}:average")


@pytest.mark.parametrize("config", [{"name": "psro", "config": []}, {"name": 5, "config": {}}])
def test_a_damaged_configuration_is_named(config: dict[str, Any], tmp_path: Path) -> None:
    """Before anything is loaded."""
    run = make_run(tmp_path / "run")
    for folder in ("adversary", "defender"):
        tiny_agent(make_game("bluff-v0")).save_pretrained(run / folder)
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match=r"entrant a: .*config\.json: expected the name of a run and an object"):
        Source.parse(f"a={run}").load(make_game("bluff-v0"), GameOptions(game="bluff-v0"))


def test_a_nash_conv_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the entrant's name; it would stand in a table as nan."""
    monkeypatch.setattr(measuring, "nash_conv", lambda tree, profile: float("nan"))
    both = ["--entrant", "a=random", "--entrant", "b=random", "--out", str(tmp_path)]
    with pytest.raises(ValueError, match="entrant a: expected a finite NashConv, got nan"):
        main(["--game", "bluff-v0", *both, *QUICK])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".duologue.json", ".duologue.lock"]


def test_a_policy_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the tree says of a seat is said of the entrant."""

    def no_distribution(tree: object, seats: object) -> None:
        raise ValueError("policy of player 0: expected weight on legal tokens only, got nan")

    monkeypatch.setattr(measuring, "seat_profile", no_distribution)
    comparing = Comparing(make_game("bluff-v0"), Measures(), ModelOptions(), seed=0)
    with pytest.raises(ValueError, match=r"entrant bad: policy of player 0: .*nan"):
        comparing.distance(Entrant("bad", (RandomAgent(), RandomAgent())))
