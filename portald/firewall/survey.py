"""Looks for what else on this machine blocks guests or bypasses portald; ``conflicts`` judges it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from portald.errors import FirewallError
from portald.firewall import commands, conflicts
from portald.model import Alarm

LOADED = {"iptables": "ip_tables_names", "ip6tables": "ip6_tables_names"}
"""Where the kernel names the tables of iptables-legacy."""


def alarms(interfaces: Collection[str]) -> list[Alarm]:
    listing = others()
    found = list(conflicts.alarms(listing, interfaces))
    for name in LOADED:
        if conflicts.marks_hidden(listing):
            found += conflicts.of_iptables(_saved(f"{name}-nft"), name)
        found += conflicts.of_legacy(_legacy(name), f"{name}-legacy")
    return [*found, *_bridges(interfaces)]


def refuse_other_backend() -> None:
    """Raise ``FirewallError`` if portald's rules for iptables are in place: nobody would pass both."""
    saved = "".join(_legacy(name) for name in LOADED)
    if conflicts.leftover(others(), saved):
        raise FirewallError(
            "portald's rules for iptables are still in place; "
            "take them out first: portald-firewall --remove"
        )


def others() -> list[dict[str, Any]]:
    """Return what is in all tables but ours, without elements: of those there may be many."""
    found: list[dict[str, Any]] = []
    for table in _nft("list", "tables"):
        body = table.get("table", {})
        if body and (body["family"], body["name"]) != ("inet", "portald"):
            found += _nft("list", "table", body["family"], body["name"])
    return found


def _nft(*words: str) -> list[dict[str, Any]]:
    printed = commands.run("nft", "--json", "--terse", *words)
    listing: list[dict[str, Any]] = json.loads(printed)["nftables"] if printed else []
    return listing


def _legacy(name: str) -> str:
    """Return the rules of iptables-legacy; asking where there are none would load its modules."""
    try:
        loaded = Path("/proc/thread-self/net", LOADED[name]).read_text().strip()
    except OSError:
        return ""
    return _saved(f"{name}-legacy") if loaded else ""


def _saved(program: str) -> str:
    return commands.run(f"{program}-save") if shutil.which(f"{program}-save") else ""


def _bridges(interfaces: Collection[str]) -> Iterator[Alarm]:
    printed = commands.run("ip", "-j", "link", "show", "type", "bridge")
    # Where there is none, some versions print an empty object.
    bridges = {link.get("ifname") for link in json.loads(printed or "[]")}
    mine = sorted(bridges & set(interfaces))
    switches = [f"net.bridge.bridge-nf-call-{key}" for key in LOADED]
    paths = {switch: Path("/proc/sys", *switch.split(".")) for switch in switches}
    on = [switch for switch, path in paths.items() if path.is_file() and path.read_text().strip() == "1"]
    if mine and on:
        yield Alarm(
            f"what guests on {', '.join(mine)} send one another passes the firewall, and is refused",
            "; ".join(f"sysctl -w {switch}=0" for switch in on),
        )
