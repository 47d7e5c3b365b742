"""Which sets there are, and what is put into them for a grant.

Access    ``portald4_NETWORK`` and ``portald6_INTERFACE`` admit what comes from a device: address
          and MAC together.  ``portald_down4/6`` admit what goes to an address.  With a timeout.
Rates     ``portald_up2000_4`` holds the addresses of those who may send 2,000 kbit/s.  With a timeout.
Counters  ``portald_sent4/6`` and ``portald_got4/6`` count by address.  Without a timeout: a counter
          outlives access.
Ledger    ``portald_sessions``, see ``ledger``.
Garden    ``portald_nets4/6`` are from the settings, ``portald_garden4/6`` are filled by dnsmasq.
Checks    ``portald_checks4/6`` as well: who is asked about certificates and the time.

Every element names its session in its comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from portald.errors import FirewallError
from portald.firewall.ipset import ledger
from portald.firewall.ipset.sets import Element
from portald.model import FIRST_SESSION, LAST_SESSION, Grant

FAMILIES = (4, 6)
DOWN = {family: f"portald_down{family}" for family in FAMILIES}
SENT = {family: f"portald_sent{family}" for family in FAMILIES}
GOT = {family: f"portald_got{family}" for family in FAMILIES}
NETS = {family: f"portald_nets{family}" for family in FAMILIES}
GARDEN = {family: f"portald_garden{family}" for family in FAMILIES}
CHECKS = {family: f"portald_checks{family}" for family in FAMILIES}

WIDEST = 16
"""A bitmap holds 65,536 addresses."""
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_RATE = re.compile(r"portald_(up|down)(\d+)_[46]")

Class = tuple[str, int]
"""A direction and the kilobits per second that one address may have in it."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A guest network and the sets that admit its devices."""

    name: str
    interfaces: tuple[str, ...]
    networks: tuple[IPv4Network, ...]
    ipv4: Mapping[IPv4Network, str]
    ipv6: str


@dataclass(frozen=True, slots=True)
class Layout:
    """All sets, for the guest networks of the settings."""

    zones: tuple[Zone, ...]
    pairs: bool
    """Whether the kernel has hash:ip,mac; if not, IPv6 is admitted by address alone."""
    admitting: Mapping[str, str]
    """The zone of each set that admits devices."""

    def create(self) -> list[str]:
        """Return what makes the sets, as ``ipset create`` takes it."""
        lines = [f"{ledger.NAME} hash:ip comment"]
        for zone in self.zones:
            for network, name in zone.ipv4.items():
                lines.append(f"{name} bitmap:ip,mac range {network} timeout 0 comment")
            kind = "hash:ip,mac" if self.pairs else "hash:ip"
            lines.append(f"{zone.ipv6} {kind} family inet6 timeout 0 comment")
        for family in FAMILIES:
            kind = "hash:ip family " + ("inet" if family == 4 else "inet6")
            lines.append(f"{DOWN[family]} {kind} timeout 0 comment")
            lines += [f"{name[family]} {kind} counters comment" for name in (SENT, GOT)]
            lines.append(f"{NETS[family]} {kind.replace(':ip', ':net')}")
            lines += [f"{name[family]} {kind} timeout 86400" for name in (GARDEN, CHECKS)]
        return lines

    def check(self, grant: Grant) -> None:
        """Raise ``FirewallError`` for a grant that the kernel would refuse half-way."""
        zone = self._zone(grant.zone)
        if not FIRST_SESSION <= grant.session <= LAST_SESSION:
            raise FirewallError(f"{grant.session} is not the number of a session")
        if not _MAC.fullmatch(grant.mac):
            raise FirewallError(f"{grant.mac!r} is not a MAC address")
        if grant.seconds < 1:
            raise FirewallError("a grant without time")  # to ipset no timeout is for ever
        for address in grant.addresses:
            _admitting(zone, address)

    def access(self, grant: Grant, addresses: Iterable[str]) -> Iterator[Element]:
        """Return what admits a device with these of its addresses; what lets it send comes last."""
        zone, last = self._zone(grant.zone), []
        for address in addresses:
            family = 6 if ":" in address else 4
            for kind in classes([grant]):
                yield _timed(rated(kind, family), address, grant)
            yield _timed(DOWN[family], address, grant)
            key = address if family == 6 and not self.pairs else f"{address},{grant.mac}"
            last.append(_timed(_admitting(zone, address), key, grant))
        yield from last

    def _zone(self, name: str) -> Zone:
        for zone in self.zones:
            if zone.name == name:
                return zone
        raise FirewallError(f"there is no guest network {name!r}")


def _timed(name: str, key: str, grant: Grant) -> Element:
    return Element(name, key, grant.session, timeout=grant.seconds)


def _admitting(zone: Zone, address: str) -> str:
    try:
        if ":" in address:
            IPv6Address(address)
            return zone.ipv6
        ipv4 = IPv4Address(address)
    except ValueError as error:
        raise FirewallError(f"not an address: {error}") from error
    for network, name in zone.ipv4.items():
        if ipv4 in network:
            return name
    raise FirewallError(f"{address} is outside the guest network {zone.name!r}")


def normal(address: str) -> str:
    """Return an address as the kernel prints it."""
    return str(IPv6Address(address)) if ":" in address else address


def counters(address: str) -> dict[str, str]:
    """Return the sets that count for an address, by direction."""
    family = 6 if ":" in address else 4
    return {"up": SENT[family], "down": GOT[family]}


def classes(grants: Iterable[Grant]) -> set[Class]:
    """Return the classes of rates that these grants need."""
    rates = {grant.rate for grant in grants}
    both = {("up", rate.up) for rate in rates} | {("down", rate.down) for rate in rates}
    return {(direction, speed) for direction, speed in both if speed is not None}


def rated(kind: Class, family: int) -> str:
    """Return the set of the addresses that have this rate."""
    direction, speed = kind
    return f"portald_{direction}{speed}_{family}"


def create_rated(kinds: Iterable[Class]) -> list[str]:
    """Return what makes the sets of classes of rates."""
    family = {4: "inet", 6: "inet6"}
    return [f"{rated(k, f)} hash:ip family {family[f]} timeout 0 comment" for k in kinds for f in FAMILIES]


def rated_in(names: Iterable[str]) -> set[Class]:
    """Return the classes of rates whose sets are among these."""
    found = (_RATE.fullmatch(name) for name in names)
    return {(match[1], int(match[2])) for match in found if match}


def arrange(
    zones: Mapping[str, Sequence[str]], networks: Mapping[str, Sequence[IPv4Network]], pairs: bool
) -> Layout:
    """Return the layout for the guest networks of the settings."""
    found = []
    for name, interfaces in zones.items():
        parts = [part for network in networks[name] for part in _narrow(network)]
        ipv4 = {part: f"portald4_{part}" for part in parts}
        ipv6 = f"portald6_{interfaces[0]}"
        found.append(Zone(name, tuple(interfaces), tuple(networks[name]), ipv4, ipv6))
    admitting = {name: zone.name for zone in found for name in (*zone.ipv4.values(), zone.ipv6)}
    return Layout(tuple(found), pairs, admitting)


def _narrow(network: IPv4Network) -> Iterator[IPv4Network]:
    return network.subnets(new_prefix=max(WIDEST, network.prefixlen))
