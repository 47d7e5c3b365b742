"""Keeps rates by delaying what is too fast: an HTB class for each session, on every device it uses.

The rules write a session's class into the priority of its packets, where HTB looks first, so there
are no filters.  Downloads wait on the guest networks' devices, uploads on those to the internet.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from portald.errors import FirewallError, RulesMissing
from portald.firewall import commands
from portald.firewall.elements import PRIORITIES, add, delete, number
from portald.firewall.listing import Table
from portald.model import Grant, Rate

log = logging.getLogger(__name__)

ROOT = "7061:"
"""The handle of our queues; it tells them from everybody else's."""
FIRST, TRIAL = 0x10, 0xFFFE
"""Classes have 16 bits; the last is for finding out what the kernel can do."""
_ROOT = re.compile(r"qdisc (\S+) (\S+) dev (\S+) root")
_CLASS = re.compile(rf"class htb {ROOT}([0-9a-f]+) .*? rate (\d+)([KMGT]?)bit")
_UNITS = {"": 0.001, "K": 1, "M": 10**3, "G": 10**6, "T": 10**9}


@dataclass(frozen=True, slots=True)
class Lane:
    """The class of a session: its number, and what it is there for."""

    minor: int
    zone: str
    rate: Rate
    whole: bool = True

    def ways(self) -> dict[str, int]:
        """Return kilobits per second by the map that leads there."""
        both = zip(PRIORITIES, (self.rate.up, self.rate.down), strict=True)
        return {name: kilobits for name, kilobits in both if kilobits is not None}


