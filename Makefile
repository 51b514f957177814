# `make demo` and `make test` do all set-up themselves; PYTHON picks the interpreter (>= 3.10).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint format bench clean

demo: $(VENV)/.run
	mkdir -p demo
	$(BIN)/edgepose-run --source sample --out demo/sample.mp4 --json demo/sample.jsonl
	@echo "See demo/sample.mp4 and demo/sample.jsonl"

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror csrc/*

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i csrc/*

bench: $(VENV)/.dev
	$(BIN)/python -m pytest benchmarks --benchmark-columns=median,iqr,rounds

# Editable, so that the kernel is built in place; again whenever its sources change.
SOURCES := pyproject.toml setup.py cuda_build.py $(wildcard csrc/*)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(SOURCES) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/.run

clean:
	rm -rf build dist *.egg-info edgepose/*.so demo $(VENV)
