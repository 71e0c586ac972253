# One target for each job; `make help` lists them. Every target first creates the environment, if it is missing or old.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
# Libraries are compiled when they are first imported; if the result were not stored, every process would compile them.
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help reset seed migrate inspect class doctor upgrade backup restore cohort account prisma export distribute studio lab chromium test harm lint bench notebooks lock lint-js

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' Makefile

# make only compares file times. They don't show whether the checkout was moved, its Python removed, or a Python given
# with PYTHON=; in these cases tools/make_env.py checks what the environment was created from.
stale := $(shell [ -x .venv/bin/python ] || echo python; \
	case "$$(readlink .venv)" in (.venvs/*) [ "$$(cat .venv/done)" = "$(CURDIR)" ] || echo moved;; esac)
.venv/done: requirements.lock pyproject.toml $(if $(stale)$(filter-out file,$(origin PYTHON)),.stale)
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@"$(PYTHON)" tools/make_env.py
.stale:

reset: .venv/done ## drop everything and build the known-good database
	@$(BIN)/pharmdb reset

seed: .venv/done ## create what is missing from the seed; safe to repeat
	@$(BIN)/pharmdb seed

migrate: .venv/done ## apply all pending revisions
	@$(BIN)/pharmdb migrate

inspect: .venv/done ## show tables, progress, history and charts, in a run file
	@$(BIN)/pharmdb inspect

class: .venv/done ## show how a class learns, what is difficult and who needs help
	@$(BIN)/pharmdb class

doctor: .venv/done ## check everything and name the remedy
	@$(BIN)/pharmdb doctor

upgrade: .venv/done ## copy an old Prisma database (PHARMDB_SOURCE) to the current schema
	@$(BIN)/pharmdb upgrade

backup: .venv/done ## back up the database to data/backups
	@$(BIN)/pharmdb backup

restore: .venv/done ## restore the newest backup
	@$(BIN)/pharmdb restore

cohort: .venv/done ## add a thousand synthetic learners; safe to repeat
	@$(BIN)/pharmdb cohort

account: .venv/done ## list the accounts, administrators first
	@$(BIN)/pharmdb account

prisma: .venv/done ## the application's schema.prisma, and what goes with it
	@$(BIN)/pharmdb prisma

export: .venv/done ## write the database to Parquet files in data/exports
	@$(BIN)/pharmdb export

distribute: .venv/done ## show what the move onto a Citus cluster would do
	@$(BIN)/pharmdb distribute

studio: .venv/done ## browse and edit the database at http://localhost:5555
	@$(BIN)/pharmdb studio

lab: .venv/done ## open the notebooks in JupyterLab
	@# Who starts them from the checkout trusts them; as root, JupyterLab asks to be told so.
	@$(BIN)/jupyter trust notebooks/*.ipynb >/dev/null
	@$(BIN)/jupyter lab --notebook-dir=notebooks $$([ "$$(id -u)" != 0 ] || echo --allow-root)

chromium: ## install the browser for the tests, from Debian's packages
	@for name in chromium-headless-shell chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; apt-get update -qq; \
		for name in chromium-headless-shell chromium; do \
			apt-get install -qq -y --no-install-recommends $$name >/dev/null && exit 0; \
		done; exit 1; \
	else echo "no Chromium, and it can't be installed without root and apt-get: the browser tests are skipped"; fi

# Three on two cores: now and then one of them waits.
test: .venv/done chromium ## run all tests, on SQLite and PostgreSQL
	@$(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder

harm: .venv/done ## run the harm tests with full counts
	@PHARMDB_HARM_ROUNDS=50 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder tests/harm

lint: .venv/done ## check formatting, ruff, mypy, spelling, notebooks and JavaScript
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy
	@git ls-files -z | xargs -0 $(BIN)/codespell
	@$(BIN)/python tools/check_notebooks.py notebooks/*.ipynb
	@# The studio's scripts have their own linter.
	@$(MAKE) --no-print-directory lint-js

bench: .venv/done ## measure everything, and write the figures to docs/performance.md (an hour and 20 GB)
	@$(BIN)/python -m benchmarks

notebooks: .venv/done ## rerun the notebooks and store their outputs, and the studio's screenshots
	@PYTHONPATH=.:tests $(BIN)/python tools/store_outputs.py
	@PYTHONPATH=.:tests $(BIN)/python tools/store_pictures.py

lock: .venv/done ## update requirements.lock from pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --output-file requirements.lock pyproject.toml

node_modules/.package-lock.json: package-lock.json
	@npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null && touch $@

lint-js: ## check the studio's scripts and style sheet with Biome (needs npm)
	@if command -v npm >/dev/null; then $(MAKE) -s node_modules/.package-lock.json && npx --no-install biome ci; \
	else echo "npm is missing: the studio's scripts are not checked"; test -z "$$CI"; fi
