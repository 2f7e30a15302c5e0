# `make demo` and `make test` do all the set-up themselves; see README.md.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
DATA := ../shared/data
# A file shares its servers. tests/conftest.py puts long files first.
BY_FILE := --dist loadfile --no-loadscope-reorder

# Real granules that some tests read; those tests skip, saying so, where there are none.
ifneq ($(wildcard $(DATA)/atl03_007_neon.parquet),)
export ZAGG_CATALOG_TEST_DATA ?= $(abspath $(DATA))
endif

.PHONY: help audit demo check test site lint unit test-large screenshots plain-install image newest-zagg bench pgstac env format constraints clean

help:
	@echo "make demo           offline: two maps by command, then all from a new cycle to gridded heights"
	@echo "make check          lint, types and the tests that start no server and kill nothing"
	@echo "make test           the checks and tests; none needs an account"
	@echo "make site           the documentation, in ./site; open site/index.html"
	@echo "make lint           ruff, mypy and docstrings only"
	@echo "make plain-install  install with plain pip and no pins, and build a map there"
	@echo "make test-large     the aggregations that take minutes and that no other target runs"
	@echo "make newest-zagg    the tests that use zagg, against the newest zagg that installs"
	@echo "make pgstac         fetch from stac-fastapi-pgstac on Debian's PostgreSQL (needs root)"
	@echo "make bench          zagg 0.61.0 and this in turn, on the same simulated data"
	@echo "make screenshots    the pictures of README and docs, of a simulated cycle"
	@echo "make image          build the image; without an engine, go through its steps here"
	@echo "make audit          licences of all packages, and known vulnerabilities (asks a service)"
	@echo "make env            the environment in $(VENV) only"

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt tools/make-env
	@tools/make-env $(VENV)

demo: $(STAMP)
	@$(BIN)/python -m flows.demo --maps-first

check: lint
	$(BIN)/python -m pytest -n 2 $(BY_FILE) -m "not slow and not integration"

test: lint unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/interrogate --quiet zagg_catalog

unit: $(STAMP)
	@tools/install-browser || echo "No Chromium: the tests of pages skip."
	@tools/install-postgresql || echo "No PostgreSQL: the tests of the whole chain skip."
	$(BIN)/python -m pytest -n 4 $(BY_FILE)  # most of its time a file waits for its servers

site: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

screenshots: $(STAMP)
	@tools/install-browser
	$(BIN)/python tools/make-screenshots

test-large: $(STAMP)
	$(BIN)/python -m pytest -m large --durations=0

plain-install:
	@tools/check-plain-install

image:
	@$$(tools/find-python) tools/make-image

newest-zagg:
	@tools/check-newest-zagg .venv-zagg

audit: $(STAMP)
	@tools/audit $(VENV)

bench: $(STAMP)
	$(BIN)/python benchmarks/bench.py

pgstac: $(STAMP)
	@tools/make-pgstac-env .venv-pgstac
	ZAGG_CATALOG_TEST_PGSTAC=1 $(BIN)/python -m pytest -m pgstac

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .venv-pgstac .venv-zagg .venv-audit demo site build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
