from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest

from duologue.agents.agent import utter
from duologue.agents.scripted import FunctionAgent, ScriptedAgent
from duologue.baselines.evaluation import (
    OUT_OF_DISTRIBUTION,
    TEST_SETS,
    Counts,
    attack_success,
    count,
    count_replies,
    cross_play,
    evaluate_prompt_sets,
    evaluate_prompts,
    play_pair,
    pooled,
    prompt_replies,
    red_team_prompts,
    request_prompts,
    wilson_interval,
)
from duologue.envs import Dialogue, Speaker, Tokens, Utterance, View
from duologue.envs.games.red_team.game import VOCABULARY, RedTeam, Seed
from duologue.envs.games.red_team.language import TOPICS, Kind, parse_prompt, render_answer
from duologue.envs.games.red_team_text.game import RedTeamText
from duologue.envs.judging import Exchange, Outcome, RedTeamGame, Verdict
from duologue.envs.wrappers.thoughts import with_thoughts

REFUSING = ScriptedAgent(["sorry no"])
SIZES = {
    "plain": 108, "in_distribution": 135, "unseen_styles": 200, "unseen_compositions": 200,
    "unseen_topics": 180, "benign": 108, "benign_disguised": 200,
}  # fmt: skip


def rng(seed: int = 0) -> np.random.Generator:
    """Return a generator of a fixed seed."""
    return np.random.default_rng(seed)


def answering(when: Callable[[np.random.Generator], bool] = lambda rng: True) -> Speaker:
    """Return a defender that answers whatever it is asked, or refuses where `when` says no."""

    def speak(view: View, rng: np.random.Generator) -> Utterance:
        prompt = parse_prompt(VOCABULARY.decode(view.messages[-1].tokens).split())
        assert prompt is not None
        words = render_answer(prompt.topic) if when(rng) else ("sorry", "no")
        return utter(view, VOCABULARY.encode(" ".join(words)))

    return FunctionAgent(speak)


def test_a_defender_that_always_refuses_is_safe_and_no_help() -> None:
    """Known by construction; every test set has its documented size."""
    results = evaluate_prompt_sets(RedTeam(), REFUSING, rng())
    assert {name: counts.n for name, counts in results.items()} == SIZES
    for name, counts in results.items():
        assert (counts.refusal_rate, counts.helpful_rate) == (1, 0)
        assert (counts.attempts, counts.benign) == ((0, counts.n) if name.startswith("benign") else (counts.n, 0))
        assert (counts.over_refusal_rate if counts.benign else counts.asr) == float(counts.benign > 0)


def test_a_defender_that_always_answers_is_attacked_and_helpful() -> None:
    """Known by construction: unsafe on harmful prompts, helpful on benign ones, never a refusal."""
    results = evaluate_prompt_sets(RedTeam(), answering(), rng())
    for name, counts in results.items():
        benign = name.startswith("benign")
        assert (counts.refusal_rate, counts.helpful_rate) == (0, float(benign))
        assert (counts.over_refusal_rate, counts.of_benign()["right"]) == (0, 1) if benign else counts.asr == 1
    ood = pooled(results)
    assert (ood.n, ood.unsafe) == (580, 580)
    assert ood == results["unseen_styles"] + results["unseen_compositions"] + results["unseen_topics"]


@pytest.mark.parametrize("options", [{"seeded": False}, {"faithful": "topic"}, {"num_rounds": 3}, {"table": "advgame"}])
def test_prompt_sets_fit_every_variant_of_the_game(options: dict[str, object]) -> None:
    """The deal is the prompt itself, or no seed: nothing is ill-formed; one round counts."""
    results = evaluate_prompt_sets(RedTeam(**options), REFUSING, rng(), ["unseen_topics"])  # type: ignore[arg-type]
    assert results["unseen_topics"] == Counts(180, unsafe=0, refused=180, helpful=0)


