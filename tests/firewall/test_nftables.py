"""What only nftables can get wrong: foreign hands in the table, transactions, and what they cost."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from portald import access
from portald.errors import FirewallError, RulesMissing
from portald.firewall import commands
from portald.firewall.nftables import NftFirewall
from portald.model import Rate, Usage
from tests.firewall.conftest import RULES, nftables
from tests.firewall.kit import agree, essence, grant, mac_of, meant

pytestmark = pytest.mark.lab


def elements(name: str) -> str:
    kind = "set" if name.startswith(("acct", "rate", "garden", "checks")) else "map"
    found = re.search(
        r"elements = \{(.*?)\}", commands.run("nft", "list", kind, "inet", "portald", name), re.S
    )
    return " ".join(found[1].split()) if found else ""


FULL = grant(256, "10.2.0.5", zone="staff", rate=Rate(1000, 2000), left=10**6)


@pytest.mark.parametrize(
    "damage",
    [
        ["nft", "flush", "ruleset"],
        ["nft", "flush", "table", "inet", "portald"],
        ["nft", "delete", "table", "inet", "portald"],
        ["nft", "flush", "chain", "inet", "portald", "up"],
        ["nft", "insert", "rule", "inet", "portald", "up", "accept"],
        ["nft", "add", "chain", "inet", "portald", "extra"],
        [
            "nft",
            "add",
            "chain",
            "inet",
            "portald",
            "x",
            "{ type filter hook forward priority 0; policy drop; }",
        ],
        ["nft", "add", "chain", "inet", "portald", "forward", "{ policy drop; }"],
        ["nft", "add", "table", "inet", "portald", "{ flags dormant; }"],
        ["ip", "-4", "rule", "flush"],
        ["ip", "-6", "rule", "flush"],
    ],
    ids=lambda damage: " ".join(damage[:6]),
)
def test_foreign_damage_is_noticed_and_repaired(nft: NftFirewall, damage: list[str]) -> None:
    nft.apply([FULL], [])
    commands.run(*damage)
    with pytest.raises(RulesMissing):
        nft.read()
    nft.setup()
    agree(nft, [FULL])
    assert essence(nft.read()) == meant([FULL])


@pytest.mark.parametrize(
    "name", ["sess4", "sess6", "live", "acct_up", "acct_dn", "rate_up", "rate_dn", "volume"]
)
def test_a_session_that_lost_a_part_is_repaired(nft: NftFirewall, name: str) -> None:
    nft.apply([FULL], [])
    kind = "set" if name.startswith(("acct", "rate")) else "map"
    commands.run("nft", "flush", kind, "inet", "portald", name)
    add, remove, settle = access.difference([FULL], nft.read())
    assert (add, remove, settle) == ([FULL], [], [])
    nft.apply(add, remove)
    assert access.difference([FULL], nft.read()) == ([], [], [])
    assert essence(nft.read()) == meant([FULL])


@pytest.mark.parametrize(
    "stray",
    [
        'sess4 {{ "vlan7" . {mac} . 10.2.0.5 }}',
        'sess6 {{ "vlan7" . {mac} }}',
    ],
)
def test_every_interface_of_the_zone_is_looked_at(nft: NftFirewall, stray: str) -> None:
    nft.apply([FULL], [])
    commands.nft("delete element inet portald " + stray.format(mac=mac_of(256)))
    assert not nft.read()[256].complete
    agree(nft, [FULL])
    assert nft.read()[256].complete


@pytest.mark.parametrize(
    "stray",
    [
        'sess6 {{ "br-guest" . {mac} timeout 1h : 0x40000100 }}',
        'sess6 {{ "eth9" . {mac} timeout 1h : 0x40000100 }}',
        'sess6 {{ "vlan7" . 02:00:00:00:00:99 timeout 1h : 0x40000100 }}',
        'sess4 {{ "vlan7" . {mac} . 10.2.0.9 timeout 1h : 0x100 }}',
        'sess4 {{ "vlan7" . {mac} . 10.2.0.9 : 0x40000100 }}',
    ],
)
def test_more_than_the_grant_is_not_the_grant(nft: NftFirewall, stray: str) -> None:
    nft.apply([FULL], [])
    commands.nft("add element inet portald " + stray.format(mac=mac_of(256)))
    assert access.difference([FULL], nft.read())[0] == [FULL]
    agree(nft, [FULL])
    assert access.difference([FULL], nft.read()) == ([], [], [])


def test_a_device_may_be_on_any_interface_of_its_zone(nft: NftFirewall) -> None:
    nft.apply([FULL], [])
    assert all(
        f'"{name}" . {mac_of(256)} . 10.2.0.5 ' in elements("sess4") for name in ("br-staff", "vlan7")
    )
    assert "br-guest" not in elements("sess4") + elements("sess6")


def test_elements_of_another_hand_are_seen_and_replaced(nft: NftFirewall) -> None:
    """A key that holds another mark would make the transaction fail; it is looked up and retried."""
    key = f'"br-guest" . {mac_of(256)} . 10.0.0.5'
    commands.nft(f"add element inet portald sess4 {{ {key} timeout 1h : 77 }}")
    commands.nft(
        "add element inet portald acct_up { 78 }\nadd element inet portald live { 79 : jump policy_down }"
    )
    nft.apply([grant(256, "10.0.0.5")], [])
    agree(nft, [grant(256, "10.0.0.5")])
    assert essence(nft.read()) == meant([grant(256, "10.0.0.5")])
    assert set(nft.read()) == {256}


def test_a_set_of_another_layout_is_replaced(own_network: None) -> None:
    """An upgrade may find sets it cannot keep: it starts with empty ones, closed."""
    commands.nft("add table inet portald\nadd set inet portald acct_up { type mark; flags timeout; }")
    firewall = nftables()
    firewall.setup()
    assert dict(firewall.read()) == {}


def test_a_failed_transaction_changes_nothing(nft: NftFirewall, monkeypatch: pytest.MonkeyPatch) -> None:
    nft.apply([grant(256, "10.0.0.5", counted=Usage(5, 7), left=10**6)], [])
    before = {name: elements(name) for name in ("acct_up", "acct_dn", "volume")}
    with monkeypatch.context() as patch:
        patch.setattr("portald.firewall.limits.limit", lambda *_: "0x101 limit what")
        with pytest.raises(FirewallError):
            nft.apply([grant(257, "10.0.0.6", rate=Rate(5, 5))], [256])
    assert set(nft.read()) == {256}
    assert {name: elements(name) for name in before} == before
    nft.apply([grant(257, "10.0.0.6", rate=Rate(5, 5))], [256])
    assert set(essence(nft.read())) == {257}


@pytest.mark.parametrize(
    "wrong",
    [
        {"zone": "cellar"},
        {"zone": 'guest" }\nflush ruleset'},
        {"mac": "02:00:00:00:01:00 timeout 9h"},
        {"mac": "02:00:00:00:01:0G"},
        {"seconds": "1s : 5 }\nflush ruleset"},
        {"counted": Usage(-1, 0)},
        {"counted": Usage(0, "0 }\nflush ruleset")},  # type: ignore[arg-type]
        {"rate": Rate("1", None)},  # type: ignore[arg-type]
        {"left": -1},
        {"left": 2**53 + 1},
    ],
    ids=str,
)
def test_nothing_but_a_grant_reaches_nft(nft: NftFirewall, wrong: dict[str, object]) -> None:
    with pytest.raises(FirewallError):
        nft.apply([grant(256, "10.0.0.5", **wrong)], [])  # type: ignore[arg-type]
    assert dict(nft.read()) == {}


def test_a_new_helper_takes_out_what_an_earlier_one_put_in(nft: NftFirewall) -> None:
    nft.apply([FULL, grant(257, "10.0.0.6", rate=Rate(5, 5), left=9)], [])
    second = nftables()
    second.setup()
    assert essence(second.read()) == essence(nft.read())
    second.apply([], [256])
    for name in ("sess4", "sess6", "live", "rate_up", "rate_dn", "volume"):
        assert "100" not in elements(name).replace("1000", ""), name
    second.settle([256])
    assert set(second.read()) == {257}


def test_a_renewed_grant_keeps_the_bucket_of_its_rate(nft: NftFirewall) -> None:
    """Else every renewal would be a burst."""
    nft.apply([FULL], [])
    script = nft._rates.script({256}, [FULL])
    assert script == ""


def test_an_interface_that_is_no_guest_network_any_more_is_free_again(nft: NftFirewall) -> None:
    NftFirewall(RULES, {"guest": ["br-other"]}, 8080).setup()
    for family in ("-4", "-6"):
        rules = commands.run("ip", family, "rule")
        assert "iif br-other" in rules
        assert "iif br-guest" not in rules


def test_other_tables_are_left_alone(own_network: None) -> None:
    commands.nft("add table inet other\nadd chain inet other c\nadd rule inet other c counter accept")
    before = commands.run("nft", "list", "table", "inet", "other")
    firewall = nftables()
    firewall.setup()
    firewall.apply([FULL], [])
    firewall.teardown()
    assert commands.run("nft", "list", "ruleset") == before
    assert "prohibit" not in commands.run("ip", "rule") + commands.run("ip", "-6", "rule")
    firewall.teardown()


def test_a_change_is_one_run_of_nft_however_many_are_online(
    nft: NftFirewall, monkeypatch: pytest.MonkeyPatch
) -> None:
    nft.apply([grant(1000 + n, f"10.1.{n // 250}.{n % 250 + 1}") for n in range(1000)], [])
    runs: list[str] = []
    run, lines = commands.run, commands.lines

    def counted(*command: str, input: str | None = None) -> str:
        runs.append(command[0])
        return run(*command, input=input)

    def listed(*command: str) -> Iterator[str]:
        runs.append(command[0])
        return lines(*command)

    monkeypatch.setattr(commands, "run", counted)
    monkeypatch.setattr(commands, "lines", listed)
    nft.apply([grant(256, "10.0.0.5")], [])
    nft.apply([grant(257, "10.0.0.6", rate=Rate(1, 1), left=5)], [1000])
    nft.apply([grant(257, "10.0.0.7", rate=Rate(2, 1), left=5)], [])
    assert [run for run in runs if run != "conntrack"] == ["nft", "nft", "nft"]
    runs.clear()
    nft.settle([1000])
    assert [run for run in runs if run != "conntrack"] == ["nft"]
    runs.clear()
    nft.read()
    assert [run for run in runs if run != "conntrack"] == ["nft", "ip", "ip"]


# The walled garden ------------------------------------------------------------------------


def test_what_dnsmasq_has_found_survives_an_install(nft: NftFirewall) -> None:
    commands.nft("add element inet portald garden4 { 198.51.100.7 timeout 1h }")
    commands.nft("add element inet portald garden6 { 2001:db8:2::7 }")
    nft.setup()
    assert "198.51.100.7 timeout 1h" in elements("garden4")
    assert "2001:db8:2::7 expires 23h59m" in elements("garden6")
    nftables().setup()
    assert "198.51.100.7 timeout 1h" in elements("garden4")


@pytest.mark.parametrize("damage", ["flush ruleset", "delete table inet portald"])
def test_what_dnsmasq_has_found_is_put_back(nft: NftFirewall, damage: str) -> None:
    commands.nft("add element inet portald garden4 { 198.51.100.7 timeout 1h, 198.51.100.8 timeout 1s }")
    commands.nft("add element inet portald garden6 { 2001:db8:2::7 }")
    commands.nft("add element inet portald checks4 { 198.51.100.9 }")
    nft.read()
    commands.run("nft", damage)
    nft.setup()
    assert re.search(r"198\.51\.100\.7 timeout (59m\d\ds|1h)", elements("garden4"))
    assert "198.51.100.8" not in elements("garden4")
    assert "2001:db8:2::7" in elements("garden6")
    assert "198.51.100.9" in elements("checks4")


def test_the_garden_of_the_settings_is_the_only_one(nft: NftFirewall) -> None:
    assert elements("garden4_net") == "192.0.2.0/24"
    assert elements("garden6_net") == "2001:db8:ffff::/48"
    NftFirewall(RULES, {"guest": ["br-guest"]}, 8080, garden=["192.0.2.7"]).setup()
    assert elements("garden4_net") == "192.0.2.7"
    assert elements("garden6_net") == ""


# Commands ---------------------------------------------------------------------------------


def test_without_privileges_the_error_names_the_capability(tmp_path: Path) -> None:
    if os.getuid() != 0:
        with pytest.raises(FirewallError, match="CAP_NET_ADMIN"):
            nftables().setup()
        return
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"]
    with pytest.raises(FirewallError, match="CAP_NET_ADMIN"):
        commands.run(*command, "nft", "list", "ruleset")
    with pytest.raises(FirewallError, match="CAP_NET_ADMIN"):
        list(commands.lines(*command, "nft", "list", "ruleset"))


def test_a_missing_program_is_named() -> None:
    with pytest.raises(FirewallError, match="no-such-program is missing"):
        commands.run("no-such-program")
    with pytest.raises(FirewallError, match="no-such-program is missing"):
        list(commands.lines("no-such-program"))


def test_a_listing_is_read_to_its_end_and_cut_where_it_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(commands.lines("printf", "a\\nb\\n\\nc")) == ["a", "b", "", "c"]
    monkeypatch.setattr(commands, "TIMEOUT", 0.2)
    with pytest.raises(FirewallError, match="no answer within"):
        list(commands.lines("sleep", "60"))
    read = commands.lines("yes")
    assert next(read) == "y"
    read.close()  # whoever stops early leaves no process behind
