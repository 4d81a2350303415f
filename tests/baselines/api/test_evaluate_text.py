"""`duologue evaluate` on real text: any defender, adversary, requests and judge; corrected, cut and written down."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from duologue.__main__ import main
from duologue.agents import FunctionAgent, utter
from duologue.agents.judges import judge_refusals
from duologue.agents.language_model import CausalLMAgent, micro_model
from duologue.baselines import evaluate
from duologue.baselines.api.evaluate import OWN_PLAY
from duologue.baselines.api.prompts import BENIGN, HARMFUL
from duologue.baselines.data.exchanges import read_exchanges
from duologue.baselines.training.options import save_model
from duologue.envs import Utterance, View
from duologue.envs.games.red_team_text import RedTeamText, Request
from duologue.envs.tokenizer_vocabulary import TokenizerVocabulary
from duologue.tests.helpers import CHATML, tiny_tokenizer

VOCABULARY = TokenizerVocabulary(tiny_tokenizer(CHATML))
LIMIT = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two chat models, of requests, and of a report on the rule on refusals."""
    made = tmp_path_factory.mktemp("text")
    for seed, name in enumerate(("defender", "adversary")):
        model = micro_model(VOCABULARY, hidden_size=16, num_layers=1, num_heads=2, seed=seed)
        save_model(CausalLMAgent(model, VOCABULARY), made / name)
    rows = [f"do {letter},{label}" for letter in "abcdefghijklmnop" for label in ("unsafe",)]
    rows += [f"eat {letter},safe" for letter in "abcdefghijklmnop"]
    (made / "requests.csv").write_text("\n".join(["prompt,label", *rows]), encoding="utf-8")
    labels = [("yes", 1, 1)] * 9 + [("I'm sorry", 0, 1)] * 9 + [("yes", 0, 1)] * 1 + [("I'm sorry", 1, 1)] * 1
    lines = [
        json.dumps({"prompt": "do a", "reply": said, "unsafe": bad, "harmful": harm}) for said, bad, harm in labels
    ]
    (made / "labelled.jsonl").write_text("\n".join(lines), encoding="utf-8")
    line = ["judge-report", "refusal", "--exchanges", str(made / "labelled.jsonl"), "--out", str(made / "report")]
    assert main(line) == 0
    return made


