"""Who may pass: plans become deadlines, rates and volumes, sessions become grants."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import tzinfo

from portald.errors import Reason, Refused
from portald.hours import closes_at, opens_at
from portald.model import Account, End, Grant, Held, Rate, Session, Sort, Spent
from portald.periods import Today, today
from portald.plan import Plan

MOST_ADDRESSES = 8
"""IPv4 addresses one device may use at a time; more is somebody collecting them."""
MOST_IPV6 = 16
"""IPv6 addresses that are kept of one device: it takes a new one every day, and more if it likes."""

WINDOW_BYTES = 20_000_000
"""What may flow in the window for fetching a code from a mailbox: an inbox, not a film."""

USED_UP = 65_536
"""Bytes that are no volume any more: the kernel cuts before the packet that is too much, and
joins packets up to this size."""

EARLY = 1.25
"""Seconds before its deadline at which a session is ended: its last bytes are then still read,
where the kernel, ending it by itself, would lose them.  The kernel counts in whole seconds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a session may do from now on."""

    expires_at: float | None
    end: End
    """Why it will have ended then."""
    rate: Rate = Rate()
    left: int | None = None
    """Bytes until its volume is used up."""


def terms(plan: Plan, session: Session, spent: Spent, now: float, tz: tzinfo | None) -> Terms:
    """Return what a session may do, by its plan and what its account has used."""
    deadlines = list(_deadlines(plan, session.account, spent, now, tz))
    if plan.session is not None:
        deadlines.append((session.started_at + plan.session + session.extra, End.EXPIRED))
    left = _volume_left(plan, spent)
    if session.until is not None:
        deadlines.append((session.until, End.EXPIRED))
        window = max(0, WINDOW_BYTES - session.usage.up - session.usage.down)
        left = window if left is None else min(left, window)
        if window <= USED_UP:
            deadlines.append((now, End.VOLUME_USED))
    # A trusted device would be let in again at once: a new session each time, for months.
    trusted = session.account.sort is Sort.DEVICE and session.verified
    if plan.idle is not None and session.granted_at is not None and not trusted:
        left_at = max(session.active_at, session.granted_at) + plan.idle
        if left_at <= now:
            deadlines.append((now, End.IDLE))
    first = min(deadlines, default=(None, End.EXPIRED))
    return Terms(first[0], first[1], _rate(plan, spent), left)


def check(
    plan: Plan, account: Account, spent: Spent, ended: Session | None, now: float, tz: tzinfo | None
) -> None:
    """Raise ``Refused`` if a session must not begin now; ``ended`` is the account's last whole one."""
    if account.blocked:
        raise Refused(Reason.BLOCKED)
    if account.expires_at is not None and account.expires_at <= now:
        raise Refused(Reason.ACCOUNT_EXPIRED)
    check_hours(plan, now, tz)
    if plan.again_after is not None and ended is not None and ended.ended_at is not None:
        again = ended.ended_at + plan.again_after
        if again > now:
            raise Refused(Reason.AGAIN_LATER, retry_after=again - now)
    used = [
        deadline for deadline in _deadlines(plan, account, spent, now, tz) if deadline[0] <= now + EARLY
    ]
    if used:
        periods, renewed = today(now, tz), now
        for limit, taken, ends in _limits(plan, spent, periods):
            if limit is not None and taken >= limit:
                renewed = max(renewed, ends)
        reason = Reason.VOLUME_USED if used[0][1] is End.VOLUME_USED else Reason.TIME_USED
        raise Refused(reason, retry_after=renewed - now)


def check_hours(plan: Plan, now: float, tz: tzinfo | None) -> None:
    """Raise ``Refused`` if the plan lets nobody in at this hour."""
    if plan.hours and closes_at(plan.hours, now, tz) == now:
        raise Refused(Reason.CLOSED, retry_after=opens_at(plan.hours, now, tz) - now)


