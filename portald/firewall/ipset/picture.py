"""What is in the kernel's sets, as it was read last and changed since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from portald.access import families
from portald.errors import FirewallError
from portald.firewall.ipset import ledger
from portald.firewall.ipset.layout import DOWN, GOT, SENT, Layout, normal
from portald.firewall.ipset.layout import counters as counters_of
from portald.firewall.ipset.ledger import Facts
from portald.firewall.ipset.sets import Element
from portald.model import Grant, Held, Usage

Key = tuple[str, str]
UP, DOWNWARDS = frozenset(SENT.values()), frozenset(GOT.values())
ANSWERS = frozenset(DOWN.values())


@dataclass(slots=True)
class Change:
    """What to delete and then to add, and what the ledger says afterwards."""

    delete: list[Element] = field(default_factory=list)
    add: list[Element] = field(default_factory=list)
    facts: dict[int, Facts] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    """Addresses that have lost access."""


class Picture:
    """Elements by set and key: those that give access, those that count, and the ledger."""

    def __init__(self, found: Mapping[str, Sequence[Element]]) -> None:
        self.access: dict[Key, Element] = {}
        self.counters: dict[Key, Element] = {}
        self.facts: dict[int, Facts] = {}
        self.unreadable: set[int] = set()
        """Sessions whose line of the ledger was not written by portald."""
        for elements in found.values():
            for element in elements:
                self._put(element)

    def _put(self, element: Element) -> None:
        if element.set == ledger.NAME:
            session, facts = ledger.read(element)
            if facts:
                self.facts[session] = facts
            else:
                self.unreadable.add(session)
        else:
            self._part(element)[element.set, element.key] = element

    def _part(self, element: Element) -> dict[Key, Element]:
        return self.counters if element.set in UP | DOWNWARDS else self.access

    def update(self, change: Change) -> None:
        """Remember a change that was made."""
        for element in change.delete:
            if element.set == ledger.NAME:
                self.facts.pop(element.session, None)
                self.unreadable.discard(element.session)
            else:
                self._part(element).pop((element.set, element.key), None)
        for element in change.add:
            self._put(element)

    def holders(self) -> dict[str, int]:
        """Return the session that has each address."""
        return {e.address: e.session for e in self.access.values() if e.set in ANSWERS}

    def usages(self) -> dict[int, Usage]:
        """Return the bytes of each session so far; new only if the picture is."""
        counted: dict[int, list[int]] = defaultdict(lambda: [0, 0])
        for element in self.counters.values():
            counted[element.session][element.set in DOWNWARDS] += element.bytes or 0
        found = {}
        for session in {*counted, *self.facts, *self.unreadable}:
            base = self.facts[session].base if session in self.facts else Usage()
            up, down = counted[session]
            # Not below nothing, should somebody have reset the counters.
            found[session] = Usage(max(0, base.up + up), max(0, base.down + down))
        return found

    def must_be_fresh(self, add: Iterable[Grant]) -> bool:
        """Tell whether planning these grants takes the counters of this moment."""
        for grant in add:
            if grant.left is not None and grant.session in self.facts:
                return True
            for address in map(normal, grant.addresses):
                for name in counters_of(address).values():
                    counter = self.counters.get((name, address))
                    if counter and counter.session != grant.session:
                        return True
        return False

    def held(self, layout: Layout, now: int) -> dict[int, Held]:
        """Return what the kernel holds for each session."""
        access: dict[int, list[Element]] = defaultdict(list)
        for element in self.access.values():
            access[element.session].append(element)
        usages, holders = self.usages(), self.holders()
        return {
            session: self._one(session, access[session], layout, usages.get(session, Usage()), holders, now)
            for session in {*usages, *access}
        }

    def _one(
        self,
        session: int,
        access: list[Element],
        layout: Layout,
        usage: Usage,
        holders: Mapping[str, int],
        now: int,
    ) -> Held:
        facts = self.facts.get(session)
        running = facts is not None and facts.until > now
        if not access and not running:
            return Held(session, "", "", frozenset(), 0, usage, complete=False, open=False)
        zones = {layout.admitting[e.set] for e in access if e.set in layout.admitting}
        seconds = [e.timeout or 0 for e in access]
        if facts is None or not running:
            zone, addresses = min(zones, default=""), frozenset(e.address for e in access)
            ipv4, ipv6 = families(addresses)
            return Held(session, zone, "", ipv4, min(seconds, default=0), usage, ipv6=ipv6, complete=False)
        admitted = {e.address for e in access if e.set in layout.admitting}
        # An address that somebody else has now is held as well as it can be.
        lent = {address for address in facts.lent if holders.get(address, session) != session}
        ipv4, ipv6 = families(admitted | lent)
        return Held(
            session=session,
            zone=facts.zone,
            mac=facts.mac,
            addresses=ipv4,
            seconds=min([facts.until - now, *seconds]),
            usage=usage,
            rate=facts.rate,
            left=None if facts.end is None else max(0, facts.end - usage.up - usage.down),
            ipv6=ipv6,
            complete=self._complete(session, facts, access, admitted, layout),
        )

    def _complete(
        self, session: int, facts: Facts, access: list[Element], admitted: set[str], layout: Layout
    ) -> bool:
        grant = Grant(session, facts.zone, facts.mac, frozenset(admitted), 1, rate=facts.rate)
        try:
            wanted = {(e.set, e.key) for e in layout.access(grant, admitted)}
        except FirewallError:  # of a guest network that is no more
            return False
        counters = (self.counters.get((n, a)) for a in admitted for n in counters_of(a).values())
        return wanted == {(e.set, e.key) for e in access} and all(
            counter is not None and counter.session == session for counter in counters
        )
