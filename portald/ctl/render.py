"""``portalctl render``: configuration for the programs beside portald."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from portald import config
from portald.certificate import certificate_hosts
from portald.config import Config
from portald.ctl.show import print_json
from portald.rendering import dnsmasq, kea, networkd, nginx, odhcpd, radvd

PROGRAMS = ("dnsmasq", "kea", "nginx", "radvd", "odhcpd", "systemd-networkd")


def add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=PROGRAMS, help="the program")
    parser.add_argument("--ipv6", action="store_true", help="for Kea's DHCPv6 server")
    parser.add_argument(
        "--ipset", action="store_true", help="for the iptables backend, if the settings do not say it"
    )


def render(options: argparse.Namespace) -> int:
    settings = config.load(options.config)
    lines = list(_lines(options, settings))
    if options.json:
        print_json(lines)
    else:
        print("\n".join(lines))
    return 0


def _lines(options: argparse.Namespace, settings: Config) -> Iterator[str]:
    match options.what:
        case "dnsmasq":
            ipset = options.ipset or settings.firewall.backend == "iptables"
            certificate = settings.web.certificate
            return dnsmasq.lines(settings, ipset, certificate_hosts(certificate) if certificate else ())
        case "kea":
            return kea.lines(settings, 6 if options.ipv6 else 4)
        case "nginx":
            return nginx.lines(settings)
        case "radvd":
            return radvd.lines(settings)
        case "odhcpd":
            return odhcpd.lines(settings)
        case _:
            return networkd.lines(settings)
