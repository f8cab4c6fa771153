# A newcomer's two commands are `make demo` and `make test`. Whatever needs the virtual environment makes it
# first, and makes it anew when pyproject.toml has changed. Another Python: make test PYTHON=python3.13

PYTHON ?= python3
ARGS ?=
JOBS ?= 2
PART ?=
AGAIN ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
FIRST := $(VENV)/first-release

.DEFAULT_GOAL := help
.PHONY: help demo test check bench soak format clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s%s\n", $$1, $$2 }' Makefile

demo: $(INSTALLED) ## watch GenePlexus experiments run, be killed and go on (GENEPLEXUS_DATA=DIR for real data)
	$(BIN)/python demo/run.py

test: $(INSTALLED) $(FIRST)/.installed ## run all quick tests, two at a time (one of them: make test ARGS="-k name")
	$(BIN)/python -m pytest -m "not soak and not bench" -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(INSTALLED) ## format, lint, types, floors and sizes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy job_orchestration demo
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/unit/test_house.py

bench: $(INSTALLED) ## measure beside other tools, and print the figures (one part of them: make bench PART=start)
	PART="$(PART)" AGAIN="$(AGAIN)" $(BIN)/python -m benchmarks

soak: $(INSTALLED) ## the long form of the fault tests (one part of them: make soak PART=F7)
	PART="$(PART)" AGAIN="$(AGAIN)" $(BIN)/python tests/faults/soak.py

format: $(INSTALLED) ## format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove what the commands above made
	rm -rf $(VENV) demo_workspace build dist .hypothesis .pytest_cache .mypy_cache .ruff_cache
	rm -rf .import_linter_cache job_orchestration.egg-info
	find job_orchestration demo tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed. Name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV); this takes a minute or two the first time."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[geneplexus,dev]'
	@touch $@

# The release that this project grew from, to be measured beside it; kept apart from what is installed.
$(FIRST)/.installed: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --no-deps --target $(FIRST) \
	  job-orchestration==0.0.7 fasteners==0.19 python-dateutil==2.9.0.post0 six==1.16.0 \
	  importlib-metadata==7.2.1 zipp==3.19.2 GitPython==3.1.46 gitdb==4.0.12 smmap==5.0.2
	@touch $@