class Queues:
    """What is known of the classes comes from the kernel, so a new helper goes on with them."""

    ruleset = "flush set inet portald rate_up\nflush set inet portald rate_dn\n"
    """What the other way to keep rates may have left."""

    def __init__(self, zones: Mapping[str, Sequence[str]], uplinks: Sequence[str]) -> None:
        self._zones = zones
        self._uplinks = tuple(uplinks)
        self._known: dict[int, Lane] = {}
        self._made: dict[int, set[str]] = {}
        """The devices that have a class of this number."""
        self._leaf: str | None = None

    def setup(self) -> None:
        """Put a queue on every device that has none but the kernel's own."""
        roots = _roots()
        wanted = self._devices()
        remove_queues([name for name in roots if name not in wanted], roots)
        for device in wanted:
            kind, handle = roots.get(device, ("", "0:"))
            if handle == ROOT:
                continue
            if handle != "0:":
                raise FirewallError(
                    f"{device} has a queue of its own ({kind} {handle}), which shaping by queue would "
                    f"replace: take it away (tc qdisc del dev {device} root) or set "
                    'firewall.shaping = "limit"'
                )
            commands.run("tc", "qdisc", "add", "dev", device, "root", "handle", ROOT, "htb")
        if self._leaf is None and wanted:
            self._leaf = _best_leaf(wanted[0])

    def verify(self) -> None:
        """Raise ``RulesMissing`` if a device has lost its queue."""
        roots = _roots()
        for device in self._devices():
            if roots.get(device, ("", ""))[1] != ROOT:
                raise RulesMissing(f"the queue of {device} is gone")

    def teardown(self) -> None:
        roots = _roots()
        remove_queues(list(roots), roots)
        self._known, self._made = {}, {}

    def script(self, gone: Collection[int], grants: Sequence[Grant]) -> str:
        """Make the classes that are needed; return the commands that lead packets into them."""
        lanes = self._lanes(grants)
        fresh = [lane for n, lane in lanes.items() if lane != self._known.get(n)]
        _batch(line for lane in fresh for line in self._make(lane))
        for lane in fresh:
            self._made.setdefault(lane.minor, set()).update(device for device, _ in self._places(lane))
        script = ""
        for name in PRIORITIES:
            old = {
                n: self._known[n].minor for n in gone if n in self._known and name in self._known[n].ways()
            }
            new = {n: lane.minor for n, lane in lanes.items() if name in lane.ways()}
            script += delete(name, [_led(n, minor) for n, minor in old.items() if new.get(n) != minor])
            script += add(name, [_led(n, minor) for n, minor in new.items() if old.get(n) != minor])
        return script

    def done(self, gone: Collection[int], grants: Sequence[Grant]) -> None:
        """Remember that the kernel took the script, and take away the classes nothing leads to any more."""
        lanes = self._lanes(grants)
        before = [self._known.pop(session).minor for session in gone if session in self._known]
        self._known |= lanes
        needed = {lane.minor: {device for device, _ in self._places(lane)} for lane in lanes.values()}
        self._forget({minor: self._made[minor] - needed.get(minor, set()) for minor in before})

    def learn(self, table: Table) -> None:
        known = {}
        for session in {*table.minors["prio_up"], *table.minors["prio_dn"]}:
            rate, whole = self.found(table, session)
            up, down = (table.minors[name].get(session) for name in PRIORITIES)
            minor = up or down or 0
            known[session] = Lane(minor, table.zone(session), rate, whole and up in (None, minor, down))
        self._known, self._made = known, {lane.minor: set() for lane in known.values()}
        for device, classes in table.classes.items():
            for minor in classes:
                self._made.setdefault(minor, set()).add(device)
        led = {lane.minor for lane in known.values()}
        self._forget({minor: set(devices) for minor, devices in self._made.items() if minor not in led})

    def look(self, table: Table) -> None:
        """Add the classes there are to what was read."""
        table.classes = {device: _classes(device) for device in self._devices()}

    def found(self, table: Table, session: int) -> tuple[Rate, bool]:
        """Return the rate a session is held to, and whether all that keeps it is there."""
        known = self._known[session].rate if session in self._known else Rate()
        up, up_whole = self._rate(table, "prio_up", session, self._uplinks, known.up)
        inside = self._zones.get(table.zone(session), ())
        down, down_whole = self._rate(table, "prio_dn", session, inside, known.down)
        return Rate(up, down), up_whole and down_whole

    def _rate(
        self, table: Table, name: str, session: int, devices: Iterable[str], known: int | None
    ) -> tuple[int | None, bool]:
        minor = table.minors[name].get(session)
        if minor is None:
            return None, True
        rates = {table.classes[device].get(minor) for device in devices if device in table.classes}
        if len(rates) != 1:
            return known, not rates
        (shown,) = rates
        # From a gigabit on, tc shows whole megabits only.
        exact = (
            known
            if known is not None and shown == (known if known < 10**6 else known // 1000 * 1000)
            else shown
        )
        return exact, shown is not None

    def _lanes(self, grants: Sequence[Grant]) -> dict[int, Lane]:
        wanted = [grant for grant in grants if grant.rate != Rate()]
        new = [grant.session for grant in wanted if grant.session not in self._known]
        used = {lane.minor for lane in self._known.values()} if new else set()
        free = islice((minor for minor in range(FIRST, TRIAL) if minor not in used), len(new))
        minors = dict(zip(new, free, strict=False))
        if len(minors) < len(new):
            raise FirewallError("more sessions with a rate than there are classes: 65,518")
        minors |= {
            grant.session: self._known[grant.session].minor
            for grant in wanted
            if grant.session not in minors
        }
        return {g.session: Lane(minors[g.session], g.zone, g.rate) for g in wanted}

    def _places(self, lane: Lane) -> Iterator[tuple[str, int]]:
        ways = lane.ways()
        if "prio_up" in ways:
            yield from ((device, lane.minor) for device in self._uplinks)
        if "prio_dn" in ways:
            yield from ((device, lane.minor) for device in self._zones.get(lane.zone, ()))

    def _make(self, lane: Lane) -> Iterator[str]:
        ways, devices = lane.ways(), self._devices()
        for name, there in (("prio_up", self._uplinks), ("prio_dn", self._zones[lane.zone])):
            if (kilobits := ways.get(name)) is None:
                continue
            for device in there:
                if device in devices:
                    burst = max(16_000, kilobits * 125 // 100)
                    yield (
                        f"class replace dev {device} parent {ROOT} classid {ROOT}{lane.minor:x} htb rate "
                        f"{kilobits}kbit ceil {kilobits}kbit burst {burst} cburst {burst} quantum 3000"
                    )
                    yield f"qdisc replace dev {device} parent {ROOT}{lane.minor:x} {self._line(kilobits)}"

    def _line(self, kilobits: int) -> str:
        if self._leaf == "fq_codel":
            return "fq_codel"
        # A quarter of a second, and room for one joined packet.  In bytes: a full queue of joined
        # packets would hold the acknowledgements of downloads up for seconds.
        return f"bfifo limit {max(80_000, kilobits * 125 // 4)}"

    def _forget(self, places: Mapping[int, set[str]]) -> None:
        present = self._devices()
        lines = []
        for minor, devices in places.items():
            lines += [f"class del dev {d} classid {ROOT}{minor:x}" for d in devices if d in present]
            self._made[minor] = self._made[minor] - devices
            if not self._made[minor]:
                del self._made[minor]
        try:
            _batch(lines, "-force")
        except FirewallError as error:
            log.warning("event=classes_not_deleted error=%s", error)

    def _devices(self) -> list[str]:
        """Return those of our devices that exist: through the others nothing can pass."""
        names = [name for zone in self._zones.values() for name in zone] + list(self._uplinks)
        present = {name for _, name in socket.if_nameindex()}
        return [name for name in dict.fromkeys(names) if name in present]


def remove_queues(devices: Iterable[str], roots: Mapping[str, tuple[str, str]]) -> None:
    """Take our queues from devices, and leave others' alone."""
    for device in devices:
        if roots[device][1] == ROOT:
            commands.run("tc", "qdisc", "del", "dev", device, "root")


def remove_all_queues() -> None:
    """Take away what shaping by queue may have left; where there is no tc, there was none."""
    try:
        roots = _roots()
    except FirewallError as error:
        log.debug("event=no_queues error=%s", error)
        return
    remove_queues(list(roots), roots)


def _roots() -> dict[str, tuple[str, str]]:
    """Return kind and handle of the queue at the root of each device."""
    found = (_ROOT.match(line) for line in commands.lines("tc", "qdisc", "show"))
    return {match[3]: (match[1], match[2]) for match in found if match}


def _classes(device: str) -> dict[int, int]:
    """Return kilobits per second by class."""
    found = (_CLASS.match(line) for line in commands.lines("tc", "class", "show", "dev", device))
    return {int(match[1], 16): int(int(match[2]) * _UNITS[match[3]]) for match in found if match}


def _best_leaf(device: str) -> str:
    trial = ["dev", device, "parent", f"{ROOT}{TRIAL:x}"]
    commands.run(
        "tc", "class", "replace", "dev", device, "parent", ROOT, "classid", trial[3], "htb", "rate", "1mbit"
    )
    try:
        commands.run("tc", "qdisc", "replace", *trial, "fq_codel")
    except FirewallError:
        return "bfifo"
    finally:
        commands.run("tc", "class", "del", "dev", device, "classid", trial[3])
    return "fq_codel"


def _led(session: int, minor: int) -> str:
    return f"{number(session)} : {ROOT}{minor:x}"


def _batch(lines: Iterable[str], *options: str) -> None:
    if text := "".join(f"{line}\n" for line in lines):
        commands.run("tc", *options, "-batch", "-", input=text)
