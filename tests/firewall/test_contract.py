"""Every firewall answers the same questions the same way: in memory, in the kernel, and both
across the socket of the privilege boundary."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from portald import access, config
from portald.errors import FirewallError, RulesMissing
from portald.firewall import commands
from portald.firewall import remote as remote_module
from portald.firewall.memory import MemoryFirewall
from portald.firewall.nftables import NftFirewall
from portald.firewall.remote import RemoteFirewall, Server
from portald.model import Grant, Held, Usage
from portald.ports import Firewall
from portald.system import our_files, unix_listener

NETWORK = IPv4Network("10.0.0.0/8")


def kernel() -> NftFirewall:
    return NftFirewall(our_files("nftables") / "portald.nft", ["br-guest"], 8080)


def remote(behind: Firewall, path: Path) -> tuple[RemoteFirewall, socket.socket]:
    listener = unix_listener(path, 0o600)
    server = Server(behind, [NETWORK], lambda uid: uid == os.getuid())
    threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
    return RemoteFirewall(path), listener


@pytest.fixture(
    params=[
        "memory",
        "remote-memory",
        pytest.param("nftables", marks=pytest.mark.lab),
        pytest.param("remote-nftables", marks=pytest.mark.lab),
    ]
)
def firewall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Firewall]:
    name: str = request.param
    if name.endswith("nftables"):
        request.getfixturevalue("own_network")
    behind: Firewall = kernel() if name.endswith("nftables") else MemoryFirewall(time.time)
    if name.startswith("remote"):
        across, listener = remote(behind, tmp_path / "firewall.sock")
        across.setup()
        yield across
        across.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    else:
        behind.setup()
        yield behind


def grant(session: int, *addresses: str, mac: str = "", seconds: int = 3600) -> Grant:
    mac = mac or f"02:00:00:00:{session // 256:02x}:{session % 256:02x}"
    return Grant(session, mac, frozenset(addresses), seconds)


def as_grants(held: dict[int, Held]) -> set[tuple[int, str, frozenset[str]]]:
    assert all(h.complete for h in held.values())
    return {(h.session, h.mac, h.addresses) for h in held.values()}


def test_nothing_is_held_at_first(firewall: Firewall) -> None:
    assert dict(firewall.read()) == {}


def test_a_grant_is_held_until_it_is_removed(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5")], [])
    (held,) = firewall.read().values()
    assert (held.session, held.mac, held.addresses) == (256, "02:00:00:00:01:00", {"10.0.0.5"})
    assert held.usage == Usage(0, 0)
    assert 3595 <= held.seconds <= 3600
    firewall.apply([], [256])
    assert dict(firewall.read()) == {}


def test_a_device_without_ipv4_and_one_with_several_addresses(firewall: Firewall) -> None:
    wanted = [grant(256), grant(257, "10.0.0.5", "10.0.0.6")]
    firewall.apply(wanted, [])
    held = dict(firewall.read())
    assert as_grants(held) == {(g.session, g.mac, g.addresses) for g in wanted}


def test_removing_what_is_not_there_is_no_error(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5")], [999, 1000])
    assert set(firewall.read()) == {256}


def test_adding_again_renews_the_time(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5", seconds=60)], [])
    firewall.apply([grant(256, "10.0.0.5", seconds=7200)], [])
    (held,) = firewall.read().values()
    assert 7190 <= held.seconds <= 7200
    firewall.apply([grant(256, "10.0.0.5", seconds=30)], [])
    (held,) = firewall.read().values()
    assert held.seconds <= 30


def test_a_changed_address_replaces_the_old_one(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5", "10.0.0.6")], [])
    firewall.apply([grant(256, "10.0.0.6", "10.0.0.7")], [])
    (held,) = firewall.read().values()
    assert held.addresses == {"10.0.0.6", "10.0.0.7"}


def test_a_new_session_of_the_same_device_takes_over(firewall: Firewall) -> None:
    mac = "02:00:00:00:00:01"
    firewall.apply([grant(256, "10.0.0.5", mac=mac)], [])
    firewall.apply([grant(257, "10.0.0.5", mac=mac)], [256])
    assert as_grants(dict(firewall.read())) == {(257, mac, frozenset({"10.0.0.5"}))}


def test_setup_again_keeps_grants(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5")], [])
    firewall.setup()
    assert set(firewall.read()) == {256}


def test_a_grant_ends_by_itself(firewall: Firewall) -> None:
    firewall.apply([grant(256, "10.0.0.5", seconds=1)], [])
    deadline = time.monotonic() + 5
    while firewall.read() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert dict(firewall.read()) == {}


def test_three_thousand_guests_in_one_transaction(firewall: Firewall) -> None:
    many = [grant(1000 + n, f"10.1.{n // 250}.{n % 250 + 1}") for n in range(3000)]
    firewall.apply(many, [])
    assert as_grants(dict(firewall.read())) == {(g.session, g.mac, g.addresses) for g in many}
    firewall.apply([], [g.session for g in many])
    assert dict(firewall.read()) == {}


def test_a_random_walk_between_states(firewall: Firewall) -> None:
    """Whatever was before, ``difference`` and ``apply`` lead to what is wanted."""
    chance = random.Random(4)
    for _ in range(12):
        sessions = chance.sample(range(256, 276), chance.randrange(0, 15))
        wanted = [
            grant(s, *(f"10.0.{s % 256}.{n}" for n in range(1, chance.randrange(1, 4)))) for s in sessions
        ]
        firewall.apply(*access.difference(wanted, firewall.read()))
        held = dict(firewall.read())
        assert as_grants(held) == {(g.session, g.mac, g.addresses) for g in wanted}
        assert access.difference(wanted, held) == ([], [])


# What only the kernel can get wrong -------------------------------------------------------


@pytest.fixture
def nft(own_network: None) -> NftFirewall:
    firewall = kernel()
    firewall.setup()
    return firewall


@pytest.mark.lab
@pytest.mark.parametrize(
    "damage",
    [
        ["nft", "flush", "ruleset"],
        ["nft", "flush", "table", "inet", "portald"],
        ["nft", "delete", "table", "inet", "portald"],
        ["nft", "flush", "chain", "inet", "portald", "up"],
        ["nft", "insert", "rule", "inet", "portald", "up", "accept"],
        ["nft", "add", "chain", "inet", "portald", "extra"],
        ["ip", "-4", "rule", "flush"],
        ["ip", "-6", "rule", "flush"],
    ],
    ids=lambda damage: " ".join(damage[:3]),
)
def test_foreign_damage_is_noticed_and_repaired(nft: NftFirewall, damage: list[str]) -> None:
    nft.apply([grant(256, "10.0.0.5")], [])
    commands.run(*damage)
    with pytest.raises(RulesMissing):
        nft.read()
    nft.setup()
    wanted = [grant(256, "10.0.0.5")]
    nft.apply(*access.difference(wanted, nft.read()))
    assert set(nft.read()) == {256}


@pytest.mark.lab
@pytest.mark.parametrize("name", ["sess4", "sess6", "acct_up", "acct_dn"])
def test_a_session_that_lost_a_part_is_not_complete(nft: NftFirewall, name: str) -> None:
    nft.apply([grant(256, "10.0.0.5")], [])
    kind = "map" if name.startswith("sess") else "set"
    commands.run("nft", "flush", kind, "inet", "portald", name)
    wanted = [grant(256, "10.0.0.5")]
    add, remove = access.difference(wanted, nft.read())
    assert (add, remove) == (wanted, [])
    nft.apply(add, remove)
    assert access.difference(wanted, nft.read()) == ([], [])


@pytest.mark.lab
def test_elements_of_another_hand_are_seen_and_replaced(nft: NftFirewall) -> None:
    """A key that holds another mark would make the transaction fail; it is looked up and retried."""
    commands.nft("add element inet portald sess4 { 02:00:00:00:01:00 . 10.0.0.5 timeout 1h : 77 }")
    commands.nft("add element inet portald acct_up { 78 timeout 1h }")
    nft.apply([grant(256, "10.0.0.5")], [])
    add, remove = access.difference([grant(256, "10.0.0.5")], nft.read())
    nft.apply(add, remove)
    assert as_grants(dict(nft.read())) == {(256, "02:00:00:00:01:00", frozenset({"10.0.0.5"}))}


@pytest.mark.lab
def test_a_set_of_another_layout_is_replaced(own_network: None) -> None:
    """An upgrade may find sets it cannot keep: it starts with empty ones, closed."""
    commands.nft("add table inet portald\nadd set inet portald acct_up { type mark; }")
    firewall = kernel()
    firewall.setup()
    assert dict(firewall.read()) == {}


@pytest.mark.lab
def test_a_failed_transaction_changes_nothing(nft: NftFirewall) -> None:
    nft.apply([grant(256, "10.0.0.5")], [])
    with pytest.raises(FirewallError):
        nft.apply([grant(257, "10.0.0.6"), grant(258, "not an address")], [256])
    assert as_grants(dict(nft.read())) == {(256, "02:00:00:00:01:00", frozenset({"10.0.0.5"}))}


@pytest.mark.lab
def test_a_new_helper_takes_out_what_an_earlier_one_put_in(nft: NftFirewall) -> None:
    nft.apply([grant(256, "10.0.0.5"), grant(257, "10.0.0.6")], [])
    second = kernel()
    second.setup()
    second.apply([], [256])
    for name in ("sess4", "sess6"):
        assert [mark for _, mark in commands.nft_elements(name, kind="map")] == [257]


@pytest.mark.lab
def test_an_interface_that_is_no_guest_network_any_more_is_free_again(nft: NftFirewall) -> None:
    NftFirewall(our_files("nftables") / "portald.nft", ["br-other"], 8080).setup()
    for family in ("-4", "-6"):
        rules = commands.run("ip", family, "rule")
        assert "iif br-other" in rules
        assert "iif br-guest" not in rules


@pytest.mark.lab
def test_other_tables_are_left_alone(own_network: None) -> None:
    commands.nft("add table inet other\nadd chain inet other c\nadd rule inet other c counter accept")
    before = commands.run("nft", "list", "table", "inet", "other")
    firewall = kernel()
    firewall.setup()
    firewall.apply([grant(256, "10.0.0.5")], [])
    firewall.teardown()
    assert commands.run("nft", "list", "ruleset") == before
    assert "prohibit" not in commands.run("ip", "rule") + commands.run("ip", "-6", "rule")


@pytest.mark.lab
def test_a_change_is_one_run_of_nft_however_many_are_online(
    nft: NftFirewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft.apply([grant(1000 + n, f"10.1.{n // 250}.{n % 250 + 1}") for n in range(1000)], [])
    runs: list[tuple[str, ...]] = []
    real = commands.run
    monkeypatch.setattr(commands, "run", lambda *c, input=None: runs.append(c) or real(*c, input=input))
    nft.apply([grant(256, "10.0.0.5")], [])
    nft.apply([grant(257, "10.0.0.6")], [1000])
    assert [run[0] for run in runs if run[0] != "conntrack"] == ["nft", "nft"]
    runs.clear()
    nft.read()
    assert [run[0] for run in runs if run[0] != "conntrack"] == [
        "nft",
        "ip",
        "ip",
        "nft",
        "nft",
        "nft",
        "nft",
    ]


def test_without_privileges_the_error_names_the_capability(tmp_path: Path) -> None:
    if os.getuid() != 0:
        with pytest.raises(FirewallError, match="CAP_NET_ADMIN"):
            kernel().setup()
        return
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"]
    with pytest.raises(FirewallError, match="CAP_NET_ADMIN"):
        commands.run(*command, "nft", "list", "ruleset")


def test_a_missing_program_is_named() -> None:
    with pytest.raises(FirewallError, match="no-such-program is missing"):
        commands.run("no-such-program")


def test_both_ends_agree_on_what_is_too_much() -> None:
    longest = next(f for f in dataclasses.fields(config.Firewall) if f.name == "longest")
    assert longest.metadata["high"] == remote_module.LONGEST
    assert access.MOST_ADDRESSES == remote_module.MOST_ADDRESSES


def test_session_numbers_of_all_walks_stay_apart() -> None:
    """The helper above gives each session a MAC of its own, or the walks would prove nothing."""
    macs = [grant(session).mac for session in range(256, 4200)]
    assert all(a != b for a, b in itertools.pairwise(macs))
    assert len(set(macs)) == len(macs)
