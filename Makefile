# Everything runs in .venv, which `make` builds from pyproject.toml with any Python from 3.11 on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint format bench clean

demo: $(VENV)/installed
	$(BIN)/loadkit blast -c 10k -d 10s -o run.json

test: $(VENV)/installed
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict

format: $(VENV)/installed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One after the other: two measurements at once measure each other.
bench: $(VENV)/installed
	cd tests/bench && ../../$(BIN)/python recording.py
	cd tests/bench && ../../$(BIN)/python memory.py
	cd tests/bench && ../../$(BIN)/python throughput.py

$(VENV)/installed: pyproject.toml $(wildcard loadkit/engine/native/*.[ch])
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
