# Two commands, each complete by itself: `make demo` and `make test`. Both need only Python 3.11 to 3.13 and make.

VENV := .venv
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
# A check-out on a machine with little memory per core still gets two workers.
WORKERS ?= 2

.PHONY: demo test lint clean

demo: $(VENV)/.demo
	$(BIN)/python scripts/demo.py --output demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.test
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

$(VENV)/.demo: pyproject.toml setup.py
	@test -n "$(PYTHON)" || { echo "error: galzoo needs Python 3.11, 3.12 or 3.13; install one, or run make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing galzoo into $(VENV) (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
