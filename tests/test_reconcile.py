"""Rounds: kernel and store agree after one, whatever happened before it; a round never raises."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping

import pytest

from portald.config import Firewall
from portald.errors import FirewallError, RulesMissing
from portald.firewall.memory import MemoryFirewall
from portald.model import Client, End, Grant, Held, Session, Usage
from portald.reconcile import EARLY, FORGET_AFTER, TIDY_EVERY
from portald.timekeeping import CALM
from tests.conftest import NUMBER, Clock, Product


class Watched(MemoryFirewall):
    """Notes what it is asked for, and fails as told."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.calls: list[str] = []
        self.errors: dict[str, Exception] = {}

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if call in self.errors:
            raise self.errors[call]

    def setup(self) -> None:
        self._note("setup")
        super().setup()

    def read(self) -> Mapping[int, Held]:
        self._note("read")
        return super().read()

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        self._note("apply")
        super().apply(add, remove)


@pytest.fixture
def watched(product: Product, clock: Clock) -> Watched:
    firewall = Watched(clock)
    firewall.setup()
    product.use_firewall(firewall)
    firewall.calls.clear()
    return firewall


def live(product: Product, number: int) -> Session:
    found = product.store.session(number)
    assert found is not None
    assert found.ended_at is None
    return found


def test_a_round_with_nothing_to_do_changes_nothing(
    product: Product, phone: Client, watched: Watched, clock: Clock
) -> None:
    product.log_in(phone)
    product.rounds.round()
    watched.calls.clear()
    assert product.rounds.round()
    assert watched.calls == ["read"]
    assert (product.rounds.last_good, product.rounds.last_error) == (clock(), None)


def test_missing_rules_are_set_up_and_filled(product: Product, phone: Client, watched: Watched) -> None:
    opened = product.log_in(phone)
    watched.lose_rules()
    watched.calls.clear()
    assert product.rounds.round()
    assert watched.calls == ["read", "setup", "read", "apply"]
    assert watched.read().keys() == {opened.id}


def test_rules_that_vanish_in_the_middle_are_there_after_the_next_round(
    product: Product, phone: Client, watched: Watched
) -> None:
    opened = product.log_in(phone)
    watched.apply([], [opened.id])
    watched.errors["apply"] = RulesMissing("flushed just now")
    assert not product.rounds.round()
    watched.errors.clear()
    watched.lose_rules()
    assert product.rounds.round()
    assert watched.read().keys() == {opened.id}


def test_grants_that_vanished_are_put_back(product: Product, phone: Client) -> None:
    opened = product.log_in(phone)
    product.firewall.apply([], [opened.id])
    assert product.rounds.round()
    held = product.firewall.read()[opened.id]
    assert (held.mac, held.addresses) == (phone.mac, {phone.ip})


def test_foreign_sessions_in_the_kernel_are_removed(product: Product, phone: Client) -> None:
    opened = product.log_in(phone)
    product.firewall.apply([Grant(999, "guest", "02:ee:00:00:00:09", frozenset({"10.77.0.99"}), 600)], [])
    assert product.rounds.round()
    assert product.inside() == {opened.id}


def test_a_grant_that_was_tampered_with_is_set_right(product: Product, phone: Client) -> None:
    opened = product.log_in(phone)
    product.firewall.apply([Grant(opened.id, "guest", "02:ee:00:00:00:09", frozenset(), 600)], [])
    assert product.rounds.round()
    held = product.firewall.read()[opened.id]
    assert (held.mac, held.addresses) == (phone.mac, {phone.ip})


def test_usage_is_accounted(product: Product, phone: Client, clock: Clock) -> None:
    opened = product.log_in(phone)
    for up, down in ((10, 100), (0, 0), (5, 50)):
        product.firewall.count(opened.id, up, down)
        clock.move(5)
        assert product.rounds.round()
    assert live(product, opened.id).usage == Usage(15, 150)


def test_usage_goes_on_when_the_kernel_forgot_everything(product: Product, phone: Client) -> None:
    opened = product.log_in(phone)
    product.firewall.count(opened.id, 10, 100)
    product.rounds.round()
    product.firewall.lose_rules()
    product.rounds.round()
    product.firewall.count(opened.id, 3, 4)
    product.rounds.round()
    assert live(product, opened.id).usage == Usage(13, 104)


def test_the_last_bytes_of_an_expired_session_are_accounted(
    product: Product, phone: Client, clock: Clock
) -> None:
    product.store.connection.execute('UPDATE plans SET terms = \'{"session": "1m"}\'')
    opened = product.log_in(phone)
    clock.move(60 - EARLY)
    product.firewall.count(opened.id, 7, 8)
    assert product.rounds.round()
    ended = product.store.session(opened.id)
    assert ended is not None
    assert (ended.end, ended.usage) == (End.EXPIRED, Usage(7, 8))
    assert product.inside() == set()
    assert product.portal.status(phone) is None


