"""Access: plans become terms, sessions become grants, and differences are made good, as pure rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portald import access
from portald.access import Terms
from portald.errors import Reason, Refused
from portald.model import Account, End, Grant, Held, Rate, Session, Spent, Tally, Usage
from portald.plan import read

NOW = datetime(2023, 11, 15, 10, tzinfo=UTC).timestamp()  # a Wednesday
DAY = 86_400
MAC = "02:cc:00:00:00:01"
HERE = frozenset({"10.77.0.11"})
NOTHING, NONE, SOMEBODY = Spent(), Tally(), Account(1, "x", "SMS")

macs = st.sampled_from([f"02:cc:00:00:00:0{i}" for i in range(4)])
addresses = st.frozensets(st.sampled_from([f"10.77.0.{i}" for i in range(11, 15)]), max_size=3)
sessions = st.integers(256, 262)
rates = st.builds(Rate, st.sampled_from([None, 1000, 2000]), st.sampled_from([None, 5000]))
lefts = st.sampled_from([None, 10**7, 10**9])
usages = st.builds(Usage, st.integers(0, 2**63), st.integers(0, 2**63))
grants = st.builds(
    Grant, sessions, st.just("guest"), macs, addresses, st.integers(1, 1000), usages, rates, lefts
)
holdings = st.builds(
    Held, sessions, st.sampled_from(["guest", "other"]), macs, addresses, st.integers(0, 1000), usages,
    rates, lefts, st.none(), st.booleans(), st.booleans(),
)  # fmt: skip


def session(number: int = 256, mac: str = MAC, addresses: frozenset[str] = HERE, **changes: Any) -> Session:
    account = Account(1, "+14155552671", "SMS")
    made = Session(
        number, account, "unlimited", "guest", mac, addresses, NOW, None, NOW, None, None, Usage(),
        active_at=NOW,
    )  # fmt: skip
    return replace(made, **changes)


def held_for(grant: Grant, seconds: int | None = None) -> Held:
    left = grant.seconds if seconds is None else seconds
    return Held(
        grant.session, grant.zone, grant.mac, grant.addresses, left, grant.counted, grant.rate, grant.left
    )  # fmt: skip


# Terms -------------------------------------------------------------------------------------


def terms(given: Session | None = None, spent: Spent = NOTHING, now: float = NOW, **limits: str) -> Terms:
    return access.terms(read("p", limits), given or session(), spent, now, UTC)


def used(day: Tally = NONE, week: Tally | None = None, month: Tally | None = None) -> Spent:
    return Spent(day, week or day, month or week or day)


def test_without_limits_there_is_no_end() -> None:
    assert terms() == Terms(None, End.EXPIRED)


def test_a_session_lasts_from_its_beginning() -> None:
    assert terms(session="1h") == Terms(NOW + 3600, End.EXPIRED)
    assert terms(now=NOW + 5000, session="1h").expires_at == NOW + 3600
    assert terms(session(extra=600), session="1h").expires_at == NOW + 4200


def test_the_account_may_end_before_the_session() -> None:
    account = Account(1, "x", "SMS", expires_at=NOW + 60)
    assert terms(session(account=account), session="1h") == Terms(NOW + 60, End.EXPIRED)
    blocked = Account(1, "x", "SMS", blocked=True)
    assert terms(session(account=blocked)) == Terms(NOW, End.BLOCKED)


@pytest.mark.parametrize(
    ("limits", "spent", "left", "why"),
    [
        ({"day_time": "2h"}, used(Tally(3600)), 3600, End.TIME_USED),
        ({"day_time": "2h"}, used(Tally(7300)), 0, End.TIME_USED),
        ({"week_time": "2h"}, used(Tally(0), Tally(6000)), 1200, End.TIME_USED),
        ({"month_time": "2h"}, used(Tally(0), Tally(0), Tally(7199)), 1, End.TIME_USED),
        ({"day_time": "3h", "week_time": "1h"}, used(Tally(0)), 3600, End.TIME_USED),
        ({"day_volume": "1GB"}, used(Tally(0, 10**9)), 0, End.VOLUME_USED),
        ({"session": "1h", "day_time": "2h"}, used(), 3600, End.EXPIRED),
        ({"hours": "We 08:00-12:30"}, used(), 9000, End.CLOSED),
        ({"hours": "Mo-Fr 11:00-12:00"}, used(), 0, End.CLOSED),
    ],
)
def test_the_first_limit_decides(limits: dict[str, str], spent: Spent, left: float, why: End) -> None:
    found = terms(spent=spent, **limits)
    assert found.expires_at is not None
    assert (found.expires_at - NOW, found.end) == (left, why)


def test_time_that_reaches_into_tomorrow_is_tomorrows() -> None:
    """At 23:00 with two hours left of today: the hour after midnight is taken from the next two."""
    late = NOW + 13 * 3600
    assert terms(now=late, day_time="2h").expires_at == late + 3600 + 7200


def test_volume_counts_down_to_the_tightest_limit() -> None:
    spent = used(Tally(0, 100), Tally(0, 400_000), Tally(0, 500_000))
    assert terms(spent=spent, day_volume="1MB", week_volume="1MB").left == 600_000
    assert terms(spent=spent, month_volume="1MB").left == 500_000


def test_rates_and_fair_use() -> None:
    limits = {"up": "2M", "down": "10M", "fair_volume": "1GB", "fair_down": "1M"}
    assert terms(**limits).rate == Rate(2000, 10_000)
    assert terms(spent=used(Tally(0, 10**9)), **limits).rate == Rate(2000, 1000)
    # Fair use never makes it faster.
    assert terms(spent=used(Tally(0, 10**9)), **(limits | {"fair_down": "20M"})).rate == Rate(2000, 10_000)


def test_idle_is_not_to_send() -> None:
    quiet = session(active_at=NOW - 600, granted_at=NOW - 700)
    assert terms(quiet, idle="11m").expires_at is None
    assert terms(quiet, idle="10m") == Terms(NOW, End.IDLE)
    assert terms(session(active_at=0, granted_at=None), idle="10m").expires_at is None
    assert terms(session(active_at=0, granted_at=NOW - 60), idle="10m").expires_at is None


def test_a_window_is_short_and_narrow() -> None:
    window = session(until=NOW + 300)
    assert terms(window) == Terms(NOW + 300, End.EXPIRED, left=access.WINDOW_BYTES)
    full = session(until=NOW + 300, usage=Usage(0, access.WINDOW_BYTES))
    assert terms(full).end is End.VOLUME_USED


# Who may come in ---------------------------------------------------------------------------


def refused(
    spent: Spent = NOTHING,
    account: Account = SOMEBODY,
    ended: Session | None = None,
    **limits: str,
) -> Refused | None:
    try:
        access.check(read("p", limits), account, spent, ended, NOW, UTC)
    except Refused as error:
        return error
    return None


def test_an_unlimited_plan_lets_in() -> None:
    assert refused(used(Tally(10**9, 10**15))) is None


@pytest.mark.parametrize(
    ("limits", "spent", "reason", "wait"),
    [
        ({"day_time": "1h"}, used(Tally(3600)), Reason.TIME_USED, 14 * 3600),
        ({"day_volume": "1MB"}, used(Tally(0, 10**6)), Reason.VOLUME_USED, 14 * 3600),
        ({"week_volume": "1MB"}, used(Tally(), Tally(0, 10**6)), Reason.VOLUME_USED, 4 * DAY + 14 * 3600),
        ({"month_time": "1h"}, used(Tally(), Tally(), Tally(4000)), Reason.TIME_USED, 15 * DAY + 14 * 3600),
        ({"day_time": "1h", "week_time": "1h"}, used(Tally(4000)), Reason.TIME_USED, 4 * DAY + 14 * 3600),
        ({"hours": "Th 09:00-10:00"}, used(), Reason.CLOSED, 23 * 3600),
    ],
)
def test_who_has_used_it_up_is_told_when_to_come_again(
    limits: dict[str, str], spent: Spent, reason: Reason, wait: float
) -> None:
    error = refused(spent, **limits)
    assert error is not None
    assert (error.reason, error.retry_after) == (reason, wait)


def test_again_only_after_a_while() -> None:
    ended = session(ended_at=NOW - 600, end=End.EXPIRED)
    error = refused(ended=ended, again_after="1h")
    assert error is not None
    assert (error.reason, error.retry_after) == (Reason.AGAIN_LATER, 3000)
    assert refused(ended=session(ended_at=NOW - 3600), again_after="1h") is None


def test_blocked_and_expired_accounts_stay_out() -> None:
    blocked = refused(account=Account(1, "x", "SMS", blocked=True))
    expired = refused(account=Account(1, "x", "SMS", expires_at=NOW))
    assert blocked
    assert expired
    assert (blocked.reason, expired.reason) == (Reason.BLOCKED, Reason.ACCOUNT_EXPIRED)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["session", "day_time", "week_time", "month_time"]),
        st.sampled_from(["1m", "90m", "30h"]),
    ),
    st.integers(0, 40 * 3600), st.integers(0, 40 * DAY),
)  # fmt: skip
def test_who_may_come_in_may_stay_and_who_may_not_may_not(
    limits: dict[str, str], seconds: int, later: int
) -> None:
    """``check`` and ``terms`` never disagree, at any time of any day."""
    now = NOW + later
    spent = used(Tally(seconds))
    found = access.terms(read("p", limits), session(started_at=now), spent, now, UTC)
    try:
        access.check(read("p", limits), Account(1, "x", "SMS"), spent, None, now, UTC)
    except Refused:
        assert found.expires_at is not None
        assert found.expires_at <= now + access.EARLY
    else:
        assert found.expires_at is None or found.expires_at > now + access.EARLY


# Grants ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "seconds"),
    [(None, 600), (10_000.0, 600), (600.9, 600), (90.9, 90), (1.2, 1), (0.1, 1), (-5.0, 1)],
)
def test_grant_lasts_as_long_as_the_session_but_not_longer_than_longest(
    left: float | None, seconds: int
) -> None:
    allowed = Terms(None if left is None else NOW + left, End.EXPIRED, Rate(1, 2), 77)
    counted = session(usage=Usage(3, 4))
    assert access.grant(counted, allowed, 600, NOW) == Grant(
        256, "guest", MAC, HERE, seconds, Usage(3, 4), Rate(1, 2), 77
    )


def test_what_a_device_had_comes_before_what_others_add_to_it() -> None:
    """Twelve forged ARP answers must not push the guest's own address out of its grant."""
    own = frozenset({"10.77.0.72"})
    forged = own | {f"10.77.0.{i}" for i in range(100, 112)}
    (moved,) = access.moved([session(addresses=own)], {(MAC, "guest"): forged}).values()
    assert len(moved) == access.MOST_ADDRESSES
    assert own < moved < forged
    assert access.moved([session(addresses=moved)], {(MAC, "guest"): forged}) == {}, "and then it is quiet"


