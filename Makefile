# The two main commands: `make gameday` (the incident on a real testbed) and `make test` (everything but the testbed).

VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
SOURCES := pyproject.toml kind-config.yaml README.md $(wildcard deploy/*.yaml) $(shell find chaosext experiments examples -type f -not -name '*.pyc')
KIND_TESTS ?= tests/kind
EXPERIMENT := experiments/control-plane-partition.yaml
SNAPSHOTS := $(addprefix examples/snapshots/,story.json mitigated.json larger.json.gz)

.DEFAULT_GOAL := help
.PHONY: help engine-or-root machine engine images needed-images rehearse gameday test quick lint unit browser-test trust kind-test bench oracle matrix site lock down clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

rehearse: $(VENV)/.installed ## Predict a cut for the bundled snapshots, in seconds: no cluster, no Docker, no root
	@for each in $(SNAPSHOTS); do \
	  echo "== $$each: every node loses the control plane for 8 minutes"; \
	  $(BIN)/chaosext rehearse --snapshot $$each --cut-for 8m || exit; echo; \
	done

gameday: engine-or-root machine $(VENV)/.installed engine needed-images ## Bring up the testbed, cut, heal, roll back, verify; exit code 0 if the incident was reproduced
	$(BIN)/chaosext testbed up --sidecars classic
	$(BIN)/chaosext run $(EXPERIMENT) --expect deviated

# Checked before anything is installed, so that a machine that cannot have a testbed fails at once.
engine-or-root:
	@[ "$$(id -u)" = 0 ] || docker info >/dev/null 2>&1 || { \
	  echo "chaosext: no Docker Engine answers, and only root can install one"; \
	  echo "     fix: apt-get install docker.io and join the group docker, or run make gameday as root"; exit 20; }

engine: $(VENV)/.installed ## Install and start Docker Engine if none answers (root on Debian or Ubuntu)
	$(BIN)/python -m hack.docker_engine

# PROFILE: full, or tools for the files that no registry provides; KUBERNETES: a minor version or a release, default 1.34;
# OUTPUT: a copy, as a directory or FILE.tar
PROFILE ?= full
images: $(VENV)/.installed ## Build the image bundle that `testbed up` uses if no registry answers: an hour the first time
	$(BIN)/python -m hack.images build --profile $(PROFILE) $(if $(KUBERNETES),--kubernetes $(KUBERNETES)) $(if $(OUTPUT),--output $(OUTPUT))

needed-images: $(VENV)/.installed | engine
	@$(BIN)/python -m hack.images build --profile auto >/dev/null

# What the tests' network namespaces and Python's venv need: installed as root on Debian or Ubuntu, else reported.
PACKAGES := python3:python3 python3-venv:ensurepip iproute2:ip nftables:nft openssl:openssl
trust: PACKAGES += faketime:faketime
machine:
	@missing=; for each in $(PACKAGES); do \
	  name=$${each%%:*}; tool=$${each##*:}; \
	  case $$tool in \
	    ensurepip) $(PYTHON) -c 'import ensurepip' 2>/dev/null || missing="$$missing $$name" ;; \
	    *) command -v $$tool >/dev/null || [ -x /usr/sbin/$$tool ] || missing="$$missing $$name" ;; \
	  esac; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing$$missing"; apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "missing:$$missing (apt-get install$$missing); tests that need them are skipped"; fi

test: machine lint unit ## Check style, types and layers; run all tests that need no testbed (root for network namespaces)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Two for each core: tests wait as long as they compute. In the order of `testpaths`, not by the number of tests in a
# module: tests/trust is the longest one, and must not begin last. EXAMPLES: of a property; lean, or thorough (each night)
EXAMPLES ?= lean
unit: $(VENV)/.installed
	$(BIN)/pytest -q -n $$(( 2 * $$(nproc) )) --dist loadfile --no-loadscope-reorder --hypothesis-profile=$(EXAMPLES)

# What starts processes, waits or computes for long is left to `make test`.
SLOW := cli cluster gameday gate hack nodes oracle sentinel testbed testing test_code_conventions.py run/test_own_rehearsal.py \
  run/monitor/test_sentinels.py rehearsal/predict/test_predict_recorded_runs.py
quick: $(VENV)/.installed ## The inner loop: check style and types, run the fast unit tests, in less than a minute
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q -n auto --dist loadfile tests/unit $(addprefix --ignore=tests/unit/,$(SLOW))

browser-test: PACKAGES += chromium:chromium
browser-test: machine $(VENV)/.installed ## Test the HTML report in Chromium: sizes, colour schemes, keyboard, accessibility
	$(BIN)/pytest -q tests/browser

trust: engine-or-root machine $(VENV)/.installed engine needed-images ## Measure every promise of docs/safety.md, row by row (under 30 minutes)
	$(BIN)/chaosext testbed up --sidecars classic
	$(BIN)/python -m tests.trust

kind-test: $(VENV)/.installed ## Run the tests that need a testbed (bring it up first)
	$(BIN)/pytest -q $(KIND_TESTS)

bench: $(VENV)/.installed ## Run the benchmarks on the testbed: ratios to baselines of the same run
	$(BIN)/python -m benchmarks

# ORACLE: e.g. --scenarios "1+3" --repeats 20 --jobs 4
oracle: $(VENV)/.installed ## Compare the rehearsal with a real control plane, scenario by scenario (docs/oracle.md)
	$(BIN)/python -m oracle $(ORACLE)

# MATRIX: e.g. --cells "flannel/*" --repeats 10
matrix: engine-or-root machine $(VENV)/.installed engine needed-images ## Play each architecture on a testbed, predicted beforehand, and write docs/architectures.md (hours)
	status=0; $(BIN)/chaosext matrix run $(MATRIX) || status=$$?; \
	$(BIN)/chaosext matrix page --output docs/architectures.md && exit $$status

site: $(VENV)/.installed ## Build the documentation as a website, in site/: links checked, no warnings
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

down: $(VENV)/.installed ## Remove the testbed; image bundles stay in the cache
	$(BIN)/chaosext testbed down

lock: $(VENV)/.tools ## Renew the lock files
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q pyproject.toml --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --extra dev --extra browser --extra docs --python-version 3.11 --generate-hashes \
	  --custom-compile-command "make lock" -c requirements.lock -o requirements-dev.lock

clean: ## Remove the virtual environment
	rm -rf $(VENV)

# The wheel is installed, not the checkout: the tests run what users get.
$(VENV)/.installed: $(VENV)/.tools $(SOURCES)
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --force-reinstall .
	@touch $@

$(VENV)/.tools: requirements-dev.lock | machine
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "chaosext needs Python 3.11 or newer: apt-get install python3, or make PYTHON=…"; exit 20; }
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear $(VENV) || \
	  { echo "chaosext needs Python's venv: apt-get install python3-venv"; exit 20; }
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
