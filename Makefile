# `make` alone lists the targets. Needs Python 3.11 or newer, git and make; the first run needs a package index, later
# ones do not.
PYTHON ?= python3
JOBS ?= 2
PYTEST_ARGS ?=
TORTURE_ARGS ?=

PY := .venv/bin/python
CORE_AND_PLUGINS := -e . -e 'plugins/loafer_json[signature]' -e plugins/loafer_sentry -e 'plugins/loafer_sqs[sandbox]' -e examples/loafer_spool
DEV_GROUP := 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")'

# A stamp's name tells what was installed and where, so that neither a touched file nor a moved folder fools it.
checksum = $(shell (pwd; cat $(1)) | cksum | cut -d ' ' -f 1)
READY := .venv/.installed-$(call checksum,constraints.txt pyproject.toml plugins/*/pyproject.toml examples/*/pyproject.toml)
MINISTACK := .venvs/ministack/.installed-$(call checksum,constraints-ministack.txt)

# The scripts in a venv name its folder: after a move it is made anew.
venv = grep -qs ' $(CURDIR)/$(1)$$' $(1)/pyvenv.cfg || rm -rf $(1); $(PYTHON) -m venv $(1)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
PIP_INSTALL := -m pip install -qq --progress-bar off

.DEFAULT_GOAL := help
.PHONY: help install demo test check lint types imports cov faults torture wheels wheels-test fmt clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) $(MINISTACK) ## make .venv with the core, the plugins and the tools

demo: $(READY) ## run an example service on the embedded SQS: successes, failures, retries, dead letters
	@# One order is dead-lettered on purpose, and `run` says so with a 1.
	@.venv/bin/loafer run -c examples/shop/loafer.toml --sandbox --until-empty=60 \
	    --sample orders=examples/shop/orders.jsonl --sample returns=examples/shop/returns.jsonl || test $$? -eq 1

test: install ## run the whole test suite (PYTEST_ARGS="-k sqs" for a part of it)
	@$(PY) -m pytest -n $(JOBS) $(PYTEST_ARGS)

check: lint types imports cov ## everything a change must pass

lint: $(READY) ## ruff: rules and format
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: $(READY) ## mypy --strict on core, plugins and the typing examples
	@$(PY) -m mypy
	@$(PY) -m mypy tests/types

imports: $(READY) ## import-linter: who may import whom
	@# Without its cache, which keeps a wrong edge when a module appears that an unchanged file already imported.
	@.venv/bin/lint-imports --no-logo --no-cache

cov: ## the tests, with at least 95 % branch coverage of the core
	@$(MAKE) --no-print-directory test PYTEST_ARGS="--cov --cov-report=term --cov-fail-under=95 $(PYTEST_ARGS)"

faults: install ## real processes against an SQS with faults; minutes, not part of `check`
	@$(PY) -m pytest -n $(JOBS) tests/torture

torture: install ## kill, stop and freeze processes at random, then count what was lost (TORTURE_ARGS="--rounds 3")
	@$(PY) tests/torture/torture.py $(TORTURE_ARGS)

wheels: $(READY) ## build every distribution into dist/
	@rm -rf dist
	@for project in . plugins/*/; do $(PY) -m build -qq --no-isolation --wheel --outdir dist $$project || exit 1; done
	@ls dist

wheels-test: $(READY) ## install the built wheels into an empty venv and use them there (needs a package index)
	@$(PY) -m pytest tests/packaging -m wheels

fmt: $(READY) ## ruff: format, and mend what can be mended
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

clean: ## remove what make and the tools made, both venvs too
	rm -rf .venv .venvs dist .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Loafer needs Python 3.11 or newer; '$(PYTHON)' says: $$($(PYTHON) --version 2>&1)"; \
	    echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Making .venv with $$($(PYTHON) --version): the core, the plugins, the tools. Once; about a minute."
	@$(call venv,.venv)
	@$(PY) -c $(DEV_GROUP) | $(PY) $(PIP_INSTALL) -c constraints.txt $(CORE_AND_PLUGINS) -r /dev/stdin
	@rm -f .venv/.installed-* && touch $@

$(MINISTACK):
	@echo "Making .venvs/ministack, the SQS and SNS server that the integration tests start. Once; about 20 seconds."
	@$(call venv,.venvs/ministack)
	@.venvs/ministack/bin/python $(PIP_INSTALL) -c constraints-ministack.txt ministack
	@rm -f .venvs/ministack/.installed-* && touch $@
