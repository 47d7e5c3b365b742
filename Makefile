# make demo   the whole product in a lab on this machine (ONCE=1: end after the walk)
# make test   everything, on a machine that never saw the project
# make bench  what the README's numbers were measured with
# make reliability  everything that may go wrong, on every backend, with the figures of docs/reliability.md
# make check  style and types only
# make install  on a gateway, as root: /opt/portald, the units, a settings file to start from
#
# Each sets up what it needs: a virtual environment in .venv, and the programs of the operating
# system through apt where we are root or may sudo. PYTHON picks another interpreter.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_PACKAGES := nft:nftables ip:iproute2 unshare:util-linux dnsmasq:dnsmasq-base conntrack:conntrack udhcpc:udhcpc
TEST_PACKAGES := $(DEMO_PACKAGES) chromium:chromium chromedriver:chromium-driver openssl:openssl systemd-analyze:systemd systemd-nspawn:systemd-container lua5.4:lua5.4 gammu-smsd:gammu-smsd faketime:faketime iptables:iptables ipset:ipset iodine:iodine

# Their packages start a service at once: they are unpacked into $(VENV), not installed.
TEST_SERVICES := nginx:nginx NetworkManager:network-manager dbus-daemon:dbus-daemon kea-dhcp4:kea-dhcp4-server kea-dhcp6:kea-dhcp6-server
# Debian 12 has a radvd that does not know RFC 8910 yet.
NEWER := trixie radvd libc6

PREFIX ?= /opt/portald
DESTDIR ?=

.PHONY: demo test bench reliability check install clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	@sh tests/programs.sh try $(DEMO_PACKAGES)
	@$(BIN)/portald demo $(if $(ONCE),--once)

test: $(VENV)/.test
	@sh tests/programs.sh need $(TEST_PACKAGES)
	@sh tests/programs.sh unpack $(VENV)/programs $(TEST_SERVICES)
	@sh tests/programs.sh newer $(VENV)/newer $(NEWER)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(VENV)/.test
	@sh tests/programs.sh need $(DEMO_PACKAGES)
	@$(BIN)/python -m tests.bench $(ARGS)

reliability: $(VENV)/.test
	@sh tests/programs.sh need $(TEST_PACKAGES)
	@$(BIN)/python -m tests.reliability $(ARGS)

check: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

install:
	@$(PYTHON) -c 'import sys; sys.exit("portald needs Python 3.11 or newer; set PYTHON=") if sys.version_info < (3, 11) else None'
	@test -n "$(DESTDIR)" || $(PYTHON) -c 'import os, sys; p = os.path.realpath(sys.executable); sys.exit(f"{p} is in a home directory, which the units may not read; set PYTHON=/usr/bin/python3") if p.startswith(("/root/", "/home/")) else None'
	@sh tests/programs.sh need nft:nftables ip:iproute2 conntrack:conntrack
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh tests/programs.sh need python3-venv:python3-venv
	$(PYTHON) -m venv $(DESTDIR)$(PREFIX)
	$(DESTDIR)$(PREFIX)/bin/python -m pip install --quiet --disable-pip-version-check .
	@# A virtual environment knows where it was made; it will be used without DESTDIR.
	@test -z "$(DESTDIR)" || grep -rlIF "$(DESTDIR)$(PREFIX)" $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/pyvenv.cfg | xargs -r sed -i 's|$(DESTDIR)$(PREFIX)|$(PREFIX)|g'
	install -d $(DESTDIR)/etc/portald $(DESTDIR)/etc/systemd/system $(DESTDIR)/usr/local/bin
	install -d $(DESTDIR)/etc/sysusers.d $(DESTDIR)/etc/tmpfiles.d
	install -m 644 systemd/*.service systemd/*.socket $(DESTDIR)/etc/systemd/system
	install -m 644 systemd/portald.sysusers $(DESTDIR)/etc/sysusers.d/portald.conf
	install -m 644 systemd/portald.tmpfiles $(DESTDIR)/etc/tmpfiles.d/portald.conf
	ln -sf $(PREFIX)/bin/portald $(PREFIX)/bin/portald-firewall $(PREFIX)/bin/portalctl $(DESTDIR)/usr/local/bin
	test -e $(DESTDIR)/etc/portald/portald.toml || install -m 640 docs/portald.toml $(DESTDIR)/etc/portald/portald.toml
ifeq ($(DESTDIR),)
	systemd-sysusers
	systemd-tmpfiles --create portald.conf
	chgrp portald /etc/portald /etc/portald/portald.toml
	chmod 750 /etc/portald
	systemctl daemon-reload
	@echo "Now edit /etc/portald/portald.toml, then: portalctl check && systemctl enable --now portald-firewall portald"
endif

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
