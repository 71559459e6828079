# make demo   sets up .venv and runs one whole experiment      make test   sets up .venv and runs the tests
# Needs Python 3.11+ and make, nothing else. Another interpreter: make setup PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Ray's workers take the cores; more than one thread in each test process only makes them wait for one another.
# Two processes, a file at a time: tests on Ray mostly wait for processes to start.
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint docs format bench results claims clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(STAMP)  ## the environment in .venv; again only when pyproject.toml or constraints.txt change

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $$($(PYTHON) --version) was found: make setup PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing into .venv (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup  ## one whole experiment on the embedded default: label, train, tune, evaluate, report
	$(BIN)/python jobs/experiment.py

test: setup  ## the tests, those on Ray included
	$(TESTS)

test-slow: setup  ## the tests that take more than a minute each
	$(TESTS) -m "slow and not gpu"

lint: setup  ## style, types, who may import whom, and links of the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

docs: setup  ## the documentation site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "Documentation: build/site/index.html"

format: setup  ## apply the style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## every performance claim, as a ratio measured now
	@set -e; for file in benchmarks/[a-z]*.py; do OMP_NUM_THREADS=1 $(BIN)/python $$file; done

results: setup  ## the figures of docs/results.md, from the commands written there
	$(BIN)/python jobs/experiment.py && $(BIN)/python jobs/report.py

claims: setup  ## every published claim, recomputed from its stored trials; one that no longer holds fails
	$(BIN)/python benchmarks/claims.py

clean:  ## caches; .venv and artifacts stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build
	find platform tests jobs benchmarks -name __pycache__ -prune -exec rm -rf {} +
