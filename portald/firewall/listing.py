"""Reads what ``nft list table inet portald`` prints, line by line: thousands cost no memory at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from portald.firewall.elements import BOUND, NUMBER, RATES, TIMED
from portald.model import Held, Rate, Usage

_OPENING = re.compile(r"\t(chain|map|set|quota) (\S+) \{")
_COUNTER = re.compile(r"counter packets \d+ bytes \d+")
_TIMES = r"(?: timeout (\w+))?(?: expires (\w+))?"
_PLACE = re.compile(rf'("([^"]*)" \. (\S{{17}})(?: \. ([0-9.]+))?){_TIMES} : 0x([0-9a-f]+)')
_LIVE = re.compile(rf"(0x([0-9a-f]+)){_TIMES} : (?:jump|goto) (\w+)")
_COUNT = re.compile(r"0x([0-9a-f]+) counter packets \d+ bytes (\d+)")
_LIMIT = re.compile(r"0x([0-9a-f]+) limit rate over (\d+) (\w*)bytes/second")
_PRIORITY = re.compile(r"0x([0-9a-f]+) : [0-9a-f]+:([0-9a-f]+)")
_VOLUME = re.compile(r'0x([0-9a-f]+) : "v(\d+)"')
_QUOTA = re.compile(r"over (\d+) (\w*)bytes(?: used (\d+) (\w*)bytes)?")
_ADDRESS = re.compile(rf"([0-9a-f]*[.:][0-9a-f.:]*){_TIMES}")
_DURATION = re.compile(r"(\d+)(ms|[dhms])")
_SECONDS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
FOUND = ("garden4", "garden6", "checks4", "checks6")
FOREVER = 2**31
"""Seconds of an element without a timeout: never ours."""


class Table:
    """One reading of the table."""

    def __init__(self, zones: Mapping[str, Sequence[str]]) -> None:
        self._zones = {name: zone for zone, names in zones.items() for name in names}
        self._count = {zone: len(names) for zone, names in zones.items()}
        self.chains: dict[str, list[str]] = {}
        """Every rule, by chain, and the table's own flags under no name."""
        self.timed: dict[str, dict[str, int]] = {name: {} for name in TIMED}
        """The mark behind each key."""
        self.rates: dict[str, dict[int, int]] = {name: {} for name in RATES}
        """Kilobits per second, by session."""
        self.minors: dict[str, dict[int, int]] = {"prio_up": {}, "prio_dn": {}}
        """The class of each session, where rates are kept by queues."""
        self.classes: dict[str, dict[int, int]] = {}
        """Kilobits per second, by device and class; who keeps rates by queues fills it in."""
        self.volumes: dict[int, int | None] = {}
        """Bytes left, by session; ``None`` if its quota is another's."""
        self.garden: dict[str, dict[str, int]] = {name: {} for name in FOUND}
        """Seconds left, by address, of what dnsmasq has put in."""
        self._parts: dict[int, _Parts] = {}
        self._quotas: dict[int, int] = {}

    def read(self, lines: Iterable[str]) -> Table:
        kind = name = ""
        for line in lines:
            if opening := _OPENING.match(line):
                kind, name = opening.groups()
                if kind == "chain":
                    self.chains[name] = []
            elif line == "\t}":
                kind = name = ""
            elif kind == "chain":
                self.chains[name].append(_COUNTER.sub("counter", line))
            elif kind == "quota":
                self._quota(name, line)
            elif kind:
                self._elements(name, line)
            elif line.startswith("\tflags"):
                self.chains[""] = [line]
        return self

    def held(self, session: int, rate: Rate, whole: bool = True) -> Held:
        """Take out what was found for a session, at a rate that may be kept elsewhere."""
        parts = self._parts.pop(session)
        if not parts.seen & _OPEN:
            return Held(session, "", "", frozenset(), 0, parts.usage, complete=False, open=False)
        left = self.volumes.get(session)
        bound = rate != Rate() or session in self.volumes
        wanted = self._count.get(parts.zone, 0)
        complete = (
            whole
            and not parts.odd
            and parts.seen & ~_SESS4 == _WHOLE | (_BOUND if bound else _FREE)
            and parts.places6 == wanted
            and parts.places4 == wanted * len(parts.addresses)
            and (session not in self.volumes or left is not None)
        )
        return Held(
            session, parts.zone, parts.mac, parts.addresses, parts.seconds, parts.usage, rate, left,
            None, complete,
        )  # fmt: skip

    def sessions(self) -> list[int]:
        """Return the sessions of which something was found and not taken out."""
        return list(self._parts)

    def zone(self, session: int) -> str:
        """Return where a session was found to be open, or ``""``."""
        return self._parts[session].zone

    def _of(self, mark: str | int) -> _Parts:
        session = (int(mark, 16) if isinstance(mark, str) else mark) & NUMBER
        parts = self._parts.get(session)
        if parts is None:
            parts = self._parts[session] = _Parts()
        return parts

    def _elements(self, name: str, line: str) -> None:
        if name in ("sess4", "sess6"):
            for key, interface, mac, address, _, expires, found in _PLACE.findall(line):
                mark = int(found, 16)
                self.timed[name][key] = mark
                parts = self._of(mark)
                parts.opens(_SESS4 if address else _SESS6, mark, expires)
                parts.place(self._zones.get(interface, ""), mac, address)
        elif name == "live":
            for key, session, _, expires, chain in _LIVE.findall(line):
                mark = int(session, 16) | (BOUND if chain == "policy_down" else 0)
                self.timed[name][key] = mark
                self._of(mark).opens(_LIVE_SEEN, mark, expires)
        elif name in ("acct_up", "acct_dn"):
            for session, count in _COUNT.findall(line):
                self._of(session).counts(name == "acct_up", int(count))
        elif name in self.garden:
            for address, _, expires in _ADDRESS.findall(line):
                self.garden[name][address] = _seconds(expires)
        else:
            self._policies(name, line)

    def _policies(self, name: str, line: str) -> None:
        if name in self.rates:
            for session, number, unit in _LIMIT.findall(line):
                self._of(session)
                self.rates[name][int(session, 16)] = int(number) * _UNITS[unit] // 125
        elif name in self.minors:
            for session, minor in _PRIORITY.findall(line):
                self._of(session)
                self.minors[name][int(session, 16)] = int(minor, 16)
        elif name == "volume":
            for session, quota in _VOLUME.findall(line):
                mark = int(session, 16)
                self._of(mark)
                self.volumes[mark] = self._quotas.get(mark) if mark == int(quota) else None

    def _quota(self, name: str, line: str) -> None:
        found = _QUOTA.search(line)
        if found and name[1:].isdecimal():
            over, unit, used, used_unit = found.groups()
            gone = int(used) * _UNITS[used_unit] if used else 0
            self._quotas[int(name[1:])] = max(0, int(over) * _UNITS[unit] - gone)


