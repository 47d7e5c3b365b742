"""Who may pass: a plan becomes a deadline, sessions become grants, counters become usage."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from portald.model import Grant, Held, Plan, Session, Usage

MOST_ADDRESSES = 8
"""IPv4 addresses one device may use at a time; more is somebody collecting them."""


def deadline(plan: Plan, now: float) -> float | None:
    """Return when a session that starts now must end, or ``None`` for never."""
    return None if plan.minutes is None else now + plan.minutes * 60


def grant(session: Session, longest: int, now: float) -> Grant:
    """Return what the kernel shall hold for a session.

    The time is what is left of the session, at most ``longest`` seconds: the kernel ends access
    by itself if portald never comes back to renew it.
    """
    left = longest if session.expires_at is None else math.floor(session.expires_at - now)
    return Grant(session.id, session.mac, session.addresses, max(1, min(left, longest)))


def difference(
    wanted: Iterable[Grant], held: Mapping[int, Held]
) -> tuple[list[Grant], list[int], list[int]]:
    """Return the grants to add, the sessions to remove and those to settle, to make ``held`` into ``wanted``.

    What is removed is settled by a later difference: its last bytes are read first.
    """
    add, known = [], set()
    for grant in wanted:  # one at a time: there may be ten thousand
        known.add(grant.session)
        if not serves(held.get(grant.session), grant):
            add.append(grant)
    others = [found for session, found in held.items() if session not in known]
    return add, [o.session for o in others if o.open], [o.session for o in others if not o.open]


def serves(held: Held | None, grant: Grant) -> bool:
    """Tell whether what is held still does for a grant.

    Renewed at half its time, so that portald may be away for the other half; shortened when the
    kernel would keep it open clearly longer than the session has.  The same with its bytes.
    """
    if held is None or not held.open or not held.complete:
        return False
    ipv4, ipv6 = families(grant.addresses)
    return (
        (held.zone, held.mac, held.addresses, held.rate) == (grant.zone, grant.mac, ipv4, grant.rate)
        and held.ipv6 in (None, ipv6)
        and grant.seconds / 2 <= held.seconds <= grant.seconds + 2
        and _enough(held.left, grant.left)
    )


def _enough(held: int | None, left: int | None) -> bool:
    if held is None or left is None:
        return held is left
    return left / 2 <= held <= max(left * 1.01, left + 1_000_000)


def families(addresses: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the IPv4 addresses, and the IPv6 addresses."""
    ipv6 = frozenset(address for address in addresses if ":" in address)
    return frozenset(addresses) - ipv6, ipv6


def moved(sessions: Iterable[Session], present: Mapping[str, frozenset[str]]) -> dict[int, frozenset[str]]:
    """Return the sessions whose client has other addresses now.

    A client that is not seen keeps what it had: it may only be asleep.  What it had comes first
    where it shows more addresses than it may use: others can add to that list by forged ARP.
    """
    found = {}
    for session in sessions:
        seen = present.get(session.mac, session.addresses)
        known, new = sorted(seen & session.addresses), sorted(seen - session.addresses)
        addresses = frozenset((known + new)[:MOST_ADDRESSES])
        if addresses != session.addresses:
            found[session.id] = addresses
    return found


def growth(before: Usage, reading: Usage) -> Usage:
    """Return the bytes since the last reading; a counter that went back has started anew."""
    return Usage(
        reading.up - before.up if reading.up >= before.up else reading.up,
        reading.down - before.down if reading.down >= before.down else reading.down,
    )
