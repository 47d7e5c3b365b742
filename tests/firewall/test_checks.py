"""Who is asked about certificates and the time, before login: port 80 and NTP, and little of both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from portald.demo.lab import until
from portald.firewall import commands
from portald.ports import Firewall
from tests.firewall.kit import grant
from tests.firewall.street import ADDRESSES, MACS, WEB, Street, street

pytestmark = pytest.mark.lab

ELSEWHERE = ("203.0.113.99", "2001:db8:1::99")
BUDGET = range(40, 110)
"""Datagrams of 1,000 bytes that 64 kB at once and 8 kB a second let through in a second or two."""


@pytest.fixture(params=["nft", "ipset"])
def firewall(request: pytest.FixtureRequest) -> Firewall:
    made: Firewall = request.getfixturevalue(request.param)
    for family, address in zip((4, 6), WEB, strict=True):  # as dnsmasq does
        if request.param == "nft":
            commands.nft(f"add element inet portald checks{family} {{ {address} }}")
        else:
            commands.run("ipset", "add", f"portald_checks{family}", address)
    return made


@pytest.fixture
def town(firewall: Firewall, tmp_path: Path) -> Iterator[Street]:
    with street(tmp_path) as built:
        for address, length in zip(ELSEWHERE, (24, 64), strict=True):
            place = ["dev", "eth0", "nodad", "preferred_lft", "0"]  # answers come from the other one
            built.internet.run("ip", "address", "add", f"{address}/{length}", *place)
        built.serve("serve", "853")
        built.serve("clock", "123")
        until(lambda: built.ask(built.internet, "127.0.0.1", 853) == "10", "no DNS over TLS")
        until(lambda: built.flood(built.internet, "::1", "::1", 123, 10, 1) == 30, "no NTP")
        yield built


def test_checks_have_two_ports_and_a_budget_in_both_directions(
    request: pytest.FixtureRequest, firewall: Firewall, town: Street
) -> None:
    phone = town.phone
    for own, web, elsewhere in zip(ADDRESSES["phone"], WEB, ELSEWHERE, strict=True):
        assert town.ask(phone, web, 80) == "10"
        assert town.ask(phone, elsewhere, 80) == "6", "PORTAL"
        for port in (443, 853):
            assert town.ask(phone, web, port) == "ConnectionRefusedError"
        assert town.flood(phone, own, elsewhere, 123, 1000, 3) == 0
    for own, other, web in zip(ADDRESSES["phone"], ADDRESSES["other"], WEB, strict=True):
        # With nftables it is the device that has a budget, not each of its addresses.
        expected = range(1, 55) if "nft" in request.node.name and ":" in own else BUDGET
        assert town.flood(phone, own, web, 123, 1000, 300) in expected, "sent"
        assert town.flood(phone, own, web, 123, 10, 12) in expected, "received"
        assert town.flood(town.other, other, web, 123, 10, 1) == 30, "others are not held back"
    assert town.flood(town.internet, WEB[0], ADDRESSES["phone"][0], 123, 10, 3) == 0, "answers only"


def test_whoever_is_online_asks_as_anybody(firewall: Firewall, town: Street) -> None:
    session = grant(256, *ADDRESSES["phone"], mac=MACS["phone"])
    firewall.apply([session], [])
    for own, web in zip(ADDRESSES["phone"], WEB, strict=True):
        assert town.ask(town.phone, web, 853) == "10"
        assert town.flood(town.phone, own, web, 123, 1000, 300) == 300
    assert firewall.read()[256].usage.up > 600_000