_SESS4, _SESS6, _LIVE_SEEN, _UP, _DOWN, _BOUND, _FREE = (1 << bit for bit in range(7))
_OPEN = _SESS4 | _SESS6 | _LIVE_SEEN
_WHOLE = _SESS6 | _LIVE_SEEN | _UP | _DOWN  # a session without addresses yet has no element in sess4


class _Parts:
    """What was found for one session; small, as there may be ten thousand."""

    __slots__ = ("addresses", "mac", "odd", "places4", "places6", "seconds", "seen", "usage", "zone")

    def __init__(self) -> None:
        self.seen = 0
        self.odd = False
        self.zone = self.mac = ""
        self.addresses: frozenset[str] = frozenset()
        self.places4 = self.places6 = 0
        self.seconds = FOREVER
        self.usage = Usage()

    def opens(self, part: int, mark: int, expires: str) -> None:
        self.seen |= part | (_BOUND if mark & BOUND else _FREE)
        self.seconds = min(self.seconds, _seconds(expires))

    def place(self, zone: str, mac: str, address: str) -> None:
        if not self.mac:
            self.zone, self.mac = zone, mac
        self.odd |= not zone or (self.zone, self.mac) != (zone, mac)
        if not address:
            self.places6 += 1
            return
        self.places4 += 1
        if address not in self.addresses:
            self.addresses |= {address}

    def counts(self, up: bool, count: int) -> None:
        self.seen |= _UP if up else _DOWN
        self.usage = Usage(count, self.usage.down) if up else Usage(self.usage.up, count)


def _seconds(printed: str) -> int:
    if not printed:
        return FOREVER
    return int(sum(int(number) * _SECONDS[unit] for number, unit in _DURATION.findall(printed)))
