# Everything that is done to this repository. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

# The locked packages come from the registry; an interpreter never does.
export UV_PYTHON_DOWNLOADS := never
export SAM_CLI_TELEMETRY := 0

BIN := .venv/bin
SETUP := .venv/.made-at

.PHONY: help setup demo test chaos chaos-guards chaos-lake chaos-lake-guards chaos-real lint type format validate build build-host
.PHONY: build-platform
.PHONY: deploy bench clean spark

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 20

setup: $(SETUP) ## Make .venv with the headrace command and every tool, from uv.lock
	@:

# The stamp holds the place that .venv was made for: after a move its scripts still start the old one.
MOVED := $(if $(filter $(CURDIR),$(shell cat $(SETUP) 2>/dev/null)),,moved)
$(SETUP): uv.lock pyproject.toml layers/streaming/pyproject.toml layers/iceberg/pyproject.toml emulator/pyproject.toml scripts/setup $(MOVED)
	@scripts/setup

.PHONY: moved
moved:

demo: setup ## Run the whole application on this machine and audit what came out
	$(BIN)/headrace demo

test: setup build-host ## Run all tests (a file at a time on up to four processors)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

SEEDS ?= 500
SEED0 ?= 0
chaos: setup ## Run the pipeline through SEEDS seeded schedules of failures, from seed SEED0 on
	@PYTHONPATH=tests $(BIN)/python -m chaos.run --seeds '$(SEEDS)' --seed0 '$(SEED0)' $(if $(WITHOUT),--without '$(WITHOUT)')

chaos-lake: setup ## Land, commit to Iceberg, compact and expire at once, SEEDS schedules of it, from seed SEED0 on
	@PYTHONPATH=tests $(BIN)/python -m chaos.run_lake --seeds '$(SEEDS)' --seed0 '$(SEED0)' $(if $(WITHOUT),--without '$(WITHOUT)')

chaos-guards: setup ## Leave out each clause of the protocol in turn: how many schedules until that shows
	@PYTHONPATH=tests $(BIN)/python -m chaos.run_guards

chaos-lake-guards: setup ## The same for the clauses of the Iceberg tables; two minutes
	@PYTHONPATH=tests $(BIN)/python -m chaos.run_lake --guards

chaos-real: setup ## Break the application on real parts, MINUTES=5 SEED=0 BROKERS=1 (or 3); needs Java and Maven
	@PYTHONPATH=tests $(BIN)/python -m chaos.real \
		--minutes '$(or $(MINUTES),5)' --seed '$(or $(SEED),0)' --brokers '$(or $(BROKERS),1)'

spark: setup ## Read Iceberg tables with Spark as well; needs Java and Maven, fetches 500 MB at first
	$(BIN)/python -m pytest -m spark tests/integration/test_iceberg_spark.py

lint: setup ## Check style and formatting
	$(BIN)/ruff check --output-format concise
	$(BIN)/ruff format --check

format: setup ## Format the sources
	$(BIN)/ruff format
	$(BIN)/ruff check --fix-only --quiet

type: setup ## Check types
	$(BIN)/mypy

validate: setup ## Translate the template as deployed and lint the result; check the schemas
	$(BIN)/python scripts/validate.py

build: setup ## Build for Lambda (python3.13, arm64 and x86_64) and for this machine
	$(BIN)/python scripts/build.py arm64 x86_64 host

build-host: setup ## Build for this machine only: what the real-runtime mode runs
	@$(BIN)/python scripts/build.py host --no-report

build-platform: setup ## Build the platform's functions (the cluster's stack)
	env -u MAKEFLAGS -u MAKELEVEL $(BIN)/sam build --config-file provisioning/samconfig.toml

deploy: setup ## Deploy ENV=dev or prod, platform first; DRY_RUN=1 shows the plan and stops
	@$(BIN)/python scripts/deploy.py $(if $(DRY_RUN),--dry-run )-- '$(ENV)'

bench: setup ## Measure the handlers beside others (JSON lines), all of it or ONLY=nexmark; about five minutes
	@$(BIN)/python scripts/build.py host --no-report >&2
	@$(BIN)/python tests/benchmark/run.py $(if $(ONLY),--only '$(ONLY)')

clean: ## Remove what was built, never .venv
	rm -rf .aws-sam .mypy_cache .pytest_cache .ruff_cache .hypothesis
