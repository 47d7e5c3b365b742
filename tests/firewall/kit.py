"""What the tests of firewalls say often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from portald import access
from portald.model import Grant, Held, Rate, Usage
from portald.ports import Firewall


def mac_of(session: int) -> str:
    return f"02:00:00:00:{session // 256:02x}:{session % 256:02x}"


NOTHING, FAST = Usage(), Rate()


def grant(
    session: int,
    *addresses: str,
    zone: str = "guest",
    mac: str = "",
    seconds: int = 3600,
    counted: Usage = NOTHING,
    rate: Rate = FAST,
    left: int | None = None,
) -> Grant:
    """Make a grant; each session has a MAC of its own if none is given."""
    return Grant(
        session, zone, mac or mac_of(session), frozenset(addresses), seconds, counted, rate, left
    )  # fmt: skip


def essence(held: Mapping[int, Held]) -> dict[int, tuple[str, str, frozenset[str], Rate]]:
    """Return what is open; all of it must be complete."""
    assert all(h.complete for h in held.values() if h.open)
    return {h.session: (h.zone, h.mac, h.addresses, h.rate) for h in held.values() if h.open}


def meant(grants: Iterable[Grant]) -> dict[int, tuple[str, str, frozenset[str], Rate]]:
    return {g.session: (g.zone, g.mac, access.families(g.addresses)[0], g.rate) for g in grants}


def agree(firewall: Firewall, wanted: list[Grant]) -> None:
    """Do what a round does, twice: what is removed in one is settled by the next."""
    for _ in range(2):
        add, remove, settle = access.difference(wanted, firewall.read())
        firewall.apply(add, remove)
        firewall.settle(settle)
