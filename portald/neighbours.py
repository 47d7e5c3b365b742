"""Which device has this address, and where it goes: the kernel's neighbour table, through pyroute2.

A guest cannot lie to it in a request.  Each lookup opens its own socket: a shared one keeps a
file descriptor for every thread that ever used it (measured with pyroute2 0.9.7).
"""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTMGRP_LINK, RTMGRP_NEIGH

from portald.config import Zone
from portald.model import Client
from portald.places import Places

log = logging.getLogger(__name__)

# States in which the kernel itself would use the entry (rtnetlink(7)); FAILED and INCOMPLETE
# have no address, NOARP is not a neighbour.
_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # REACHABLE STALE DELAY PROBE PERMANENT
_REACHABLE = 0x02
_AF_BRIDGE = 7
_SELF_OR_LOCAL = 0x80  # NUD_PERMANENT in a bridge's table: the gateway's own ports
AFRESH = 60.0
"""Seconds after which the whole table is read anew, whatever was heard in between."""

Present = Mapping[tuple[str, str], frozenset[str]]


class KernelNeighbours:
    """Looks devices up on the zones' interfaces, and nowhere else."""

    def __init__(self, zones: Sequence[Zone], places: Places | None = None) -> None:
        self._zones = {name: zone for zone in zones for name in zone.interfaces}
        self._places = places or Places()
        self._owners: dict[tuple[str, str], str] | None = None
        """The MAC that has an address in a zone, while the kernel is listened to."""
        self._lock = threading.Lock()
        self._socket: IPRoute | None = None

    def client(self, ip: str) -> Client | None:
        bare, _, interface = ip.partition("%")
        address = ip_address(bare)
        if address.is_link_local and not interface:
            return None  # it may be on any of them, as another device each time
        with IPRoute() as netlink:
            for name, zone in self._zones.items():
                if isinstance(address, IPv4Address) and not _inside(address, zone):
                    continue
                if interface and interface != name:
                    continue
                index = _index(name)
                mac = index and _mac(netlink, address, index)
                if mac:
                    return Client(mac, str(address), zone.name)
        return None

    def addresses(self) -> Present:
        with self._lock:
            owners = dict(self._owners) if self._owners is not None else None
        return _by_device(owners if owners is not None else self._read())

    def watch(
        self, moved: Callable[[str, str, frozenset[str]], object], clock: Callable[[], float]
    ) -> None:
        """Call ``moved`` with MAC, zone and addresses whenever a device shows another address.

        Does not return until ``close``; what is missed in a flood of events is read afresh.
        """
        while True:
            try:
                with IPRoute() as netlink:
                    self._socket = netlink
                    netlink.bind(groups=RTMGRP_NEIGH | RTMGRP_LINK)
                    with self._lock:
                        self._owners = self._read()
                    self._listen(netlink, moved, clock)
            except (OSError, NetlinkError) as error:
                if self._socket is None:
                    return
                log.warning("event=neighbours_afresh error=%s", error)
                time.sleep(0.2)

    def close(self) -> None:
        """Make ``watch`` return."""
        netlink, self._socket = self._socket, None
        if netlink is not None:
            netlink.close()

    def _listen(
        self,
        netlink: IPRoute,
        moved: Callable[[str, str, frozenset[str]], object],
        clock: Callable[[], float],
    ) -> None:
        until = time.monotonic() + AFRESH
        while self._socket is not None and time.monotonic() < until:
            for event in netlink.get():
                found = self._heard(event, clock())
                if found is not None:
                    moved(*found)

    def _heard(self, event: Any, now: float) -> tuple[str, str, frozenset[str]] | None:
        """Take in an event; return the device that has an address it did not have."""
        kind = event.get("event")
        if kind not in ("RTM_NEWNEIGH", "RTM_DELNEIGH"):
            return None
        mac, ip, state = event.get("lladdr"), event.get("dst"), event["state"]
        if event["family"] == _AF_BRIDGE:
            if kind == "RTM_NEWNEIGH" and mac and not state & _SELF_OR_LOCAL:
                self._places.seen(mac, f"port {_name(event['ifindex'])}", now)
            return None
        name = _name(event["ifindex"])
        zone = self._zones.get(name)
        if zone is None or not ip or not _counts(ip, zone):
            return None
        if kind == "RTM_NEWNEIGH" and mac and state & _REACHABLE:
            self._places.seen(mac, name, now)
        with self._lock:
            owners = self._owners if self._owners is not None else {}
            if kind == "RTM_DELNEIGH" or not mac or not state & _USABLE:
                owners.pop((zone.name, ip), None)
                return None
            if owners.get((zone.name, ip)) == mac:
                return None
            owners[zone.name, ip] = mac
            found = frozenset(
                a for (where, a), whose in owners.items() if (where, whose) == (zone.name, mac)
            )
            return mac, zone.name, found

    def _read(self) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        zones = {_index(name): zone for name, zone in self._zones.items()}
        with IPRoute() as netlink:
            for family in (socket.AF_INET, socket.AF_INET6):
                for entry in netlink.get_neighbours(family=family):
                    zone = zones.get(entry["ifindex"])
                    mac, ip = entry.get("lladdr"), entry.get("dst")
                    if zone and mac and ip and entry["state"] & _USABLE and _counts(ip, zone):
                        found[zone.name, ip] = mac
        return found


class PretendNeighbours:
    """Makes up a device for every address: goes with the firewall that only remembers."""

    def __init__(self, zones: Sequence[Zone]) -> None:
        self._zones = tuple(zones)
        self._closed = threading.Event()

    def client(self, ip: str) -> Client | None:
        address = ip_address(ip.partition("%")[0])
        for zone in self._zones:
            if isinstance(address, IPv4Address) and _inside(address, zone):
                return Client("02:00:" + address.packed.hex(":"), ip, zone.name)
        return None

    def addresses(self) -> Present:
        return {}

    def watch(
        self, moved: Callable[[str, str, frozenset[str]], object], clock: Callable[[], float]
    ) -> None:
        self._closed.wait()

    def close(self) -> None:
        self._closed.set()


def _by_device(owners: Mapping[tuple[str, str], str]) -> Present:
    found: dict[tuple[str, str], set[str]] = {}
    for (zone, ip), mac in owners.items():
        found.setdefault((mac, zone), set()).add(ip)
    return {key: frozenset(ips) for key, ips in found.items()}


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


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


def _counts(ip: str, zone: Zone) -> bool:
    """Tell whether an address is one that is routed: a zone's own, or any IPv6 but link-local."""
    address = ip_address(ip)
    if isinstance(address, IPv4Address):
        return _inside(address, zone)
    return not address.is_link_local and not address.is_multicast


def _inside(address: IPv4Address, zone: Zone) -> bool:
    return any(address in network for network in zone.networks)