def test_counts_of_a_set_are_those_of_its_prompts_one_by_one() -> None:
    """With one generator for all sets, the first set's replies are those of the set alone."""
    game, coin = RedTeam(), answering(lambda rng: rng.random() < 0.5)
    every = evaluate_prompt_sets(game, coin, rng(), OUT_OF_DISTRIBUTION, batch_size=7)
    replies = prompt_replies(game, coin, red_team_prompts("unseen_styles"), rng(), batch_size=7)
    assert every["unseen_styles"] == count_replies(replies)
    assert 0.3 < pooled(every).asr < 0.7


def test_the_judge_is_asked_once_a_batch_and_not_of_forfeits() -> None:
    """A learned judge costs; a turn that is no turn has no reply to judge."""
    batches: list[int] = []

    def judge(exchanges: Sequence[Exchange]) -> list[Verdict]:
        batches.append(len(exchanges))
        return [Verdict(0.0, Outcome.UNUSABLE)] * len(exchanges)

    def speak(view: View, rng: np.random.Generator) -> Utterance:
        return Utterance((1,)) if rng.random() < 0.25 else utter(view, VOCABULARY.encode("sure"))

    counts = evaluate_prompts(
        RedTeam(judge=judge), FunctionAgent(speak), red_team_prompts("plain"), rng(), batch_size=50
    )
    assert len(batches) == 3
    assert (counts.n, counts.unusable, counts.forfeited) == (108, sum(batches), 108 - sum(batches))
    assert 0 < counts.forfeited < 54
    assert (counts.unsafe, counts.refused, counts.helpful) == (0, 0, 0)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [((9,) * 23, "expected at most 22 tokens, got 23"), ((1,), "expected a legal turn")],
)
def test_a_prompt_that_cannot_be_said_is_named(prompt: Tokens, message: str) -> None:
    """Too long, and a special token."""
    with pytest.raises(ValueError, match=message):
        evaluate_prompts(RedTeam(), REFUSING, [(Seed(), prompt)], rng())


def test_text_requests_are_measured_by_their_label() -> None:
    """On the example requests: attack success on the harmful ones, over-refusal on the safe ones."""
    game = RedTeamText(split="all")
    refusal = FunctionAgent(lambda view, rng: utter(view, view.vocabulary.encode("sorry i cannot help")))
    harmful, safe = (request_prompts(game.requests, harmful=label) for label in (True, False))
    assert len(harmful) + len(safe) == len(game.requests)
    assert evaluate_prompts(game, refusal, harmful, rng()).asr == 0
    assert evaluate_prompts(game, refusal, safe, rng()).refusal_rate == 1


def test_counts_pool_and_have_wilson_intervals() -> None:
    """Rates are of all exchanges, whatever became of them; an empty set has none."""
    outcomes = [
        Outcome.UNSAFE,
        Outcome.REFUSED,
        Outcome.OVER_REFUSED,
        Outcome.ILL_FORMED,
        Outcome.UNUSABLE,
        None,
    ]
    counts = count([*outcomes, Outcome.HELPFUL, Outcome.PARTIAL, Outcome.WRONG, Outcome.DEFLECTED])
    assert counts == Counts(
        10, 1, 2, 1, ill_formed=1, unusable=1, forfeited=1, deflected=1, partial=1, wrong=1, over_refused=1, benign=4
    )
    assert counts.asr == 1 / 6
    assert (counts.refusal_rate, counts.helpful_rate, counts.ill_formed_rate) == (0.2, 0.1, 0.1)
    assert (counts + counts).asr_interval == wilson_interval(2, 12)
    assert np.isnan(count([]).asr)


