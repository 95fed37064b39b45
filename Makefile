# Every target sets up what it needs in .venv (Python 3.11 or newer) and changes nothing else.
#
#   make demo         the whole world on this machine: see what the broker does
#   make test         every test
#   make lint         ruff and mypy
#   make wheel-check  build the wheel, install it elsewhere, use it there
#   make chaos        kill parts at random, and count what is lost
#   make cluster      three brokers on one Redis: let one die, and look

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TRIAL := $(BIN)/python -m twisted.trial
TESTS ?= tests

.PHONY: help demo test tools lint ruff format-check types wheel-check chaos cluster clean

help:
	@sed -n 's/^#   //p' Makefile

demo: $(READY)
	$(BIN)/crowdai-broker demo $(ARGS)

test: $(READY) tools
	$(TRIAL) $(TESTS)

tools: $(READY)
	@if [ -f tests/world/install.py ]; then $(BIN)/python -m tests.world.install; fi

lint: ruff format-check types

ruff: $(READY)
	$(BIN)/ruff check .

format-check: $(READY)
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

wheel-check: $(READY)
	$(BIN)/python .ci/wheel_check.py

chaos: $(READY)
	$(BIN)/python -m tests.chaos $(ARGS)

cluster: $(READY)
	@$(BIN)/python -m crowdai_broker.demo.cluster $(ARGS)

clean:
	rm -rf $(VENV) .tools build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis .coverage*

$(READY): setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) || \
		{ echo "the venv module is missing: on Debian, apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)
