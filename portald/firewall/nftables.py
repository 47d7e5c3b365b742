"""Grants as elements of nft sets: one atomic transaction per change, flat cost per packet."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from portald.errors import FirewallError, RulesMissing
from portald.firewall import commands
from portald.firewall.flows import Flows
from portald.firewall.guard import Guard
from portald.model import Grant, Held, Usage

GRANTS = ("sess4", "sess6")
COUNTERS = ("acct_up", "acct_dn")

Key = tuple[str, ...]  # ("02:…", "10.77.0.11") in sess4, ("02:…",) in sess6


class NftFirewall:
    """The nftables backend; the only writer of ``table inet portald``.

    It remembers which elements it has put in, so that a change costs one run of nft however many
    sessions there are.  A change that fails makes it read the kernel and try once more.
    """

    def __init__(
        self,
        rules: Path,
        interfaces: Sequence[str],
        portal_port: int,
        open_tcp: Sequence[int] = (),
        open_udp: Sequence[int] = (),
    ) -> None:
        names = ", ".join(f'"{name}"' for name in interfaces)
        self._ruleset = (
            f"define guests = {{ {names} }}\ndefine portal_port = {portal_port}\n"
            f'include "{rules}"\n' + _ports("open_tcp", open_tcp) + _ports("open_udp", open_udp)
        )
        self._guard = Guard(interfaces)
        self._flows = Flows()
        self._elements: dict[str, dict[Key, int]] = {name: {} for name in GRANTS}
        self._rules: str | None = None
        # Changes come one after the other; reading goes on beside them, and ``_changes`` tells
        # whether what was read is still news.
        self._changing = threading.Lock()
        self._changes = 0

    def setup(self) -> None:
        with self._changing:
            # The guard first: from here on a missing ruleset means closed.
            self._guard.setup()
            try:
                commands.nft(self._ruleset)
            except FirewallError:
                # Sets that another version laid out differently cannot be kept.  The next round
                # fills them again; until then guests are refused rather than let through.
                commands.nft(f"add table inet portald\ndelete table inet portald\n{self._ruleset}")
            self._guard.tidy()
            self._rules = _fingerprint(commands.nft_list("--terse", "table"))
        self.read()  # what an earlier helper put in is ours to take out

    def check(self) -> None:
        """Ask the kernel whether it would take the rules, changing nothing."""
        commands.run("nft", "-c", "-f", "-", input=f"add table inet portald\n{self._ruleset}")

    def read(self) -> Mapping[int, Held]:
        try:
            rules = _fingerprint(commands.nft_list("--terse", "table"))
        except FirewallError as error:
            if "No such file" in str(error):
                raise RulesMissing("table inet portald is gone") from error
            raise
        if rules != self._rules:
            raise RulesMissing("the rules in table inet portald are not those of portald")
        self._guard.verify()
        changes = self._changes
        found: dict[int, _Parts] = {}
        elements: dict[str, dict[Key, int]] = {name: {} for name in GRANTS}
        # One set after the other: of ten thousand sessions each is ten megabytes for a moment.
        for name in GRANTS:
            for element, mark in commands.nft_elements(name, kind="map"):
                key = _key(element["elem"]["val"])
                elements[name][key] = mark
                found.setdefault(mark, _Parts()).grant(name, key, element["elem"]["expires"])
        for name in COUNTERS:
            for element in commands.nft_elements(name, kind="set"):
                body = element["elem"]
                found.setdefault(body["val"], _Parts()).count(name, body)
        with self._changing:
            if changes == self._changes:  # else what is remembered is newer than what was read
                self._elements = elements
        return {mark: parts.held(mark) for mark, parts in found.items()}

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        add, remove = list(add), list(remove)
        if not add and not remove:
            return
        try:
            held = self._change(add, remove)
        except FirewallError:
            self.read()
            held = self._change(add, remove)
        renewed = {grant.session for grant in add}
        # Only what was held: another number may be the mark of another program's connections.
        self._flows.cut(held.intersection(remove) - renewed)

    def teardown(self) -> None:
        """Take everything out: the gateway forwards as if portald had never been there."""
        commands.nft("add table inet portald\ndelete table inet portald\n")
        self._guard.teardown()
        self._rules = None

    def _change(self, add: list[Grant], remove: list[int]) -> set[int]:
        gone = {*remove, *(grant.session for grant in add)}
        new: dict[str, dict[Key, Grant]] = {
            "sess4": {(g.mac, address): g for g in add for address in g.addresses},
            "sess6": {(g.mac,): g for g in add},
        }
        with self._changing:
            old: dict[str, dict[Key, int]] = {}
            script: list[Any] = []
            for name in GRANTS:
                known, coming = self._elements[name], new[name]
                # What these sessions had, and what others had under the keys that are now theirs.
                old[name] = {k: mark for k, mark in known.items() if mark in gone or k in coming}
                fresh = {key: grant.session for key, grant in coming.items()} | old[name]
                script += _delete(name, [[_value(key), mark] for key, mark in fresh.items()])
                script += _add(
                    name, [[_element(_value(k), g.seconds), g.session] for k, g in coming.items()]
                )
            for name in COUNTERS:
                script += _delete(name, list(gone))
                script += _add(name, [_element(grant.session, grant.seconds) for grant in add])
            commands.nft_json(script)
            for name in GRANTS:
                for key in old[name]:
                    del self._elements[name][key]
                self._elements[name].update({key: grant.session for key, grant in new[name].items()})
            self._changes += 1
        return {mark for marks in old.values() for mark in marks.values()}


def _delete(name: str, elements: list[Any]) -> list[Any]:
    # An element that may have expired is added first: deleting what is not there is an error
    # that would undo the whole transaction.
    return _add(name, elements) + _command("delete", name, elements)


def _add(name: str, elements: list[Any]) -> list[Any]:
    return _command("add", name, elements)


def _command(verb: str, name: str, elements: list[Any]) -> list[Any]:
    if not elements:
        return []
    body = {"family": "inet", "table": "portald", "name": name, "elem": elements}
    return [{verb: {"element": body}}]


def _value(key: Key) -> Any:
    return {"concat": list(key)} if len(key) > 1 else key[0]


def _element(value: Any, seconds: int) -> Any:
    return {"elem": {"val": value, "timeout": seconds}}


def _ports(name: str, ports: Sequence[int]) -> str:
    flush = f"flush set inet portald {name}\n"
    if not ports:
        return flush
    return flush + f"add element inet portald {name} {{ {', '.join(map(str, ports))} }}\n"


def _key(value: Any) -> Key:
    return tuple(value["concat"]) if isinstance(value, dict) else (value,)


class _Parts:
    """What was found in the kernel for one session."""

    __slots__ = ("addresses", "bytes", "macs", "seconds", "seen")

    def __init__(self) -> None:
        self.macs: set[str] = set()
        self.addresses: set[str] = set()
        self.bytes = dict.fromkeys(COUNTERS, 0)
        self.seconds: int | None = None
        self.seen: set[str] = set()

    def grant(self, name: str, key: Key, expires: int) -> None:
        self.macs.add(key[0])
        self.addresses.update(key[1:])
        self._expires(name, expires)

    def count(self, name: str, body: Mapping[str, Any]) -> None:
        self.bytes[name] = body["counter"]["bytes"]
        self._expires(name, body["expires"])

    def _expires(self, name: str, seconds: int) -> None:
        self.seen.add(name)
        self.seconds = seconds if self.seconds is None else min(self.seconds, seconds)

    def held(self, session: int) -> Held:
        # A session without addresses yet has no element in sess4; that is complete.
        complete = {"sess6", *COUNTERS} <= self.seen and len(self.macs) == 1
        return Held(
            session=session,
            mac=min(self.macs, default=""),
            addresses=frozenset(self.addresses),
            seconds=self.seconds or 0,
            usage=Usage(self.bytes["acct_up"], self.bytes["acct_dn"]),
            complete=complete,
        )


def _fingerprint(listing: list[dict[str, Any]]) -> str:
    """Return the rules and chains as text, without what changes by itself."""
    parts = []
    for item in listing:
        for kind, body in item.items():
            if kind in ("rule", "chain"):
                parts.append(json.dumps([kind, _still(body)], sort_keys=True))
    return "\n".join(parts)


def _still(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: None if key == "counter" else _still(inner)
            for key, inner in value.items()
            if key != "handle"
        }
    return [_still(inner) for inner in value] if isinstance(value, list) else value
