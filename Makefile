# make run      compare the default strategies on the embedded corpus, and write the report
# make test     run ruff, mypy and pytest (options for pytest: make test ARGS="-k name")
# make setup    create or update .venv in the checkout; the other targets do this first
# make format   format the code with ruff
# make lock     write requirements.lock from the packages in .venv (see tools/lock.py)
#
# Needs make and Python 3.11 or later. To choose the Python: make PYTHON=/path/to/python setup

PYTHON ?=
CANDIDATES := $(PYTHON) python3 python3.11 python3.12 python3.13
BIN := .venv/bin
STAMP := .venv/.adaptbench
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

# Tests and the default run use no model hub. Tokenisers must not start threads before a fork.
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1

.PHONY: run test setup format lock
.DEFAULT_GOAL := run

run: setup
	@$(BIN)/python -m bench run $(ARGS)

test: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet . || { echo "run 'make format' to format the files above"; exit 1; }
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@set -e; \
	if ! $(BIN)/python -c '$(SUITABLE)' 2>/dev/null; then \
	    for python in $(CANDIDATES); do \
	        if "$$python" -c '$(SUITABLE)' 2>/dev/null; then found=$$python; break; fi; \
	    done; \
	    if [ -z "$${found:-}" ]; then \
	        echo "no Python of 3.11 or later with venv and pip was found (tried: $(CANDIDATES));" >&2; \
	        echo "Debian has it in the packages python3 and python3-venv. To choose another: make PYTHON=/path/to/python" >&2; \
	        exit 1; \
	    fi; \
	    echo "making .venv with $$found"; \
	    "$$found" -m venv --clear .venv; \
	fi
	@echo "installing the packages of requirements.lock into .venv (minutes, the first time)"
	@$(BIN)/python -m pip install --quiet --quiet --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --quiet --no-deps --no-build-isolation --editable .
	@touch $@

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: setup
	@$(BIN)/python tools/lock.py
