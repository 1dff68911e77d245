# make venv | demo | test | check | bench NAME=x | clean.  Each does all the set-up that it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: venv demo test check bench clean

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || \
	  { echo "openwit needs Python 3.10 to 3.12, $(PYTHON) is $$($(PYTHON) --version 2>&1); try: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	@echo "installing into $(VENV) (about two minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# Compiled on all cores at once, which pip does one file after the other on one; what nothing here imports is left out.
	@$(BIN)/python -m compileall -q -j 0 -x '/(tests|sympy|networkx|databricks|pip|setuptools)/' $(VENV)/lib >/dev/null 2>&1 || true
	@touch $(STAMP)

demo: $(STAMP)
	@$(BIN)/openwit run demo

test: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadgroup --no-loadscope-reorder

check: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(STAMP)
	@test -f "infra/benchmarks/$(NAME).py" || \
	  { echo "make bench NAME=x: there is no infra/benchmarks/$(NAME).py; see infra/benchmarks/README.md" >&2; exit 2; }
	@$(BIN)/python infra/benchmarks/$(NAME).py

clean:
	@rm -rf $(VENV) runs
