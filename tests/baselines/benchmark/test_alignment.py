"""The alignment suite: known defenders get known scores, every entrant keeps its budget, nothing is trained twice."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from duologue.__main__ import main as command_line
from duologue.agents import CausalLMAgent, ScriptedAgent
from duologue.agents.population import Population, Seat
from duologue.baselines.alignment.ciphers import SETTINGS, MethodSettings
from duologue.baselines.alignment.eva import Eva, EvaOptions
from duologue.baselines.benchmark import alignment_language, alignment_measures
from duologue.baselines.benchmark.alignment_cell import ORACLES, AlignmentResult, counted_game
from duologue.baselines.benchmark.alignment_entrants import REPLIES
from duologue.baselines.benchmark.alignment_language import LANGUAGES, answers_of, language_of
from duologue.baselines.benchmark.alignment_measures import (
    AlignmentMeasures,
    LanguageScores,
    Shares,
    Values,
    perplexity,
    prompt_set_scores,
    scores_of,
    success_of,
)
from duologue.baselines.benchmark.alignment_report import by_algorithm, write_alignment_report
from duologue.baselines.benchmark.alignment_suite import SETTINGS_OF, AlignmentResults
from duologue.baselines.benchmark.alignments import (
    ALIGNMENTS,
    AlignmentBudget,
    Game,
    load_alignments,
    members_of,
    register_alignment,
)
from duologue.baselines.benchmark.cell import Cell
from duologue.baselines.benchmark.command import BenchConfig, bench
from duologue.baselines.evaluation import Counts, enumeration
from duologue.baselines.training.costs import CostMeter, Costs
from duologue.envs import Tokens, make_game
from duologue.envs.games.red_team import game as v0
from duologue.envs.games.red_team import language as v0_language
from duologue.envs.games.red_team_ciphers import game as v1
from duologue.envs.games.red_team_ciphers import language as v1_language
from duologue.tests.baselines.helpers import tiny_agent

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "add_your_alignment.py"
TINY = replace(SETTINGS_OF["alignment_smoke"].ciphers, batch_size=8)
trained: Counter[int] = Counter()


@pytest.fixture(autouse=True)
def _own_registry() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = dict(ALIGNMENTS)
    yield
    ALIGNMENTS.clear()
    ALIGNMENTS.update(before)
    trained.clear()


def unchanged(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
    """Learn nothing; count who is trained."""
    trained[seed] += 1
    return sft


def config(folder: Path, **options: Any) -> BenchConfig:
    """Return a grid of red_team-v1 that is trained in this process."""
    defaults = {"algorithms": ("unchanged",), "games": ("red_team-v1",), "seeds": 2, "processes": 1}
    return BenchConfig(suite="alignment_smoke", out=folder, **{**defaults, **options})


Rule = Callable[[bool], bool]
"""Whether a request is harmful -> whether it is refused; else it is answered right."""
RULES: dict[str, Rule] = {"oracle": lambda harmful: harmful, "refuser": lambda _: True, "answerer": lambda _: False}


def scripted(name: str, rule: Rule, monkeypatch: pytest.MonkeyPatch) -> Population:
    """Let every model of a game reply by a rule in place of its weights."""
    game = make_game(name)
    vocabulary = game.vocabulary
    opening = len((*vocabulary.begin(1), *vocabulary.open_turn(0, 1)))
    closing = len((*vocabulary.close_turn(0, 1), *vocabulary.open_turn(1, 1)))

    def greedy(_: CausalLMAgent, views: NDArray[np.int64], *, max_tokens: int = 5) -> NDArray[np.int64]:
        said = np.zeros((len(views), max_tokens + 1), dtype=np.int64)
        for row, view in enumerate(views.tolist()):
            reply = (*reply_of(name, tuple(view[opening:-closing]), rule), vocabulary.eos_id)
            said[row, : len(reply)] = reply
        return said

    monkeypatch.setattr(enumeration, "greedy_replies", greedy)
    monkeypatch.setattr(alignment_language, "greedy_replies", greedy)
    return Population.even([tiny_agent(game)])


def reply_of(name: str, prompt: Tokens, rule: Rule) -> Tokens:
    """Return the refusal of a request, or the right answer to it."""
    if name == "red_team-v1":
        request = v1.request_of(prompt)
        assert request is not None
        words = v1_language.REFUSAL if rule(request.harmful) else v1_language.render_answer(request)
        return v1.VOCABULARY.encode(" ".join(words))
    asked = v0_language.parse_prompt(tuple(v0.VOCABULARY.decode(prompt).split()))
    assert asked is not None
    refused = rule(asked.topic.kind is v0_language.Kind.HARMFUL)
    return v0.VOCABULARY.encode(" ".join(v0_language.REFUSALS[2] if refused else asked.topic.content))


@pytest.mark.parametrize("name", ORACLES)
def test_known_defenders_get_known_scores(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever refuses exactly the harmful defends all; whoever refuses all, or answers all, nothing."""
    language = language_of(make_game(name))  # type: ignore[arg-type]
    found = {}
    for who, rule in RULES.items():
        with monkeypatch.context() as patch:
            found[who] = scores_of(answers_of(language, scripted(name, rule, patch), 1))
    rates = {
        who: (one.defended, one.defended_worst, one.attack_success, one.attack_success_any, one.attack_success_worst)
        for who, one in found.items()
    }
    assert rates == {"oracle": (1, 1, 0, 0, 0), "refuser": (0, 0, 0, 0, 0), "answerer": (0, 0, 1, 1, 1)}
    assert [one.normalised_success for one in found.values()] == [0.0, None, 1.0]
    assert [one.untrained_helped for one in found.values()] == [1, 0, 1]
    assert [(one.harmful.refused, one.benign.right) for one in found.values()] == [(1, 1), (1, 0), (0, 1)]
    assert found["oracle"].corner_defended == found["oracle"].unseen_helped == 1
    best = (v0 if name == "red_team-v0" else v1).DEFENDER_REWARDS
    worth = {outcome.value: reward for outcome, reward in best.items()}
    assert found["oracle"].value == pytest.approx((worth["refused"] + worth["helpful"]) / 2)
    assert found["answerer"].values.unseen_harmful == worth["unsafe"]
    assert found["refuser"].values.seen_benign == worth["over_refused"]


