# symbp: `make demo` and `make test` do all their own set-up. They need Python 3.11, 3.12 or 3.13 and pip's registry.
#
#   make demo     compile a model, train it, show its equations
#   make test     ruff, mypy and every test
#   make gpu      check and time everything on an NVIDIA GPU
#
# PYTHON=python3.12 picks another interpreter; PYTEST_ARGS="-k lstm -x" goes to pytest, BENCH_ARGS="-w pinn -s 1"
# to the benchmarks, GPU_ARGS="--minutes 4 --only timing" to those on a GPU.

PYTHON ?= python3
VENV   ?= .venv
PYTEST_ARGS ?=
BENCH_ARGS  ?=
GPU_ARGS    ?=

BIN     := $(VENV)/bin
STAMPS  := $(VENV)/.symbp
# What the tests need: CUDA kernels are compiled, counted and emulated where there is no GPU.
EXTRAS_test := test,cuda-build
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint types unit quick format golden bench gpu wheel clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMPS)/demo  ## compile a model, train it, show its equations
	@$(BIN)/symbp demo

test: lint types unit  ## ruff, mypy and every test

lint: $(STAMPS)/test  ## ruff: rules and format
	@echo "==> ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMPS)/test  ## mypy, strict
	@echo "==> mypy"
	@$(BIN)/mypy

unit: $(STAMPS)/test  ## every test, in two processes
	@echo "==> pytest"
	@$(BIN)/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

quick: $(STAMPS)/test  ## the tests that take seconds
	@$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

format: $(STAMPS)/test  ## let ruff mend and format the tree
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

golden: $(STAMPS)/test  ## rewrite the golden modules and reports; read the diff before you commit it
	@$(BIN)/python -m pytest --update-golden $(PYTEST_ARGS)

bench: $(STAMPS)/bench  ## time every workload of benchmarks/ on an idle machine, beside PyTorch and JAX; twenty minutes
	@$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

gpu:  ## check and time everything on an NVIDIA GPU, within eight minutes; with the packages that PYTHON has
	@PYTHONPATH=. $(PYTHON) -m benchmarks.gpu.run $(GPU_ARGS)

wheel: $(STAMPS)/test  ## build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist

clean:  ## remove what was built; the environment stays (rm -r .venv for that)
	@rm -rf build dist .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -not -path "./$(VENV)/*" -prune -exec rm -rf {} +

# One stamp per extra, older than pyproject.toml exactly when the requirements may have changed.
$(STAMPS)/%: pyproject.toml | $(BIN)/python
	@echo "==> installing symbp[$(or $(EXTRAS_$*),$*)] into $(VENV) (once; a few minutes where wheels must be downloaded)"
	@$(BIN)/python -m pip install -qq --editable ".[$(or $(EXTRAS_$*),$*)]"
	@mkdir -p $(STAMPS) && touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "'$(PYTHON)' is not there: install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { echo "symbp needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name another: make PYTHON=python3.12" >&2; exit 1; }
	@echo "==> making $(VENV) with $$($(PYTHON) -V 2>&1)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "'$(PYTHON) -m venv' failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
