# The few commands of the project; `make` alone lists them.

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
READY := .venv/.ready
NPM := tests/e2e/npm
PACKAGES := $(NPM)/node_modules/.ready
CLIENT := js/dist/index.js
BUNDLE := pushd/web/playground/client.js
PYTHON2 ?= python2.7
WSTEST := build/autobahn/bin/wstest
ATHERIS := build/atheris/.ready
SCHEMATHESIS := build/schemathesis/bin/schemathesis
# Tests wait for servers more than they compute, so three at a time keep two cores busy.
JOBS ?= 3
PYTEST := $(BIN)/pytest -n $(JOBS) --dist loadfile

# The lock names the public files of each package, never those of one machine.
unexport PIP_FIND_LINKS UV_FIND_LINKS

.DEFAULT_GOAL := help
.PHONY: help setup run test e2e packages js playground check format chaos fuzz fuzz-http bench bench-quick autobahn lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-11s  %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv from the lock

run: $(READY) ## start a server with two identities to play with
	@$(BIN)/pushdctl demo $(ARGS)

test: $(READY) ## run the tests; ARGS="-k stream" picks some, JOBS=0 runs one at a time
	@$(PYTEST) $(ARGS)

e2e: $(READY) $(PACKAGES) $(CLIENT) ## run the tests of whole programs and real npm packages
	@$(PYTEST) tests/e2e $(ARGS)

packages: $(PACKAGES) ## install the npm packages that tests talk with; needs node

js: $(CLIENT) ## build and test the TypeScript client; needs node
	@npm test --prefix js --silent

playground: js/node_modules/.ready ## bring the playground's client in step with js/; needs node
	@js/node_modules/.bin/esbuild pushd/web/playground/client.ts --outfile=$(BUNDLE) \
	  --bundle --minify --format=esm --target=es2022 --legal-comments=none --log-level=warning

check: $(READY) ## lint, formatting, types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

format: $(READY) ## let ruff put the code in order
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

chaos: $(READY) ## break servers and stores at random; ARGS="--seed 7 --schedules 1000"
	@$(BIN)/python -m tests.chaos $(ARGS)

bench: $(READY) ## measure memory, CPU and speed
	@$(BIN)/python -m bench $(ARGS)

bench-quick: $(READY) ## see whether a change made the server do more, in a minute
	@$(BIN)/python -m bench.guard $(ARGS)

fuzz: $(READY) $(ATHERIS) ## feed noise to every decoder, a minute each; ARGS="--seconds 5"
	@PYTHONPATH=$(dir $(ATHERIS)) $(BIN)/python -m tests.fuzz $(ARGS)

fuzz-http: $(READY) $(SCHEMATHESIS) ## ask a server what schemathesis makes up, ten minutes; ARGS="--seconds 60"
	@$(BIN)/python -m tests.fuzz.schemathesis $(SCHEMATHESIS) $(ARGS)

autobahn: $(READY) $(WSTEST) ## run Autobahn's fuzzing client; it needs a Python 2.7
	@$(BIN)/python -m tests.integration.autobahn $(WSTEST)

clean: ## remove .venv and every cache; the data of `pushdctl serve` stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis dist build
	rm -rf $(NPM)/node_modules js/node_modules js/dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the environment ------------------------------------------------------------------

$(READY): requirements-dev.lock pyproject.toml
ifdef UV
	@test -x $(BIN)/python || uv venv --quiet --python '>=3.11' .venv
	@uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	@uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(MAKE) --no-print-directory .venv
	@echo "Installing what requirements-dev.lock names, once..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $@

.PHONY: .venv
.venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pushd needs Python 3.11 or newer; name one with: make setup PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { test "$$(id -u)" = 0 && \
	  apt-get update -qq && apt-get install -qq -y python3-venv >/dev/null; } || { \
	  echo "This Python cannot make environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .venv

# No script of a package is run, not even when it is installed.
$(PACKAGES): $(NPM)/package.json $(NPM)/package-lock.json
	@echo "Installing what $(NPM)/package-lock.json names, once..."
	@npm ci --prefix $(NPM) --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

js/node_modules/.ready: js/package.json js/package-lock.json
	@echo "Installing what js/package-lock.json names, once..."
	@npm ci --prefix js --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(CLIENT): js/node_modules/.ready js/build.js $(wildcard js/tsconfig*.json) $(shell find js/src -name '*.ts')
	@npm run build --prefix js --silent
	@touch $@

# Autobahn's test suite never left Python 2; what builds its environment is pinned to match.
$(WSTEST):
	@$(PYTHON) -m venv build/virtualenv
	@build/virtualenv/bin/pip install --quiet virtualenv==20.21.1
	@build/virtualenv/bin/virtualenv --quiet --python $(PYTHON2) build/autobahn
	@build/autobahn/bin/pip install --quiet autobahntestsuite==25.10.1

# Not in the lock: it has no wheel for every platform, and nothing else needs it.
$(ATHERIS):
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(dir $@) atheris==3.0.0
	@touch $@

# In an environment of its own: it wants other releases of what the tests use.
$(SCHEMATHESIS):
	@$(BIN)/uv venv --quiet --python $(BIN)/python build/schemathesis
	@$(BIN)/uv pip install --quiet --python build/schemathesis/bin/python schemathesis==4.32.5

# --- the lock -------------------------------------------------------------------------

# One lock for every platform and every Python from 3.11: uv resolves them all together.
# What builds the project is locked as well, as `setup` installs without build isolation.
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
  --no-emit-find-links --annotation-style line --custom-compile-command "make lock"

define BUILD_REQUIRES
import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["build-system"]["requires"], sep="\n")
endef
export BUILD_REQUIRES

lock: ## bring both locks in step with pyproject.toml; ARGS=--upgrade takes what is new
	@test -x $(BIN)/uv || $(MAKE) --no-print-directory setup
	@$(COMPILE) $(ARGS) pyproject.toml -o requirements.lock >/dev/null
	@$(BIN)/python -c "$$BUILD_REQUIRES" | $(COMPILE) $(ARGS) -c requirements.lock \
	  --group dev pyproject.toml - -o requirements-dev.lock >/dev/null