def test_sizes_of_the_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    """48 topics x 6 forms x (1 + 16) disguises of red_team-v0, half of them harmful; every twin's twin is itself."""
    for name in ORACLES:
        language = language_of(make_game(name))  # type: ignore[arg-type]
        with monkeypatch.context() as patch:
            answers = answers_of(language, scripted(name, RULES["oracle"], patch), 1)
        topics, forms, styles = (
            (48, len(v0_language.FORMS), len(v0_language.STYLES))
            if name == "red_team-v0"
            else (len(v1_language.TOPICS), len(v1_language.FORMS), v1_language.NUM_STYLES)
        )
        assert len(answers.harmful) == topics * forms * (1 + styles)
        assert answers.harmful.mean() == 0.5
        np.testing.assert_array_equal(answers.twin[answers.twin], np.arange(len(answers.twin)))
        assert (answers.harmful[answers.twin] != answers.harmful).all()
        assert (answers.disguise[answers.twin] == answers.disguise).all()
        assert int(answers.trained.sum()) == len(make_game(name).deals.outcomes() or ())


@pytest.mark.parametrize("name", ORACLES)
def test_the_ceiling_meets_every_style(name: str) -> None:
    """Half of all deals are harmful, none about a topic that is held out, a static one more often than others."""
    language = language_of(make_game(name))  # type: ignore[arg-type]
    deals = language.ceiling_deals().outcomes() or {}
    asked = [(deal.request, share) for deal, share in deals.items()]
    styles = v0_language.STYLES if name == "red_team-v0" else v1_language.STYLES
    assert {style for request, _ in asked for style in request.styles} == set(styles)
    assert sum(share for deal, share in deals.items() if deal.harmful) == pytest.approx(0.5)
    static = make_game(name).deals.outcomes() or {}
    assert sum(deals[deal] for deal in static) > v1.STATIC_DEALS
    unseen = set(map(str, v0_language.UNSEEN_TOPICS if name == "red_team-v0" else v1_language.UNSEEN_TOPICS))
    assert not unseen & {str(request.topic) for request, _ in asked}


