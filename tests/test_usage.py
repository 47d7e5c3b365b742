"""Bytes and seconds by day: what is spent, and that nothing ever goes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portald.config import Numbers
from portald.errors import ConfigError, Reason, Refused
from portald.model import Client, End, Held, Session, Sort, Spent, Tally, Usage
from portald.portal import Asking
from portald.store import Store
from tests.conftest import NUMBER, Clock, Product
from tests.test_store import OTHER, PHONE, online, reading, refusal, rows

BERLIN = ZoneInfo("Europe/Berlin")
MIDNIGHT = datetime(2023, 11, 16, tzinfo=BERLIN).timestamp()  # a Thursday begins


def granted(store: Store, now: float, client: Client = PHONE) -> Session:
    session = online(store, now, client)
    store.set_granted([session.id], now)
    return session


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "berlin.db", BERLIN)
    yield opened
    opened.close()


def spent(store: Store, account: int, now: float) -> Spent:
    return store.spent([account], now)[account]


def test_a_session_over_midnight_belongs_to_two_days(store: Store) -> None:
    session = granted(store, MIDNIGHT - 3600)
    store.add_reading(reading(session, 10, 100), MIDNIGHT - 1800)
    store.add_reading(reading(session, 20, 200), MIDNIGHT + 1800)
    assert rows(store, "SELECT day, seconds, up, down FROM usage ORDER BY day") == [
        ("2023-11-15", 3600, 10, 100),
        ("2023-11-16", 1800, 10, 100),
    ]
    account = session.account.id
    found = spent(store, account, MIDNIGHT + 2400)
    assert found.day == Tally(2400, 110)
    assert found.week == found.month == Tally(6000, 220)


def test_seconds_run_without_a_byte_and_stop_with_the_session(store: Store) -> None:
    session = granted(store, MIDNIGHT)
    account = session.account.id
    assert spent(store, account, MIDNIGHT + 100).day.seconds == 100
    store.end_session(session.id, End.LEFT, MIDNIGHT + 150)
    assert spent(store, account, MIDNIGHT + 1000).day.seconds == 150
    assert rows(store, "SELECT seconds FROM usage") == [(150,)]


def test_who_was_never_let_through_has_used_nothing(store: Store) -> None:
    session = online(store, MIDNIGHT)
    store.end_session(session.id, End.LEFT, MIDNIGHT + 150)
    assert spent(store, session.account.id, MIDNIGHT + 200) == Spent()


def test_devices_of_an_account_are_counted_together(store: Store) -> None:
    one, other = granted(store, MIDNIGHT), granted(store, MIDNIGHT, OTHER)
    store.add_reading(reading(one, 1, 2) | reading(other, 10, 20), MIDNIGHT + 60)
    assert spent(store, one.account.id, MIDNIGHT + 60).day == Tally(120, 33)


def test_weeks_begin_on_monday_and_months_on_the_first(store: Store) -> None:
    monday = datetime(2023, 11, 27, tzinfo=BERLIN).timestamp()
    session = granted(store, monday - 3600)
    store.add_reading(reading(session, 0, 5), monday - 1)
    store.add_reading(reading(session, 0, 7), monday + 1)
    week_later = datetime(2023, 12, 1, 12, tzinfo=BERLIN).timestamp()
    store.end_session(session.id, End.LEFT, monday + 1)
    found = spent(store, session.account.id, monday + 10)
    assert (found.day.bytes, found.week.bytes, found.month.bytes) == (2, 2, 7)
    found = spent(store, session.account.id, week_later)
    assert (found.day.bytes, found.week.bytes, found.month.bytes) == (0, 2, 0)


def test_history_by_account_client_zone_and_day(store: Store) -> None:
    one, other = granted(store, MIDNIGHT), granted(store, MIDNIGHT, OTHER)
    store.add_reading(reading(one, 1, 2), MIDNIGHT + 60)
    store.add_reading(reading(other, 10, 20), MIDNIGHT + 86_400 + 60)
    since, until = "2023-11-16", "2023-11-17"

    def shown(by: str, search: str = "") -> list[tuple[object, ...]]:
        found = store.history(by, since, until, search)
        return [(r["what"], round(r["seconds"]), r["up"], r["down"], r["clients"]) for r in found]

    assert shown("account") == [(NUMBER, 60 + 86_460, 11, 22, 2)]
    assert shown("client") == [(OTHER.mac, 86_460, 10, 20, 1), (PHONE.mac, 60, 1, 2, 1)]
    assert shown("zone") == [("guest", 86_520, 11, 22, 2)]
    assert shown("day") == [("2023-11-17", 60, 10, 20, 1), ("2023-11-16", 86_460, 1, 2, 2)]
    assert shown("zone", PHONE.mac) == [("guest", 60, 1, 2, 1)]
    assert store.history("day", "2023-11-18", "2023-11-19") == []


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["read", "lose", "end", "shift"]),
            st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 90_000),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_usage_never_goes_back_and_days_add_up(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int, int]]
) -> None:
    store = Store(tmp_path_factory.mktemp("usage") / "db", BERLIN)
    now = MIDNIGHT
    session = granted(store, now)
    counters, before, live = Usage(), Usage(), True
    for step, up, down, pause in steps:
        now += pause
        if step == "lose":
            counters = Usage(before.up, before.down)  # installed anew, from what the store knows
        elif step == "end" and live:
            live = not store.end_session(session.id, End.LEFT, now)
        elif step == "shift":
            store.shift(3600)
            now += 3600
        elif live:
            counters = Usage(counters.up + up, counters.down + down)
        held = Held(session.id, "guest", PHONE.mac, frozenset(), 9, counters, open=live)
        store.add_reading({session.id: held}, now)
        found = store.session(session.id)
        assert found is not None
        assert found.usage.up >= before.up
        assert found.usage.down >= before.down
        before = found.usage
        assert before == counters
    ((up, down, seconds),) = rows(
        store, "SELECT coalesce(sum(up), 0), coalesce(sum(down), 0), coalesce(sum(seconds), 0) FROM usage"
    )
    assert (up, down) == (before.up, before.down)
    assert 0 <= seconds <= now - MIDNIGHT + 1
    store.close()


# Plans in force ----------------------------------------------------------------------------


def limit(product: Product, **terms: str) -> None:
    product.arranging.set_plan("unlimited", terms)


def test_a_volume_is_cut_in_the_kernel_and_by_the_round(product: Product, phone: Client) -> None:
    limit(product, day_volume="1MB")
    opened = product.log_in(phone)
    assert product.firewall.read()[opened.id].left == 1_000_000
    product.firewall.count(opened.id, 400_000, 500_000)
    product.rounds.round()
    assert product.inside() == {opened.id}
    product.firewall.count(opened.id, 0, 100_000)
    product.rounds.round()
    assert product.inside() == set()
    ended = product.store.session(opened.id)
    assert ended is not None
    assert (ended.end, ended.usage) == (End.VOLUME_USED, Usage(400_000, 600_000))
    product.clock.move(120)
    error = refusal(lambda: product.log_in(phone))
    assert error.reason is Reason.VOLUME_USED
    assert 0 < error.retry_after <= 86_400


def test_two_devices_share_what_is_left(product: Product, phone: Client) -> None:
    limit(product, day_volume="10MB")
    first = product.log_in(phone)
    product.clock.move(61)
    second = product.log_in(product.table.join("10.77.0.12", "02:cc:00:00:00:02"))
    product.firewall.count(first.id, 9_000_000, 0)
    product.rounds.round()
    assert {held.left for held in product.firewall.read().values()} == {1_000_000}
    product.firewall.count(second.id, 1_000_000, 0)
    product.rounds.round()
    assert product.inside() == set()


def test_changes_of_a_plan_hold_for_who_is_online(product: Product, phone: Client) -> None:
    opened = product.log_in(phone)
    limit(product, down="2M", session="1h")
    product.rounds.round()
    held = product.firewall.read()[opened.id]
    assert (held.rate.down, held.seconds) == (2000, 3600)
    found = product.portal.status(phone)
    assert found is not None
    assert found.expires_at == opened.started_at + 3600
    limit(product, down="", session="")
    product.rounds.round()
    held = product.firewall.read()[opened.id]
    assert (held.rate.down, held.seconds) == (None, product.config.firewall.longest)


def test_fair_use_slows_down_and_ends_with_the_day(product: Product, phone: Client, clock: Clock) -> None:
    limit(product, fair_volume="1MB", fair_down="256k")
    opened = product.log_in(phone)
    product.firewall.count(opened.id, 0, 2_000_000)
    product.rounds.round()
    product.rounds.round()
    assert product.firewall.read()[opened.id].rate.down == 256
    clock.move(86_400)
    product.rounds.round()
    assert product.firewall.read()[opened.id].rate.down is None


def test_idle_sessions_end_and_go_on_when_the_device_is_back(
    product: Product, phone: Client, clock: Clock
) -> None:
    limit(product, idle="10m")
    opened = product.log_in(phone)
    clock.move(500)
    product.firewall.count(opened.id, 1, 0)
    product.rounds.round()
    clock.move(500)
    product.firewall.count(opened.id, 0, 10**6)  # what others send to it is no sign of life
    product.rounds.round()
    assert product.inside() == {opened.id}
    clock.move(200)
    product.rounds.round()
    assert product.inside() == set()
    ended = product.store.session(opened.id)
    assert ended is not None
    assert ended.end is End.IDLE
    again = product.returning.resume(phone)
    assert again is not None
    assert (again.id, again.usage) == (opened.id, Usage(1, 10**6))
    product.rounds.round()
    assert product.inside() == {opened.id}


@pytest.mark.parametrize(("when_full", "inside"), [("replace", {257, 258}), ("refuse", {256, 257})])
def test_devices_of_an_account_are_counted(product: Product, when_full: str, inside: set[int]) -> None:
    limit(product, devices="2", when_full=when_full)
    for number in (11, 12, 13):
        client = product.table.join(f"10.77.0.{number}", f"02:cc:00:00:00:{number}")
        if number == 13 and when_full == "refuse":
            assert refusal(partial(product.log_in, client)).reason is Reason.DEVICES_FULL
        else:
            product.log_in(client)
        product.clock.move(3600)
    product.rounds.round()
    assert product.inside() == inside


def test_closed_hours_end_and_refuse(product: Product, phone: Client, clock: Clock) -> None:
    local = datetime.fromtimestamp(clock(), BERLIN)
    limit(product, hours=f"{local:%H:%M}-{(local.hour + 1) % 24:02}:{local:%M}")
    product.log_in(phone)
    clock.move(3601)
    product.rounds.round()
    assert product.inside() == set()
    assert refusal(lambda: product.log_in(phone)).reason is Reason.CLOSED


def test_again_only_after_a_pause(product: Product, phone: Client, clock: Clock) -> None:
    limit(product, session="10m", again_after="1h")
    product.log_in(phone)
    clock.move(601)
    product.rounds.round()
    error = refusal(lambda: product.log_in(phone))
    assert (error.reason, round(error.retry_after)) == (Reason.AGAIN_LATER, 3600)
    clock.move(3601)
    assert product.log_in(phone)


@pytest.mark.parametrize("why", [End.LEFT, End.REPLACED, End.IDLE, End.REVOKED])
def test_again_only_after_a_pause_by_no_trick(
    product: Product, phone: Client, clock: Clock, why: End
) -> None:
    """Logging out a minute before the end, or entering as another device, begins no whole session."""
    limit(product, session="10m", again_after="1h")
    first = product.log_in(phone)
    clock.move(540)
    product.door.end({first.id: why})
    other = product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    again = product.log_in(other)
    assert product.portal.time_left(again) == pytest.approx(60, abs=1)
    clock.move(30)
    third, _ = product.store.open_for(first.account.id, phone, clock())
    assert product.portal.time_left(third) == pytest.approx(30, abs=1)
    clock.move(61)
    product.rounds.round()
    assert product.inside() == set()
    clock.move(600)
    assert refusal(lambda: product.log_in(phone)).reason is Reason.AGAIN_LATER
    clock.move(3601)
    assert product.portal.time_left(product.log_in(phone)) == 600


def test_a_time_that_ran_out_while_away_is_over(product: Product, phone: Client, clock: Clock) -> None:
    limit(product, session="10m", again_after="1h")
    first = product.log_in(phone)
    clock.move(300)
    product.door.end({first.id: End.IDLE})
    clock.move(600)
    error = refusal(lambda: product.returning.come_back(phone))
    assert (error.reason, round(error.retry_after)) == (Reason.AGAIN_LATER, 3000), "counted from its end"
    clock.move(3000)
    assert product.portal.time_left(product.returning.come_back(phone)) == 600


def test_nobody_goes_on_with_a_session_that_is_over(product: Product, phone: Client, clock: Clock) -> None:
    """It would be open for a second, end as whole, and begin the pause anew."""
    limit(product, session="10m")
    first = product.log_in(phone)
    product.door.end({first.id: End.IDLE})
    clock.move(601)
    assert product.returning.resume(phone) is None
    assert product.portal.sessions() == []
    again = product.returning.come_back(phone)
    assert (again.id == first.id, product.portal.time_left(again)) == (False, 600)


def test_who_goes_on_takes_the_place_of_another_at_once(
    product: Product, phone: Client, clock: Clock
) -> None:
    limit(product, devices="1")
    first = product.log_in(phone)
    product.door.end({first.id: End.LEFT})
    clock.move(61)
    other = product.log_in(product.table.join("10.77.0.12", "02:cc:00:00:00:02"))
    assert product.inside() == {other.id}
    assert product.returning.come_back(phone).id == first.id
    assert product.inside() == {first.id}, "before any round"


def test_a_refused_guest_keeps_the_code(product: Product, phone: Client) -> None:
    """The code was right: what the plan refuses must not cost another text."""
    product.portal.request_code(phone, NUMBER)
    account_of = product.arranging.set_account
    account_of(NUMBER, {"blocked": True})
    assert refusal(lambda: product.portal.confirm(phone, product.outbox.code())).reason is Reason.BLOCKED
    account_of(NUMBER, {"blocked": False})
    assert product.portal.confirm(phone, product.outbox.code())


def test_more_time_for_a_live_session(product: Product, phone: Client, clock: Clock) -> None:
    limit(product, session="1h")
    opened = product.log_in(phone)
    assert product.arranging.extend(opened.id, 1800)
    assert product.arranging.extend(999, 1800) is None
    clock.move(3700)
    product.rounds.round()
    assert product.inside() == {opened.id}
    clock.move(1800)
    product.rounds.round()
    assert product.inside() == set()


def test_trusted_devices_are_online_by_themselves(product: Product) -> None:
    printer = "02:aa:00:00:00:01"
    product.arranging.trust(printer, note="printer")
    product.rounds.round()
    (held,) = product.firewall.read().values()
    assert (held.mac, held.addresses) == (printer, frozenset())
    product.table.join("10.77.0.30", printer)
    product.rounds.round()
    (held,) = product.firewall.read().values()
    assert held.addresses == {"10.77.0.30"}
    (session,) = product.portal.sessions()
    assert session.account.sort is Sort.DEVICE
    product.arranging.forget_device(printer)
    product.rounds.round()
    assert product.inside() == set()


def test_blocked_devices_are_cut_and_stay_out(product: Product, phone: Client) -> None:
    product.log_in(phone)
    product.arranging.block(phone.mac)
    assert product.inside() == set()
    product.clock.move(61)
    assert refusal(lambda: product.log_in(phone)).reason is Reason.BLOCKED
    assert product.returning.known(phone) is None


def test_who_had_an_address_is_exact(product: Product, phone: Client, clock: Clock) -> None:
    """What was in between is somebody else's: a device that moves on, or leaves, and comes back."""
    began, ip = clock(), phone.ip
    first = product.log_in(phone)
    clock.move(100)
    product.door.follow({(phone.mac, "guest"): frozenset({"10.77.0.99"})})
    clock.move(100)
    product.door.follow({(phone.mac, "guest"): frozenset({ip})})
    clock.move(100)
    product.door.end({first.id: End.LEFT})
    clock.move(100)
    assert product.returning.come_back(phone).id == first.id
    clock.move(100)

    def had(address: str) -> list[int]:
        return [at for at in range(50, 500, 100) if product.arranging.who_had(address, began + at)]

    assert had(ip) == [50, 250, 450]
    assert had("10.77.0.99") == [150]
    (found,) = product.arranging.who_had(ip, clock())
    assert found.addresses == {ip}


