"""What a grant is in the kernel: the elements of nft's sets, as nft reads and prints them.

Everything is written from checked values, so that no text from elsewhere can become a command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address

from portald.errors import FirewallError
from portald.model import FIRST_SESSION, LAST_SESSION, Grant, Rate

BOUND = 0x40000000
"""Bit 30 of the mark: the session has a rate or a volume."""
NUMBER = 0x3FFFFFFF
"""The bits of the mark that are the session's number."""

TIMED = ("sess4", "sess6", "live")
"""What is open for a session, until it times out."""
COUNTERS = ("acct_up", "acct_dn")
RATES = ("rate_up", "rate_dn")
PRIORITIES = ("prio_up", "prio_dn")

BURST = 131_072
"""Bytes: a packet joined by the network card is up to 65,536, and must fit at any rate."""

_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_MOST = 2**53


def number(session: int) -> str:
    return f"0x{session:08x}"


def value(name: str, mark: int) -> str:
    """Return what a key of one of ``TIMED`` leads to."""
    if name != "live":
        return number(mark)
    return "jump policy_down" if mark & BOUND else "jump count_down"


def opened(grant: Grant, interfaces: Sequence[str]) -> dict[str, list[str]]:
    """Return the keys that open for a grant, in each of ``TIMED``."""
    places = [f'"{name}" . {grant.mac}' for name in interfaces]
    addresses = sorted(_ipv4(grant))
    return {
        "sess4": [f"{place} . {address}" for place in places for address in addresses],
        "sess6": places,
        "live": [number(grant.session)],
    }


def _ipv4(grant: Grant) -> list[str]:
    # Of IPv6 the device alone is known, by its MAC.
    return [address for address in grant.addresses if ":" not in address]


def mark(grant: Grant) -> int:
    bound = grant.rate != Rate() or grant.left is not None
    return grant.session | (BOUND if bound else 0)


def checked(grant: Grant, zones: Mapping[str, Sequence[str]]) -> Grant:
    """Return the grant, or raise ``FirewallError`` if it is none that nft may be told of."""
    try:
        for address in _ipv4(grant):
            IPv4Address(address)
    except AddressValueError as error:
        raise FirewallError(f"session {grant.session}: {error}") from error
    numbers = (grant.seconds, grant.counted.up, grant.counted.down)
    wishes = (grant.rate.up, grant.rate.down, grant.left)
    if not (
        grant.zone in zones
        and _MAC.fullmatch(grant.mac)
        and FIRST_SESSION <= grant.session <= LAST_SESSION
        and all(isinstance(n, int) and 0 <= n <= _MOST for n in numbers)
        and all(n is None or (isinstance(n, int) and 0 <= n <= _MOST) for n in wishes)
    ):
        raise FirewallError(f"session {grant.session}: not a grant: {grant}")
    return grant


def add(name: str, elements: Iterable[str]) -> str:
    return _command("add", name, elements)


def delete(name: str, elements: Iterable[str]) -> str:
    return _command("delete", name, elements)


def _command(verb: str, name: str, elements: Iterable[str]) -> str:
    listed = ", ".join(elements)
    return f"{verb} element inet portald {name} {{ {listed} }}\n" if listed else ""


def limit(session: int, kilobits: int) -> str:
    return f"{number(session)} limit rate over {kilobits * 125} bytes/second burst {BURST} bytes"


def counter(session: int, count: int) -> str:
    return f"{number(session)} counter packets 0 bytes {count}"


def volume(session: int, left: int) -> str:
    """Return the commands that close a session after so many more bytes."""
    quota = f"add quota inet portald v{session} {{ over {left} bytes }}\n"
    return quota + add("volume", [f'{number(session)} : "v{session}"'])


def no_volume(sessions: Iterable[int]) -> str:
    """Return the commands that take back ``volume``."""
    gone = list(sessions)
    return delete("volume", map(number, gone)) + "".join(f"delete quota inet portald v{n}\n" for n in gone)
