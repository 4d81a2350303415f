"""The benchmark measures what it says and writes what `make bench` promises."""

import json
import random
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from duologue.baselines.performance import envs as benchmark
from duologue.baselines.performance import envs_batched as benchmark_batched
from duologue.baselines.performance import rivals as benchmark_turns
from duologue.baselines.performance.envs import actions_per_second, main, record_episodes
from duologue.baselines.performance.envs_batched import Scaling
from duologue.baselines.performance.envs_games import BareEnv, Chat
from duologue.baselines.performance.page import HEADING, replace_section
from duologue.baselines.performance.rival_textarena import compare_on_kuhn_poker, textarena_line
from duologue.baselines.performance.rivals import TurnRates, compare_turns, recorded_games
from duologue.envs import LanguageGameEnv, Tokens, make
from duologue.envs.games.kuhn_poker import KuhnPoker
from duologue.tests.envs.helpers import Whisper


def test_recorded_actions_are_whole_legal_episodes() -> None:
    """Played again from the same first seed, each ends where its record does, with nothing forfeited."""
    env = LanguageGameEnv(Whisper())
    episodes = record_episodes(env, 20)
    for k, actions in enumerate(episodes):
        env.reset(seed=None if k else 0)
        for action in actions:
            assert not env.terminations[env.agent_selection]
            env.step(action)
        assert all(env.terminations.values())
        assert not env.dialogue.turns[-1].ending.forfeits
    assert len(set(map(tuple, episodes))) > 1


def test_speed_is_a_positive_number() -> None:
    """Of actions per second of CPU time."""
    env = make("bluff-v0")
    assert actions_per_second(env, record_episodes(env, 300)) > 0


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures so little that the numbers mean nothing."""
    pytest.importorskip("pyspiel")
    monkeypatch.setattr(benchmark, "NUM_EPISODES", {"red_team-v0": 20, "tictactoe_v3": 10, "chat": 2})
    monkeypatch.setattr(benchmark, "VOCABULARIES", (200, 100_000))
    monkeypatch.setattr(benchmark, "TURN_TOKENS", (4,))
    monkeypatch.setattr(benchmark, "NUM_AT_ONCE", 64)
    monkeypatch.setattr(benchmark_batched, "REPETITIONS", 1)
    monkeypatch.setattr(benchmark_turns, "REPETITIONS", 1)
    monkeypatch.setattr(benchmark_batched, "SCALES", {name: (50, 100) for name in benchmark_batched.SCALES})


def test_main_prints_tables_and_writes_figures_and_a_section(
    tmp_path: Path, quick: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """`bench.json` is a list of name, value, goal and unit; the page keeps what others wrote into it."""
    path, page = tmp_path / "bench.json", tmp_path / "performance.md"
    page.write_text(f"{HEADING}\n\nold numbers\n\n# Another\n\nkept\n", encoding="utf-8")
    main(["--out", str(path), "--markdown", str(page)])
    figures = json.loads(path.read_text(encoding="utf-8"))
    assert all(figure.keys() == {"name", "value", "goal", "unit"} and figure["value"] > 0 for figure in figures)
    goals = {figure["name"]: figure["goal"] for figure in figures}
    assert (goals["aec_steps_vs_tictactoe"], goals["aec_share_of_bare"], goals["batched_vs_aec"]) == (10, 0.25, 100)
    assert "batched_tokens_per_second" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"{HEADING}\n\nMeasured by")
    assert text.endswith("# Another\n\nkept\n")
    assert "old numbers" not in text
    assert re.search(
        r"OpenSpiel's C\+\+ game the batched form is \S+ times as fast if observations are looked at", text
    )
    assert re.search(r"^and \S+ times as fast if nothing is", text, re.MULTILINE)
    assert {file.name for file in tmp_path.iterdir()} == {"bench.json", "performance.md", "images"}
    assert (tmp_path / "images" / "env_scaling.png").stat().st_size > 1_000


def test_recorded_games_are_played_to_their_end_in_both_libraries() -> None:
    """A rate is positive only where every game was over at the end, which each side asserts; 64 games are shared."""
    games = recorded_games(KuhnPoker(), 64)
    assert {len(tokens) for tokens in games} == {2, 3}
    seen = list[tuple[int, bool]]()

    def rival(games: Sequence[Tokens], look: bool) -> float:
        seen.append((len(games), look))
        return 10.0 if look else 20.0

    rates = compare_turns(KuhnPoker(), 100, rival)
    assert set(seen) == {(64, True), (64, False)}
    assert rates.ratio == pytest.approx(rates.ours / 10)
    assert rates.ratio_unseen == pytest.approx(rates.ratio / 2)


def test_both_ratios_of_a_rival_are_figures_and_words() -> None:
    """6.5 times with observations looked at, 0.94 with nothing: both are reported, the second misses its goal."""
    rates = TurnRates(ours=94.0, theirs=94 / 6.5, theirs_unseen=100.0)
    figures = benchmark.rival_figures("rival", rates)
    assert [(figure.name, figure.value, figure.goal) for figure in figures] == [
        ("batched_turns_vs_rival_observed", 6.5, 5.0),
        ("batched_turns_vs_rival_unobserved", 0.94, 5.0),
    ]
    assert "ours is 6.5 and 0.94 times as fast" in textarena_line(rates)


def test_without_textarena_the_row_says_why_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an optional extra."""
    monkeypatch.setitem(sys.modules, "textarena", None)
    assert compare_on_kuhn_poker(10) is None
    assert benchmark.rival_figures("textarena", None) == []
    assert "not installed" in textarena_line(None)
    assert "pip install" in textarena_line(None)


