"""Grants as elements of nft sets: one atomic transaction per change, flat cost per packet."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from portald.errors import FirewallError, RulesMissing
from portald.firewall import commands, elements, survey
from portald.firewall.elements import COUNTERS, NUMBER, TIMED, number
from portald.firewall.flows import Flows
from portald.firewall.garden import Garden
from portald.firewall.guard import Guard
from portald.firewall.limits import Limits
from portald.firewall.listing import Table
from portald.firewall.queues import Queues
from portald.firewall.watch import Watch
from portald.model import Alarm, Grant, Held

log = logging.getLogger(__name__)

LIST = ("nft", "--numeric", "list", "table", "inet", "portald")
LIST_RULES = ("nft", "--numeric", "--terse", *LIST[2:])


class NftFirewall:
    """The nftables backend; the only writer of ``table inet portald``.

    It remembers which elements it has put in, so that a change costs one run of nft however many
    sessions there are.  A change that fails makes it read the kernel and try once more.
    """

    def __init__(
        self,
        rules: Path,
        zones: Mapping[str, Sequence[str]],
        portal_port: int,
        open_tcp: Sequence[int] = (),
        open_udp: Sequence[int] = (),
        portal_https: Sequence[str] = (),
        garden: Sequence[str] = (),
        uplinks: Sequence[str] = (),
    ) -> None:
        """Rates are kept by queues if there are ``uplinks``, else by limits."""
        self._zones = {zone: tuple(names) for zone, names in zones.items()}
        self._interfaces = [name for names in self._zones.values() for name in names]
        self._rates: Limits | Queues = Queues(self._zones, uplinks) if uplinks else Limits()
        self._garden = Garden(garden)
        quoted = ", ".join(f'"{name}"' for name in self._interfaces)
        self._ruleset = (
            f"define guests = {{ {quoted} }}\ndefine portal_port = {portal_port}\n"
            f'include "{rules}"\n'
            + _filled("open_tcp", map(str, open_tcp))
            + _filled("open_udp", map(str, open_udp))
            + _filled("portal_https", portal_https)
            + self._garden.ruleset
            + self._rates.ruleset
        )
        self._names = frozenset(re.findall(r"^\tchain (\w+) \{", rules.read_text(), re.M))
        self._guard = Guard(self._interfaces)
        self._flows = Flows()
        self._watch = Watch(self._mend)
        self._known: dict[str, dict[str, int]] = {name: {} for name in TIMED}
        self._volumes: set[int] = set()
        self._chains: dict[str, list[str]] | None = None
        # Changes come one after the other; reading goes on beside them, and ``_changes`` tells
        # whether what was read is still news.
        self._changing = threading.Lock()
        self._changes = 0

    def setup(self) -> None:
        if self._chains is None:
            survey.refuse_other_backend()
        self._install()
        self.read()  # what an earlier helper put in is ours to take out

    def check(self) -> None:
        """Ask the kernel whether it would take the rules, changing nothing."""
        survey.refuse_other_backend()
        commands.run("nft", "-c", "-f", "-", input=f"add table inet portald\n{self._ruleset}")

    def read(self) -> Mapping[int, Held]:
        changes = self._changes
        table = self._list(LIST)
        self._verify(table)
        self._rates.look(table)
        self._garden.remember(table.garden)
        with self._changing:
            if changes == self._changes:  # else what is remembered is newer than what was read
                self._known = table.timed
                self._volumes = set(table.volumes)
                self._rates.learn(table)
        return {n: table.held(n, *self._rates.found(table, n)) for n in table.sessions()}

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        add, remove = [elements.checked(grant, self._zones) for grant in add], list(remove)
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

    def settle(self, sessions: Iterable[int]) -> None:
        with self._changing:
            held = {mark & NUMBER for mark in self._known["live"].values()}
            gone = [session for session in sessions if session not in held]
            if not gone:
                return
            # A session that timed out still has what it was held to.
            script = self._rates.script(gone, []) + elements.no_volume(self._volumes.intersection(gone))
            for name in COUNTERS:
                script += elements.add(name, map(number, gone)) + elements.delete(name, map(number, gone))
            commands.nft(script)
            self._rates.done(gone, [])
            self._volumes.difference_update(gone)
            self._changes += 1

    def wait(self, seconds: float) -> bool:
        return self._watch.wait(seconds)

    def survey(self) -> list[Alarm]:
        return survey.alarms(self._interfaces)

    def teardown(self) -> None:
        """Take everything out: the gateway forwards as if portald had never been there."""
        with self._changing:
            commands.nft("add table inet portald\ndelete table inet portald\n")
            self._guard.teardown()
            self._rates.teardown()
            self._chains = None

    def _install(self) -> None:
        with self._changing:
            # The guard first: from here on a missing ruleset means closed.
            self._guard.setup()
            ruleset = self._ruleset + self._garden.remembered()
            try:
                commands.nft(ruleset)
                self._tidy()
            except FirewallError:
                # Sets that another version laid out differently cannot be kept.  The next round
                # fills them again; until then guests are refused rather than let through.
                commands.nft(f"add table inet portald\ndelete table inet portald\n{ruleset}")
                self._tidy()
            self._guard.tidy()
            self._rates.setup()

    def _mend(self) -> bool:
        """Look at the rules, and put them back if they are not ours; true if that was needed."""
        if self._chains is None:
            return False
        try:
            self._verify(self._list(LIST_RULES))
        except RulesMissing as error:
            log.warning("event=rules_changed error=%s", error)
            self._install()
            return True
        return False

    def _change(self, add: Sequence[Grant], remove: Sequence[int]) -> set[int]:
        """Make one change in one transaction; return the sessions that were open before it."""
        gone = {*remove, *(grant.session for grant in add)}
        coming: dict[str, dict[str, Grant]] = {name: {} for name in TIMED}
        for grant in add:
            for name, keys in elements.opened(grant, self._zones[grant.zone]).items():
                coming[name] |= dict.fromkeys(keys, grant)
        with self._changing:
            old = {name: self._replaced(name, gone, coming[name]) for name in TIMED}
            script = "".join(_exchange(name, old[name], coming[name]) for name in TIMED)
            script += self._counters(add) + self._rates.script(gone, add)
            script += elements.no_volume(self._volumes.intersection(gone))
            volumes = {grant.session: grant.left for grant in add if grant.left is not None}
            script += "".join(elements.volume(session, left) for session, left in volumes.items())
            if script:
                commands.nft(script)
            for name in TIMED:
                for key in old[name]:
                    del self._known[name][key]
                self._known[name] |= {key: elements.mark(grant) for key, grant in coming[name].items()}
            self._volumes = (self._volumes - gone) | volumes.keys()
            self._rates.done(gone, add)
            self._changes += 1
        return {mark & NUMBER for marks in old.values() for mark in marks.values()}

    def _replaced(self, name: str, gone: Collection[int], coming: Collection[str]) -> dict[str, int]:
        """Return what these sessions had, and what others had under the keys that are now theirs."""
        known = self._known[name].items()
        return {key: mark for key, mark in known if mark & NUMBER in gone or key in coming}

    def _counters(self, add: Sequence[Grant]) -> str:
        """Return the commands that begin counters; one that is there goes on as it was."""
        return elements.add(
            "acct_up", [elements.counter(grant.session, grant.counted.up) for grant in add]
        ) + elements.add("acct_dn", [elements.counter(grant.session, grant.counted.down) for grant in add])

    def _list(self, command: Sequence[str]) -> Table:
        try:
            return Table(self._zones).read(commands.lines(*command))
        except FirewallError as error:
            if "No such file" in str(error):
                raise RulesMissing("table inet portald is gone") from error
            raise

    def _verify(self, table: Table) -> None:
        if table.chains != self._chains:
            raise RulesMissing("the rules in table inet portald are not those of portald")
        self._guard.verify()
        self._rates.verify()

    def _tidy(self) -> None:
        """Delete chains that are not ours, and see that the rest is what it always was."""
        chains = self._list(LIST_RULES).chains
        if extra := [name for name in chains if name and name not in self._names]:
            flush = "".join(f"flush chain inet portald {name}\n" for name in extra)
            commands.nft(flush + "".join(f"delete chain inet portald {name}\n" for name in extra))
            chains = {name: rules for name, rules in chains.items() if name not in extra}
        if self._chains not in (None, chains):
            raise FirewallError("the rules in table inet portald are not what was loaded")
        self._chains = chains


def _exchange(name: str, old: Mapping[str, int], coming: Mapping[str, Grant]) -> str:
    # An element that may have expired is added first: deleting what is not there is an error
    # that would undo the whole transaction.
    again = [f"{key} : {elements.value(name, mark)}" for key, mark in old.items()]
    new = (
        f"{key} timeout {max(1, grant.seconds)}s : {elements.value(name, elements.mark(grant))}"
        for key, grant in coming.items()
    )
    return elements.add(name, again) + elements.delete(name, again) + elements.add(name, new)


def _filled(name: str, values: Iterable[str]) -> str:
    return f"flush set inet portald {name}\n" + elements.add(name, values)