def test_families_are_followed_apart() -> None:
    """A phone that is seen with IPv6 only has not lost its IPv4 address."""
    both = frozenset({"10.77.0.11", "2001:db8::1"})
    assert access.follow(both, frozenset({"2001:db8::2"})) == {"10.77.0.11", "2001:db8::2"}
    assert access.follow(both, frozenset({"10.77.0.12"})) == {"10.77.0.12", "2001:db8::1"}
    many = frozenset(f"2001:db8::{n:x}" for n in range(99))
    assert len(access.follow(frozenset(), many)) == access.MOST_IPV6


@pytest.mark.parametrize(
    ("seconds", "still"), [(600, True), (602, True), (603, False), (300, True), (299, False), (0, False)]
)
def test_serves_between_half_its_time_and_its_time(seconds: int, still: bool) -> None:
    grant = Grant(256, "guest", MAC, HERE, 600)
    assert access.serves(held_for(grant, seconds), grant) is still


def test_serves_only_the_same_device_with_the_same_addresses_in_full() -> None:
    grant = Grant(256, "guest", MAC, HERE, 600)
    held = held_for(grant)
    assert access.serves(held, grant)
    assert not access.serves(None, grant)
    assert not access.serves(replace(held, complete=False), grant)
    assert not access.serves(replace(held, mac="02:cc:00:00:00:02"), grant)
    assert not access.serves(replace(held, addresses=frozenset()), grant)
    assert not access.serves(replace(held, addresses=HERE | {"10.77.0.12"}), grant)
    assert not access.serves(replace(held, zone="other"), grant)
    assert not access.serves(replace(held, open=False), grant)
    assert not access.serves(replace(held, rate=Rate(1, 1)), grant)
    assert not access.serves(replace(held, left=5), grant)


