# demo and test do all their own set-up; nothing but Python 3.11+ and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two files of tests at a time, in the order of tests/conftest.py: the longest first.
TWO := -n 2 --dist loadfile --no-loadscope-reorder
INSTALLED := $(VENV)/.installed

.PHONY: demo test check prove prove-vllm install clean

demo: $(INSTALLED)
	$(BIN)/tutelage demo --out runs/demo --overwrite

# The suite: what CI runs.
test: $(INSTALLED)
	$(BIN)/python -m pytest $(TWO) -m "not prove"

# Three and a half minutes on two cores, where 90 seconds are the aim: format, lint, then types beside architecture and fast tests.
check: $(INSTALLED)
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests
	@$(BIN)/pyright & types=$$!; \
	$(BIN)/python -m pytest $(TWO) -m "not slow and not prove"; tests=$$?; \
	wait $$types && exit $$tests

# Long suites: run before a claim is written down.
prove: $(INSTALLED)
	$(BIN)/python -m pytest -m prove --timeout 14400

# The vLLM sampler on vLLM's CPU build, in an environment of its own (benchmarks/.peers/vllm, 4 GB).
prove-vllm: $(INSTALLED)
	python=$$($(BIN)/python benchmarks/setting.py vllm) && $$python -m pytest -m vllm tests/contracts/test_vllm.py

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tutelage needs Python 3.11 or newer; give one with: make PYTHON=python3.12 ..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
