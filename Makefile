# GNU make. `make` alone lists the targets. Needs Python 3.11 or newer; everything else goes into .venv.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
JOBS   ?= auto

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test browser bench lint format clean

help: ## List the targets
	@echo "Undertow. Targets:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo "To use another Python: make setup PYTHON=python3.12"

setup: $(STAMP) ## Create .venv and install Undertow with its development tools (once)
	@echo "Undertow is installed in $(VENV). Next: make demo"

demo: $(STAMP) ## Watch a network learn handwritten digits, then read its backward pass
	@echo "==> Training a network on handwritten digits; the run is kept in runs/digits"
	@$(BIN)/undertow train --dataset digits --hidden 256,128 --activation relu --dropout 0 --optimizer momentum --batch-size 16 --epochs 30 --out runs/digits --overwrite
	@echo "==> The backward pass of that network, as a program"
	@$(BIN)/undertow explain runs/digits

test: lint $(if $(CI),browser) ## Run every check: lint, types, tests, the examples in docstrings and documents
	@echo "==> Tests and examples (pytest)"
	@$(BIN)/python -m compileall -q src # what changed since it was installed: hundreds of tests start processes
	@$(BIN)/python -m pytest -q -n $(JOBS) --maxprocesses=4 --dist=worksteal --doctest-modules tests src/undertow

browser: ## Install the Chromium that drives the tests of pages (Debian, as root); without one they are skipped
	@command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || echo "No Chromium: the tests of pages in a browser are skipped"

bench: $(STAMP) ## Measure training steps beside PyTorch, JAX, scikit-learn, autograd and NumPy (installs them; about 15 minutes; into benchmarks/results/)
	@echo "==> Installing the peers (once)"
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[bench]'
	@$(BIN)/python -m benchmarks.training --out benchmarks/results/latest.json --markdown benchmarks/results/latest.md --plot benchmarks/results/latest.svg $(BENCH)

lint: $(STAMP) ## Check style, formatting and types
	@echo "==> Style (ruff check)"
	@$(BIN)/python -m ruff check
	@echo "==> Formatting (ruff format --check)"
	@$(BIN)/python -m ruff format --check
	@echo "==> Types (mypy)"
	@$(BIN)/python -m mypy

format: $(STAMP) ## Format the code and mend what ruff can mend
	@$(BIN)/python -m ruff check --fix-only
	@$(BIN)/python -m ruff format

clean: ## Remove caches and built files; keeps .venv and runs/
	@rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@find $(wildcard src tests benchmarks) -type d -name __pycache__ -prune -exec rm -rf {} +
	@echo "Removed caches and built files."

# An environment that works is kept; one whose Python has gone is made anew. The first three checks turn the usual obstacles into advice.
$(STAMP): pyproject.toml $(if $(wildcard $(BIN)/python),,FORCE)
	@if ! $(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  command -v $(PYTHON) >/dev/null || { \
	    echo "Undertow needs Python 3.11 or newer, and there is no $(PYTHON) here." \
	         "Install it, or name another: make setup PYTHON=python3.12" >&2; exit 1; }; \
	  $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Undertow needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	         "Name a newer one: make setup PYTHON=python3.12" >&2; exit 1; }; \
	  $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo "$(PYTHON) has no venv module, which makes the project's own environment." \
	         "On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; }; \
	  echo "Creating a Python environment in $(VENV)"; \
	  $(PYTHON) -m venv $(if $(wildcard $(VENV)/pyvenv.cfg),--clear) $(VENV); \
	fi
	@echo "Installing Undertow and its development tools into $(VENV) (about a minute, once)"
	@$(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -m compileall -q src # where PYTHONDONTWRITEBYTECODE is set, each start would take two seconds more
	@touch $@

FORCE:
