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
from collections.abc import Callable, Sequence
from pathlib import Path

from portald import __version__, config
from portald.errors import ConfigError, PortaldError
from portald.firewall.nftables import NftFirewall
from portald.firewall.remote import Server
from portald.system import fail, notify, our_files, set_up_logs, unix_listener

log = logging.getLogger("portald.firewall")


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
        firewall = backend(settings)
        if options.remove:
            return _remove(settings, firewall)
        return _serve(settings, firewall)
    except PortaldError as error:
        return fail("portald-firewall", error)


def _remove(settings: config.Config, firewall: NftFirewall) -> int:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(settings.admin_socket)) == 0:
            raise ConfigError(
                "portald is running and would put the rules back; first: "
                "systemctl stop portald portald-firewall.socket portald-firewall"
            )
    firewall.teardown()
    return 0


def backend(settings: config.Config) -> NftFirewall:
    """Return the kernel's firewall for these settings."""
    return NftFirewall(
        rules=our_files("nftables") / "portald.nft",
        interfaces=[zone.interface for zone in settings.zones],
        portal_port=settings.web.port,
        open_tcp=settings.firewall.open_tcp,
        open_udp=settings.firewall.open_udp,
    )


def _serve(settings: config.Config, firewall: NftFirewall) -> int:
    # systemd passes the socket in before; by hand it is made here.
    networks = [network for zone in settings.zones for network in zone.networks]
    allowed = allowed_user(settings.firewall.user)
    listener = unix_listener(settings.firewall_socket, 0o660)
    firewall.setup()
    server = Server(firewall, networks, allowed)

    def stop(*_: object) -> None:
        # Raising here could be lost: in a destructor or a weak reference's callback Python ignores it.
        listener.close()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    notify("READY=1")
    log.info("event=ready socket=%s", settings.firewall_socket)
    server.serve(listener)
    # The rules and the grants stay: guests stay online until their deadlines.
    log.info("event=stopped")
    return 0


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
