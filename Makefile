# A newcomer's two commands are `make demo` and `make test`. Whatever needs the virtual environment makes it
# first, and makes it again if pyproject.toml or requirements.lock has changed. Another Python: make test PYTHON=python3.13

PYTHON ?= python3
ARGS ?=
JOBS ?= 3
PART ?=
AGAIN ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
FIRST := $(VENV)/first-release
UV := .venv-uv/bin/uv
UV_VERSION := 0.13.9
AZURITE := .azurite/node_modules/.bin/azurite-queue
PIP := -m pip --disable-pip-version-check --quiet
PYTEST := -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo demo-queue test test-full test-latest test-lowest test-variants check lock bench soak docs format clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s%s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## watch GenePlexus experiments run, be killed and go on (GENEPLEXUS_DATA=DIR for real data)
	$(BIN)/python demo/run.py

demo-queue: $(INSTALLED) ## watch jobs go through a queue of Azure Storage, in an emulator from npm (which is needed)
	@test -x $(AZURITE) || npm install --no-audit --no-fund --loglevel=error --prefix .azurite azurite@3
	AZURITE_QUEUE=$(AZURITE) $(BIN)/python demo/cloud_queue.py

test: $(INSTALLED) ## run the quick tests: at most 4 minutes (one of them: make test ARGS="-k name")
	$(BIN)/python $(PYTEST) -m "not slow and not soak and not bench" $(ARGS)

test-full: $(INSTALLED) $(FIRST)/.installed ## run all tests but soaks and measurements
	$(BIN)/python $(PYTEST) -m "not soak and not bench" $(ARGS)

test-latest: $(UV) ## run all tests on the newest versions that pyproject.toml allows, with new random examples
	$(call environment,.venv-latest,highest)
	HYPOTHESIS_PROFILE=random .venv-latest/bin/python $(PYTEST) -m "not soak and not bench" $(ARGS)

test-lowest: $(UV) ## run all tests on the lowest versions that pyproject.toml allows
	$(call environment,.venv-lowest,lowest-direct)
	.venv-lowest/bin/python $(PYTEST) -m "not soak and not bench" $(ARGS)

test-variants: $(INSTALLED) ## run the quick tests as other people start them: nohup, TZ, LANG, umask, a plain user, …
	JOBS="$(JOBS)" $(BIN)/python tests/variants.py $(ARGS)

check: $(INSTALLED) ## check format, lint, types, import contracts and sizes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy job_orchestration demo
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/test_house.py

lock: $(UV) ## choose the versions in requirements.lock anew, for Python 3.11 to 3.13
	$(UV) pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-annotate \
	  --upgrade --custom-compile-command "make lock" pyproject.toml --output-file requirements.lock

bench: $(INSTALLED) $(FIRST)/.installed ## measure beside other tools, and print the figures (one part: make bench PART=start)
	PART="$(PART)" AGAIN="$(AGAIN)" $(BIN)/python -m benchmarks

soak: $(INSTALLED) ## run the long form of the fault tests (one part: make soak PART=F7)
	PART="$(PART)" AGAIN="$(AGAIN)" $(BIN)/python tests/faults/soak.py

docs: ## write what is made from the code: the picture in docs/architecture.md, docs/config.md, the end of docs/tasks.md
	$(PYTHON) docs/make_pictures.py
	$(PYTHON) docs/make_reference.py

format: $(INSTALLED) ## format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what the commands above made
	-chmod -R u+w demo_workspace 2>/dev/null
	rm -rf $(VENV) .venv-uv .venv-latest .venv-lowest demo_workspace build dist .azurite
	rm -rf .hypothesis .pytest_cache .mypy_cache .ruff_cache .import_linter_cache job_orchestration.egg-info
	find job_orchestration demo tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment of the demo and the tests: exactly the versions in the lock, the build tool included.
$(INSTALLED): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); this takes a minute or two the first time."
	@$(BIN)/python $(PIP) install --require-hashes --requirement requirements.lock
	@$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# The release that this project grew from, to be measured beside it; kept apart from what is installed.
$(FIRST)/.installed: $(INSTALLED)
	@$(BIN)/python $(PIP) install --upgrade --no-deps --target $(FIRST) \
	  job-orchestration==0.0.7 fasteners==0.19 python-dateutil==2.9.0.post0 six==1.16.0 \
	  importlib-metadata==7.2.1 zipp==3.19.2 GitPython==3.1.46 gitdb==4.0.12 smmap==5.0.2
	@touch $@

# The tool that chooses versions, in an environment of its own.
$(UV):
	@test -x .venv-uv/bin/pip || $(PYTHON) -m venv .venv-uv
	@.venv-uv/bin/python $(PIP) install uv==$(UV_VERSION)

define environment
	$(UV) venv --quiet --seed --allow-existing --python $(PYTHON) $(1)
	$(UV) pip install --quiet --python $(1)/bin/python --upgrade --resolution $(2) --editable '.[geneplexus,dev]'
	$(UV) pip list --quiet --python $(1)/bin/python
endef