@pytest.mark.parametrize("contact", [NUMBER, "forgotten", "staff"])
def test_a_blocked_device_costs_no_text(product: Product, phone: Client, contact: str) -> None:
    product.arranging.block(phone.mac)
    zone = replace(product.config.zones[0], reset="sms")
    order = product.portal.order(phone, "", Asking())
    asks: dict[str, Callable[[], object]] = {
        NUMBER: lambda: product.portal.request_code(phone, NUMBER),
        "forgotten": lambda: product.signing.forgotten(phone, zone, NUMBER, order),
        "staff": lambda: product.staff.ask(phone, "let me in"),
    }
    assert refusal(asks[contact]).reason is Reason.BLOCKED
    assert product.outbox.texts == []


def test_a_code_on_its_way_is_not_the_next_account_s(product: Product, phone: Client) -> None:
    """SQLite gives the number of the last account that was deleted to the next one."""
    product.arranging.set_account("old", {"number": NUMBER, "password": "secret77"})
    zone = replace(product.config.zones[0], reset="sms")
    product.signing.forgotten(phone, zone, NUMBER, product.portal.order(phone, "", Asking()))
    product.arranging.delete_account("old")
    product.arranging.set_account("new", {"password": "secret77"})
    with pytest.raises(Refused, match=Reason.NO_CHALLENGE):
        product.signing.reset(phone, product.outbox.code(), "stolen88")


