"""The rules, as data: what nftables/portald.nft enforces, as far as iptables can.

A rule is in iptables' own words, always with ``-m`` before the options of a match, so that
``iptables-restore`` reads it as it is and ``child`` can hand it to python-iptables word by word.

Bits of the packet's mark
  28  0x10000000  these rules have seen the packet; without it the guard refuses to route it
  29  0x20000000  the packet comes from a device that was admitted

What is admitted returns to the built-in chains: the operator's own rules have the last word.
A flush of one table alone is a closed door too: without mangle the guard refuses, and without
filter mangle drops what was not admitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import collapse_addresses

from portald.firewall.guard import ALIVE
from portald.firewall.ipset.layout import CHECKS, DOWN, GARDEN, GOT, NETS, SENT, Class, Layout, rated

PREFIX = "PORTALD"
SEEN, ADMITTED = ALIVE, 0x20000000
BOTH = SEEN | ADMITTED
SLOW = {"up": "PORTALD_SLOW_UP", "down": "PORTALD_SLOW_DOWN"}
REFUSAL = {4: "icmp-admin-prohibited", 6: "icmp6-adm-prohibited"}

_ADMITTED = f"-m mark --mark {ADMITTED:#x}/{ADMITTED:#x}"
_ANSWER = "-m conntrack --ctstate RELATED,ESTABLISHED"
_RESET = "-p tcp -j REJECT --reject-with tcp-reset"


@dataclass(frozen=True, slots=True)
class Table:
    """Our part of a table: whole chains, and which built-in chains lead there first of all."""

    chains: dict[str, list[str]]
    jumps: dict[str, str] = field(default_factory=dict)


def describe(
    family: int,
    layout: Layout,
    portal_port: int,
    open_tcp: Sequence[int],
    open_udp: Sequence[int],
    portal_https: Sequence[str] = (),
) -> dict[str, Table]:
    """Return our part of each table, in the order of installing: what opens the door comes last."""
    interfaces = [name for zone in layout.zones for name in zone.interfaces]
    return {
        "filter": _filter(family, interfaces, portal_port, open_tcp, open_udp, portal_https),
        "nat": _nat(family, interfaces, portal_port),
        "mangle": _mangle(family, layout),
    }


def _mangle(family: int, layout: Layout) -> Table:
    arrive, chains = ["-i lo -j RETURN"], {}
    for number, zone in enumerate(layout.zones):
        chain = f"PORTALD_ZONE{number}"
        arrive += [f"-i {name} -g {chain}" for name in zone.interfaces]
        sets = list(zone.ipv4.values()) if family == 4 else [zone.ipv6]
        which = "src,src" if family == 4 or layout.pairs else "src"
        chains[chain] = [
            # A source that is not where it claims to be.
            "-m rpfilter --invert -j DROP",
            f"-j MARK --set-xmark {SEEN:#x}/{BOTH:#x}",
            *(
                f"-m set --match-set {name} {which} -j MARK --set-xmark {ADMITTED:#x}/{ADMITTED:#x}"
                for name in sets
            ),
        ]
    if family == 4:
        # Guests' addresses from anywhere else.
        networks = collapse_addresses(network for zone in layout.zones for network in zone.networks)
        arrive += [f"-s {network} -j DROP" for network in networks]
    return Table(
        {
            **chains,
            "PORTALD_ARRIVE": arrive,
            # What left the filter table without having been admitted.
            "PORTALD_LEAVE": [f"-m mark --mark {SEEN:#x}/{BOTH:#x} -g PORTALD_SHUT"],
            "PORTALD_SHUT": [*_garden(family, "dst"), *_checks(family, "dst"), "-j DROP"],
            # The gateway's own answers, should a sysctl have them inherit the mark.
            "PORTALD_OWN": [f"-j MARK --set-xmark 0x0/{BOTH:#x}"],
        },
        {"PREROUTING": "PORTALD_ARRIVE", "POSTROUTING": "PORTALD_LEAVE", "OUTPUT": "PORTALD_OWN"},
    )


def _nat(family: int, interfaces: Iterable[str], portal_port: int) -> Table:
    portal = f"-j REDIRECT --to-ports {portal_port}"
    return Table(
        {
            "PORTALD_ENTER": [f"-i {name} -g PORTALD_LEAD" for name in interfaces],
            "PORTALD_LEAD": [
                # The gateway's own port 80 is always the portal: a guest asks there for the time left.
                f"-p tcp -m tcp --dport 80 -m addrtype --dst-type LOCAL {portal}",
                f"{_ADMITTED} -j RETURN",
                "-p udp -m udp --dport 53 -j REDIRECT --to-ports 53",
                *_garden(family, "dst"),
                *_checks(family, "dst"),
                f"-p tcp -m tcp --dport 80 {portal}",
            ],
        },
        {"PREROUTING": "PORTALD_ENTER"},
    )


def _filter(
    family: int,
    interfaces: list[str],
    portal_port: int,
    open_tcp: Sequence[int],
    open_udp: Sequence[int],
    portal_https: Sequence[str],
) -> Table:
    https = portal_https if family == 4 else ()
    refuse = [_RESET, f"-j REJECT --reject-with {REFUSAL[family]}"]
    dhcp, other = (67, ["icmp", "2"]) if family == 4 else (547, ["58"])
    # The longest question, 400 bytes with its UDP header, and the IP header that iptables counts too.
    longest = 400 + (20 if family == 4 else 40)
    each = 32 if family == 4 else 128
    return Table(
        {
            "PORTALD_INPUT": [
                *(f"-i {name} -g PORTALD_GATE" for name in interfaces),
                "-i lo -j RETURN",
                # The portal answers guests, not the world.
                f"-p tcp -m tcp --dport {portal_port} -j DROP",
                *(f"-d {address} -p tcp -m tcp --dport 443 -j DROP" for address in https),
            ],
            "PORTALD_GATE": [
                "-p udp -m udp --dport 53 -g PORTALD_DNS",
                "-p tcp -m tcp --dport 53 -g PORTALD_DNS",
                f"{_ANSWER} -j RETURN",
                f"-p tcp -m tcp --dport {portal_port} -g PORTALD_WEB",
                # Not what else the gateway has at this port, on its other addresses.
                *(f"-d {address} -p tcp -m tcp --dport 443 -g PORTALD_WEB" for address in https),
                f"-p udp -m udp --dport {dhcp} -j RETURN",
                *(f"-p {protocol} -j RETURN" for protocol in other),
                *(f"-p tcp -m tcp --dport {port} -j RETURN" for port in open_tcp),
                *(f"-p udp -m udp --dport {port} -j RETURN" for port in open_udp),
                *refuse,
            ],
            # Before login, DNS is enough for a phone and too little for a tunnel.
            "PORTALD_DNS": [
                f"{_ADMITTED} -j RETURN",
                _RESET,
                f"-m length --length {longest + 1}:65535 -j DROP",
                "-m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 150 --hashlimit-mode srcip"
                " --hashlimit-name portald_dns -j RETURN",
                "-j DROP",
            ],
            # One address cannot take every connection the portal has.
            "PORTALD_WEB": [
                f"-m connlimit --connlimit-upto 20 --connlimit-mask {each} --connlimit-saddr -j RETURN",
                "-j DROP",
            ],
            "PORTALD_FORWARD": [
                *(f"-i {name} -g PORTALD_UP" for name in interfaces),
                *(f"-o {name} -g PORTALD_DOWN" for name in interfaces),
            ],
            # The garden is no session's, whoever walks in it.
            "PORTALD_UP": [
                *_garden(family, "dst"),
                f"{_ADMITTED} -g PORTALD_SENT",
                *_checks(family, "dst", "-g PORTALD_ASK"),
                "-g PORTALD_REFUSE",
            ],
            # Checks of certificates and of the time: little at a time, in both directions.
            "PORTALD_ASK": [_budget("src"), "-j DROP"],
            "PORTALD_TELL": [_budget("dst"), "-j DROP"],
            # Nothing passes that is not counted.
            "PORTALD_SENT": [
                f"-j {SLOW['up']}",
                f"-m set --match-set {SENT[family]} src -j RETURN",
                "-g PORTALD_REFUSE",
            ],
            # Refused at once rather than dropped: phones then show the portal instead of waiting.
            "PORTALD_REFUSE": ["-m conntrack --ctstate INVALID -j DROP", *refuse],
            # Answers only: a guest is no server for the world.
            "PORTALD_DOWN": [
                *_garden(family, "src", _ANSWER),
                f"-m set --match-set {DOWN[family]} dst {_ANSWER} -g PORTALD_GOT",
                *_checks(family, "src", f"{_ANSWER} -g PORTALD_TELL"),
                "-j DROP",
            ],
            "PORTALD_GOT": [
                f"-j {SLOW['down']}",
                f"-m set --match-set {GOT[family]} dst -j RETURN",
                "-j DROP",
            ],
        },
        {"INPUT": "PORTALD_INPUT", "FORWARD": "PORTALD_FORWARD"},
    )


def _garden(family: int, which: str, also: str = "") -> list[str]:
    also = also and f"{also} "
    return [f"-m set --match-set {name[family]} {which} {also}-j RETURN" for name in (NETS, GARDEN)]


def _checks(family: int, which: str, then: str = "-j RETURN") -> list[str]:
    port = "dport" if which == "dst" else "sport"
    return [
        f"-p {protocol} -m {protocol} --{port} {number} -m set --match-set {CHECKS[family]} {which} {then}"
        for protocol, number in (("tcp", 80), ("udp", 123))
    ]


def _budget(end: str) -> str:
    return (
        f"-m hashlimit --hashlimit-upto 8kb/s --hashlimit-burst 64kb --hashlimit-mode {end}ip"
        f" --hashlimit-name portald_checks_{end} -j RETURN"
    )


def slow(family: int, kinds: Iterable[Class]) -> Table:
    """Return the chains that drop what is faster than the rate of its address."""
    chains: dict[str, list[str]] = {chain: [] for chain in SLOW.values()}
    for kind in sorted(kinds):
        direction, speed = kind
        end = "src" if direction == "up" else "dst"
        chains[SLOW[direction]].append(
            f"-m set --match-set {rated(kind, family)} {end}"
            f" -m hashlimit --hashlimit-above {speed * 125}b/s --hashlimit-mode {end}ip"
            f" --hashlimit-name pd_{direction[0]}{speed} -j DROP"
        )
    return Table(chains)
