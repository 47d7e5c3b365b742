"""Which device has this address: the kernel's neighbour table, through pyroute2.

A guest cannot lie to it in a request.  Each lookup opens its own socket: a shared one keeps a
file descriptor for every thread that ever used it (measured with pyroute2 0.9.7).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from portald.config import Zone
from portald.model import Client

# States in which the kernel itself would use the entry (rtnetlink(7)); FAILED and INCOMPLETE
# have no address, NOARP is not a neighbour.
_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # REACHABLE STALE DELAY PROBE PERMANENT


class KernelNeighbours:
    """Looks devices up on the zones' interfaces, and nowhere else."""

    def __init__(self, zones: Sequence[Zone]) -> None:
        self._zones = tuple(zones)

    def client(self, ip: str) -> Client | None:
        bare, _, interface = ip.partition("%")
        address = ip_address(bare)
        if address.is_link_local and not interface:
            return None  # it may be on any of them, as another device each time
        with IPRoute() as netlink:
            for zone in self._zones:
                if isinstance(address, IPv4Address) and not _inside(address, zone):
                    continue
                if interface and interface != zone.interface:
                    continue
                index = _index(zone.interface)
                mac = index and _mac(netlink, address, index)
                if mac:
                    return Client(mac, str(address), zone.name)
        return None

    def addresses(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        zones = {_index(zone.interface): zone for zone in self._zones}
        with IPRoute() as netlink:
            for entry in netlink.get_neighbours(family=socket.AF_INET):
                zone = zones.get(entry["ifindex"])
                mac, ip = entry.get("lladdr"), entry.get("dst")
                if zone and mac and ip and entry["state"] & _USABLE and _inside(IPv4Address(ip), zone):
                    found.setdefault(mac, set()).add(ip)
        return {mac: frozenset(ips) for mac, ips in found.items()}


class PretendNeighbours:
    """Makes up a device for every address: goes with the firewall that only remembers."""

    def __init__(self, zones: Sequence[Zone]) -> None:
        self._zones = tuple(zones)

    def client(self, ip: str) -> Client | None:
        address = ip_address(ip.partition("%")[0])
        for zone in self._zones:
            if isinstance(address, IPv4Address) and _inside(address, zone):
                return Client("02:00:" + address.packed.hex(":"), ip, zone.name)
        return None

    def addresses(self) -> Mapping[str, frozenset[str]]:
        return {}


def _mac(netlink: IPRoute, address: IPv4Address | IPv6Address, index: int) -> str | None:
    try:
        (entry,) = netlink.neigh("get", dst=str(address), ifindex=index)
    except NetlinkError as error:
        if error.code in (errno.ENOENT, errno.ENODEV):
            return None
        raise
    mac: str | None = entry.get("lladdr")
    return mac if entry["state"] & _USABLE else None


def _index(interface: str) -> int:
    """Return the interface's number, 0 while there is none of that name."""
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return 0


def _inside(address: IPv4Address, zone: Zone) -> bool:
    return any(address in network for network in zone.networks)