def test_ipv6_addresses_matter_only_to_those_who_hold_some() -> None:
    grant = Grant(256, "guest", MAC, HERE | {"2001:db8::1"}, 600)
    held = replace(held_for(grant), addresses=HERE)
    assert access.serves(held, grant)
    assert access.serves(replace(held, ipv6=frozenset({"2001:db8::1"})), grant)
    assert not access.serves(replace(held, ipv6=frozenset()), grant)


@pytest.mark.parametrize(
    ("held", "left", "still"),
    [(None, None, True), (None, 5, False), (10**9, 10**9, True), (6 * 10**8, 10**9, True),
     (4 * 10**8, 10**9, False), (10**9, 5 * 10**8, False), (0, 0, True)],
)  # fmt: skip
def test_volume_is_renewed_when_half_of_it_is_wrong(
    held: int | None, left: int | None, still: bool
) -> None:
    grant = Grant(256, "guest", MAC, HERE, 600, left=left)
    assert access.serves(replace(held_for(grant), left=held), grant) is still


@settings(max_examples=100, deadline=None)
@given(st.lists(grants, unique_by=lambda grant: grant.session), st.lists(holdings))
def test_difference_makes_what_is_held_into_what_is_wanted(wanted: list[Grant], found: list[Held]) -> None:
    before = {held.session: held for held in found}
    add, remove, settle = access.difference(wanted, before)
    after = {n: replace(held, open=False) if n in remove else held for n, held in before.items()}
    after = {number: held for number, held in after.items() if number not in settle}
    after |= {grant.session: held_for(grant) for grant in add}
    goal = {grant.session: grant for grant in wanted}
    assert {number for number, held in after.items() if held.open} == goal.keys()
    assert all(access.serves(after[number], grant) for number, grant in goal.items())
    # A second look settles what was removed, a third finds nothing to do, and what served
    # already was left alone.
    assert access.difference(wanted, after) == ([], [], remove)
    rest = {number: held for number, held in after.items() if number not in remove}
    assert access.difference(wanted, rest) == ([], [], [])
    assert not [grant for grant in add if access.serves(before.get(grant.session), grant)]
    assert set(remove) <= before.keys()
    assert not {*remove, *settle} & goal.keys()


def test_moved_is_who_has_other_addresses_now() -> None:
    there = frozenset({"10.77.0.12"})
    live = [session(256, "a"), session(257, "b"), session(258, "c"), session(259, "d", frozenset())]
    seen = {"a": there, "b": HERE, "d": HERE, "stranger": there}
    present = {(mac, "guest"): ips for mac, ips in seen.items()} | {("b", "other"): there}
    assert access.moved(live, present) == {256: there, 259: HERE}


def test_moved_keeps_who_is_not_seen() -> None:
    assert access.moved([session()], {}) == {}
