# Everything a developer runs, each in a virtual environment of its own: `make help`.
PYTHON ?= python3
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint types layers bench guests docs structure wheel clean

help:  ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)$$/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

install: $(STAMP)  ## create .venv with the pinned dependencies and the package (the others do it themselves)

# Made anew only when the packages that it names have changed.
$(STAMP): pyproject.toml constraints.txt
	@echo "installing into .venv (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(PIP) --constraint constraints.txt --editable ".[dev,openspiel,gambit,data,peft,accelerate]"
	@touch $@

demo: $(STAMP)  ## train adversary and defender against each other, print the table, draw the plots
	$(BIN)/python -m duologue demo

test: $(STAMP)  ## run the test suite
	$(BIN)/python -m pytest

check: lint types layers  ## ruff, ruff format, mypy, import-linter, documentation pages, contents of the wheel
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m pytest --numprocesses=0 tests/test_packaging.py

lint: $(STAMP)  ## ruff and ruff format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy must meet the root folder under the package's name, without .venv or this link in it.
LINKED := __init__.py __main__.py py.typed envs agents baselines tests
types: $(STAMP)  ## mypy --strict over the package, the tests and the examples
	@rm -rf build/check && mkdir -p build/check/duologue
	@for name in $(LINKED); do ln -s ../../../$$name build/check/duologue/$$name; done
	$(BIN)/mypy build/check/duologue docs $(wildcard examples)

layers: $(STAMP)  ## import-linter
	$(BIN)/lint-imports

bench: $(STAMP)  ## measure everything beside other code, in a few minutes of an idle machine (docs/performance.md)
	-@$(BIN)/python -c "import textarena" 2>/dev/null || $(PIP) --constraint constraints.txt textarena
	$(BIN)/python -m duologue.baselines.performance.solvers --markdown docs/performance.md
	$(BIN)/python -m duologue.baselines.performance.envs --markdown docs/performance.md
	$(BIN)/python -m duologue.baselines.performance.soak --markdown docs/performance.md
	$(BIN)/python -m duologue.baselines.performance.evaluation --markdown docs/performance.md
	$(BIN)/python -m duologue.baselines.performance.rollouts --only decode --markdown docs/performance.md

guests:  ## build an environment for each RL library and train in it (docs/guests.md); GUESTS="torchrl trl" for some
	$(PYTHON) examples/guests/run.py $(GUESTS)

docs: $(STAMP)  ## write docs/games/ and docs/solvers.md from the code
	$(BIN)/python docs/generate.py

structure:  ## count rooms, arrows between them, long functions and files, lines of plumbing
	$(PYTHON) docs/structure.py

wheel: $(STAMP)  ## build the wheel into dist/
	@rm -rf build/lib build/bdist.* dist  # setuptools would pack what an older build left there
	@$(BIN)/python -m build --wheel --no-isolation | tail -n 1

clean:  ## remove what builds and checks left; .venv and runs/ stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
