"""``portalctl render``: configuration for the programs beside portald."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from portald import config
from portald.config import Config
from portald.ctl.show import print_json


def add_what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("dnsmasq",), help="the program")
    parser.add_argument(
        "--ipset", action="store_true", help="for the iptables backend, if the settings do not say it"
    )


def render(options: argparse.Namespace) -> int:
    settings = config.load(options.config)
    lines = list(dnsmasq(settings, options.ipset or settings.firewall.backend == "iptables"))
    if options.json:
        print_json(lines)
    else:
        print("\n".join(lines))
    return 0


def dnsmasq(settings: Config, ipset: bool) -> Iterator[str]:
    """Yield dnsmasq's lines that fill the walled garden with the addresses of its names (dnsmasq(8))."""
    yield "# The walled garden of portald: portalctl render dnsmasq > /etc/dnsmasq.d/portald.conf"
    if not settings.garden.names:
        yield '# It has no names; set names = ["example.com"] in [garden].'
    for name in settings.garden.names:
        if ipset:
            yield f"ipset=/{name}/portald_garden4,portald_garden6"
        else:
            yield f"nftset=/{name}/4#inet#portald#garden4,6#inet#portald#garden6"