def test_a_mixture_is_as_safe_as_its_members_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an oracle and an answerer, one in two attempts succeeds; of many tries one does for certain."""
    language = LANGUAGES[v1.RedTeamCiphers]
    parts = []
    for who in ("oracle", "answerer"):
        with monkeypatch.context() as patch:
            parts.append(answers_of(language, scripted("red_team-v1", RULES[who], patch), 1))
    names = ("kinds", "rewards", "unsafe")
    mixed = replace(parts[0], **{name: (getattr(parts[0], name) + getattr(parts[1], name)) / 2 for name in names})
    scores = scores_of(mixed)
    assert scores.attack_success == scores.defended == 0.5
    assert scores.attack_success_any == pytest.approx(1 - 0.5 ** (1 + v1_language.NUM_STYLES))


@pytest.mark.parametrize("name", ALIGNMENTS)
@pytest.mark.parametrize("game_name", ORACLES)
def test_every_entrant_keeps_its_budget(name: str, game_name: str) -> None:
    """From the same starts, with as many updates as the settings say; what it returns is a model or several.

    PSRO may give all weight to its start, and from prompts that are all gibberish AdvGame has no pairs.
    """
    meter = CostMeter()
    game = counted_game(game_name, meter)
    base, sft = tiny_agent(game, seed=1), tiny_agent(game, seed=2)
    before = [weight.clone() for weight in sft.model.parameters()]
    budget = AlignmentBudget(game=game, seed=0, settings=TINY)
    torch.manual_seed(0)
    defender = members_of(name, ALIGNMENTS[name].align(game, base, sft, budget, 0))
    learner_batches = TINY.num_updates * TINY.batch_size
    assert meter.costs.episodes >= (0 if name == "sft" else learner_batches)
    changed = [
        not all(torch.equal(a, b) for a, b in zip(before, member.model.parameters(), strict=True))  # type: ignore[attr-defined]
        for member in defender.members
    ]
    assert any(changed) is (name != "sft") or name in ("psro", "advgame")


def test_perplexity_of_a_model_that_knows_nothing_is_its_number_of_words() -> None:
    """Equal logits say each token with probability 1 / V, those that are never said included."""
    game = make_game("red_team-v1")
    agent = tiny_agent(game)
    torch.nn.init.zeros_(agent.model.get_output_embeddings().weight)
    sayable = int(game.vocabulary.sayable_mask.sum()) + 1
    assert perplexity(game, Population.even([agent]), 20, 0) == pytest.approx(sayable, rel=1e-4)


def test_defenders_are_measured_apart_from_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell's algorithm, its attacker and its start draw from the seed itself and small branches of it."""
    game: Any = make_game("red_team-v0")
    agent, drawn = tiny_agent(game), list[Any]()
    mixture, trained_on = Population.even([agent]), [np.random.default_rng(3)]
    trained_on += [np.random.default_rng([3, branch]) for branch in range(8)]

    def noted(name: str, position: int, answer: Any) -> None:
        def draw(*given: Any, **_: Any) -> Any:
            drawn.append(given[position].bit_generator.state)
            return answer

        monkeypatch.setattr(alignment_measures, name, draw)

    noted("play_pair", 4, [])
    success_of(game, agent, mixture, 8, 3)
    noted("demonstrations_of", 2, game.demonstrations("average", np.random.default_rng(0), 4))
    perplexity(game, mixture, 4, 3)
    noted("evaluate_prompt_sets", 2, {name: Counts(1, 0, 1, 0) for name in language_of(game).prompt_sets})
    prompt_set_scores(game, language_of(game), mixture, 3)
    assert len(drawn) == 3
    assert not any(state == rng.bit_generator.state for state in drawn for rng in trained_on)
    assert drawn[0] != drawn[1] != drawn[2] != drawn[0]


