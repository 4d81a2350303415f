"""What docs/security.md says of the whole package: which calls that run what they read stand in it, and where."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = sorted(path for room in ("envs", "agents", "baselines") for path in (ROOT / room).rglob("*.py"))
RUN_WHAT_THEY_READ = {
    "eval", "exec", "compile", "__import__", "exec_module", "torch.load", "np.load", "numpy.load", "joblib.load",
    "pickle.load", "pickle.loads", "cloudpickle.load", "cloudpickle.loads", "dill.load", "marshal.loads", "shelve.open",
    "os.system", "os.popen", "yaml.load", "model.load", "trust_remote_code=True",
}  # fmt: skip
EXPECTED = {
    ("agents/code_files.py", "exec_module"),  # --learner-file, --algorithm-file, --judge python:FILE: what they are for
    ("envs/testing/conformance.py", "pickle.loads"),  # of what was pickled in the same line
}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call with the last two names of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).split(".")
            yield ".".join(called[-2:]), node


def found_in(source: str) -> set[str]:
    """Return the calls of a file that run what they read."""
    names = set[str]()
    for name, call in calls(ast.parse(source)):
        names |= {name, name.rpartition(".")[2] if name.endswith("exec_module") else name} & RUN_WHAT_THEY_READ
        trusted = [word for word in call.keywords if word.arg == "trust_remote_code"]
        names |= {f"{word.arg}=True" for word in trusted if ast.unparse(word.value) == "True"}
    return names


def test_the_search_finds_what_it_is_for() -> None:
    """Else the next test could not fail."""
    source = "import torch\ntorch.load(p)\neval(x)\nspec.loader.exec_module(m)\nf(trust_remote_code=True)\n"
    assert found_in(source) == {"torch.load", "eval", "exec_module", "trust_remote_code=True"}


def test_nothing_that_runs_what_it_reads_is_called_but_where_it_should_be() -> None:
    """Weights are safetensors and folders data; files of one's own are run, by the options that say so."""
    found = {(path.relative_to(ROOT).as_posix(), name) for path in FILES for name in found_in(path.read_text("utf-8"))}
    assert found == EXPECTED


def test_hugging_face_loads_from_folders_only() -> None:
    """Every `AutoX.from_pretrained` says `local_files_only`, by name or among its options."""
    sources = {path: path.read_text("utf-8") for path in FILES}
    loading = [
        (path, call)
        for path, source in sources.items()
        for name, call in calls(ast.parse(source))
        if name.lower().startswith("auto") and name.endswith(".from_pretrained")
    ]
    assert len(loading) >= 3
    for path, call in loading:
        named = [word.arg for word in call.keywords]
        assert "local_files_only" in named or (None in named and "local_files_only" in sources[path]), path