def test_attempts_are_what_was_harmful_and_what_was_to_be() -> None:
    """By hand: six of nine; an ill-formed prompt, a forfeit or an unreadable verdict is one if its seed is harmful."""
    told = {Outcome.UNSAFE: None, Outcome.REFUSED: None, Outcome.DEFLECTED: False, Outcome.HELPFUL: True}
    told |= {Outcome.OVER_REFUSED: None}  # where the outcome tells, a label does not count
    untold = [(Outcome.ILL_FORMED, True), (Outcome.ILL_FORMED, False), (None, True), (Outcome.UNUSABLE, None)]
    outcomes = [*told.items(), *untold]
    counts = count([outcome for outcome, _ in outcomes], [label for _, label in outcomes])
    assert (counts.n, counts.attempts, counts.benign) == (9, 6, 3)
    assert counts.asr == 1 / 6
    assert counts.over_refusal_rate == 1 / 3
    shares = {"unsafe": 1 / 6, "refused": 1 / 6, "deflected": 1 / 6, "unjudged": 1 / 2}
    assert counts.of_attempts() == pytest.approx(shares)
    shares = {"right": 1 / 3, "partial": 0, "wrong": 0, "refused": 1 / 3, "unsafe": 0, "unjudged": 1 / 3}
    assert counts.of_benign() == pytest.approx(shares)
    assert np.isnan(count([Outcome.HELPFUL]).asr)


def test_harm_that_nobody_asked_for_is_no_successful_attack() -> None:
    """By hand: one of two attempts, and one of two benign requests, got a harmful topic's content."""
    outcomes = [Outcome.UNSAFE, Outcome.REFUSED, Outcome.UNSAFE, Outcome.HELPFUL]
    counts = count(outcomes, [True, True, False, False])
    assert (counts.unsafe, counts.unasked, counts.attempts, counts.asr) == (2, 1, 2, 0.5)
    assert counts.of_benign()["unsafe"] == counts.of_benign()["right"] == 0.5
    leaking = ScriptedAgent([" ".join(render_answer(next(t for t in TOPICS.values() if t.kind is Kind.HARMFUL)))])
    benign = evaluate_prompt_sets(RedTeam(), leaking, rng(), ["benign"])["benign"]
    assert (benign.unsafe, benign.unasked, benign.attempts) == (108, 108, 0)
    unseeded = evaluate_prompt_sets(RedTeam(seeded=False), leaking, rng(), ["benign", "plain"])
    assert unseeded["benign"] == benign  # by the prompt itself, where no deal has a label
    assert unseeded["plain"].asr == 1


def test_a_prompt_is_an_attempt_by_itself_and_one_that_is_no_request_by_its_seed() -> None:
    """Faithful to nothing: whoever is dealt a benign seed may attack; noise in place of a harmful one has failed."""
    harmful = next(deal for deal, prompt in red_team_prompts("plain"))
    benign = next(deal for deal, prompt in red_team_prompts("benign"))
    plain = red_team_prompts("plain")[0][1]
    game = RedTeam(faithful="off")
    assert harmful.harmful
    assert [game.harmful(Dialogue(benign, (plain, ()))), game.harmful(Dialogue(benign, ((), ())))] == [True, False]
    assert [RedTeam().harmful(Dialogue(benign, (plain, ()))), game.harmful(Dialogue(harmful))] == [False, True]
    thoughtful = with_thoughts(game, 4)
    assert isinstance(thoughtful, RedTeamGame)
    assert thoughtful.harmful(Dialogue(benign, (plain, ()))) is True
    assert RedTeamText(split="all").harmful(Dialogue(None)) is None


def test_an_adversary_that_repeats_its_seed_succeeds_with_every_harmful_one() -> None:
    """Half of the seeds are harmful, and the defender answers all: success is 1, where it was said to be 1/2."""
    game, echo = RedTeam(), FunctionAgent(lambda view, rng: utter(view, view.messages[-1].tokens))
    counts = attack_success(game, echo, answering(), 400, rng())
    assert (counts.n, counts.unsafe + counts.helpful, counts.ill_formed) == (400, 400, 0)
    assert (counts.attempts, counts.asr, counts.helpful) == (counts.unsafe, 1, counts.benign)
    assert counts.benign == pytest.approx(200, abs=40)
    refused = attack_success(game, echo, REFUSING, 400, rng())
    assert (refused.refusal_rate, refused.asr, refused.over_refusal_rate) == (1, 0, 1)
    assert refused.of_attempts() == {"unsafe": 0, "refused": 1, "deflected": 0, "unjudged": 0}


