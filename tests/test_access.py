"""Access: deadlines, grants and differences, as pure rules."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portald import access
from portald.model import Account, Grant, Held, Plan, Session, Usage

NOW = 1_700_000_000.0
MAC = "02:cc:00:00:00:01"
HERE = frozenset({"10.77.0.11"})
PLAIN = Plan("unlimited")

macs = st.sampled_from([f"02:cc:00:00:00:0{i}" for i in range(4)])
addresses = st.frozensets(st.sampled_from([f"10.77.0.{i}" for i in range(11, 15)]), max_size=3)
sessions = st.integers(256, 262)
grants = st.builds(Grant, sessions, macs, addresses, st.integers(1, 1000))
usages = st.builds(Usage, st.integers(0, 2**63), st.integers(0, 2**63))
holdings = st.builds(Held, sessions, macs, addresses, st.integers(0, 1000), usages, st.booleans())


def session(
    number: int = 256,
    mac: str = MAC,
    addresses: frozenset[str] = HERE,
    expires_at: float | None = None,
    plan: Plan = PLAIN,
) -> Session:
    account = Account(1, "+14155552671", "SMS")
    return Session(
        number, account, plan, "guest", mac, addresses, NOW, expires_at, NOW, None, None, Usage()
    )  # fmt: skip


def held_for(grant: Grant, seconds: int | None = None) -> Held:
    left = grant.seconds if seconds is None else seconds
    return Held(grant.session, grant.mac, grant.addresses, left, Usage())


def test_deadline() -> None:
    assert access.deadline(PLAIN, NOW) is None
    assert access.deadline(Plan("hour", 60), NOW) == NOW + 3600


@pytest.mark.parametrize(
    ("left", "seconds"),
    [(None, 600), (10_000.0, 600), (600.9, 600), (90.9, 90), (1.2, 1), (0.1, 1), (-5.0, 1)],
)
def test_grant_lasts_as_long_as_the_session_but_not_longer_than_longest(
    left: float | None, seconds: int
) -> None:
    given_session = session(expires_at=None if left is None else NOW + left)
    assert access.grant(given_session, 600, NOW) == Grant(256, MAC, HERE, seconds)


def test_what_a_device_had_comes_before_what_others_add_to_it() -> None:
    """Twelve forged ARP answers must not push the guest's own address out of its grant."""
    own = frozenset({"10.77.0.72"})
    forged = own | {f"10.77.0.{i}" for i in range(100, 112)}
    (moved,) = access.moved([session(addresses=own)], {MAC: forged}).values()
    assert len(moved) == access.MOST_ADDRESSES
    assert own < moved < forged
    assert access.moved([session(addresses=moved)], {MAC: forged}) == {}, "and then it is quiet"


@pytest.mark.parametrize(
    ("seconds", "still"), [(600, True), (602, True), (603, False), (300, True), (299, False), (0, False)]
)
def test_serves_between_half_its_time_and_its_time(seconds: int, still: bool) -> None:
    grant = Grant(256, MAC, HERE, 600)
    assert access.serves(held_for(grant, seconds), grant) is still


def test_serves_only_the_same_device_with_the_same_addresses_in_full() -> None:
    grant = Grant(256, MAC, HERE, 600)
    held = held_for(grant)
    assert access.serves(held, grant)
    assert not access.serves(None, grant)
    assert not access.serves(replace(held, complete=False), grant)
    assert not access.serves(replace(held, mac="02:cc:00:00:00:02"), grant)
    assert not access.serves(replace(held, addresses=frozenset()), grant)
    assert not access.serves(replace(held, addresses=HERE | {"10.77.0.12"}), grant)


@settings(max_examples=100, deadline=None)
@given(st.lists(grants, unique_by=lambda grant: grant.session), st.lists(holdings))
def test_difference_makes_what_is_held_into_what_is_wanted(wanted: list[Grant], found: list[Held]) -> None:
    before = {held.session: held for held in found}
    add, remove = access.difference(wanted, before)
    after = {number: held for number, held in before.items() if number not in remove}
    after |= {grant.session: held_for(grant) for grant in add}
    goal = {grant.session: grant for grant in wanted}
    assert after.keys() == goal.keys()
    assert all(access.serves(after[number], grant) for number, grant in goal.items())
    # And nothing more is done than that: a second look finds nothing to do,
    # and what served already was left alone, with its counters.
    assert access.difference(wanted, after) == ([], [])
    assert not [grant for grant in add if access.serves(before.get(grant.session), grant)]
    assert set(remove) <= before.keys()
    assert not set(remove) & goal.keys()


def test_moved_is_who_has_other_addresses_now() -> None:
    there = frozenset({"10.77.0.12"})
    live = [session(256, "a"), session(257, "b"), session(258, "c"), session(259, "d", frozenset())]
    present = {"a": there, "b": HERE, "d": HERE, "stranger": there}
    assert access.moved(live, present) == {256: there, 259: HERE}


def test_moved_keeps_who_is_not_seen() -> None:
    assert access.moved([session()], {}) == {}


@pytest.mark.parametrize(
    ("before", "reading", "grown"),
    [
        (Usage(0, 0), Usage(5, 7), Usage(5, 7)),
        (Usage(5, 7), Usage(5, 7), Usage(0, 0)),
        (Usage(5, 7), Usage(6, 9), Usage(1, 2)),
        (Usage(5, 7), Usage(2, 3), Usage(2, 3)),
        (Usage(5, 7), Usage(2, 9), Usage(2, 2)),
        (Usage(5, 7), Usage(0, 0), Usage(0, 0)),
    ],
)
def test_growth(before: Usage, reading: Usage, grown: Usage) -> None:
    assert access.growth(before, reading) == grown


@settings(max_examples=100, deadline=None)
@given(usages, usages)
def test_growth_is_never_negative_nor_more_than_was_read(before: Usage, reading: Usage) -> None:
    grown = access.growth(before, reading)
    assert 0 <= grown.up <= reading.up
    assert 0 <= grown.down <= reading.down


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12))))
def test_growth_adds_up_to_all_bytes(steps: list[tuple[int, int]]) -> None:
    """However often one looks, every byte is counted once."""
    last, total = Usage(), Usage()
    for up, down in steps:
        reading = Usage(last.up + up, last.down + down)
        grown = access.growth(last, reading)
        total, last = Usage(total.up + grown.up, total.down + grown.down), reading
    assert total == Usage(sum(up for up, _ in steps), sum(down for _, down in steps))
