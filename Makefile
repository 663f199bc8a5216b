# `make` alone lists the targets. Needs Python 3.11 or newer, git and make; the first run needs a package index, later
# ones do not.
PYTHON ?= python3
# What `make matrix` runs: of those on PATH the ones that start (a pyenv shim of a version that is not active does not).
PYTHONS ?= $(shell for python in $(sort $(notdir $(wildcard $(addsuffix /python3.[1-9][0-9],$(subst :, ,$(PATH)))))); do \
    if $$python $(NEW_ENOUGH); then echo $$python; fi; done)
# Twice as many as cores here: many tests wait for leases, processes and polls.
JOBS ?= 4
PYTEST_ARGS ?=
TORTURE_ARGS ?=
MUTANTS_ARGS ?=
NUMBERS_ARGS ?=
COST_ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
CORE_AND_PLUGINS := -e . -e 'plugins/loafer_json[signature]' -e plugins/loafer_rabbitmq -e plugins/loafer_sentry -e 'plugins/loafer_sqs[sandbox]' -e examples/loafer_spool
DEV_GROUP := 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")'

# A stamp's name tells what was installed and where, so that neither a touched file nor a moved folder fools it.
checksum = $(shell (pwd; cat $(1)) | cksum | cut -d ' ' -f 1)
READY := $(VENV)/.installed-$(call checksum,constraints.txt pyproject.toml plugins/*/pyproject.toml examples/*/pyproject.toml)
MINISTACK := .venvs/ministack/.installed-$(call checksum,constraints-ministack.txt)

# The scripts in a venv name its folder: after a move it is made anew.
venv = grep -qs ' $(CURDIR)/$(1)$$' $(1)/pyvenv.cfg || rm -rf $(1); $(PYTHON) -m venv $(1)

BENCH := .venvs/bench-loafer/bin/python -m bench

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
PIP_INSTALL := -m pip install -qq --progress-bar off

.DEFAULT_GOAL := help
.PHONY: help install demo test matrix check lint types imports cov faults torture mutants numbers bench bench-quick cost profile wheels wheels-test readmes pictures surface fmt clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) $(MINISTACK) ## make .venv with the core, the plugins and the tools

demo: $(READY) ## run an example service on the embedded SQS: successes, failures, retries, dead letters
	@# One order is dead-lettered on purpose, and `run` says so with a 1.
	@$(VENV)/bin/loafer run -c examples/shop/loafer.toml --sandbox --until-empty=60 \
	    --sample orders=examples/shop/orders.jsonl --sample returns=examples/shop/returns.jsonl || test $$? -eq 1

test: install ## run the whole test suite (PYTEST_ARGS="-k sqs" for a part of it)
	@$(PY) -m pytest -n $(JOBS) $(PYTEST_ARGS)

matrix: ## the same on every Python from 3.11 on that is on PATH (PYTHONS="python3.11 python3.13": on these)
	@for python in $(PYTHONS); do \
	    $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venvs/$${python##*/} && word=passed || word=failed; \
	    words="$$words $$python $$word"; \
	done; \
	printf '%s: %s\n' $${words:-"no Python from 3.11 on" "not found"}; \
	case "$$words" in ""|*" failed"*) exit 1; esac

check: lint types imports cov ## everything a change must pass

lint: $(READY) ## ruff: rules and format
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: $(READY) ## mypy --strict on core, plugins and the typing examples
	@$(PY) -m mypy
	@$(PY) -m mypy tests/types

imports: $(READY) ## import-linter: who may import whom
	@# Without its cache, which keeps a wrong edge when a module appears that an unchanged file already imported.
	@$(VENV)/bin/lint-imports --no-logo --no-cache

cov: ## the tests, with at least 95 % branch coverage of the core
	@$(MAKE) --no-print-directory test PYTEST_ARGS="--cov --cov-report=term --cov-fail-under=95 $(PYTEST_ARGS)"

faults: install ## only the tests of real processes against an SQS with faults (LOAFER_COUNTS=full: ten minutes)
	@$(PY) -m pytest -n $(JOBS) tests/torture

torture: install ## kills, freezes and stops at random, the faults at full counts, 100,000 simulated worlds: about 40 minutes
	@$(PY) tests/torture/torture.py $(TORTURE_ARGS)

mutants: $(READY) ## dispatchers with one thing wrong, each of which a test must notice; three minutes
	@$(PY) tests/torture/mutants.py $(MUTANTS_ARGS)

numbers: $(READY) ## measure what docs/explanation/numbers.md says, as Markdown; fifteen minutes
	@$(PY) tests/torture/numbers_page.py $(NUMBERS_ARGS)

bench-quick: ## Loafer beside raw loops: a table of ratios, with the targets; two minutes on two quiet cores
	@$(PYTHON) -m bench.venvs loafer
	@$(BENCH) quick

bench: ## the same with peers, growth curves and a million messages: an hour; the peers need a package index once
	@$(PYTHON) -m bench.venvs loafer
	@$(PYTHON) -m bench.venvs
	@$(BENCH) full

cost: $(READY) ## instructions of the core alone for one message (COST_ARGS="--against HEAD"); two minutes, with valgrind
	@$(PY) -m bench cost $(COST_ARGS)

profile: ## where the CPU of `loafer run` goes under load, by module
	@$(PYTHON) -m bench.venvs loafer
	@$(BENCH) profile

wheels: $(READY) ## build every distribution into dist/
	@rm -rf dist
	@for project in . plugins/*/; do $(PY) -m build -qq --no-isolation --wheel --outdir dist $$project || exit 1; done
	@ls dist

wheels-test: $(READY) ## install the built wheels into an empty venv and use them there (needs a package index)
	@$(PY) -m pytest tests/packaging -m wheels

readmes: $(READY) ## write the options of our plugins into their READMEs anew
	@for readme in plugins/*/README.md examples/loafer_*/README.md; do $(VENV)/bin/loafer plugins docs --into $$readme || exit 1; done

pictures: $(READY) ## draw the pictures and the list of files of docs/explanation/architecture.md from the code
	@$(PY) docs/pictures.py

surface: $(READY) ## write down the public surface anew, after a change that is meant
	@$(PY) tests/packaging/surface.py > tests/packaging/surface.new
	@mv tests/packaging/surface.new tests/packaging/surface.txt

fmt: $(READY) ## ruff: format, and mend what can be mended
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

clean: ## remove what make and the tools made, all venvs too
	rm -rf .venv .venvs dist .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

$(READY):
	@$(PYTHON) $(NEW_ENOUGH) || { \
	    echo "Loafer needs Python 3.11 or newer; '$(PYTHON)' says: $$($(PYTHON) --version 2>&1)"; \
	    echo "Name another one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version): the core, the plugins, the tools. Once; about a minute."
	@$(call venv,$(VENV))
	@$(PY) -c $(DEV_GROUP) | $(PY) $(PIP_INSTALL) -c constraints.txt $(CORE_AND_PLUGINS) -r /dev/stdin
	@rm -f $(VENV)/.installed-* && touch $@

$(MINISTACK):
	@echo "Making .venvs/ministack, the SQS and SNS server that the integration tests start. Once; about 20 seconds."
	@$(call venv,.venvs/ministack)
	@.venvs/ministack/bin/python $(PIP_INSTALL) -c constraints-ministack.txt ministack
	@rm -f .venvs/ministack/.installed-* && touch $@