def test_a_session_lasts_until_its_deadline(product: Product, phone: Client, clock: Clock) -> None:
    product.store.connection.execute('UPDATE plans SET terms = \'{"session": "10m"}\'')
    opened = product.log_in(phone)
    for _ in range(59):
        clock.move(10)
        assert product.rounds.round()
        assert product.firewall.read()[opened.id].seconds <= live(product, opened.id).expires_at - clock()  # type: ignore[operator]
    clock.move(10 - EARLY - 0.1)
    assert product.rounds.round()
    assert product.portal.status(phone) is not None
    clock.move(0.1)
    assert product.rounds.round()
    assert product.portal.status(phone) is None


@pytest.mark.parametrize("longest", [60, 3600])
def test_an_endless_session_is_renewed_at_half_its_time(
    make_product: Callable[..., Product], clock: Clock, longest: int
) -> None:
    product = make_product(firewall=Firewall(longest=longest))
    opened = product.log_in(product.table.join("10.77.0.11", "02:cc:00:00:00:01"))

    def left() -> int:
        assert product.rounds.round()
        seconds: int = product.firewall.read()[opened.id].seconds
        return seconds

    clock.move(longest / 2)
    product.firewall.count(opened.id, 1, 1)
    assert left() == longest / 2
    clock.move(1)
    assert left() == longest
    for _ in range(20):
        clock.move(longest / 4)
        assert left() >= longest / 2
    # Renewing has neither lost nor doubled a byte, nor made the session a new one.
    product.firewall.count(opened.id, 2, 2)
    product.rounds.round()
    assert live(product, opened.id).usage == Usage(3, 3)
    assert live(product, opened.id).granted_at == opened.started_at


def test_the_kernel_ends_access_alone_and_a_round_brings_it_back(
    product: Product, phone: Client, clock: Clock
) -> None:
    opened = product.log_in(phone)
    clock.move(product.config.firewall.longest)
    assert product.inside() == set()
    assert product.rounds.round()
    assert product.inside() == {opened.id}


def test_a_shortened_session_is_shortened_in_the_kernel(
    product: Product, phone: Client, clock: Clock
) -> None:
    opened = product.log_in(phone)
    product.store.connection.execute("UPDATE accounts SET expires_at = ?", (clock() + 100,))
    assert product.rounds.round()
    assert product.firewall.read()[opened.id].seconds == 100


# Addresses ---------------------------------------------------------------------------------


def test_a_new_address_is_followed(product: Product, phone: Client, clock: Clock) -> None:
    opened = product.log_in(phone)
    del product.table.clients[phone.ip]
    product.table.join("10.77.0.50", phone.mac)
    product.table.join("10.77.0.51", phone.mac)
    clock.move(5)
    assert product.rounds.round()
    there = {"10.77.0.50", "10.77.0.51"}
    assert live(product, opened.id).addresses == there
    assert product.firewall.read()[opened.id].addresses == there
    assert product.portal.who("10.77.0.50").mac == phone.mac


def test_an_address_taken_over_by_another_device_is_not_shared(
    product: Product, phone: Client, clock: Clock
) -> None:
    opened = product.log_in(phone)
    product.table.join("10.77.0.50", phone.mac)
    product.table.join(phone.ip, "02:ee:00:00:00:09")
    assert product.rounds.round()
    assert product.firewall.read()[opened.id].addresses == {"10.77.0.50"}


def test_a_client_that_sleeps_keeps_its_address(product: Product, phone: Client) -> None:
    opened = product.log_in(phone)
    product.table.clients.clear()
    assert product.rounds.round()
    assert product.firewall.read()[opened.id].addresses == {phone.ip}


def test_an_ipv6_guest_gets_its_ipv4_address(product: Product) -> None:
    client = product.table.join("fe80::1", "02:cc:00:00:00:01")
    opened = product.log_in(client)
    product.table.join("10.77.0.50", client.mac)
    assert product.rounds.round()
    assert product.firewall.read()[opened.id].addresses == {"10.77.0.50"}


def test_a_collector_of_addresses_gets_a_few_and_no_endless_repairs(
    product: Product, phone: Client, watched: Watched
) -> None:
    opened = product.log_in(phone)
    for i in range(100, 150):
        product.table.join(f"10.77.0.{i}", phone.mac)
    assert product.rounds.round()
    assert len(watched.read()[opened.id].addresses) == 8
    watched.calls.clear()
    assert product.rounds.round()
    assert watched.calls == ["read"]


# Trouble -----------------------------------------------------------------------------------