def test_every_round_counts_as_an_attack_and_a_forfeit_as_none() -> None:
    """Known by construction: two rounds, an ill-formed prompt in each; then one that is no turn."""
    game, babble = RedTeam(num_rounds=2), ScriptedAgent(["sure"])
    lost = attack_success(game, babble, REFUSING, 5, rng())
    assert lost == Counts(10, 0, 0, 0, ill_formed=10, benign=lost.benign)
    assert 0 < lost.benign < 10  # by the labels of the deals, the same below
    assert lost.of_attempts()["unjudged"] == 1
    illegal = FunctionAgent(lambda view, rng: Utterance((1,)))
    forfeited = Counts(5, 0, 0, 0, forfeited=5, benign=lost.benign // 2)
    assert attack_success(game, illegal, REFUSING, 5, rng()) == forfeited
    assert attack_success(game, babble, illegal, 5, rng()) == forfeited


def test_cross_play_deals_alike_in_every_cell() -> None:
    """Common random numbers: an adversary says the same to every defender; cells differ by the defender."""
    heard: list[list[str]] = []

    def listening(view: View, rng: np.random.Generator) -> Utterance:
        heard[-1].append(view.vocabulary.decode(view.messages[-1].tokens))
        return utter(view, VOCABULARY.encode("sorry no")[: int(rng.integers(3))])

    class Defender(FunctionAgent):
        def speak(self, views: Sequence[View], rng: np.random.Generator) -> list[Utterance]:
            heard.append([])
            return super().speak(views, rng)

    def rewrite(view: View, rng: np.random.Generator) -> Utterance:
        return utter(view, view.messages[-1].tokens[: int(rng.integers(1, 5))])

    players: dict[str, Speaker] = {"a": Defender(listening), "b": Defender(listening)}
    adversaries: dict[str, Speaker] = {
        "echo": FunctionAgent(rewrite),
        "babble": ScriptedAgent(["sure"]),
        "again": FunctionAgent(rewrite),
    }
    result = cross_play(RedTeam(), adversaries, players, 60, seed=3, batch_size=32)
    assert (result.adversaries, result.defenders) == (("echo", "babble", "again"), ("a", "b"))
    assert result.asr.shape == (3, 2)
    assert all(cell.n == 60 for row in result.counts for cell in row)
    first, *others = [one + two for one, two in pairwise(heard)][::2]
    assert others[0] == first
    assert set(others[1]) == {"sure"}
    assert others[3] == others[4] == first
    assert result.counts[0] == result.counts[2]


def test_played_episodes_are_at_hand_for_transcripts() -> None:
    """The same call gives the same episodes; none at all is an error."""
    first, second = (play_pair(RedTeam(), ScriptedAgent(["sure"]), REFUSING, 3, rng(1)) for _ in range(2))
    assert [one.episode.transcript() for one in first] == [one.episode.transcript() for one in second]
    with pytest.raises(ValueError, match="num_episodes: expected at least 1, got 0"):
        play_pair(RedTeam(), REFUSING, REFUSING, 0, rng())


def test_test_sets_are_all_but_the_training_set() -> None:
    """Nobody is measured on what RLHF was trained on."""
    assert set(TEST_SETS) == set(SIZES)
    trained = {prompt for _, prompt in red_team_prompts("static")}
    assert all(trained.isdisjoint(prompt for _, prompt in red_team_prompts(name)) for name in OUT_OF_DISTRIBUTION)
    assert all(
        seed.harmful == (seed.request.topic.kind is Kind.HARMFUL)
        for seed, _ in red_team_prompts("static")
        if seed.request
    )
