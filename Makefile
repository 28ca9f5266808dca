# Needs Python 3.11 or newer and nothing else; everything is installed into .venv.
#   make run [ARGS='--port 9000 --data-dir /srv/keywright']   the whole server, with demo data
#   make test | lint | types | check | bench                  what CI runs, one by one or together

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes
export PIP_ROOT_USER_ACTION := ignore

.DEFAULT_GOAL := run
.PHONY: run test lint types check bench

# `exec`, so that a signal for make's child is one for the server; --stop-with, so that the server ends with make.
run: $(VENV)/.installed
	@exec $(BIN)/python manage.py quickstart --stop-with "$$PPID" $(ARGS)

test: $(VENV)/.installed-dev
	@exec $(BIN)/python -m pytest -n 2 $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

check: lint types
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(MAKE) --no-print-directory test

bench: $(VENV)/.installed-dev
	@exec $(BIN)/python -m tests.load $(ARGS)

# The stamp is written last: an installation that was interrupted is done again, on a new venv if pip is missing.
$(VENV)/.installed $(VENV)/.installed-dev: $(VENV)/.installed%: requirements%.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none was found (set PYTHON=...)." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		"$(PYTHON)" -c 'import ensurepip' 2>/dev/null || { \
			echo "Python's venv module is incomplete here: install it (Debian, Ubuntu: apt install python3-venv)." >&2; \
			exit 1; }; \
		echo "Making $(VENV)"; "$(PYTHON)" -m venv --clear $(VENV); }
	@echo "Installing $<"
	@$(PIP_INSTALL) -r $<
	@touch $@
