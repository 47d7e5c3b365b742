"""What other programs do to guests is found and named, with the cure; what does no harm is not."""

from __future__ import annotations

import json
import shutil

import pytest

from portald.errors import FirewallError
from portald.firewall import commands, conflicts
from portald.firewall.ipset import IpsetFirewall
from portald.firewall.nftables import NftFirewall
from tests.firewall.conftest import NETWORKS, ZONES, iptables, nftables
from tests.firewall.kit import grant

GUESTS = ["br-guest", "br-staff"]

# Loaded as they are: what the programs themselves put in, cut to what matters.
DOCKER = """
table ip filter {
	chain DOCKER-USER { counter return; }
	chain DOCKER { }
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		counter jump DOCKER-USER
		oifname "docker0" ct state established,related counter accept
		oifname "docker0" counter jump DOCKER
		iifname "docker0" oifname != "docker0" counter accept
		iifname "docker0" oifname "docker0" counter accept
	}
}
"""
DOCKER_CURED = DOCKER.replace(
    "counter return", 'iifname "br-guest" accept; oifname "br-guest" accept; counter return'
)
UFW = """
table ip filter {
	chain ufw-before-forward { ct state established,related counter accept; }
	chain ufw-user-forward { }
	chain FORWARD {
		type filter hook forward priority filter; policy drop;
		counter jump ufw-before-forward
		counter jump ufw-user-forward
	}
}
"""
UFW_CURED = UFW.replace("ufw-user-forward { }", 'ufw-user-forward { iifname "br-guest" counter accept; }')
FIREWALLD = """
table inet firewalld {
	chain filter_FWD_public { reject with icmpx admin-prohibited; }
	chain filter_FORWARD_ZONES { iifname "eth0" goto filter_FWD_public; goto filter_FWD_public; }
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state established,related accept
		ct state invalid drop
		iifname "lo" accept
		jump filter_FORWARD_ZONES
		reject with icmpx admin-prohibited
	}
}
"""
FW4 = """
table inet fw4 {
	chain handle_reject { counter reject; }
	chain accept_to_wan { oifname "wan" counter accept; }
	chain forward_lan { counter jump accept_to_wan; }
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related counter accept
		iifname "br-lan" jump forward_lan
		jump handle_reject
	}
}
"""
FW4_CURED = FW4.replace('iifname "br-lan"', 'iifname { "br-lan", "br-guest" }')
HOMEMADE = """
table inet filter {
	chain forward { type filter hook forward priority filter; policy drop; tcp flags syn tcp option maxseg size set rt mtu; }
}
"""
HOMEMADE_OPEN = """
table inet filter {
	chain input { type filter hook input priority filter; policy drop; }
	chain forward { type filter hook forward priority filter; policy drop; counter accept; }
}
"""
QOSIFY = """
table inet qosify {
	chain classify { type filter hook prerouting priority mangle; ct mark set ct mark and 0xffffff00 or 0x5; }
}
"""
WHOLE_MARK = """
table inet routing {
	chain choose { meta mark set 0x100; }
	chain pre { type filter hook prerouting priority mangle; ip saddr 10.0.0.0/8 jump choose; }
}
"""
RESTORED = """
table inet routing { chain pre { type filter hook prerouting priority mangle; meta mark set ct mark; }
}
"""
HARMLESS = """
table inet routing {
	chain pre {
		type filter hook prerouting priority mangle;
		meta mark set meta mark and 0xffff00ff or 0x100
		meta mark set meta mark or 0x100
		iifname "wan" ct mark set 0x5
		iifname { "wan", "wan2" } meta mark set 0x5
	}
	chain out { type route hook output priority mangle; meta mark set 0x7; ct mark set 0x7; }
	chain never { ct mark set 0x9; }
	chain nat { type nat hook postrouting priority srcnat; oifname "wan" masquerade; }
}
"""

