"""portald-firewall: the privileged process, small enough to read in one sitting.

It holds CAP_NET_ADMIN and nothing else: no database, no secrets, no web, no internet.
"""

from __future__ import annotations

import argparse
import logging
import pwd
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from portald import __version__, config
from portald.errors import ConfigError, FirewallError, PortaldError
from portald.firewall.memory import MemoryFirewall
from portald.firewall.nftables import NftFirewall
from portald.firewall.server import Server
from portald.ports import Firewall
from portald.system import fail, notify, our_files, set_up_logs, unix_listener

log = logging.getLogger("portald.firewall")


class Backend(Firewall, Protocol):
    """A firewall of this machine."""

    def check(self) -> None:
        """Raise ``FirewallError`` if it cannot work here, changing nothing."""

    def teardown(self) -> None:
        """Take everything out; nothing happens if nothing is in."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="portald-firewall",
        description="The privileged half of portald: puts grants into nftables and nothing else.",
    )
    parser.add_argument("--config", type=Path, default=config.DEFAULT_PATH, metavar="FILE")
    parser.add_argument(
        "--remove", action="store_true", help="take all rules out, which opens the gateway, and end"
    )
    parser.add_argument("--version", action="version", version=__version__)
    options = parser.parse_args(arguments)
    set_up_logs()
    try:
        settings = config.load(options.config)
        return _remove(settings) if options.remove else _serve(settings, backend(settings))
    except PortaldError as error:
        return fail("portald-firewall", error)


def _remove(settings: config.Config) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(settings.admin_socket)) == 0:
            raise ConfigError(
                "portald is running and would put the rules back; first: "
                "systemctl stop portald portald-firewall.socket portald-firewall"
            )
    problems = []
    for kind in (nftables, iptables):
        try:
            kind(settings).teardown()
        except FirewallError as error:
            problems.append(error)
    # On most machines one of the two does not exist.
    if len(problems) == 2:
        raise problems[0]
    return 0


def backend(settings: config.Config) -> Backend:
    """Return the firewall the settings name, or the first that works here."""
    match settings.firewall.backend:
        case "nftables":
            return nftables(settings)
        case "iptables":
            return iptables(settings)
        case "memory":
            log.warning("event=nothing_enforced reason=firewall.backend")
            return MemoryFirewall(time.monotonic)
    reasons = []
    for kind in (nftables, iptables):
        chosen = kind(settings)
        try:
            chosen.check()
        except FirewallError as error:
            reasons.append(f"firewall.backend: {kind.__name__} does not work here: {error}")
            continue
        log.info("event=backend_chosen backend=%s", kind.__name__)
        return chosen
    raise ConfigError(reasons)


def nftables(settings: config.Config) -> Backend:
    return NftFirewall(
        rules=our_files("nftables") / "portald.nft",
        zones={zone.name: zone.interfaces for zone in settings.zones},
        portal_port=settings.web.port,
        open_tcp=settings.firewall.open_tcp,
        open_udp=settings.firewall.open_udp,
        portal_https=settings.https_addresses,
        garden=settings.garden.networks,
        uplinks=settings.firewall.uplinks if settings.firewall.shaping == "queue" else (),
    )


def iptables(settings: config.Config) -> Backend:
    # Loaded only where it is used: it costs memory, and this process is counted in it.
    from portald.firewall.ipset import IpsetFirewall

    return IpsetFirewall(
        zones={zone.name: zone.interfaces for zone in settings.zones},
        networks={zone.name: zone.networks for zone in settings.zones},
        portal_port=settings.web.port,
        open_tcp=settings.firewall.open_tcp,
        open_udp=settings.firewall.open_udp,
        portal_https=settings.https_addresses,
        garden=settings.garden.networks,
        longest=settings.firewall.longest,
    )


def _serve(settings: config.Config, firewall: Firewall) -> int:
    # systemd passes the socket in before; by hand it is made here.
    networks = {zone.name: zone.networks for zone in settings.zones}
    allowed = allowed_user(settings.firewall.user)
    listener = unix_listener(settings.firewall_socket, 0o660)
    server = Server(firewall, networks, allowed)
    when_told(lambda: server.stop(listener))
    firewall.setup()
    firewall.wait(0)  # from here on the backend watches its rules, whether portald asks or not

    notify("READY=1")
    log.info("event=ready socket=%s", settings.firewall_socket)
    server.serve(listener)
    # The rules and the grants stay: guests stay online until their deadlines.
    log.info("event=stopped")
    return 0


def when_told(end: Callable[[], None]) -> None:
    """Call ``end`` at SIGTERM or SIGINT, in a thread; to be called before any other is started.

    A handler would do it later: Python runs it when the main thread next has something to do, and
    a signal that comes just before that waits for a connection is noticed with the next one only.
    """
    told = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, told)

    def wait() -> None:
        signal.sigwait(told)
        end()

    threading.Thread(target=wait, name="signals", daemon=True).start()


def allowed_user(name: str) -> Callable[[int], bool]:
    """Return the test for who may ask: the named user, and root."""
    try:
        uid = pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ConfigError(
            f"firewall.user: there is no user {name!r} on this system; "
            f"create it with: useradd --system {name}"
        ) from None
    return lambda asking: asking in (0, uid)


if __name__ == "__main__":
    sys.exit(main())