def test_textarena_plays_the_recorded_games(monkeypatch: pytest.MonkeyPatch) -> None:
    """With TextArena's own assertion that each is over; Python's generator is put back."""
    pytest.importorskip("textarena", reason="TextArena is an optional extra")
    monkeypatch.setattr(benchmark_turns, "REPETITIONS", 1)
    state = random.getstate()
    rates = compare_on_kuhn_poker(64)
    assert random.getstate() == state
    assert rates is not None
    assert min(rates.ours, rates.theirs, rates.theirs_unseen) > 0


def test_section_is_replaced_or_put_last() -> None:
    """Of a page with others before and behind, and of one that has no such section yet; twice changes nothing."""
    page = "# A\n\na\n\n# B\n\nb\n## deeper\n\n# C\n\nc\n"
    assert replace_section(page, "# B", "# B\nnew") == "# A\n\na\n\n# B\nnew\n\n# C\n\nc\n"
    assert replace_section("", "# B", "# B\nnew") == "# B\nnew\n"
    once = replace_section(page, "# D", "# D\nnew")
    assert once == page + "\n# D\nnew\n" == replace_section(once, "# D", "# D\nnew")


def test_growth_is_told_from_its_shape() -> None:
    """Sizes 1 to 32: a straight line, a constant with a line, a square."""
    sizes = (1, 2, 4, 8, 16, 32)
    line, shifted, square = (
        Scaling("size", "batched", sizes, seconds)
        for seconds in (
            tuple(3.0 * n for n in sizes),
            tuple(8.0 + n for n in sizes),
            tuple(float(n * n) for n in sizes),
        )
    )
    assert (line.exponent, line.straightness) == pytest.approx((1.0, 1.0))
    assert shifted.exponent < 1
    assert shifted.straightness == pytest.approx(1.0)
    assert square.exponent == pytest.approx(2.0)
    assert square.straightness < 0.97


def test_bare_environment_is_as_long_as_the_game_beside_it() -> None:
    """Both end after the same tokens, two turns of two, so that equal work is compared."""
    game = Chat(turn_tokens=2)
    ours, bare = LanguageGameEnv(game), BareEnv(200, game.max_view_tokens, 2)
    assert game.vocabulary.size == 200
    for env in (ours, bare):
        env.reset(seed=0)
        for k in range(4):
            observation, *_ = env.last()
            assert observation is not None
            assert observation["observation"].shape == (game.max_view_tokens,)
            assert not any(env.terminations.values())
            assert env.agent_selection == f"player_{k // 2}"
            env.step(9)
        assert all(env.terminations.values())


def test_missing_pygame_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """PettingZoo's tictactoe draws its board with it; only the `dev` extra installs it."""
    for name in [name for name in sys.modules if name.startswith("pettingzoo.classic.tictactoe")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(ImportError, match=r"tictactoe: expected pygame, .* pip install pygame"):
        benchmark.tictactoe()
