"""Where an optional library is missing, the error says who needs it and which extra brings it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from duologue.agents.language_model.encoders import StaticWordEncoder, make_encoder
from duologue.baselines.alignment.reward_model import fit_linear
from duologue.baselines.data.dialogues import ASSISTANT, USER, PreferencePair, TextDialogue, TextTurn
from duologue.baselines.text.encoder_judge import fit_encoder_judge
from duologue.baselines.text.exchanges import harm_teacher
from duologue.envs.bridges.openspiel import from_openspiel
from duologue.envs.bridges.textarena import from_textarena
from duologue.envs.extras import from_extra
from duologue.envs.games.bluff import VOCABULARY
from duologue.envs.games.red_team_text.requests import Request

PAIR = PreferencePair(
    TextDialogue((TextTurn(USER, "sea"),)), chosen=TextTurn(ASSISTANT, "sea"), rejected=TextTurn(ASSISTANT, "no")
)
NEEDS: list[tuple[str, str, Callable[[], object]]] = [
    ("encoders", "sentence_transformers", lambda: make_encoder("all-MiniLM-L6-v2", [])),
    ("encoders", "sklearn", lambda: fit_linear(StaticWordEncoder(["sea"]), [PAIR], [PAIR])),
    ("encoders", "sklearn", lambda: harm_teacher([Request("a", True), Request("b", False)])),
    ("encoders", "sklearn", lambda: fit_encoder_judge(StaticWordEncoder(["sea"]), [])),
    ("openspiel", "pyspiel", lambda: from_openspiel("kuhn_poker")),
    ("textarena", "textarena", lambda: from_textarena("KuhnPoker-v0", VOCABULARY)),
]


@pytest.mark.parametrize(("extra", "library", "call"), NEEDS)
def test_what_needs_a_library_names_its_extra(
    extra: str, library: str, call: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`None` in `sys.modules` is what Python itself takes for a module that is not there."""
    for name in {library, *(name for name in sys.modules if name.startswith(f"{library}."))}:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'expected .*; in the checkout: pip install "\.\[{extra}\]"'):
        call()


@pytest.mark.parametrize(
    "arguments",
    [["train", "sb3", "--help"], ["train", "sb3_self_play"], ["play", "bluff-v0", "--opponent", "policy"]],
)
def test_the_command_line_prints_it_in_one_line(arguments: list[str], tmp_path: Path) -> None:
    """A missing library is no traceback: exit status 2, as for any other wrong argument."""
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "sb3_policy.json").write_text("{}", encoding="utf-8")
    code = "import sys; sys.modules['sb3_contrib'] = None; from duologue.__main__ import main; sys.exit(main())"
    run = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 2, run.stderr
    assert run.stderr.startswith("duologue: SB3Agent: expected stable-baselines3 and sb3-contrib, got ")
    assert 'pip install ".[sb3]"' in run.stderr
    assert "Traceback" not in run.stderr


def test_other_errors_pass_and_the_cause_stays() -> None:
    """Only an import that failed is about an extra; a library that is there but broken says so itself."""
    with pytest.raises(ZeroDivisionError), from_extra("sb3", need="x: expected y"):
        raise ZeroDivisionError
    broken = ImportError("libGL.so.1: cannot open shared object file")
    with (
        pytest.raises(ImportError, match=r"x: expected y, got .libGL\.so\.1") as raised,
        from_extra("a", need="x: expected y"),
    ):
        raise broken
    assert raised.value.__cause__ is broken
