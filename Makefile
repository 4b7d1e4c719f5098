# The two commands: `make gameday` (the whole story on a real testbed) and `make test` (everything but the testbed).

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3)
SOURCES := pyproject.toml kind-config.yaml README.md $(shell find chaosext experiments -type f -not -name '*.pyc')
EXPERIMENT := experiments/control-plane-partition.yaml

.DEFAULT_GOAL := help
.PHONY: help engine-or-root gameday test lint unit kind-test bench lock down clean

help: ## What there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

gameday: engine-or-root $(VENV)/.installed ## Testbed up, cut, heal, roll back, verify; ends with 0 when the story was reproduced
	$(BIN)/chaosext testbed up
	$(BIN)/chaosext run $(EXPERIMENT) --expect deviated

# Asked before anything is installed, so that who can't have a testbed here hears it at once.
engine-or-root:
	@[ "$$(id -u)" = 0 ] || docker info >/dev/null 2>&1 || { \
	  echo "chaosext: no Docker Engine answers, and only root may install one"; \
	  echo "     fix: apt-get install docker.io and join the group docker, or run make gameday as root"; exit 20; }

test: lint unit ## Lint, types, layers; unit, property, network-namespace and crash tests (the last two as root)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.installed
	$(BIN)/pytest -q

kind-test: $(VENV)/.installed ## Tests on the real testbed, which must be up
	$(BIN)/pytest -q tests/kind

bench: $(VENV)/.installed ## Benchmarks on the real testbed: ratios against baselines of the same run
	$(BIN)/python -m benchmarks

down: $(VENV)/.installed ## Take the testbed away; what was built is kept in the cache
	$(BIN)/chaosext testbed down

lock: $(VENV)/.tools ## Renew the lock files
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q pyproject.toml --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --extra dev --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" -c requirements.lock -o requirements-dev.lock

clean: ## Remove the virtual environment
	rm -rf $(VENV)

# The wheel is installed, not the checkout: what is tested is what users get.
$(VENV)/.installed: $(VENV)/.tools $(SOURCES)
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --force-reinstall .
	@touch $@

$(VENV)/.tools: requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "chaosext needs Python 3.11: apt-get install python3.11 python3.11-venv, or make PYTHON=…"; exit 20; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv; } || \
	  { echo "chaosext needs Python's venv: apt-get install python3-venv"; exit 20; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
