# Everything a developer does, in one place. `make` alone prints the list.
.DEFAULT_GOAL := help
SHELL := /bin/sh

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.ready

# `make bench nexmark`, `make demo promotions`, `make test tests/engine`: words after the goal are its arguments.
ifneq (,$(filter bench demo test,$(firstword $(MAKECMDGOALS))))
WORDS := $(filter-out check bench demo test torture,$(wordlist 2,$(words $(MAKECMDGOALS)),$(MAKECMDGOALS)))
ifneq (,$(WORDS))
.PHONY: $(WORDS)
$(WORDS): ; @:
endif
endif

WORKERS ?= 2
SEED    ?= 1
MINUTES ?= 10

.PHONY: help demo test check bench torture lock clean venv

help:  ## print this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP)  ## make .venv from requirements.lock (the others do it by themselves)

$(STAMP): requirements.lock pyproject.toml scripts/make_venv.sh
	@sh scripts/make_venv.sh $(VENV)
	@touch $@

demo: $(STAMP)  ## start the promotion wall with a simulated day; `make demo billing`: billing analytics; Ctrl-C ends it
	@$(BIN)/headrace demo $(or $(WORDS),promotions) $(ARGS)

test: $(STAMP)  ## run the tests; `make test tests/engine` runs some of them
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not torture" $(WORDS) $(ARGS)

check: $(STAMP)  ## ruff, mypy --strict, the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(STAMP)  ## run benchmarks; `make bench nexmark ARGS="--durable"` runs one
	@ARGS='$(ARGS)' sh scripts/bench.sh $(BIN)/python $(WORDS)

torture: WORKERS = 3
torture: $(STAMP)  ## long random tests: make torture SEED=7 MINUTES=60; a third worker, as kills and disks wait
	@HEADRACE_TORTURE_SEED=$(SEED) HEADRACE_TORTURE_MINUTES=$(MINUTES) HYPOTHESIS_PROFILE=torture \
	  $(BIN)/python -m pytest -m torture -n $(WORKERS) --dist loadgroup -p no:randomly $(ARGS)

lock:  ## resolve pyproject.toml again and write requirements.lock (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	@uv pip compile pyproject.toml --group dev --universal --upgrade --no-annotate --no-header \
	  --no-emit-index-url --no-emit-find-links --quiet --output-file requirements.lock

clean:  ## remove .venv and everything that tools have cached
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	@find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
