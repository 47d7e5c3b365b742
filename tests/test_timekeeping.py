"""Clocks that jump: what is left of everything stays left."""

from __future__ import annotations

import pytest

from portald.errors import StoreError
from portald.model import Client, End
from portald.store import Store
from portald.timekeeping import CALM, SAVED_EVERY, Timekeeper
from tests.conftest import NUMBER, Clock, Product
from tests.test_store import online


class Clocks:
    """A wall clock that can be set, and a steady one that cannot."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.wall, self.steady, self.boot = Clock(), Clock(), "first"
        self.steady.now = 1000.0
        self.keeper = self.started()

    def started(self) -> Timekeeper:
        return Timekeeper(self.store, self.wall, self.steady, self.boot)

    def run(self, seconds: float) -> None:
        self.wall.move(seconds)
        self.steady.move(seconds)

    def look(self) -> float:
        return self.keeper.look()


@pytest.fixture
def clocks(store: Store) -> Clocks:
    return Clocks(store)


def test_time_that_passes_is_no_step(clocks: Clocks) -> None:
    for seconds in (0, 5, 0.5, 86_400):
        clocks.run(seconds)
        assert clocks.look() == 0
    clocks.wall.move(1.9)  # disciplined, not set
    assert clocks.look() == 0


@pytest.mark.parametrize("step", [3600.0, -3600.0, 5.0, -86_400.0 * 365, 86_400.0 * 20_000])
def test_a_step_moves_what_runs(clocks: Clocks, step: float) -> None:
    clocks.look()
    session = online(clocks.store, clocks.wall())
    clocks.store.set_granted([session.id], clocks.wall())
    clocks.store.set_deadlines({session.id: clocks.wall() + 600})
    clocks.run(100)
    clocks.wall.move(step)
    assert clocks.look() == pytest.approx(step)
    found = clocks.store.session(session.id)
    assert found is not None
    assert found.expires_at == pytest.approx(clocks.wall() + 500)
    assert found.started_at == pytest.approx(clocks.wall() - 100)
    assert clocks.look() == 0


def test_a_step_while_portald_was_away_is_seen_by_the_next(clocks: Clocks) -> None:
    clocks.look()
    clocks.run(10)
    clocks.wall.move(7200)
    clocks.keeper = clocks.started()
    assert clocks.look() == pytest.approx(7200)
    clocks.keeper = clocks.started()
    assert clocks.look() == 0


def test_a_restart_without_a_step_is_none(clocks: Clocks) -> None:
    clocks.look()
    clocks.run(SAVED_EVERY * 3)
    clocks.look()
    clocks.run(5)
    clocks.keeper = clocks.started()
    assert clocks.look() == 0


def test_after_a_boot_with_a_clock_that_is_behind_sessions_go_on_where_they_were(clocks: Clocks) -> None:
    """A box without a battery wakes up in the past, and is told the time a minute later."""
    clocks.look()
    session = online(clocks.store, clocks.wall())
    clocks.store.set_deadlines({session.id: clocks.wall() + 600})
    clocks.boot, clocks.steady.now = "second", 5.0
    clocks.wall.move(-3 * 86_400)
    clocks.keeper = clocks.started()
    assert clocks.look() == pytest.approx(-3 * 86_400)
    clocks.run(60)
    clocks.wall.move(3 * 86_400 + 100)
    clocks.look()
    found = clocks.store.session(session.id)
    assert found is not None
    assert found.expires_at == pytest.approx(clocks.wall() + 540)


def test_a_night_without_power_counts(clocks: Clocks) -> None:
    clocks.look()
    clocks.boot, clocks.steady.now = "second", 5.0
    clocks.wall.move(8 * 3600)
    clocks.keeper = clocks.started()
    assert clocks.look() == 0


def test_nothing_is_deleted_by_a_date_nobody_knows_yet(clocks: Clocks) -> None:
    clocks.look()
    assert not clocks.keeper.calm
    clocks.run(CALM)
    clocks.look()
    assert clocks.keeper.calm
    clocks.wall.move(86_400 * 400)
    clocks.look()
    assert not clocks.keeper.calm


def test_writing_is_rare(clocks: Clocks) -> None:
    """A flash card lives longer: one row in ten minutes, unless the clock is set."""
    writes: list[str] = []
    clocks.store.set_fact = lambda name, value: writes.append(name)  # type: ignore[method-assign]
    for _ in range(360):
        clocks.run(5)
        clocks.look()
    assert 3 <= len(writes) <= 4


def test_a_pause_between_texts_does_not_end_by_setting_the_clock(clocks: Clocks, product: Product) -> None:
    phone = product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    product.portal.request_code(phone, NUMBER)
    product.store.shift(50_000)
    product.clock.move(50_000)
    pending = product.portal.pending(phone)
    assert pending is not None
    assert 0 < product.portal.resend_in(pending) <= 60


def test_ended_sessions_stay_where_they_were(store: Store, clock: Clock) -> None:
    session = online(store, clock(), Client("02:cc:00:00:00:09", "10.77.0.9", "guest"))
    store.end_session(session.id, End.LEFT, clock())
    store.shift(1000)
    found = store.session(session.id)
    assert found is not None
    assert (found.started_at, found.ended_at) == (clock(), clock())


def test_nights_without_power_do_not_keep_records_for_ever(clocks: Clocks) -> None:
    """A shop whose gateway is never on for a whole day promises to delete, too."""
    for day in range(3):
        clocks.boot, clocks.steady.now = f"day {day}", 30.0
        clocks.keeper = clocks.started()
        clocks.look()
        for _ in range(60):
            clocks.run(600)
            clocks.look()
        clocks.wall.move(14 * 3600)
    assert clocks.keeper.calm
    clocks.wall.move(86_400 * 30)
    clocks.boot, clocks.steady.now = "after a month", 30.0
    clocks.keeper = clocks.started()
    clocks.look()
    assert not clocks.keeper.calm, "that date may be wrong"


def test_a_step_is_not_lost_where_the_database_refuses(
    clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks.look()
    session = online(clocks.store, clocks.wall())
    clocks.store.set_deadlines({session.id: clocks.wall() + 600})
    clocks.wall.move(7200)
    with monkeypatch.context() as patched:
        patched.setattr(clocks.store, "shift", refuses)
        with pytest.raises(StoreError):
            clocks.look()
    clocks.run(5)
    assert clocks.look() == pytest.approx(7200)
    found = clocks.store.session(session.id)
    assert found is not None
    assert found.expires_at == pytest.approx(clocks.wall() + 595)


def refuses(*_: object) -> None:
    raise StoreError("the database is locked")


def test_a_step_is_made_once_though_portald_is_killed_in_it(
    clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks.look()
    clocks.wall.move(7200)
    with monkeypatch.context() as patched:
        patched.setattr(clocks.store, "set_fact", refuses)
        clocks.look()
    clocks.keeper = clocks.started()
    assert clocks.look() == 0


@pytest.mark.parametrize("step", [-86_400.0 * 365, 86_400.0 * 365])
def test_windows_and_vouchers_last_as_long_as_they_did(product: Product, step: float) -> None:
    """A box without a battery is told the time a minute after it was switched on."""
    phone = product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    product.store.open_window(phone, "SMS", [], 300, product.clock())
    codes = []
    for lasts, left in ((3600, 7200), (7200, 3600), (3600, None), (None, 3600)):
        expires = product.clock() + left if left else None
        batch = product.vouchers.make("SMS", 1, lasts=lasts, expires_at=expires)
        codes.append(product.vouchers.codes(batch)[0])
    for n, code in enumerate(codes):
        client = product.table.join(f"10.77.0.{20 + n}", f"02:cc:00:00:01:{n:02x}")
        product.vouchers.redeem(client, code)
    product.store.shift(step)
    began = product.clock()
    product.clock.move(step)
    window = product.portal.window(phone)
    assert window is not None
    assert window.until == product.clock() + 300
    ends = {a.name: a.expires_at for a in product.arranging.accounts("voucher")}
    assert ends == {
        "voucher 1-1": min(product.clock() + 3600, began + 7200),
        "voucher 2-1": began + 3600,
        "voucher 3-1": product.clock() + 3600,
        "voucher 4-1": began + 3600,
    }