CASES = [
    ("Docker", DOCKER, ["(Docker) refuses"], "DOCKER-USER -i br-guest"),
    ("Docker, cured", DOCKER_CURED, [], ""),
    ("ufw", UFW, ["(ufw) refuses"], "ufw route allow in on br-guest"),
    ("ufw, cured", UFW_CURED, [], ""),
    ("firewalld", FIREWALLD, ["inet firewalld (firewalld) refuses"], "firewall-cmd"),
    ("fw4", FW4, ["inet fw4 (OpenWrt's fw4) refuses"], "/etc/config/firewall"),
    ("fw4, cured", FW4_CURED, [], ""),
    (
        "a policy",
        HOMEMADE,
        ["chain forward of table inet filter refuses"],
        "nft insert rule inet filter forward",
    ),
    ("a policy with an accept", HOMEMADE_OPEN, [], ""),
    ("qosify", QOSIFY, ["qosify (qosify), chain classify, sets the connections' mark"], "guests"),
    ("a mark for routing", WHOLE_MARK, ["chain choose, sets all of the packets' mark"], "mark"),
    ("a restored mark", RESTORED, ["chain pre, sets all of the packets' mark"], "mark"),
    ("marks that do no harm", HARMLESS, [], ""),
]


def judged(alarms: object) -> list[str]:
    return [alarm.text for alarm in alarms]  # type: ignore[attr-defined]


