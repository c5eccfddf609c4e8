# Every target makes the one .venv when it is missing; python3 (3.11 or newer) and make are all it needs.

SEED ?= 1
OUT ?= runs/demo
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow interop check bench docs

export DO_NOT_TRACK = 1
# Nothing here asks a hub: the miniature ships in the package.
demo test test-slow bench interop: export HF_HUB_OFFLINE = 1

help: ## show this list
	@awk -F ': .*## ' '/^[a-z-]+: .*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## the whole road on the miniature, offline (SEED=1 OUT=runs/demo)
	$(BIN)/spavl demo --seed $(SEED) --out $(OUT)

test: $(INSTALLED) ## the tests, and the ten slowest of them
	$(BIN)/pytest --durations=10

test-slow: $(INSTALLED) ## the tests that take minutes
	$(BIN)/pytest --durations=10 -m 'slow and not gpu and not interop'

# Each in a venv of its own: they ask for older libraries than spavl, and than each other.
# LLaMA-Factory needs torchaudio, and so a torch that torchaudio has been built for.
.interop/llamafactory/.installed: ASKS = llamafactory==0.9.5 torch==2.11.0 torchaudio==2.11.0 torchvision==0.26.0
.interop/ms-swift/.installed: ASKS = ms-swift==4.6.0
.interop/serving/.installed: ASKS = transformers[serving]==5.23.0 torch==2.13.0 pillow

.interop/%/.installed:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --disable-pip-version-check $(ASKS)
	@touch $@

interop: $(INSTALLED) .interop/llamafactory/.installed .interop/ms-swift/.installed .interop/serving/.installed ## load the exports in LLaMA-Factory and ms-swift, build against transformers serve (gigabytes)
	$(BIN)/pytest -m interop

check: $(INSTALLED) ## style, types, imports and the project's own gates
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m gates

bench: $(INSTALLED) ## every benchmark in turn, one JSON line each
	@set -e; for file in $(sort $(wildcard benchmarks/*.py)); do $(BIN)/python $$file; done

docs: $(INSTALLED) ## write the docs that are made from the code
	$(BIN)/python -m gates.write_docs

# The stamp is written last, so an interrupted install is begun again from nothing.
# Both variables are needed: newer pips read the second for the build's own packages, older ones the first.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "spavl needs Python 3.11 or newer, and $(PYTHON) is not."; \
	  echo "  next: install a newer one and name it: make $(or $(MAKECMDGOALS),test) PYTHON=python3.12"; \
	  exit 1; }
	@test -f $@ || { echo "making .venv (once, a few minutes)"; $(PYTHON) -m venv --clear .venv; }
	@rm -f $@
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	  $(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]'
	@touch $@
