# Two commands matter: `make demo` and `make test`. Both set up what they need in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
DEMO ?= demo
JOBS ?= 2
XVFB = $(shell command -v xvfb-run >/dev/null 2>&1 && echo 'xvfb-run -a -s "-screen 0 1280x1024x24"')

.PHONY: help demo test test-slow lint bench docs clean
help:
	@echo "make demo       write a sample acquisition, reconstruct it, say where the report is"
	@echo "make test       format, types and the default test suite, JOBS=2 files at a time"
	@echo "make test-slow  the tests that take longer"
	@echo "make bench      benchmarks beside the named peers"
	@echo "make docs       parameter reference from the stages"
	@echo "make clean      remove .venv and demo"

$(VENV)/run.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "fibtomo needs Python 3.11 or newer; $(PYTHON) is older. Set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) lacks venv: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/run.stamp
	rm -rf $(DEMO)
	$(BIN)/fibtomo sample nanoporous-silver $(DEMO)/slices
	$(BIN)/fibtomo info $(DEMO)/slices
	$(BIN)/fibtomo run $(DEMO)/slices -o $(DEMO)/result -p nanoporous-metal
	@echo "Open $(DEMO)/result/report.html in a browser."

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(XVFB) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow and not gpu"

test-slow: $(VENV)/dev.stamp
	$(XVFB) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "slow and not gpu"

bench: $(VENV)/dev.stamp
	@for file in benchmarks/*.py; do echo "== $$file"; env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(BIN)/python $$file || exit 1; done

docs: $(VENV)/run.stamp
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_figures.py

clean:
	rm -rf $(VENV) $(DEMO)
