"""Reads and writes the elements of sets.

A guest's few elements go through pyroute2: 0.2 ms each, and no program is started.  Many at once
go through ``ipset restore``, and everything is read through ``ipset save``, because Python would
take a dozen times as long (3,000 elements: 110 ms through pyroute2, 9 ms through the program).
Sets are made by the program too: pyroute2 cannot give a bitmap its range.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6
from typing import Any

from portald.errors import FirewallError, RulesMissing
from portald.firewall import commands

FEW = 200
"""Elements up to which starting a program would not pay."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element; ``key`` is an address, or an address and a MAC with a comma between them."""

    set: str
    key: str
    session: int = 0
    comment: str = ""
    """What is written beside it; the session's number if empty."""
    timeout: int | None = None
    bytes: int | None = None
    """The counter; left as it is if ``None``."""

    @property
    def address(self) -> str:
        return self.key.partition(",")[0]

    @property
    def words(self) -> str:
        return self.comment or str(self.session)


def create(lines: Iterable[str]) -> None:
    """Make sets that are not there; raise ``FirewallError`` if one is there with another layout."""
    commands.run("ipset", "-exist", "restore", input="".join(f"create {line}\n" for line in lines))


def fill(name: str, keys: Sequence[str]) -> None:
    """Make a set hold these elements and no others."""
    lines = [f"flush {name}", *(f"add {name} {key}" for key in keys)]
    commands.run("ipset", "-exist", "restore", input="\n".join(lines) + "\n")


def change(delete: Sequence[Element], add: Sequence[Element]) -> None:
    """Delete elements, then add or renew others, in the order given.

    This is no transaction: after a ``FirewallError`` some of it may have been done.
    """
    if len(delete) + len(add) > FEW:
        lines = [f"del {element.set} {element.key}" for element in delete]
        lines += [_line(element) for element in add]
        commands.run("ipset", "-exist", "restore", input="\n".join(lines) + "\n")
    elif delete or add:
        _speak(delete, add)


def _line(element: Element) -> str:
    line = f"add {element.set} {element.key}"
    if element.timeout is not None:
        line += f" timeout {element.timeout}"
    if element.bytes is not None:
        line += f" packets 0 bytes {element.bytes}"
    return f'{line} comment "{element.words}"'


def _speak(delete: Sequence[Element], add: Sequence[Element]) -> None:
    # Loaded only here: the helper of a gateway with nftables has no use for its 20 MB.
    from pyroute2.ipset import IPSet
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        # An object of its own each time: a shared one keeps a descriptor for every thread.
        with IPSet() as kernel:
            for element in delete:
                kernel.delete(element.set, **_target(element))
            for element in add:
                counters: dict[str, int] = {}
                if element.bytes is not None:
                    counters = {"packets": 0, "bytes": element.bytes}
                kernel.add(
                    element.set,
                    comment=element.words,
                    timeout=element.timeout,
                    **_target(element),
                    **counters,
                )
    except (NetlinkError, OSError) as error:
        raise FirewallError(f"ipset: {error}") from error


def _target(element: Element) -> dict[str, Any]:
    return {
        "entry": element.key.split(","),
        "etype": "ip,mac" if "," in element.key else "ip",
        "family": AF_INET6 if ":" in element.address else AF_INET,
        "exclusive": False,  # what is there already is renewed, what is gone already is no error
    }


def read(names: Sequence[str]) -> dict[str, list[Element]]:
    """Return the elements of sets; raise ``RulesMissing`` if one of them is gone."""
    # One run for all of them, and not for others' sets, which may be huge block lists.
    printed = commands.run("ipset", "-", input="".join(f"save {name}\n" for name in names))
    there = set(re.findall(r"^(?:ipset> )*create (\S+) ", printed, re.MULTILINE))
    if missing := set(names) - there:  # the program itself calls that a success
        raise RulesMissing(f"ipset: {', '.join(sorted(missing))} is gone")
    found: dict[str, list[Element]] = {name: [] for name in names}
    for element in _parse(printed):
        found[element.set].append(element)
    return found


def _parse(printed: str) -> Iterator[Element]:
    for line in printed.splitlines():
        if not line.startswith("add "):
            continue
        line, _, comment = line.partition(' comment "')
        _, name, key, *options = line.split()
        known = dict(zip(options[::2], options[1::2], strict=True))
        comment = comment.rstrip('"')
        yield Element(
            set=name,
            key=_normal(key),
            session=int(comment) if comment.isascii() and comment.isdecimal() else 0,
            comment=comment,
            timeout=int(known["timeout"]) if "timeout" in known else None,
            bytes=int(known["bytes"]) if "bytes" in known else None,
        )


def _normal(key: str) -> str:
    address, comma, mac = key.partition(",")
    if ":" in address:
        address = str(IPv6Address(address))
    return address + comma + mac.lower()


def names() -> list[str]:
    """Return the names of all sets that are ours."""
    return [name for name in commands.run("ipset", "list", "-name").split() if name.startswith("portald")]


def destroy(doomed: Iterable[str]) -> None:
    for name in doomed:
        commands.run("ipset", "destroy", name)


def known(kind: str) -> bool:
    """Tell whether the kernel has a type of set, by making one for a moment."""
    try:
        commands.run("ipset", "create", "portald_probe", *kind.split(), "timeout", "0", "comment")
    except FirewallError:
        return False
    commands.run("ipset", "destroy", "portald_probe")
    return True
