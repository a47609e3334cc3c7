# `make demo` and `make test` first set up what they need, where that has not been done.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
TOOLS = $(VENV)/.tools
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint check clean

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("intfit needs Python 3.11 or later" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	@touch $@

$(TOOLS): $(READY)
	$(INSTALL) -e '.[dev]'
	@touch $@

demo: $(READY)
	@mkdir -p demo
	$(BIN)/intfit encode samples/photo.png -o demo/photo.png.safetensors --force
	$(BIN)/intfit decode demo/photo.png.safetensors -o demo/photo.2x.png --scale 2 --force
	$(BIN)/intfit info demo/photo.png.safetensors
	@echo
	@echo "samples/photo.png is now a network in demo/photo.png.safetensors,"
	@echo "and that network, rendered at twice the size, is demo/photo.2x.png"

test: $(TOOLS)
	$(BIN)/python -m pytest -n auto

lint: $(TOOLS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check: lint test

clean:
	rm -rf $(VENV) demo