@pytest.mark.lab
@pytest.mark.parametrize(
    ("rules", "texts", "cure"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_tables_of_others(own_network: None, rules: str, texts: list[str], cure: str) -> None:
    commands.nft(rules)
    firewall = nftables()
    firewall.setup()
    firewall.apply([grant(256, "10.0.0.5")], [])
    found = firewall.survey()
    assert len(found) == len(texts), found
    for alarm, text in zip(found, texts, strict=True):
        assert text in alarm.text
        assert cure in alarm.cure
    for alarm in found:
        if alarm.cure.startswith("nft "):
            for command in alarm.cure.split("; "):
                commands.nft(command.removeprefix("nft "))
            assert firewall.survey() == [], "the cure cures"


@pytest.mark.parametrize(
    ("devices", "bad"),
    [
        (["wan", "br-guest"], True),
        ("br-staff", True),
        (["wan", "eth1"], False),
        ("wan", False),
        ([], False),
    ],
)
def test_a_flowtable_over_guests(devices: object, bad: bool) -> None:
    """Not every kernel has them; this is what nft prints where it has."""
    table = {
        "family": "inet",
        "name": "ft",
        "table": "fw4",
        "handle": 5,
        "hook": "ingress",
        "prio": 0,
        "dev": devices,
    }
    found = judged(conflicts.alarms([{"metainfo": {}}, {"flowtable": table}], GUESTS))
    assert [("flowtable ft of table inet fw4 covers" in text) for text in found] == [True] * bad


MWAN3 = """\
*mangle
:PREROUTING ACCEPT [0:0]
:mwan3_hook - [0:0]
-A PREROUTING -j mwan3_hook
-A mwan3_hook -m mark --mark 0x0/0x3f00 -j CONNMARK --restore-mark --nfmask 0x3f00 --ctmask 0x3f00
-A mwan3_hook -m mark ! --mark 0x3f00/0x3f00 -j MARK --set-xmark 0x100/0x3f00
"""


@pytest.mark.parametrize(
    ("lines", "texts"),
    [
        ("", []),
        (MWAN3, []),
        (
            MWAN3 + "-A mwan3_hook -j CONNMARK --save-mark --nfmask 0x3f00 --ctmask 0x3f00\n",
            ["mwan3 sets the connections' mark"],
        ),
        (
            "-A PREROUTING -j CONNMARK --set-xmark 0x1/0xffffffff\n",
            ["iptables, chain PREROUTING, sets the conn"],
        ),
        (
            "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff\n",
            ["all of the packets'"],
        ),
        ("-A PREROUTING -i eth0 -j MARK --set-xmark 0x1/0xffffffff\n", ["all of the packets'"]),
        ("-A PREROUTING -j MARK --set-xmark 0x20000000/0x20000000\n", ["all of the packets'"]),
        ("-A PREROUTING -j MARK --set-xmark 0x0/0xff\n", []),
        ("-A OUTPUT -j MARK --set-xmark 0x1/0xffffffff\n-A mwan3_output -j CONNMARK --save-mark\n", []),
    ],
)
def test_marks_of_iptables(lines: str, texts: list[str]) -> None:
    found = judged(conflicts.of_iptables(lines, "iptables"))
    assert len(found) == len(texts)
    assert all(text in one for text, one in zip(texts, found, strict=True))


def test_legacy_rules_are_a_second_firewall() -> None:
    empty = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\nCOMMIT\n"
    assert list(conflicts.of_legacy(empty, "iptables-legacy")) == []
    for line in ("-A FORWARD -i eth0 -j ACCEPT", ":FORWARD DROP [0:0]"):
        (alarm,) = conflicts.of_legacy(f"*filter\n{line}\nCOMMIT\n", "iptables-legacy")
        assert "must pass both firewalls" in alarm.text
        assert "iptables-legacy-save" in alarm.cure


def legacy() -> None:
    if not shutil.which("iptables-legacy"):
        pytest.skip("no iptables-legacy here")


@pytest.mark.lab
def test_legacy_rules_of_this_machine(nft: NftFirewall) -> None:
    legacy()
    assert nft.survey() == []
    commands.run("iptables-legacy", "-A", "FORWARD", "-j", "ACCEPT")
    assert ["iptables-legacy has rules as well" in text for text in judged(nft.survey())] == [True]


@pytest.mark.lab
def test_marks_of_iptables_that_nft_cannot_print(nft: NftFirewall) -> None:
    if not shutil.which("iptables-nft"):
        pytest.skip("no iptables-nft here")
    commands.run("iptables-nft", "-t", "mangle", "-A", "PREROUTING", "-j", "CONNMARK", "--save-mark")
    assert ["sets the connections' mark" in text for text in judged(nft.survey())] == [True]


@pytest.mark.lab
def test_a_bridge_whose_own_traffic_is_filtered(nft: NftFirewall) -> None:
    if "No such file" in commands.run("sh", "-c", "ls /proc/sys/net/bridge 2>&1; true"):
        pytest.skip("no bridge filtering here")
    commands.run("ip", "link", "add", "br-staff", "type", "bridge")
    commands.run("sh", "-c", "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables")
    (alarm,) = nft.survey()
    assert "guests on br-staff send one another" in alarm.text
    for command in alarm.cure.split("; "):
        commands.run(*command.split())
    assert nft.survey() == []


@pytest.mark.lab
def test_the_other_backend_must_be_taken_out_first(own_network: None) -> None:
    """Nothing of it is touched by us: portald-firewall --remove takes out whatever is there."""
    other: IpsetFirewall = iptables()
    other.setup()
    for refused in (nftables().setup, nftables().check):
        with pytest.raises(FirewallError, match="portald-firewall --remove"):
            refused()
    assert commands.run("nft", "list", "tables") == ""
    other.teardown()
    nftables().setup()


@pytest.mark.lab
def test_the_other_backend_in_iptables_nft_is_seen_too(own_network: None) -> None:
    commands.nft("add table ip filter\nadd chain ip filter PORTALD_ENTER")
    with pytest.raises(FirewallError, match="still in place"):
        nftables().setup()


def test_what_nft_prints_may_be_new_to_us() -> None:
    """A listing with expressions nobody has heard of is no reason to fail."""
    listing = [
        {
            "chain": {
                "family": "inet",
                "table": "t",
                "name": "c",
                "hook": "forward",
                "policy": "drop",
                "prio": 0,
            }
        },
        {
            "rule": {
                "family": "inet",
                "table": "t",
                "chain": "c",
                "expr": [{"new": {"deep": [{"jump": {"target": "x"}}]}}],
            }
        },
        {
            "rule": {
                "family": "inet",
                "table": "t",
                "chain": "c",
                "expr": [{"mangle": {"key": {"new": 1}, "value": [1]}}],
            }
        },
        {"counter": {"family": "inet", "table": "t", "name": "n"}},
    ]
    assert len(list(conflicts.alarms(json.loads(json.dumps(listing)), GUESTS))) == 1
    assert ZONES.keys() == NETWORKS.keys()