def test_deleting_the_account_of_a_voucher_does_not_make_it_new(product: Product, phone: Client) -> None:
    (code,) = product.vouchers.codes(product.vouchers.make("SMS", 1, lasts=3600))
    product.vouchers.redeem(phone, code)
    assert product.arranging.delete_account("voucher 1-1")
    assert refusal(lambda: product.vouchers.redeem(phone, code)).reason is Reason.VOUCHER_WRONG


def test_an_address_is_found_however_it_is_written(product: Product) -> None:
    made = product.arranging.set_account("Bob@Example.ORG", {"note": "x"})
    assert (made.name, made.email) == ("bob@example.org",) * 2
    assert product.arranging.set_account("BOB@example.org", {"blocked": True}).id == made.id


def test_an_account_of_a_country_that_gets_no_texts_signs_in(make_product: Callable[..., Product]) -> None:
    product = make_product(numbers=Numbers(country="DE", allowed=("DE",)))
    made = product.arranging.set_account(NUMBER, {"password": "secret77"})
    assert product.portal.account("+1 415 555-2671") == made


@pytest.mark.parametrize("at", [float("inf"), float("nan"), -1.0, "1e999", "soon", 10**400])
def test_a_time_that_is_none_stops_no_round(product: Product, phone: Client, at: Any) -> None:
    product.log_in(phone)
    with pytest.raises(ConfigError, match="epoch seconds"):
        product.arranging.set_account(NUMBER, {"expires_at": at})
    assert product.rounds.round()


def test_a_trusted_device_that_is_switched_off_is_one_session(product: Product, clock: Clock) -> None:
    limit(product, idle="1m")
    product.arranging.trust("02:aa:00:00:00:01")
    for _ in range(60):
        clock.move(5)
        product.rounds.round()
    (session,) = product.portal.sessions()
    assert product.portal.ended() == []
    assert product.inside() == {session.id}


def test_the_devices_of_an_old_voucher_are_forgotten(product: Product, clock: Clock) -> None:
    for n, lasts in enumerate((3600, None)):
        client = product.table.join(f"10.77.0.{20 + n}", f"02:cc:00:00:01:{n:02x}")
        batch = product.vouchers.make("SMS", 1, lasts=lasts)
        product.vouchers.redeem(client, product.vouchers.codes(batch)[0])
    clock.move(100 * 86_400)
    product.rounds.round()
    product.store.forget(clock(), clock() - 90 * 86_400)
    (kept,) = rows(product.store, "SELECT mac FROM voucher_uses")
    assert kept == ("02:cc:00:00:01:01",), "it is still good, for that device only"
