"""Every backend, bare and behind the socket of the privilege boundary."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from portald.firewall import commands
from portald.firewall.ipset import IpsetFirewall, survey
from portald.firewall.memory import MemoryFirewall
from portald.firewall.nftables import NftFirewall
from portald.firewall.remote import RemoteFirewall
from portald.firewall.server import Server
from portald.ports import Firewall
from portald.system import our_files, unix_listener

ZONES = {"guest": ("br-guest",), "staff": ("br-staff", "vlan7")}
NETWORKS = {
    "guest": (IPv4Network("10.0.0.0/16"), IPv4Network("10.1.0.0/16")),
    "staff": (IPv4Network("10.2.0.0/16"),),
}
RULES = our_files("nftables") / "portald.nft"


def nftables() -> NftFirewall:
    return NftFirewall(RULES, ZONES, 8080, garden=("192.0.2.0/24", "2001:db8:ffff::/48"))


def queueing() -> NftFirewall:
    """The same, with queues; its devices must exist for anything to be queued."""
    present = {name for _, name in socket.if_nameindex()}
    for name in {"br-guest", "br-staff", "vlan7", "wan0"} - present:
        commands.run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-x")
    return NftFirewall(RULES, ZONES, 8080, uplinks=["wan0"])


def memory() -> MemoryFirewall:
    return MemoryFirewall(time.time)


def iptables() -> IpsetFirewall:
    if why := list(survey.lacking()):
        (pytest.fail if os.environ.get("CI") else pytest.skip)("; ".join(why))
    return IpsetFirewall(ZONES, NETWORKS, 8080, garden=("203.0.113.80", "2001:db8:ffff::/48"))


KERNELS: dict[str, Callable[[], Firewall]] = {
    "nftables": nftables,
    "nftables-queue": queueing,
    "iptables": iptables,
}
"""Backends that need a network of their own."""


@contextmanager
def across(behind: Firewall, path: Path) -> Iterator[RemoteFirewall]:
    """The same firewall, seen through the socket."""
    listener = unix_listener(path, 0o600)
    server = Server(behind, NETWORKS, lambda uid: uid == os.getuid())
    threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
    remote = RemoteFirewall(path)
    yield remote
    remote.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture(
    params=[
        "memory",
        "remote-memory",
        *(pytest.param(name, marks=pytest.mark.lab) for name in KERNELS),
        # The socket does not care what is behind it: one kernel shows that it reaches one.
        pytest.param("remote-nftables", marks=pytest.mark.lab),
    ]
)
def firewall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Firewall]:
    name: str = request.param.removeprefix("remote-")
    if name in KERNELS:
        request.getfixturevalue("own_network")
    behind = KERNELS.get(name, memory)()
    if request.param == name:
        behind.setup()
        yield behind
    else:
        with across(behind, tmp_path / "firewall.sock") as remote:
            remote.setup()
            yield remote


@pytest.fixture
def nft(own_network: None) -> NftFirewall:
    made = nftables()
    made.setup()
    return made


@pytest.fixture
def ipset(own_network: None) -> IpsetFirewall:
    made = iptables()
    made.setup()
    return made
