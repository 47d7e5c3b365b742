# make demo   the whole product in a lab on this machine (ONCE=1: end after the walk)
# make test   everything, on a machine that never saw the project
# make bench  what the README's numbers were measured with
# make check  style and types only
#
# Each sets up what it needs: a virtual environment in .venv, and the programs of the operating
# system through apt where we are root or may sudo. PYTHON picks another interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_PACKAGES := nft:nftables ip:iproute2 unshare:util-linux dnsmasq:dnsmasq-base conntrack:conntrack udhcpc:udhcpc
TEST_PACKAGES := $(DEMO_PACKAGES) chromium:chromium chromedriver:chromium-driver openssl:openssl systemd-analyze:systemd

.PHONY: demo test bench check clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	@sh tests/programs.sh try $(DEMO_PACKAGES)
	@$(BIN)/portald demo $(if $(ONCE),--once)

test: $(VENV)/.test
	@sh tests/programs.sh need $(TEST_PACKAGES)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest $(ARGS)

bench: $(VENV)/.test
	@sh tests/programs.sh need $(DEMO_PACKAGES)
	@$(BIN)/python -m tests.bench $(ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit("portald needs Python 3.11 or newer; set PYTHON=") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh tests/programs.sh need python3-venv:python3-venv
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/pip
	@echo "Setting up $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/.demo
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/pip install --quiet --disable-pip-version-check --group dev
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
