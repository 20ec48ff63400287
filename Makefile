# Every task of this repository; CI runs the same targets. Written for GNU make 3.81 and later.

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-integration test-servers bench fuzz docs check check-generated generate refresh-cases fmt wheels clean sync uv

# The interpreter for .venv and .tools, for example `make setup PYTHON=python3.12`.
PYTHON ?=
# More arguments for pytest or the benchmark, for example `make test ARGS="-k secrets"`.
ARGS ?=

# uv is the one on PATH, else a private copy in .tools.
UV_REQUIREMENT := uv>=0.8,<1
UV ?= $(shell command -v uv 2>/dev/null || echo "$(CURDIR)/.tools/bin/uv")
RUN := "$(UV)" run --project "$(CURDIR)" --no-sync
export UV_PYTHON_DOWNLOADS := never
# Each command starts a Python; without this the first to do so compiles, or all of them where
# PYTHONDONTWRITEBYTECODE is set.
export UV_COMPILE_BYTECODE := 1

# The benchmark and floe's peers live in an environment of their own, so that they do not come and
# go in .venv.
BENCH := .tools/bench

# Java and Spark are large, and only `make test-servers` needs them.
SERVERS := .tools/servers

# Generated files: make generate writes them, make check-generated compares.
SCHEMAS := packages/floe-core/src/floe_core/schemas/json
REFERENCE := docs/reference

# Sets the shell variable `python`, or ends with one sentence.
find_python = \
	for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11) ""; do \
	  if [ -z "$$python" ]; then \
	    echo "floe needs Python 3.11, 3.12 or 3.13, and $(if $(PYTHON),$(PYTHON) is none of them,none is on PATH): install one, or name it as in \`make setup PYTHON=/path/to/python3.12\`." >&2; \
	    exit 1; \
	  fi; \
	  "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1 && break; \
	done

generate_into = $(RUN) floe schema export --quiet --all $(1) && $(RUN) python -m floe_testing.reference $(2)

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: sync ## Create .venv with all packages and the tools to develop them
	@echo "Ready: \`. .venv/bin/activate\`, or put \`uv run\` before a command."

demo: sync ## Build a real data product of Iceberg tables, twice, and query it as it is and as it was
	cd demo/flights && $(RUN) python prepare.py --until 2013-06-30
	cd demo/flights && $(RUN) floe run --full-refresh
	cd demo/flights && date "+%Y-%m-%d %H:%M:%S" > data/half-year
	cd demo/flights && $(RUN) python prepare.py
	cd demo/flights && $(RUN) floe run
	cd demo/flights && $(RUN) floe query "select airline, flights, mean_arrival_delay, late_percent from airline_delays order by mean_arrival_delay desc limit 10"
	cd demo/flights && $(RUN) floe tables history main.airline_delays
	cd demo/flights && $(RUN) floe query "select count(*) as flights, max(flight_date) as last_day from flights"
	cd demo/flights && $(RUN) floe query "select count(*) as flights, max(flight_date) as last_day from flights" --at "$$(cat data/half-year)"
	cd demo/flights && $(RUN) floe trace --slowest 10
	cd demo/flights && $(RUN) floe lineage --output data/lineage.html
	@echo
	@echo "Where to look next:"
	@echo "  demo/flights/floe.yaml              what was built"
	@echo "  demo/flights/.floe/artifacts.json   what ran"
	@echo "  demo/flights/.floe/data/local       the tables, as any engine that reads Iceberg opens them"
	@echo "  demo/flights/data/lineage.html      where each table and column comes from, for a browser"
	@echo "  README.md                           how to start a product of your own"

test-integration: sync ## Run the tests that need servers, wheels or a long time; installs and starts servers
	$(RUN) pytest -m integration -n auto --dist loadfile packages testing $(ARGS)

test-servers: uv ## Run the tests on Nessie and Spark, which are fetched with Maven into .tools
	@UV_PROJECT_ENVIRONMENT=$(SERVERS) "$(UV)" sync --quiet --locked --group servers
	$(SERVERS)/bin/pytest -m servers testing/servers $(ARGS)

test: sync ## Run the tests, without those that need servers
	$(RUN) pytest -n auto --dist worksteal $(ARGS)

docs: sync ## Build the documentation site into dist/docs; a broken link fails
	$(RUN) sphinx-build --fail-on-warning --nitpicky --keep-going --quiet --builder html docs dist/docs
	@echo "Open dist/docs/index.html"

fuzz: sync ## Throw new random changes of valid files at floe; more with EXAMPLES=20000
	FLOE_FUZZ_EXAMPLES=$(or $(EXAMPLES),3000) $(RUN) pytest -n auto --timeout 3600 testing/tests/test_fuzz.py $(ARGS)

bench: sync ## Print what floe costs, as ratios to its peers; ARGS="--help" lists the options
	@UV_PROJECT_ENVIRONMENT=$(BENCH) "$(UV)" sync --quiet --locked --python .venv/bin/python --no-default-groups --group bench
	@$(BENCH)/bin/python -m floe_bench $(ARGS)

check: ## Lint, types, import directions, spelling, lock file and generated files
	@$(MAKE) sync
	"$(UV)" lock --check
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) lint-imports
	$(RUN) codespell
	@$(MAKE) check-generated

generate: sync ## Write the generated files anew: JSON Schemas and the reference pages
	$(call generate_into,$(SCHEMAS),$(REFERENCE))

check-generated: sync ## Check that `make generate` would change nothing
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(call generate_into,"$$fresh/schemas","$$fresh/reference") && \
	diff -ru $(SCHEMAS) "$$fresh/schemas" && diff -ru $(REFERENCE) "$$fresh/reference" || \
	{ echo "Generated files are out of date: run \`make generate\`." >&2; exit 1; }

refresh-cases: sync ## Write the expected output of the planted mistakes and the sessions anew
	FLOE_REFRESH_CASES=1 $(RUN) pytest -q -n auto -m "" packages/floe-cli/tests/test_cases.py packages/floe-cli/tests/test_sessions.py

fmt: sync ## Format the code and apply safe fixes
	$(RUN) ruff check --fix
	$(RUN) ruff format

wheels: uv ## Build the wheels into dist/
	@for package in packages/*/; do "$(UV)" build --quiet --wheel --out-dir dist "$$package" || exit 1; done
	@ls dist/*.whl

clean: ## Remove what builds and tools left behind; .venv, .tools and data stay
	rm -rf dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find packages testing demo -type d -name __pycache__ -prune -exec rm -rf {} +

# Quick when nothing changed. Fails, and says so, when uv.lock does not fit the pyproject files.
sync: uv
	@if [ -n "$(PYTHON)" ] || [ ! -x .venv/bin/python ]; then \
	  $(find_python); "$(UV)" sync --locked --python "$$python"; \
	else \
	  "$(UV)" sync --locked --quiet; \
	fi

uv:
	@command -v "$(UV)" >/dev/null || { \
	  $(find_python); \
	  echo "uv is not on PATH: installing a copy into .tools"; \
	  rm -rf .tools; \
	  if "$$python" -m venv .tools >/dev/null 2>&1; then \
	    .tools/bin/python -m pip install --quiet --disable-pip-version-check "$(UV_REQUIREMENT)"; \
	  else \
	    rm -rf .tools; \
	    "$$python" -m pip install --quiet --disable-pip-version-check --target .tools "$(UV_REQUIREMENT)"; \
	  fi || { rm -rf .tools; echo "uv could not be installed with $$python: install uv yourself and run make again." >&2; exit 1; }; \
	}