def test_the_table_has_every_column_and_the_transcripts_every_exchange(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is counted is what was said: unsafe, refused and cut replies are those of the file, line by line."""
    line = ["evaluate", str(folder / "defender"), "--game", "red_team_text-v0"]
    line += ["--requests", str(folder / "requests.csv"), "--judge", "refusal", "--adversary", str(folder / "adversary")]
    line += [
        "--judge-report",
        str(folder / "report"),
        "--max-prompt-tokens",
        str(LIMIT),
        "--max-reply-tokens",
        str(LIMIT),
    ]
    line += ["--num-episodes", "6", "--batch-size", "4", "--out", str(folder / "found.json")]
    assert main(line) == 0
    table = capsys.readouterr().out
    for title in (
        "attack success %",
        "corrected %",
        "over-refusal %",
        "cut %",
        "sensitivity 90.0 %, specificity 90.0 %",
    ):
        assert title in table
    found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert found["prompts"].keys() == {HARMFUL, BENIGN, str(folder / "adversary")}
    assert found["judge"] == "refusal"
    said = [json.loads(text) for text in (folder / "found.jsonl").read_text(encoding="utf-8").splitlines()]
    for name, rates in found["prompts"].items():
        rows = [row for row in said if row["prompts"] == name]
        assert len(rows) == rates["n"] - rates["forfeited"]
        assert sum(bool(row["unsafe"]) for row in rows) == rates["unsafe"]
        assert sum(row["outcome"] in ("refused", "over_refused") for row in rows) == rates["refused"]
        assert rates["cut_share"] == pytest.approx(sum(row["cut"] for row in rows) / len(rows))
    assert {row["prompt"] for row in said if row["prompts"] == HARMFUL} == {
        row["request"] for row in said if row["prompts"] == HARMFUL
    }
    assert len(list(read_exchanges(folder / "found.jsonl"))) == len(said)


def test_attack_success_is_corrected_by_the_judges_report(folder: Path) -> None:
    """By hand at se = sp = .9: all called unsafe is all unsafe; none is none. Who answers at length is always cut."""
    requests = [Request("do a", True, 1), Request("eat a", False, 2)]
    game = RedTeamText(
        requests,
        vocabulary=VOCABULARY,
        judge=judge_refusals,
        split="all",
        max_prompt_tokens=LIMIT,
        max_reply_tokens=LIMIT,
    )
    long = VOCABULARY.encode("yes yes yes yes yes yes yes yes")[:LIMIT]

    def talk(view: View, rng: object) -> Utterance:
        return Utterance(long)

    refuse = FunctionAgent(lambda view, rng: utter(view, VOCABULARY.encode("No.")))
    options = {"judge": "refusal", "judge_report": folder / "report"}
    for agent, asr, cut in ((FunctionAgent(talk), 1.0, 1.0), (refuse, 0.0, 0.0)):
        found = evaluate((None, agent), game=game, **options)
        assert found.prompts[HARMFUL].asr == asr
        assert found.json()["prompts"][HARMFUL]["asr_corrected"][0] == asr  # type: ignore[index, call-overload]
        assert {name: share.value for name, share in found.cut.items()} == {HARMFUL: cut, BENIGN: cut}
    assert found.prompts[BENIGN].refusal_rate == 1
    with pytest.raises(ValueError, match=r"expected that of the judge refusal\+encoder:x, got one of 'refusal'"):
        evaluate((None, refuse), game=game, judge="refusal+encoder:x", judge_report=folder / "report")


def test_an_adversary_of_another_tokenizer_attacks(folder: Path) -> None:
    """Each reads and speaks by its own; what was said is in both, and no tree is listed for want of one vocabulary."""
    other = TokenizerVocabulary(tiny_tokenizer(CHATML, vocab_size=300))
    assert other.size != VOCABULARY.size
    save_model(CausalLMAgent(micro_model(other, hidden_size=16, num_heads=2), other), folder / "other")
    rules: dict[str, Any] = {"game": "red_team_text-v0", "requests": folder / "requests.csv", "judge": "refusal"}
    sizes: dict[str, Any] = {"max_prompt_tokens": LIMIT, "max_reply_tokens": LIMIT, "num_episodes": 6}
    out = folder / "two.json"
    found = evaluate(folder / "defender", **rules, **sizes, adversary=folder / "other", out=out)
    assert found.nash_conv is None
    assert found.prompts[str(folder / "other")].n == 6
    said = [json.loads(line) for line in out.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum(row["prompts"] == str(folder / "other") for row in said) == 6


def test_a_run_that_needed_no_game_is_evaluated_in_the_one_that_is_named(folder: Path, tmp_path: Path) -> None:
    """DPO on pairs of real text was trained in none."""
    pairs = [{"prompt": "do a", "chosen": "I'm sorry.", "rejected": f"Sure {k}."} for k in range(4)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    line = ["train", "dpo", "--defender", str(folder / "defender"), "--pairs", str(tmp_path / "pairs.jsonl")]
    assert main([*line, "--num-steps", "1", "--batch-size", "2", "--out", str(tmp_path / "dpo")]) == 0
    rules: dict[str, Any] = {"requests": folder / "requests.csv", "judge": "refusal"}
    sizes: dict[str, Any] = {"max_prompt_tokens": LIMIT, "max_reply_tokens": LIMIT}
    found = evaluate(tmp_path / "dpo", game="red_team_text-v0", **rules, **sizes)
    assert {*found.prompts} == {HARMFUL, BENIGN}
    with pytest.raises(ValueError, match="game: expected the name of a game for"):
        evaluate(tmp_path / "dpo", **rules)


def test_requests_without_a_judge_are_refused_and_so_is_a_name_that_what_is_said_has(folder: Path) -> None:
    """Before anybody has said a word."""
    asked: dict[str, Any] = {"game": "red_team_text-v0", "requests": folder / "requests.csv"}
    with pytest.raises(ValueError, match="judge: expected one for the requests of red_team_text-v0, such as refusal"):
        evaluate(folder / "defender", **asked)
    with pytest.raises(ValueError, match=r"expected another name than that of what is said, which ends in \.jsonl"):
        evaluate(folder / "defender", **asked, judge="refusal", out=str(folder / "a.jsonl"))


def test_a_run_on_requests_keeps_its_judge_unless_another_is_named(folder: Path) -> None:
    """They have no oracle; another adversary than the run's takes its seat, by its name in the table."""
    run = folder / "run"
    for name in ("adversary", "defender"):
        shutil.copytree(folder / name, run / name)
    rules: dict[str, object] = {
        "game": "red_team_text-v0",
        "requests": str(folder / "requests.csv"),
        "judge": "refusal",
    }
    rules |= {"max_prompt_tokens": LIMIT, "max_reply_tokens": LIMIT}
    (run / "config.json").write_text(json.dumps({"name": "gpo", "config": {"options": rules}}), encoding="utf-8")
    found = evaluate(run, num_episodes=4)
    assert found.judge == "refusal"
    assert [*found.prompts][-1] == OWN_PLAY
    other = evaluate(run, num_episodes=4, judge="refusal+refusal", adversary=folder / "defender")
    assert other.judge == "refusal+refusal"
    assert [*other.prompts][-1] == str(folder / "defender")
    assert other.prompts[HARMFUL] == found.prompts[HARMFUL]
