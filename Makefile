# Needs make, Python 3.11 or later with pip, and nothing else: every target that uses a tool first makes
# the virtual environment .venv from the hash-pinned requirements/dev.txt.

PYTHON ?= python3
JOBS   ?= 2
ARGS   ?=

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
# Workers take tests from one another: few of them are long, and the last of those would leave the others idle.
TEST   = $(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint check format bench lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## show what krakenws does, without a network
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash examples/demo.sh

test: $(READY) ## run the tests (ARGS='-k book -x' goes to pytest, JOBS=8 runs more at once)
	$(TEST)

lint: $(READY) ## check format, lint rules, types, layers, spelling, dependencies
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
# From src, because lint-imports searches its working directory first and would take krakenws.py for the package.
	cd src && ../$(BIN)/lint-imports --config ../pyproject.toml --cache-dir ../.import_linter_cache --no-logo
	$(BIN)/codespell
	$(BIN)/deptry src

check: lint ## what CI runs: lint, the tests with branch coverage, a short form of the benchmarks
	@$(BIN)/coverage erase
	$(BIN)/coverage run $(TEST)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/python benchmarks/run.py --check

format: $(READY) ## format the code and mend what ruff can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(READY) ## measure krakenws beside its rivals (ARGS=--quick, ARGS='--only session', ARGS=--check)
	$(BIN)/python benchmarks/run.py $(ARGS)

# One lock for every platform and Python (hence the markers), one more for each environment of the benchmarks'
# rivals; uv is needed for nothing else.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-config \
	--custom-compile-command 'make lock'

lock: $(READY) ## resolve requirements/*.txt again (ARGS=--upgrade takes newer versions)
	@$(BIN)/pip install -qq uv
	$(LOCK) $(ARGS) pyproject.toml --output-file requirements/run.txt
	$(LOCK) $(ARGS) pyproject.toml --extra dev --constraint requirements/run.txt --output-file requirements/dev.txt
	set -e; for rivals in benchmarks/requirements/*.in; do $(LOCK) $(ARGS) $$rivals --output-file $${rivals%.in}.txt; done

clean: ## remove everything that the other targets made
	rm -rf $(VENV) benchmarks/.rivals build dist .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "krakenws needs Python 3.11 or later, but '$(PYTHON) -V' says: $$($(PYTHON) -V 2>&1)" >&2; \
		echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; \
		exit 1; }
	@echo "Making $(VENV) from requirements/dev.txt (once; less than a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install -qq --no-deps --no-build-isolation -e .
	@touch $@