ERRORS = [
    FirewallError("the helper is gone"),
    RulesMissing("flushed"),
    OSError(12, "no memory"),
    ValueError("?"),
    KeyError(1),
    RecursionError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("call", ["read", "apply", "setup"])
def test_a_round_never_raises_and_the_next_one_repairs(
    product: Product, phone: Client, watched: Watched, clock: Clock, call: str, error: Exception
) -> None:
    opened = product.log_in(phone)
    watched.lose_rules()
    watched.errors[call] = error
    assert product.rounds.round() is False
    assert product.rounds.last_good is None
    assert type(error).__name__ in str(product.rounds.last_error)
    assert live(product, opened.id)
    watched.errors.clear()
    clock.move(5)
    assert product.rounds.round() is True
    assert watched.read().keys() == {opened.id}
    health: tuple[float | None, str | None] = product.rounds.last_good, product.rounds.last_error
    assert health == (clock(), None)


def test_a_neighbour_table_that_fails(product: Product, phone: Client) -> None:
    class Deaf:
        def client(self, ip: str) -> Client | None:
            return None

        def addresses(self) -> Mapping[tuple[str, str], frozenset[str]]:
            raise OSError("netlink")

    product.log_in(phone)
    product.rounds._neighbours = Deaf()
    assert not product.rounds.round()
    assert product.rounds.last_error == "OSError: netlink"


def test_a_store_that_fails(product: Product, phone: Client) -> None:
    product.log_in(phone)
    product.store.connection.execute("ALTER TABLE sessions RENAME TO elsewhere")
    assert not product.rounds.round()
    product.store.connection.execute("ALTER TABLE elsewhere RENAME TO sessions")
    assert product.rounds.round()


def test_what_comes_after_a_round_cannot_stop_the_rounds(product: Product, clock: Clock) -> None:
    def explode() -> None:
        raise OSError("notify socket")

    rounds = product.make_rounds(after=explode)
    rounds.round()
    assert rounds.last_good == clock()


def test_after_is_called_for_good_rounds_only(product: Product, watched: Watched, clock: Clock) -> None:
    """The watchdog is fed there."""
    fed: list[bool] = []
    rounds = product.make_rounds(after=lambda: fed.append(True))
    watched.errors["read"] = FirewallError("gone")
    rounds.round()
    assert fed == []
    watched.errors.clear()
    rounds.round()
    assert fed == [True]


def test_the_turn_is_free_after_a_failed_round(product: Product, phone: Client, watched: Watched) -> None:
    product.log_in(phone)
    watched.lose_rules()
    watched.errors["apply"] = ValueError("?")
    product.rounds.round()
    assert product.rounds._turn.acquire(timeout=1)
    product.rounds._turn.release()


def test_expected_failures_are_one_line_and_others_have_a_traceback(
    product: Product, watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    watched.errors["read"] = FirewallError("gone")
    product.rounds.round()
    assert "event=round_failed error=FirewallError: gone" in caplog.text
    assert "Traceback" not in caplog.text
    watched.errors["read"] = ValueError("strange")
    product.rounds.round()
    assert "Traceback" in caplog.text


def test_what_is_over_is_forgotten(product: Product, phone: Client, clock: Clock) -> None:
    product.rounds.round()
    clock.move(CALM)
    product.portal.request_code(phone, NUMBER)
    clock.move(FORGET_AFTER)
    assert product.rounds.round()
    assert len(product.portal.challenges()) == 1
    clock.move(product.config.otp.lifetime + TIDY_EVERY)
    assert product.rounds.round()
    assert product.portal.challenges() == []


# The thread --------------------------------------------------------------------------------


def test_the_thread_makes_a_round_when_woken_and_stops_when_told(
    product: Product, phone: Client, clock: Clock
) -> None:
    made = threading.Semaphore(0)
    rounds = product.make_rounds(after=lambda: made.release())
    rounds.start()
    try:
        assert made.acquire(timeout=5)
        opened = product.log_in(phone)
        product.firewall.apply([], [opened.id])
        rounds.wake()
        assert made.acquire(timeout=4)
        assert product.inside() == {opened.id}
    finally:
        rounds.stop()
    assert not rounds._thread.is_alive()


def test_stopping_what_never_started(product: Product) -> None:
    product.rounds.stop()


def test_the_pause_ends_with_the_next_session(product: Product, phone: Client, clock: Clock) -> None:
    assert product.rounds._pause() == product.config.firewall.round
    product.store.connection.execute('UPDATE plans SET terms = \'{"session": "1m"}\'')
    product.log_in(phone)
    assert product.rounds._pause() == product.config.firewall.round
    clock.move(58)
    assert product.rounds._pause() == pytest.approx(2 - EARLY)
    clock.move(10)
    assert product.rounds._pause() == 0.05


def test_a_grant_nobody_wrote_down_is_found(product: Product, phone: Client) -> None:
    """Killed after the kernel had it and before the store knew: the guest's page must go on."""
    opened = product.log_in(phone)
    product.store.connection.execute("UPDATE sessions SET granted_at = NULL")
    assert product.rounds.round()
    found = product.portal.status(phone)
    assert found is not None
    assert (found.id, found.granted_at) == (opened.id, product.clock())
