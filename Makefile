# make demo | test | test-opencl | test-cuda | test-all | check | bench. Each makes its environment first; repeated runs install nothing.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # two pips in one environment would fight

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help demo test test-opencl test-cuda test-all check bench clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

demo: $(VENV)/.demo ## parties train one model on data that none shows the other
	$(BIN)/hecore demo $(ARGS)

test: $(VENV)/.test ## the test suite
	$(BIN)/python -m pytest $(ARGS)

test-opencl: $(VENV)/.test-opencl ## the device backends on PoCL, an OpenCL device without a card
	HECORE_TEST_DEVICE=opencl $(BIN)/python -m pytest tests/backends tests/devices tests/kernels/device $(ARGS)

test-cuda: $(VENV)/.test-cuda ## the CUDA kernels compiled for two cards, none of which has to be here
	HECORE_TEST_CUBINS=1 $(BIN)/python -m pytest -m "slow or not slow" tests/backends/test_cuda_*.py tests/kernels/device/test_cubins.py tests/kernels/device/test_sass.py $(ARGS)

test-all: $(VENV)/.test ## the test suite with its slow, exhaustive part
	$(BIN)/python -m pytest -m "slow or not slow" $(ARGS)

check: $(VENV)/.dev ## format, lint, types and import arrows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench ## measure both schemes against the peers and against the machine's own limit
	$(BIN)/python -m hecore.bench $(ARGS)

clean: ## remove the environment and what builds left
	rm -rf $(VENV) build dist hecore.egg-info

# One stamp an extra: made again when the dependencies change.
$(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.version_info >= (3, 11) or sys.exit("hecore needs Python 3.11 or later: make PYTHON=/path/to/python3.11")'
	"$(PYTHON)" -m venv $(VENV)
