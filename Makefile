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
	$(BIN)/intfit encode samples/photo.png -e 3 -o demo/photo.safetensors --force
	$(BIN)/intfit encode samples/photo.png --field siren -e 2 -o demo/siren.safetensors --force
	$(BIN)/intfit encode samples/music.wav -o demo/music.safetensors --force
	$(BIN)/intfit encode samples/shape.obj -e 1 -o demo/shape.safetensors --force
	$(BIN)/intfit decode demo/photo.safetensors --scale 2 -o demo/photo.2x.png --force
	$(BIN)/intfit view demo/photo.safetensors --against samples/photo.png \
	  demo/siren.safetensors --against samples/photo.png \
	  demo/music.safetensors --against samples/music.wav \
	  demo/shape.safetensors --against samples/shape.obj -o demo/index.html --force
	@echo
	@echo "A picture, a sound and a surface became four small files in demo/."
	@echo "Open demo/index.html in a browser: it shows each beside its original."

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
