# make run      set up, then the main job: compare the default strategies on the embedded corpus, and report
# make test     set up, then everything that must hold: ruff, mypy, pytest
# make setup    an up-to-date .venv in the checkout; nothing to do where it stands already
# make format   put the code into its one layout
# make lock     write requirements.lock from what is installed in .venv (see tools/lock.py)
#
# Needs make and a Python of 3.11 or later; name another one with `make PYTHON=/path/to/python setup`.

PYTHON ?=
CANDIDATES := $(PYTHON) python3 python3.11 python3.12 python3.13
BIN := .venv/bin
STAMP := .venv/.adaptbench
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

# No machine here is asked for anything from a model hub, and tokenisers must not start threads before a fork.
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.PHONY: run test setup format lock
.DEFAULT_GOAL := run

run: setup
	@$(BIN)/python -m bench run $(ARGS)

test: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "the layout of the files above is not ruff's: make format"; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@set -e; \
	if ! $(BIN)/python -c '$(SUITABLE)' 2>/dev/null; then \
	    for python in $(CANDIDATES); do \
	        if "$$python" -c '$(SUITABLE)' 2>/dev/null; then found=$$python; break; fi; \
	    done; \
	    if [ -z "$${found:-}" ]; then \
	        echo "no Python of 3.11 or later with venv and pip was found (tried: $(CANDIDATES));" >&2; \
	        echo "on Debian it is in the packages python3 and python3-venv. Another one: make PYTHON=/path/to/python" >&2; \
	        exit 1; \
	    fi; \
	    echo "making .venv with $$found"; \
	    "$$found" -m venv --clear .venv; \
	fi
	@echo "installing what requirements.lock names into .venv (minutes, the first time)"
	@$(BIN)/python -m pip install --quiet --quiet --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --no-deps --no-build-isolation --editable .
	@touch $@

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: setup
	@$(BIN)/python tools/lock.py
