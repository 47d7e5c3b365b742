"""What the kernel remembers of a session besides its addresses: a set of numbers with comments.

A session's number is written as an address (256 is 0.0.1.0), and the rest of what
``portald.model.Held`` asks for is the comment beside it.  No rule looks at this set.  It lives and
dies with the counters it explains, which a file would not.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from urllib.parse import quote, unquote

from portald.errors import FirewallError
from portald.firewall.ipset.sets import Element
from portald.model import Rate, Usage

NAME = "portald_sessions"
LONGEST_COMMENT = 255


@dataclass(frozen=True, slots=True)
class Facts:
    """One line of the ledger."""

    mac: str
    zone: str
    until: int
    """Seconds since boot; 0 once the session has been removed."""
    base: Usage
    """To be added to the counters of its addresses; may be negative."""
    rate: Rate = Rate()
    end: int | None = None
    """Bytes of both directions at which its volume is used up."""
    lent: frozenset[str] = frozenset()
    """Addresses that it is granted too, while another session has them."""


def write(session: int, facts: Facts) -> Element:
    """Return the element that remembers a session."""
    words = [
        facts.mac,
        quote(facts.zone, safe=""),
        facts.until,
        facts.base.up,
        facts.base.down,
        facts.rate.up,
        facts.rate.down,
        facts.end,
        *sorted(facts.lent),
    ]
    comment = " ".join("-" if word is None else str(word) for word in words)
    if len(comment) > LONGEST_COMMENT:
        raise FirewallError(f"zones: the name {facts.zone!r} is too long for this kind of firewall")
    return entry(session, comment)


def entry(session: int, comment: str = "") -> Element:
    """Return the element of a session, whatever is written beside it."""
    return Element(NAME, str(IPv4Address(session)), session, comment)


def read(element: Element) -> tuple[int, Facts | None]:
    """Return a session and its facts; ``None`` if they are not what ``write`` makes."""
    session = int(IPv4Address(element.key))
    try:
        mac, zone, until, up, down, *rest = element.comment.split(" ")
        fast_up, fast_down, end = (None if word == "-" else int(word) for word in rest[:3])
        base, rate = Usage(int(up), int(down)), Rate(fast_up, fast_down)
        return session, Facts(mac, unquote(zone), int(until), base, rate, end, frozenset(rest[3:]))
    except ValueError:
        return session, None
