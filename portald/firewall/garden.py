"""What is open before login: the addresses of the settings, and those that dnsmasq has found."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from portald.firewall.elements import add


class Garden:
    """Remembers what dnsmasq put in: it does so once, and answers from its cache after that."""

    def __init__(self, networks: Sequence[str]) -> None:
        self.ruleset = ""
        for version in (4, 6):
            name = f"garden{version}_net"
            inside = [str(net) for net in map(ip_network, networks) if net.version == version]
            self.ruleset += f"flush set inet portald {name}\n" + add(name, inside)
        self._until: dict[str, dict[str, float]] = {}

    def remember(self, found: Mapping[str, Mapping[str, int]]) -> None:
        """Keep what was read, to be put back if somebody takes the table away."""
        now = time.monotonic()
        self._until = {
            name: {address: now + seconds for address, seconds in addresses.items()}
            for name, addresses in found.items()
        }

    def remembered(self) -> str:
        """Return the commands that put it back, with the time that was left."""
        now = time.monotonic()
        return "".join(
            add(
                name,
                [f"{address} timeout {int(t - now)}s" for address, t in addresses.items() if t > now + 1],
            )
            for name, addresses in self._until.items()
        )
