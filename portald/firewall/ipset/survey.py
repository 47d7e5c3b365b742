"""What else on this machine stands in the way of guests, or of portald."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from portald.errors import FirewallError
from portald.firewall import commands
from portald.firewall.ipset import sets, tables
from portald.firewall.ipset.rules import PREFIX
from portald.model import Alarm

NEEDED = ("ipset", "ip", "conntrack")


def lacking() -> Iterator[str]:
    """Tell what this backend needs and this machine does not have."""
    programs = [tables.program(family, what) for family in (4, 6) for what in ("", "-save", "-restore")]
    missing = [name for name in (*programs, *NEEDED) if not shutil.which(name)]
    if missing:
        yield f"missing programs: {', '.join(missing)}"
        return
    for family in (4, 6):
        name = tables.program(family)
        if "nf_tables" in commands.run(name, "-V"):
            yield f"{name} writes to nftables here; use that backend, or install {name}-legacy"
            return
        try:
            commands.run(name, "-w", "-S", "FORWARD")
            tables.save(family)
        except FirewallError as error:
            # Reading the list of tables is for root, or for who may read everything.
            yield f"{error}; it takes CAP_NET_ADMIN, CAP_NET_RAW and CAP_DAC_READ_SEARCH"
            return
    if not sets.known("bitmap:ip,mac range 10.0.0.0/24"):
        yield "the kernel has no bitmap:ip,mac sets, or no rights to make one"


def other_backend() -> bool:
    """Tell whether the nftables backend has left its table here."""
    try:
        return bool(shutil.which("nft") and commands.run("nft", "list", "table", "inet", "portald"))
    except FirewallError:
        return False


def alarms(interfaces: Sequence[str]) -> Iterator[Alarm]:
    for family in tables.PROGRAMS:
        yield from _forward(tables.program(family), tables.save(family).get("filter", []), interfaces)
    yield from _nftables()
    yield from _bridges(interfaces)


def _forward(name: str, lines: Iterable[str], interfaces: Sequence[str]) -> Iterator[Alarm]:
    """Look for what refuses guests after portald has admitted them.

    Rules with conditions, and chains of others, are taken to know what they do.
    """
    policy = ""
    for line in lines:
        if line.startswith(":FORWARD "):
            policy = line.split()[1]
        elif line.startswith("-A FORWARD ") and PREFIX not in line:
            plain = re.fullmatch(r"-A FORWARD -j (DROP|REJECT)( --reject-with \S+)?", line)
            if not plain:
                return
            policy = plain[1]
            break
    if policy in {"DROP", "REJECT"}:
        yield Alarm(
            f"{name}: FORWARD ends with {policy}, so guests who are online are refused",
            "; ".join(f"{name} -A FORWARD -{way} {i} -j ACCEPT" for i in interfaces for way in "io"),
        )


def _nftables() -> Iterator[Alarm]:
    if not shutil.which("nft"):
        return
    try:
        found = commands.run("nft", "list", "tables").splitlines()
    except FirewallError:
        return
    if found:
        yield Alarm(
            f"nftables has rules as well ({', '.join(found)}): a packet must pass both firewalls",
            'move them to one of the two, or use firewall.backend = "nftables"',
        )


def _bridges(interfaces: Sequence[str]) -> Iterator[Alarm]:
    bridges = [name for name in interfaces if Path(f"/sys/class/net/{name}/bridge").is_dir()]
    for key in ("iptables", "ip6tables"):
        switch = Path(f"/proc/sys/net/bridge/bridge-nf-call-{key}")
        if bridges and switch.is_file() and switch.read_text().strip() == "1":
            yield Alarm(
                f"what guests on {', '.join(bridges)} send one another passes {key}, and is refused",
                f"sysctl net.bridge.bridge-nf-call-{key}=0",
            )
