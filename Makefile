# Two commands on a fresh clone: `make autopilot` and `make test`. `make check` before a commit.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
JOBS   ?= auto
# `make autopilot SANDBOX=e2b`: where attempts run; see docs/e2b.md.
SANDBOX ?= local

.PHONY: setup autopilot test test-all check lint clean

setup: $(STAMP)

# Quick when nothing changed: make compares the stamp with the files it was made from.
$(STAMP): pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: FibreFlow needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 5; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "error: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu:" \
	       "apt install python3-venv" >&2; exit 5; }
	@echo "setting up $(VENV)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

autopilot: $(STAMP)
	$(BIN)/python harness/runner.py --autopilot --sandbox $(SANDBOX)

test: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --long

test-all: $(STAMP)
	$(BIN)/python -m pytest -n $(JOBS) --slow

# Before each commit: everything but the tests that take seconds each.
check: lint
	$(BIN)/python -m pytest -n $(JOBS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	-@test ! -d logs/deploy || $(BIN)/python harness/runner.py deploy down
	rm -rf build $(VENV)