def _deadlines(
    plan: Plan, account: Account, spent: Spent, now: float, tz: tzinfo | None
) -> Iterator[tuple[float, End]]:
    """Yield when each limit that is the account's own would end a session."""
    if account.expires_at is not None:
        yield account.expires_at, End.EXPIRED
    if account.blocked:
        yield now, End.BLOCKED
    if plan.hours and (closes := closes_at(plan.hours, now, tz)) is not None:
        yield closes, End.CLOSED
    if plan.counts:
        periods = today(now, tz)
        for limit, used, ends in _times(plan, spent, periods):
            if limit is not None:
                # What is left may reach into the next period, which has a limit of its own.
                done = now + max(0.0, limit - used)
                yield (done if done < ends else ends + limit), End.TIME_USED
    if (left := _volume_left(plan, spent)) is not None and left <= USED_UP:
        yield now, End.VOLUME_USED


def _times(plan: Plan, spent: Spent, periods: Today) -> Iterator[tuple[float | None, float, float]]:
    yield plan.day_time, spent.day.seconds, periods.next_day
    yield plan.week_time, spent.week.seconds, periods.next_week
    yield plan.month_time, spent.month.seconds, periods.next_month


def _limits(plan: Plan, spent: Spent, periods: Today) -> Iterator[tuple[float | None, float, float]]:
    """Yield every limit of a period, what is used of it, and when it is renewed."""
    yield from _times(plan, spent, periods)
    yield plan.day_volume, spent.day.bytes + USED_UP, periods.next_day
    yield plan.week_volume, spent.week.bytes + USED_UP, periods.next_week
    yield plan.month_volume, spent.month.bytes + USED_UP, periods.next_month


def _volume_left(plan: Plan, spent: Spent) -> int | None:
    volumes = (
        (plan.day_volume, spent.day), (plan.week_volume, spent.week), (plan.month_volume, spent.month),
    )  # fmt: skip
    return min((limit - tally.bytes for limit, tally in volumes if limit is not None), default=None)


def _rate(plan: Plan, spent: Spent) -> Rate:
    if plan.fair_volume is None or spent.day.bytes < plan.fair_volume:
        return Rate(plan.up, plan.down)
    return Rate(_slower(plan.up, plan.fair_up), _slower(plan.down, plan.fair_down))


def _slower(a: int | None, b: int | None) -> int | None:
    return min((rate for rate in (a, b) if rate is not None), default=None)


def grant(session: Session, terms: Terms, longest: int, now: float) -> Grant:
    """Return what the kernel shall hold for a session.

    The time is what is left of the session, at most ``longest`` seconds: the kernel ends access
    by itself if portald never comes back to renew it.
    """
    left = longest if terms.expires_at is None else math.floor(terms.expires_at - now)
    return Grant(
        session=session.id,
        zone=session.zone,
        mac=session.mac,
        addresses=session.addresses,
        seconds=max(1, min(left, longest)),
        counted=session.usage,
        rate=terms.rate,
        left=None if terms.left is None else max(0, terms.left),
    )


def difference(
    wanted: Iterable[Grant], held: Mapping[int, Held]
) -> tuple[list[Grant], list[int], list[int]]:
    """Return the grants to add, the sessions to remove and those to settle, to have what is wanted.

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


def is_routed(address: str) -> bool:
    """Tell whether an address leads out: a link-local one does not."""
    return not address.lower().startswith("fe80:")


def families(addresses: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the IPv4 addresses, and the IPv6 addresses."""
    ipv6 = frozenset(address for address in addresses if ":" in address)
    return frozenset(addresses) - ipv6, ipv6


def moved(
    sessions: Iterable[Session], present: Mapping[tuple[str, str], frozenset[str]]
) -> dict[int, frozenset[str]]:
    """Return the sessions whose client has other addresses now; ``present`` is by MAC and zone."""
    found = {}
    for session in sessions:
        seen = present.get((session.mac, session.zone), frozenset())
        addresses = follow(session.addresses, seen)
        if addresses != session.addresses:
            found[session.id] = addresses
    return found


def follow(known: frozenset[str], seen: frozenset[str]) -> frozenset[str]:
    """Return the addresses of a device that was known by some and is seen with others.

    Of a family that is not seen it keeps what it had: it may only be asleep.  What it had comes
    first where it shows more addresses than it may use: others can add to that list by forged ARP.
    """
    chosen: set[str] = set()
    for had, has, most in zip(families(known), families(seen), (MOST_ADDRESSES, MOST_IPV6), strict=True):
        now = has or had
        chosen.update([*sorted(now & had), *sorted(now - had)][:most])
    return frozenset(chosen)
