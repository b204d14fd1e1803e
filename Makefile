# make demo   set everything up and watch a small model get better (about 3 minutes on 2 cores)
# make test   set everything up and run the tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo test test-all lint types docs primer clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tutelage needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make install PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[train,parquet,math,synthesis,dev]'
	@touch $@

demo: install
	$(BIN)/tutelage demo

test: install
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

test-all: install
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: install
	$(BIN)/ruff check src tests benchmarks docs

types: install
	$(BIN)/mypy

docs: install
	$(BIN)/python docs/generate.py

primer: install
	$(BIN)/python -m tutelage.primer.build

clean:
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache
