"""What only iptables and ipset can get wrong: foreign hands, several writers, counters by address."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from portald import access
from portald.demo.lab import until
from portald.errors import FirewallError, RulesMissing
from portald.firewall import commands
from portald.firewall.ipset import IpsetFirewall, layout, rules, sets, tables
from portald.model import Grant, Rate
from tests.firewall.conftest import NETWORKS, ZONES, iptables
from tests.firewall.kit import agree, essence, grant, mac_of, meant

pytestmark = pytest.mark.lab

FULL = grant(256, "10.2.0.5", "2001:db8::5", zone="staff", rate=Rate(1000, 2000), left=10**6)


def lines(family: int = 4) -> list[str]:
    return [f"{name} {line}" for name, found in tables.save(family).items() for line in found]


# Other hands --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        "iptables-legacy -w -F PORTALD_UP",
        "iptables-legacy -w -I PORTALD_UP -j ACCEPT",
        "iptables-legacy -w -I FORWARD -j ACCEPT",
        "iptables-legacy -w -t mangle -I PREROUTING -j ACCEPT",
        "iptables-legacy -w -N PORTALD_EXTRA",
        "ip6tables-legacy -w -D FORWARD -j PORTALD_FORWARD",
        "ip6tables-legacy -w -t nat -D PREROUTING 1",
        "ipset destroy portald_sessions",
        "ip -4 rule flush",
        "ip -6 rule flush",
    ],
)
def test_foreign_damage_is_noticed_and_repaired(ipset: IpsetFirewall, damage: str) -> None:
    ipset.apply([FULL], [])
    commands.run(*damage.split())
    with pytest.raises(RulesMissing):
        ipset.read()
    ipset.setup()
    agree(ipset, [FULL])
    assert essence(ipset.read()) == meant([FULL])


def test_a_session_that_lost_a_part_is_repaired(ipset: IpsetFirewall) -> None:
    ipset.apply([FULL], [])
    names = [name for name in sets.names() if not re.search("nets|garden|checks", name)]
    assert len(names) == 16
    for name in names:
        commands.run("ipset", "flush", name)
        agree(ipset, [FULL])
        assert essence(ipset.read()) == meant([FULL])
        assert ipset.read()[256].complete


@pytest.mark.parametrize(
    "stray",
    [
        "portald4_10.2.0.0/16 10.2.0.9,02:00:00:00:01:00",
        "portald4_10.0.0.0/16 10.0.0.9,02:00:00:00:00:99",
        "portald6_br-staff 2001:db8::9",
        "portald_down4 10.0.0.9",
    ],
)
def test_more_than_the_grant_is_not_the_grant(ipset: IpsetFirewall, stray: str) -> None:
    ipset.apply([FULL], [])
    if stray.startswith("portald6") and sets.known("hash:ip,mac"):
        stray += ",02:00:00:00:01:00"
    commands.run("ipset", "add", *stray.split(), "timeout", "3600", "comment", "256")
    assert access.difference([FULL], ipset.read())[0] == [FULL]
    agree(ipset, [FULL])
    assert access.difference([FULL], ipset.read()) == ([], [], [])


def test_elements_of_nobody_are_taken_out(ipset: IpsetFirewall) -> None:
    commands.run(
        "ipset",
        "add",
        "portald4_10.0.0.0/16",
        "10.0.0.9,02:00:00:00:00:99",
        "timeout",
        "9",
        "comment",
        "300",
    )
    commands.run("ipset", "add", "portald_sent4", "10.0.0.9", "comment", "301")
    commands.run("ipset", "add", "portald_sessions", "0.0.1.46", "comment", "nonsense")
    assert ipset.read()[300].open
    agree(ipset, [])
    agree(ipset, [])
    assert dict(ipset.read()) == {}


def test_what_is_not_ours_is_left_alone(own_network: None) -> None:
    for family, net in ((4, "192.0.2.0/24"), (6, "2001:db8:9::/48")):
        program = tables.program(family)
        for rule in (
            ["-N", "MINE"],
            ["-A", "FORWARD", "-s", net, "-j", "MINE"],
            ["-A", "INPUT", "-s", net, "-j", "ACCEPT"],
            ["-t", "mangle", "-A", "PREROUTING", "-s", net, "-j", "MARK", "--set-mark", "0x3"],
            ["-t", "nat", "-A", "POSTROUTING", "-o", "wan", "-j", "MASQUERADE"],
        ):
            commands.run(program, "-w", *rule)
    commands.run("ipset", "create", "mine", "hash:ip")
    before = {family: used(family) for family in (4, 6)}
    ipset = iptables()
    ipset.setup()
    ipset.apply([FULL], [])
    assert all(line in lines(family) for family in (4, 6) for line in before[family])
    ipset.teardown()
    assert {family: used(family) for family in (4, 6)} == before
    assert commands.run("ipset", "list", "-name") == "mine\n"
    assert "prohibit" not in commands.run("ip", "rule") + commands.run("ip", "-6", "rule")
    ipset.teardown()


def used(family: int) -> list[str]:
    """Return all lines of the tables that portald writes to."""
    return [line for line in lines(family) if line.startswith(("filter", "nat", "mangle"))]


SLOW = """
import sys, time, iptc
from portald.firewall.ipset import child
real = iptc.Table.commit
def commit(table):
    print("between", flush=True)
    time.sleep(0.5)
    real(table)
iptc.Table.commit = commit
sys.exit(child.main("4", sys.stdin.read()))
"""


def test_no_update_of_another_hand_is_lost(ipset: IpsetFirewall) -> None:
    """python-iptables writes a table back as it saw it before; the lock keeps others out meanwhile."""
    pytest.importorskip("iptc")
    commands.run("iptables-legacy", "-w", "-A", "INPUT", "-s", "192.0.2.1", "-j", "ACCEPT")
    writer = subprocess.Popen([sys.executable, "-c", SLOW], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdin
    assert writer.stdout
    writer.stdin.write(
        json.dumps({"filter": {"chains": {"PORTALD_X": ["-j RETURN"]}, "jumps": {}}}).encode()
    )
    writer.stdin.close()
    assert writer.stdout.readline() == b"between\n"
    commands.run("iptables-legacy", "-w", "-R", "INPUT", "2", "-s", "192.0.2.2", "-j", "ACCEPT")
    assert writer.wait(10) == 0
    writer.stdout.close()
    assert "filter -A INPUT -s 192.0.2.2/32 -j ACCEPT" in lines()
    assert "filter -A PORTALD_X -j RETURN" in lines()


@pytest.mark.parametrize("family", [4, 6])
def test_both_ways_of_writing_write_the_same(ipset: IpsetFirewall, family: int) -> None:
    """What python-iptables made of the rules, against iptables-restore."""
    pytest.importorskip("iptc")
    by_package = lines(family)
    plan = rules.describe(family, layout.arrange(ZONES, NETWORKS, sets.known("hash:ip,mac")), 8080, (), ())
    tables.restore(family, plan)
    assert lines(family) == by_package


def test_without_the_package_everything_is_restored(
    own_network: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tables.importlib.util, "find_spec", lambda name: name if name != "iptc" else None)
    ipset = iptables()
    ipset.setup()
    ipset.apply([FULL], [])
    assert essence(ipset.read()) == meant([FULL])
    assert not caplog.records


def test_a_package_that_fails_is_done_without(
    own_network: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tables.sys, "executable", "/bin/false")
    iptables().setup()
    assert "event=python_iptables_failed" in caplog.text


# One address, two sessions --------------------------------------------------------------------


def test_an_address_of_two_sessions_goes_to_the_later_and_comes_back(ipset: IpsetFirewall) -> None:
    """A guest has left and another was given the address: their rounds must not take it in turns."""
    first, second = grant(256, "10.0.0.5", "10.0.0.6"), grant(257, "10.0.0.5")
    agree(ipset, [first])
    agree(ipset, [first, second])
    key = f"10.0.0.5,{mac_of(257)}"
    for _ in range(3):
        assert access.difference([first, second], ipset.read()) == ([], [], [])
        assert key in commands.run("ipset", "save", "portald4_10.0.0.0/16").lower()
        ipset.apply([first, second], [])  # a renewal changes nothing
        ipset = second_helper(ipset)
    agree(ipset, [first])
    assert f"10.0.0.5,{mac_of(256)}" in commands.run("ipset", "save", "portald4_10.0.0.0/16").lower()


def second_helper(_: IpsetFirewall) -> IpsetFirewall:
    again = iptables()
    again.setup()
    return again


def test_a_new_helper_takes_out_what_an_earlier_one_put_in(ipset: IpsetFirewall) -> None:
    ipset.apply([FULL, grant(257, "10.0.0.6")], [])
    second_helper(ipset).apply([], [256])
    everything = commands.run("ipset", "save")
    assert not [line for line in everything.splitlines() if '"256"' in line and " timeout " in line]
    assert [line for line in everything.splitlines() if '"257"' in line and " timeout " in line]


# What it costs, and when it refuses -----------------------------------------------------------


def test_every_element_that_gives_access_ends(ipset: IpsetFirewall) -> None:
    ipset.apply([FULL, grant(257, "10.0.0.6")], [])
    for line in commands.run("ipset", "save").splitlines():
        if line.startswith("add ") and "_nets" not in line:
            counts = any(name in line for name in ("_sent", "_got", "_sessions"))
            assert ("timeout 3" in line) is not counts, line


@pytest.mark.parametrize(
    "bad",
    [
        grant(257, "not an address"),
        grant(257, "10.9.0.1"),
        grant(257, "10.2.0.1"),
        grant(257, "10.0.0.6", zone="nowhere"),
        grant(257, "10.0.0.6", mac="02:00"),
        grant(257, "10.0.0.6", seconds=0),
        grant(7, "10.0.0.6"),
    ],
    ids=str,
)
def test_a_bad_grant_changes_nothing(ipset: IpsetFirewall, bad: Grant) -> None:
    ipset.apply([grant(256, "10.0.0.5")], [])
    before = commands.run("ipset", "save", "portald_sessions")
    with pytest.raises(FirewallError):
        ipset.apply([grant(258, "10.0.0.8"), bad], [256])
    assert commands.run("ipset", "save", "portald_sessions") == before
    assert essence(ipset.read()) == meant([grant(256, "10.0.0.5")])


def test_a_change_that_fails_half_way_is_repaired(
    ipset: IpsetFirewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    ipset.apply([FULL], [])
    real = sets.change
    broken: Callable[..., None] = lambda delete, add: (real(delete, add[:3]), fail())[1]  # noqa: E731
    monkeypatch.setattr(sets, "change", broken)
    wanted = [FULL, grant(257, "10.0.0.6")]
    with pytest.raises(FirewallError, match="half-way"):
        ipset.apply([wanted[1]], [])
    monkeypatch.setattr(sets, "change", real)
    agree(ipset, wanted)
    assert essence(ipset.read()) == meant(wanted)


def fail() -> None:
    raise FirewallError("half-way")


def test_a_call_leaves_no_descriptor_behind(ipset: IpsetFirewall) -> None:
    ipset.apply([grant(256, "10.0.0.5")], [])
    before = len(os.listdir("/proc/self/fd"))

    def work(session: int) -> None:
        for _ in range(10):
            ipset.apply([grant(session, f"10.0.1.{session - 299}")], [])
            ipset.apply([], [session])

    for session in range(300, 310):
        worker = threading.Thread(target=work, args=(session,))
        worker.start()
        worker.join()
    # Once conntrack has done its work in the background.
    until(lambda: len(os.listdir("/proc/self/fd")) <= before, "descriptors are left", 20)


def test_one_guest_costs_milliseconds_among_thousands(ipset: IpsetFirewall) -> None:
    ipset.apply([grant(1000 + n, f"10.1.{n // 250}.{n % 250 + 1}") for n in range(3000)], [])
    took = []
    for session in range(300, 320):
        began = time.monotonic()
        ipset.apply([grant(session, f"10.0.0.{session - 290}")], [])
        took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.05


def test_a_mixed_setup_is_refused(own_network: None) -> None:
    commands.run("nft", "add", "table", "inet", "portald")
    for verb in (iptables().check, iptables().setup):
        with pytest.raises(FirewallError, match="portald-firewall --remove"):
            verb()
    assert "PORTALD" not in "".join(lines())


def test_a_network_wider_than_the_sets_is_refused(own_network: None) -> None:
    from ipaddress import IPv4Network

    wide = IpsetFirewall({"guest": ("br-guest",)}, {"guest": (IPv4Network("10.0.0.0/8"),)}, 8080)
    with pytest.raises(FirewallError, match="too wide"):
        wide.check()


def test_what_stands_in_the_way_is_told(ipset: IpsetFirewall) -> None:
    assert ipset.survey() == []
    commands.run("iptables-legacy", "-w", "-P", "FORWARD", "DROP")
    (alarm,) = ipset.survey()
    assert "FORWARD ends with DROP" in alarm.text
    assert "iptables-legacy -A FORWARD -i br-guest -j ACCEPT" in alarm.cure
    commands.run("iptables-legacy", "-w", "-A", "FORWARD", "-i", "br-guest", "-j", "ACCEPT")
    assert ipset.survey() == []
    commands.run("nft", "add", "table", "ip", "filter")
    (alarm,) = ipset.survey()
    assert "table ip filter" in alarm.text
