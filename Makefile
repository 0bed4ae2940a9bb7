# make demo: a virtual environment with what the demo needs, its audit, and the path of its report.
# make test: the same environment with the test tools, then lint, types and tests. make docs: the documentation as a site.
# make bench: all benchmarks, into docs/benchmarks; on a quiet machine; each says how long it took. ONLY="growth checks": some of them.

PYTHON ?= python3
VENV ?= .venv
VENV_ARGS ?=
WORKERS ?= 2

BIN := $(VENV)/bin
# Named by a hash of what decides the environment: installed again when that changes, and only then.
HASH := $(shell $(PYTHON) -c "import hashlib, pathlib; print(hashlib.sha256(b''.join(pathlib.Path(p).read_bytes() \
	for p in ('pyproject.toml', 'constraints.txt'))).hexdigest()[:16])")
STAMP := $(VENV)/.stamp-$(HASH)
DEMO_STAMP := $(VENV)/.stamp-demo-$(HASH)
# What is installed for everything is enough for the demo.
DEMO_NEEDS := $(if $(wildcard $(STAMP)),$(STAMP),$(DEMO_STAMP))

# One environment: two installs at once would write the same files.
.NOTPARALLEL:
.PHONY: demo test test-all lint docs bench clean

demo: $(DEMO_NEEDS)
	@$(BIN)/heatproof demo

test: lint
	@$(BIN)/python -m pytest -n $(WORKERS)

test-all: lint
	@$(BIN)/python -m pytest -n $(WORKERS) -m ""

docs: $(STAMP)
	@$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@$(BIN)/python benchmarks/all.py $(if $(ONLY),--only $(ONLY))

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

$(STAMP): EXTRA := test
$(DEMO_STAMP): EXTRA := demo

$(STAMP) $(DEMO_STAMP):
	@$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit('heatproof needs Python 3.11 or newer, \
	but ' + sys.executable + ' is ' + sys.version.split()[0] + '; name another: make PYTHON=python3.11 ...')"
	$(PYTHON) -m venv $(VENV_ARGS) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRA)]'
	@rm -f $(VENV)/.stamp-*
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
