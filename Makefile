# Everything runs in a virtual environment of its own, made from the pins in requirements.lock.
PYTHON  ?= $(shell command -v python3.11 || command -v python3)
V       ?= .venv
RUN_DIR ?= runs/grace_downscale

export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED = 0

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format bench clean

help:
	@echo "make install | demo | test | lint | format | bench | clean"

install: $(V)/.stamp

# --no-build-isolation: setuptools comes from the lock too, and nothing else is fetched
$(V)/.stamp: requirements.lock pyproject.toml
	test -x $(V)/bin/python || $(PYTHON) -m venv $(V)
	$(V)/bin/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(V)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

demo: $(V)/.stamp
	$(V)/bin/python pipelines/grace_downscale.py --run-dir $(RUN_DIR)
	@echo "report: $(abspath $(RUN_DIR))/report.html"

test: $(V)/.stamp
	$(V)/bin/python -m pytest

lint: $(V)/.stamp
	$(V)/bin/ruff check .
	$(V)/bin/ruff format --check .
	$(V)/bin/lint-imports

format: $(V)/.stamp
	$(V)/bin/ruff check --fix .
	$(V)/bin/ruff format .

bench: $(V)/.stamp
	$(V)/bin/python bench/overhead.py
	$(V)/bin/python bench/training.py
	$(V)/bin/python bench/ingest.py
	$(V)/bin/python bench/superres.py
	$(V)/bin/python bench/land.py
	$(V)/bin/python bench/land_fit.py
	$(V)/bin/python bench/routing.py
	$(V)/bin/python bench/stellar.py

clean:
	rm -rf $(V) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .import_linter_cache