def test_names_are_unique_and_functions_are_asked_for(tmp_path: Path) -> None:
    """As for the algorithms of two players."""
    register_alignment("mine")(unchanged)
    with pytest.raises(ValueError, match="name: expected one that nothing else bears, got 'gpo' again"):
        register_alignment("gpo")(unchanged)
    with pytest.raises(ValueError, match="name: expected lower-case letters"):
        register_alignment("My Own")
    with pytest.raises(TypeError, match="register_alignment other: expected a function, got 3"):
        register_alignment("other")(3)  # type: ignore[type-var]
    with pytest.raises(ValueError, match="reference: expected '', 'floor' or 'ceiling', got 'celing'"):
        register_alignment("other", reference="celing")
    empty = tmp_path / "empty.py"
    empty.write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="alignment_file: expected a file that calls register_alignment"):
        load_alignments(empty)


@pytest.mark.parametrize("returned", [None, ScriptedAgent(["no"])])
def test_a_defender_that_is_no_model_is_refused(returned: Any) -> None:
    """It could not be enumerated."""
    with pytest.raises(TypeError, match="mine: expected a CausalLMAgent or a Population of them, got"):
        members_of("mine", returned)


def test_killed_suite_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    """A kill in the second cell costs that cell alone; the starts are not trained again."""

    def killed(game: Game, base: CausalLMAgent, sft: CausalLMAgent, budget: AlignmentBudget, seed: int) -> Seat:
        if seed == 1:
            raise KeyboardInterrupt
        return unchanged(game, base, sft, budget, seed)

    register_alignment("unchanged")(killed)
    with pytest.raises(KeyboardInterrupt):
        bench(config(tmp_path))
    assert [cell.seed for cell in AlignmentResults(tmp_path).cells] == [0]
    weights = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    register_alignment("unchanged")(unchanged)
    assert bench(config(tmp_path)) == {}
    assert trained == {0: 1, 1: 1}
    assert all(path.stat().st_mtime_ns == time for path, time in weights.items())
    page = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "## red_team-v1" in page
    with pytest.raises(ValueError, match=re.escape("other options (config)")):
        bench(config(tmp_path, num_updates=4))


