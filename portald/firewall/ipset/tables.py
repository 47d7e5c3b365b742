"""Puts the rules into the kernel's tables and takes them out again; the legacy tables only.

Where the package python-iptables is installed it writes the rules, in a process of its own
(``child``).  It has no way to say hashlimit safely, so chains with that match go through
``iptables-restore``; so do all chains where the package is missing or fails.  Either way what is
in the kernel afterwards is counted.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping

from portald.errors import FirewallError
from portald.firewall import commands
from portald.firewall.ipset.rules import PREFIX, Table

log = logging.getLogger(__name__)

PROGRAMS = {4: "iptables", 6: "ip6tables"}
TABLES = ("filter", "nat", "mangle")
_RESTORED = "hashlimit"


def program(family: int, what: str = "") -> str:
    """Return the name of the legacy program; newer systems call their other one just iptables."""
    legacy = f"{PROGRAMS[family]}-legacy{what}"
    return legacy if shutil.which(legacy) else f"{PROGRAMS[family]}{what}"


def install(family: int, tables: Mapping[str, Table]) -> None:
    """Write our chains and lead the built-in ones there, each table at once."""
    if importlib.util.find_spec("iptc") is None:
        restore(family, tables)
    else:
        by_word = {name: _only(table, restored=True) for name, table in tables.items()}
        restore(family, {name: table for name, table in by_word.items() if table.chains})
        try:
            _ask_child(family, {name: _only(table, restored=False) for name, table in tables.items()})
            _count(family, tables)
        except FirewallError as error:
            log.warning("event=python_iptables_failed family=%d error=%s", family, error)
            restore(family, tables)
    _count(family, tables)


def restore(family: int, tables: Mapping[str, Table]) -> None:
    """Write chains with ``iptables-restore``."""
    present = save(family)
    parts = [f"*{name}\n{_text(table, present.get(name, []))}COMMIT\n" for name, table in tables.items()]
    if text := "".join(parts):
        commands.run(program(family, "-restore"), "--noflush", "-w", input=text)


def save(family: int) -> dict[str, list[str]]:
    """Return the lines of each table, without counters."""
    tables: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in commands.run(program(family, "-save")).splitlines():
        if line.startswith("*"):
            lines = tables.setdefault(line[1:], [])
        elif line.startswith((":", "-A")):
            lines.append(re.sub(r" \[\d+:\d+\]$", "", line))
    return tables


def fingerprint(family: int, saved: Mapping[str, list[str]]) -> str:
    """Return our rules, and whatever is first in the built-in chains that lead to them, as text."""
    ours = []
    for name, lines in saved.items():
        hooked = {line.split()[1] for line in _jumps(lines)}
        for line in lines:
            chain = line.split()[1]
            if PREFIX in line or (line.startswith("-A") and chain in hooked):
                ours.append(f"{family} {name} {line}")
            if line.startswith("-A"):
                hooked.discard(chain)
    return "\n".join(ours)


def remove(family: int) -> None:
    """Take our chains out of all tables."""
    for name, lines in save(family).items():
        chains = _chains(lines)
        text = [_delete(line) for line in _jumps(lines)]
        text += [f"-F {chain}" for chain in chains] + [f"-X {chain}" for chain in chains]
        if text:
            text = [f"*{name}", *text, "COMMIT", ""]
            commands.run(program(family, "-restore"), "--noflush", "-w", input="\n".join(text))


def _text(table: Table, present: list[str]) -> str:
    lines = [f":{chain} - [0:0]" for chain in table.chains]  # makes it, or empties it
    lines += [f"-A {chain} {rule}" for chain, rules in table.chains.items() for rule in rules]
    for builtin, chain in table.jumps.items():
        ours = [line for line in _jumps(present) if line.split()[1] == builtin]
        first = next((line for line in present if line.startswith(f"-A {builtin} ")), "")
        if ours != [first] or first != f"-A {builtin} -j {chain}":
            lines += [_delete(line) for line in ours]
            lines.append(f"-I {builtin} -j {chain}")
    return "".join(f"{line}\n" for line in lines)


def _chains(lines: list[str]) -> list[str]:
    return [line.split()[0][1:] for line in lines if line.startswith(f":{PREFIX}_")]


def _jumps(lines: list[str]) -> list[str]:
    """Return the rules outside our chains that lead into them."""
    foreign = [line for line in lines if line.startswith("-A") and not line.startswith(f"-A {PREFIX}_")]
    return [line for line in foreign if re.search(rf"-[jg] {PREFIX}_", line)]


def _delete(rule: str) -> str:
    return "-D" + rule[2:]


def _only(table: Table, restored: bool) -> Table:
    chains = {
        chain: rules
        for chain, rules in table.chains.items()
        if any(_RESTORED in rule for rule in rules) is restored
    }
    return Table(chains, {} if restored else table.jumps)


def _ask_child(family: int, tables: Mapping[str, Table]) -> None:
    wanted = {name: dataclasses.asdict(table) for name, table in tables.items()}
    commands.run(
        sys.executable,
        "-m",
        "portald.firewall.ipset.child",
        str(family),
        input=json.dumps(wanted),
    )


def _count(family: int, tables: Mapping[str, Table]) -> None:
    """Raise ``FirewallError`` unless the kernel has as many rules as it was given, each jump first."""
    saved = save(family)
    for name, table in tables.items():
        lines = saved.get(name, [])
        found = Counter(line.split()[1] for line in lines if line.startswith("-A"))
        for chain, rules in table.chains.items():
            if found[chain] != len(rules):
                raise FirewallError(f"{PROGRAMS[family]}: {name} {chain} has lost rules")
        for builtin, chain in table.jumps.items():
            first = next((line for line in lines if line.startswith(f"-A {builtin} ")), "")
            if first != f"-A {builtin} -j {chain}":
                raise FirewallError(f"{PROGRAMS[family]}: {name} {builtin} does not lead to portald")
