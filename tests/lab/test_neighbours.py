"""The kernel's neighbour table, read as it is: who has an address, on which network."""

from __future__ import annotations

import os
import subprocess
import threading
from ipaddress import IPv4Network

import pytest

from portald.config import Zone
from portald.model import Client
from portald.neighbours import KernelNeighbours, PretendNeighbours

pytestmark = pytest.mark.lab

ZONES = [
    Zone(name="cafe", interface="cafe", networks=(IPv4Network("10.77.0.0/24"),)),
    Zone(name="hall", interface="hall", networks=(IPv4Network("10.88.0.0/24"),)),
]
CAFE, HALL = "02:00:00:00:00:01", "02:00:00:00:00:02"


@pytest.fixture
def neighbours(own_network: None) -> KernelNeighbours:
    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    for name in ("cafe", "hall", "office"):
        ip("link", "add", name, "type", "bridge")
        ip("link", "set", name, "up")
    for interface, address, mac, state in (
        ("cafe", "10.77.0.5", CAFE, "reachable"),
        ("cafe", "10.77.0.6", CAFE, "stale"),
        ("cafe", "192.168.9.9", CAFE, "reachable"),
        ("cafe", "2001:db8::5", CAFE, "reachable"),
        ("cafe", "fe80::7", CAFE, "reachable"),
        ("hall", "10.88.0.5", HALL, "permanent"),
        ("hall", "fe80::7", HALL, "reachable"),
        ("office", "10.77.0.8", "02:00:00:00:00:03", "reachable"),
    ):
        ip("neigh", "add", address, "lladdr", mac, "dev", interface, "nud", state)
    ip("neigh", "add", "10.77.0.9", "dev", "cafe", "nud", "failed")
    return KernelNeighbours(ZONES)


@pytest.mark.parametrize(
    ("ip", "found"),
    [
        ("10.77.0.5", (CAFE, "cafe")),
        ("10.77.0.6", (CAFE, "cafe")),
        ("10.88.0.5", (HALL, "hall")),
        ("2001:db8::5", (CAFE, "cafe")),
        ("fe80::7%cafe", (CAFE, "cafe")),
        ("fe80::7%hall", (HALL, "hall")),
        ("fe80::7", None),  # two devices: neither
        ("fe80::7%office", None),
        ("10.77.0.8", None),  # on no guest network
        ("10.77.0.9", None),  # nobody answers there
        ("10.77.0.77", None),
        ("192.168.9.9", None),  # not an address of that zone
        ("127.0.0.1", None),
        ("::1", None),
    ],
)
def test_a_device_by_its_address(
    neighbours: KernelNeighbours, ip: str, found: tuple[str, str] | None
) -> None:
    client = neighbours.client(ip)
    assert (client and (client.mac, client.zone)) == found


def test_the_addresses_of_devices(neighbours: KernelNeighbours) -> None:
    assert neighbours.addresses() == {
        (CAFE, "cafe"): frozenset({"10.77.0.5", "10.77.0.6", "2001:db8::5"}),
        (HALL, "hall"): frozenset({"10.88.0.5"}),
    }


def test_an_interface_that_is_not_there(own_network: None) -> None:
    neighbours = KernelNeighbours(ZONES)
    assert neighbours.client("10.77.0.5") is None
    assert neighbours.addresses() == {}


def test_many_threads_leave_no_descriptor_open(neighbours: KernelNeighbours) -> None:
    before = len(os.listdir("/proc/self/fd"))
    found: list[Client | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(neighbours.client("10.77.0.5"))) for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [client and client.mac for client in found] == [CAFE] * 40
    assert len(os.listdir("/proc/self/fd")) <= before


def test_made_up_devices_differ() -> None:
    pretend = PretendNeighbours(ZONES)
    first, second = pretend.client("10.77.0.5"), pretend.client("10.77.0.6")
    assert first
    assert second
    assert first.mac != second.mac
    assert pretend.client("10.99.0.1") is None