def test_command_line_takes_a_file_and_keeps_the_suites_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example, whose file registers a name; a wrong return is the cell's failure, and no other's."""
    file, out = tmp_path / "mine.py", tmp_path / "out"
    file.write_text(
        "from duologue.baselines import register_alignment\n"
        "@register_alignment('none')\n"
        "def none(game, base, sft, budget, seed):\n    return None\n",
        encoding="utf-8",
    )
    words = ["bench", "--suite", "alignment_smoke", "--games", "red_team-v1", "--processes", "1", "--out", str(out)]
    assert command_line([*words, "--algorithms", "sft,none", "--alignment-file", str(file)])
    assert "none: expected a CausalLMAgent or a Population of them, got None" in capsys.readouterr().out
    page = (out / "leaderboard.md").read_text(encoding="utf-8")
    assert "sft (floor)" in page
    assert "| none in red_team-v1, seed 0 |" in page
    assert command_line(["bench", "--alignment-file", str(file)])
    assert "alignment_file: expected none with --suite micro" in capsys.readouterr().err
    assert command_line([*words, "--algorithms", "nobody"])
    assert "algorithms: expected names among sft" in capsys.readouterr().err
    assert command_line([*words, "--algorithms", "sft", "--batch-size", "6"])
    assert "batch_size: expected a multiple of 4, got 6" in capsys.readouterr().err
    assert load_alignments(EXAMPLE) == ["half_rewritten"]


def test_learners_have_the_settings_of_all() -> None:
    """One rate for every learner of the defender, and its weight of the base corpus; another rate for the adversary.

    A batch that is whole groups for one learner is so for all.
    """
    settings = MethodSettings(learning_rate=3e-3, adversary_learning_rate=1e-3, ptx_coef=0.5)
    for name in ("ppo", "reinforce", "rloo", "grpo", "reinforce_pp", "preference"):
        found = settings.learner(name).config
        assert (found.learning_rate, found.ptx_coef) == (3e-3, 0.5)
        assert REPLIES % settings.learner(name).replies_per_prompt == 0
    assert settings.learner(player=0).config.learning_rate == 1e-3
    with pytest.raises(ValueError, match="player: expected 0 or 1, got -1"):
        settings.learner(player=-1)
    with pytest.raises(ValueError, match="num_updates: expected a multiple of updates_per_round=12, got 7"):
        replace(SETTINGS, num_updates=7)


def test_eva_draws_and_rewrites_what_is_regretted() -> None:
    """Only prompts whose replies differ in reward are drawn, and the pool keeps the rewrites with the most regret."""
    game: Any = make_game("red_team-v1")
    budget = AlignmentBudget(game=game, seed=0, settings=TINY)
    options = EvaOptions(num_updates=2, batch_size=8, rewrites_per_round=8, capacity=3, updates_per_round=1)
    loop = Eva(
        game,
        budget.make_learner(tiny_agent(game)),
        ScriptedAgent(["explain magar", "how to dukut"]),
        options,
        seed=0,
        deal_of=language_of(game).deal_of,
    )
    loop.requests[3].regret = 1.5
    assert {id(prompt) for prompt in loop.draw(20)} == {id(loop.requests[3])}
    steps = list(loop)
    assert [step.iteration for step in steps] == [1, 2]
    assert len(loop.rewrites) <= 3
    with pytest.raises(ValueError, match="batch_size: expected a multiple of replies_per_prompt=4, got 6"):
        EvaOptions(batch_size=6)


def made_up(name: str, seed: int, defended: float) -> AlignmentResult:
    """Return a result that nobody trained."""
    shares = Shares(0.25, 0.25, 0.25, 0.25)
    scores = LanguageScores(
        num_requests=100,
        defended=defended,
        defended_worst=0.0,
        attack_success=1 - defended,
        attack_success_any=1.0,
        attack_success_worst=1.0,
        normalised_success=None if seed == 0 else 0.5,
        value=0.0,
        values=Values(0.0, 0.0, 0.0, 0.0),
        harmful=shares,
        benign=shares,
        corner_defended=0.0,
        corner_attack_success=1.0,
        unseen_helped=0.5,
        untrained_helped=0.5,
    )
    measures = AlignmentMeasures(scores, scores, 0.5, 0.5, 2.0, 1)
    return AlignmentResult(Cell(name, "red_team-v1", seed), "duologue", 2, measures, Costs(), 1.0)


def test_leaderboard_ranks_entrants_and_tests_them_by_pairs(tmp_path: Path) -> None:
    """Ten seeds on which GPO is always ahead: 2 / 2^10, once for each of two algorithms; the floor has no rank."""
    means = {"sft": 0.1, "rlhf_ppo": 0.5, "gpo": 0.8, "eva": 0.5, "ceiling": 1.0}
    results = [
        made_up(name, seed, mean if name == "ceiling" else mean + 0.01 * seed * (-1) ** (seed * (name == "eva")))
        for seed in range(10)
        for name, mean in means.items()
    ]
    cells = {result.cell: result for result in results}
    assert list(by_algorithm(cells, "red_team-v1"))[-2:] == ["ceiling", "sft"]
    assert next(iter(by_algorithm(cells, "red_team-v1"))) == "gpo"
    write_alignment_report(tmp_path, cells, {"torch": "0"}, command="bench", failures={})
    page = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "### Paired differences from rlhf_ppo" in page
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| gpo ")]
    paired = next(row for row in rows if "+0.300" in row[2])
    assert paired[3].strip() == f"{2 * 2 / 2**10:.3f}"
    assert (tmp_path / "leaderboard.html").is_file()
    assert (tmp_path / "alignment_red_team-v1.png").is_file()
