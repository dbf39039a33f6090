# Everything that people and CI type. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

BIN := .venv/bin
RUN_STAMP := .venv/.installed-run
DEV_STAMP := .venv/.installed-dev
PANEL_STAMP := web/dist/.built
NODE_MODULES := web/node_modules/.installed
PANEL_SOURCES := $(shell find web/src web/public web/*.json web/*.ts web/index.html control_plane/messages.*.json -type f 2>/dev/null)

# A virtual environment that broke, whose Python was upgraded say, is installed anew.
BROKEN_VENV := $(shell if [ -d .venv ] && ! $(BIN)/python -c 'import click, control_plane' 2>/dev/null; then rm -f $(RUN_STAMP) $(DEV_STAMP); echo broken; fi)

.PHONY: help run test check bench fmt clean panel wheel soak openapi config-reference fault-matrix lock system lint types test-panel test-e2e

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

run: $(RUN_STAMP) $(PANEL_STAMP) ## Set everything up, then run it with three simulated devices until Ctrl-C
	@exec $(BIN)/daqplane run --demo

test: system $(DEV_STAMP) $(PANEL_STAMP) ## Set everything up, then run every check and every test
	@$(MAKE) check
	$(BIN)/python -m pytest tests/integration tests/contract tests/system
	$(MAKE) test-e2e

check: $(DEV_STAMP) $(NODE_MODULES) ## Linters, types, layering, unit tests of Python and of the panel
	@$(MAKE) lint types
	$(BIN)/python -m pytest tests/unit tests/architecture
	$(MAKE) test-panel

lint: $(DEV_STAMP) $(NODE_MODULES) ## ruff, import-linter and eslint
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	.ci/node.sh npm --prefix web run --silent lint

types: $(DEV_STAMP) $(NODE_MODULES) ## mypy --strict and vue-tsc
	@$(BIN)/mypy
	.ci/node.sh npm --prefix web run --silent typecheck

test-panel: $(NODE_MODULES) ## Unit tests of the panel
	@.ci/node.sh npm --prefix web run --silent test

test-e2e: $(RUN_STAMP) $(PANEL_STAMP) ## The panel in a real Chromium against a whole installation
	@.ci/node.sh npm --prefix web run --silent test:e2e

bench: $(DEV_STAMP) ## Measure, each figure beside its peer, into docs/benchmarks.md; BENCH="modbus live" for some
	@$(BIN)/python tests/performance/run_all.py $(BENCH)

soak: $(DEV_STAMP) ## Run an installation under random faults for HOURS=1: what grows, what is lost
	@$(BIN)/python tests/performance/soak.py --minutes "$$(awk 'BEGIN {print 60 * $(or $(HOURS),1)}')"

fmt: $(DEV_STAMP) ## Format the Python code
	@$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

panel: $(PANEL_STAMP) ## Build the web panel

wheel: $(RUN_STAMP) $(PANEL_STAMP) ## Build dist/daqplane-*.whl, which carries the panel and needs no Node.js
	@rm -rf build
	$(BIN)/python -m pip wheel -q --no-deps --no-build-isolation --disable-pip-version-check --wheel-dir dist .

openapi: $(DEV_STAMP) $(NODE_MODULES) ## Write docs/openapi.json and the panel's types anew, from the routes
	@$(BIN)/daqplane openapi > docs/openapi.json.new
	mv docs/openapi.json.new docs/openapi.json
	.ci/node.sh npm --prefix web run --silent types

config-reference: $(DEV_STAMP) ## Write docs/configuration.md anew, from the types that validate
	@$(BIN)/daqplane config-reference > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md

fault-matrix: system $(DEV_STAMP) ## Make every fault on the real system and write docs/fault-matrix.md
	@DAQ_FAULT_MATRIX=docs/fault-matrix.md $(BIN)/python -m pytest tests/system/test_fault_matrix_system.py

lock: $(DEV_STAMP) ## Choose new versions and write the lock files (needs uv)
	@uv pip compile -q --generate-hashes --python-version 3.11 --universal --no-header --extra build --extra postgres setup.cfg -o requirements.lock
	uv pip compile -q --generate-hashes --python-version 3.11 --universal --no-header --extra build --extra postgres --extra test --extra dev setup.cfg -o requirements-dev.lock

clean: ## Remove what was built or installed here; DAQ_HOME stays
	@rm -rf .venv .node .engines web/node_modules web/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

system: ## Install the system packages that tests need (as root on Debian only)
	@.ci/system.sh

$(RUN_STAMP): requirements.lock setup.cfg .ci/venv.sh
	@.ci/venv.sh requirements.lock
	touch $@

$(DEV_STAMP): requirements-dev.lock setup.cfg .ci/venv.sh
	@.ci/venv.sh requirements-dev.lock
	touch $@ $(RUN_STAMP)

$(NODE_MODULES): web/package-lock.json web/package.json .ci/panel.sh .ci/node.sh .ci/node.lock | $(RUN_STAMP)
	@.ci/panel.sh install
	touch $@

$(PANEL_STAMP): $(NODE_MODULES) $(PANEL_SOURCES)
	@.ci/panel.sh build
	touch $@
