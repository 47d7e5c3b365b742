"""Keeps guests in when somebody flushes the ruleset: an ip rule that only portald's rules satisfy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from portald.errors import RulesMissing
from portald.firewall import commands

PREFERENCE = 1000
ALIVE = 0x10000000
"""Bit 28 of the packet mark, set by the ruleset on every packet from guests."""


class Guard:
    """Refuses to route guests' packets that have not passed the ruleset, in both families."""

    def __init__(self, interfaces: Sequence[str]) -> None:
        self._interfaces = tuple(interfaces)

    def setup(self) -> None:
        for family in ("-4", "-6"):
            present = _guarded(family)
            for interface in self._interfaces:
                if interface not in present:
                    commands.run("ip", family, "rule", "add", *_rule(interface))

    def tidy(self) -> None:
        """Take the guard from interfaces that are no guest network any more."""
        for family in ("-4", "-6"):
            for interface in _guarded(family) - set(self._interfaces):
                commands.run("ip", family, "rule", "del", *_rule(interface))

    def verify(self) -> None:
        """Raise ``RulesMissing`` if a rule of the guard is gone."""
        for family in ("-4", "-6"):
            if missing := set(self._interfaces) - _guarded(family):
                raise RulesMissing(f"ip {family} rule {PREFERENCE} for {', '.join(missing)} is gone")

    def teardown(self) -> None:
        for family in ("-4", "-6"):
            for interface in _guarded(family):
                commands.run("ip", family, "rule", "del", *_rule(interface))


def _rule(interface: str) -> list[str]:
    mark = f"0x0/{ALIVE:#x}"
    return ["pref", str(PREFERENCE), "iif", interface, "fwmark", mark, "prohibit"]


def _guarded(family: str) -> set[str]:
    rules: list[dict[str, Any]] = json.loads(commands.run("ip", "-j", family, "rule") or "[]")
    return {
        rule["iif"]
        for rule in rules
        if rule["priority"] == PREFERENCE
        and rule.get("action") == "prohibit"
        and rule.get("fwmask") == f"{ALIVE:#x}"
        and "iif" in rule
    }
