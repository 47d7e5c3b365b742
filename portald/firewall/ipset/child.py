"""Writes rules through python-iptables: ``python -m portald.firewall.ipset.child 4 < rules.json``.

It has a process of its own, one for each family, because of what the package does (measured with
1.2.0): whichever family uses a target first, the other cannot load it any more; four threads end
it with SIGBUS; and a table is a snapshot, so that whatever another program wrote since is silently
undone by the next commit.  Hence the lock that iptables itself takes, from the snapshot to the
commit, and a second look afterwards.
"""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PREFIX = "PORTALD_"


def main(family: str, text: str) -> int:
    _find_extensions()
    try:
        with _lock():
            for name, wanted in json.loads(text).items():
                _write(family == "6", name, wanted["chains"], wanted["jumps"])
    except Exception as error:
        # Whatever it is, another way is taken; what matters is that it is not taken for success.
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _find_extensions() -> None:
    """Tell the package where iptables' libraries are, where there is no ldconfig to ask (musl)."""
    if shutil.which("ldconfig") or Path("/sbin/ldconfig").exists() or "XTABLES_LIBDIR" in os.environ:
        return
    for folder in (Path("/usr/lib/iptables"), Path("/usr/lib/xtables"), Path("/lib/xtables")):
        if folder.is_dir():
            os.environ["XTABLES_LIBDIR"] = str(folder)


@contextmanager
def _lock() -> Iterator[None]:
    """Hold the lock of iptables 1.6.2 and later."""
    # Opened as iptables opens it: reading is enough to lock, where the helper is not root.
    file = os.open(os.environ.get("XTABLES_LOCKFILE", "/run/xtables.lock"), os.O_RDONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _write(ipv6: bool, name: str, chains: dict[str, list[str]], jumps: dict[str, str]) -> None:
    import iptc

    table = iptc.Table6(name) if ipv6 else iptc.Table(name)
    table.autocommit = False
    table.refresh()
    for chain in chains:
        if table.is_chain(chain):
            iptc.Chain(table, chain).flush()
        else:
            table.create_chain(chain)
    for chain, rules in chains.items():
        target = iptc.Chain(table, chain)
        for rule in rules:
            target.append_rule(parse(rule, ipv6))
    for builtin, chain in jumps.items():
        source = iptc.Chain(table, builtin)
        for rule in source.rules:
            if rule.target is not None and str(rule.target.name).startswith(PREFIX):
                source.delete_rule(rule)
        source.insert_rule(parse(f"-j {chain}", ipv6))
    table.commit()
    table.refresh()
    for chain, rules in chains.items():
        if len(iptc.Chain(table, chain).rules) != len(rules):
            raise RuntimeError(f"{name} {chain}: not all rules are there")


def parse(text: str, ipv6: bool) -> Any:
    """Return a rule from iptables' words; raise for a word that is not understood.

    The package's own reader of dictionaries leaves out what it does not understand.
    """
    import iptc

    rule = iptc.Rule6() if ipv6 else iptc.Rule()
    words = shlex.split(text)
    part: Any = None
    while words:
        word = words.pop(0)
        match word:
            case "-i":
                rule.in_interface = words.pop(0)
            case "-o":
                rule.out_interface = words.pop(0)
            case "-s":
                rule.src = words.pop(0)
            case "-p":
                rule.protocol = words.pop(0)
            case "-m":
                part = iptc.Match(rule, words.pop(0))
                rule.add_match(part)
            case "-j" | "-g":
                part = iptc.Target(rule, words.pop(0), goto=word == "-g")
                rule.target = part
            case _ if word.startswith("--") and part is not None:
                values = []
                while words and not words[0].startswith("-"):
                    values.append(words.pop(0))
                part.set_parameter(word[2:], values)
            case _:
                raise ValueError(f"{word} in {text}")
    return rule


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.stdin.read()))
