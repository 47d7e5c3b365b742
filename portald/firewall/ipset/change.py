"""Plans changes: from what is in the kernel and what is wanted to what must be done, in which order.

An address can be in a set once only.  Two sessions may be granted the same one, when a device that
left still has its time and another was given its address.  Then the later grant has it, and the
other session remembers that it lent it: renewed, it does not take it back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from portald.firewall.ipset import ledger
from portald.firewall.ipset.layout import Layout, counters, normal
from portald.firewall.ipset.ledger import Facts
from portald.firewall.ipset.picture import Change, Picture
from portald.firewall.ipset.sets import Element
from portald.model import Grant, Usage


def plan(picture: Picture, layout: Layout, add: list[Grant], remove: Iterable[int], now: int) -> Change:
    """Return the change that ends the access of sessions, and adds or renews grants.

    What closes is deleted first; then come the ledger and the counters, since nothing passes
    uncounted; what lets a device send is added last.
    """
    gone = set(remove) - {grant.session for grant in add}
    holder, lent = _share(picture, add, gone)
    wanted: dict[tuple[str, str], Element] = {}
    for grant in add:
        mine = [a for a in map(normal, grant.addresses) if holder.get(a) == grant.session]
        wanted |= {(e.set, e.key): e for e in layout.access(grant, mine)}
    touched = gone | {grant.session for grant in add}
    delete = [
        element
        for key, element in picture.access.items()
        if (element.session in touched or element.address in holder) and key not in wanted
    ]
    delete.sort(key=lambda element: element.set not in layout.admitting)
    facts = {s: replace(picture.facts[s], until=0, lent=frozenset()) for s in gone & picture.facts.keys()}
    facts |= _renewed(picture, add, now)
    for session, addresses in lent.items():
        if known := facts.get(session) or picture.facts.get(session):
            facts[session] = replace(known, lent=known.lent | addresses)
    fresh = _own(picture, holder, facts)
    lines = [ledger.write(session, line) for session, line in facts.items()]
    present = {element.address for element in wanted.values()}
    return Change(
        delete=delete,
        add=[*lines, *fresh, *wanted.values()],
        facts=facts,
        lost={element.address for element in delete} - present,
    )


def _share(
    picture: Picture, add: list[Grant], gone: set[int]
) -> tuple[dict[str, int], dict[int, set[str]]]:
    """Return which session gets each address that is granted, and what others lend it."""
    holder: dict[str, int] = {}
    lent: dict[int, set[str]] = defaultdict(set)
    held = picture.holders()
    claims = {grant.session: set(map(normal, grant.addresses)) for grant in add}
    for session, addresses in claims.items():
        known = picture.facts.get(session)
        for address in addresses:
            other = held.get(address)
            if other is not None and (
                other == session or other in gone or address not in claims.get(other, {address})
            ):
                other = None
            if other is not None and known and address in known.lent:
                lent[session].add(address)
                continue
            if address in holder:
                other = holder[address]
            if other is not None:
                lent[other].add(address)
            holder[address] = session
    return holder, lent


def _renewed(picture: Picture, add: Iterable[Grant], now: int) -> dict[int, Facts]:
    facts, usages = {}, None
    for grant in add:
        known, end = picture.facts.get(grant.session), None
        if grant.left is not None:
            usages = picture.usages() if usages is None else usages
            used = usages.get(grant.session, grant.counted) if known else grant.counted
            end = used.up + used.down + grant.left
        base = known.base if known else grant.counted
        facts[grant.session] = Facts(grant.mac, grant.zone, now + grant.seconds, base, grant.rate, end)
    return facts


def _own(picture: Picture, holder: Mapping[str, int], facts: dict[int, Facts]) -> list[Element]:
    """Return the counters that are new or change hands; settle in ``facts`` what they have counted."""
    fresh = []
    for address, session in holder.items():
        for direction, name in counters(address).items():
            counter = picture.counters.get((name, address))
            if counter is None:
                fresh.append(Element(name, address, session, bytes=0))
            elif counter.session != session:
                # The counter runs on under its new owner, who begins with as much less.
                bytes_ = counter.bytes or 0
                if former := facts.get(counter.session) or picture.facts.get(counter.session):
                    facts[counter.session] = _credit(former, direction, bytes_)
                facts[session] = _credit(facts[session], direction, -bytes_)
                fresh.append(Element(name, address, session))
    return fresh


def _credit(facts: Facts, direction: str, amount: int) -> Facts:
    base = facts.base
    if direction == "up":
        return replace(facts, base=Usage(base.up + amount, base.down))
    return replace(facts, base=Usage(base.up, base.down + amount))


def settled(picture: Picture, sessions: Iterable[int], now: int) -> Change:
    """Return what drops the counters of those sessions that are not held."""
    closed = {s for s in sessions if s not in picture.facts or picture.facts[s].until <= now}
    doomed = [counter for counter in picture.counters.values() if counter.session in closed]
    doomed += [ledger.entry(s) for s in closed & (picture.facts.keys() | picture.unreadable)]
    return Change(delete=doomed)
