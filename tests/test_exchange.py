"""Codes between whoever asks and whoever brings them, where providers make the codes themselves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from portald.applications import ApiError
from portald.config import Application, Otp, Web
from portald.errors import Reason, Refused, SmsError
from portald.model import Client, Kind, Order, Outcome, Policy, Sent, State
from portald.schema import Secret
from portald.sms.breaker import Breaker
from portald.sms.routes import Route, Way
from tests.conftest import NUMBER, Product

POLICY = Policy(Kind.NUMBERS, 4, 120, 2)


@dataclass
class Maker:
    """A provider that makes its own codes, of its own kind."""

    orders: list[Order] = field(default_factory=list)
    error: SmsError | None = None
    verdict: Any = False
    busy: threading.Barrier | None = None

    def start(self, order: Order) -> Sent:
        self.orders.append(order)
        if self.error is not None:
            raise self.error
        return Sent(f"handle-{len(self.orders)}", POLICY)

    def check(self, reference: str, to: str, code: str) -> bool:
        if self.busy is not None:
            self.busy.wait(5)
            self.busy.wait(5)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return code == "1234" if self.verdict == "right code" else bool(self.verdict)


@pytest.fixture
def maker() -> Maker:
    return Maker()


@pytest.fixture
def product(make_product: Callable[..., Product], maker: Maker, clock: Any) -> Product:
    return make_product(ways=[Way(Route(), "maker", maker, maker, Breaker(clock))])


def refused(call: Callable[[], Any]) -> Reason:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.reason


def test_a_providers_own_code_has_its_own_policy(product: Product, phone: Client, maker: Maker) -> None:
    maker.verdict = "right code"
    product.portal.request_code(phone, NUMBER)
    pending = product.portal.pending(phone)
    assert pending is not None
    assert (pending.policy, pending.expires_at) == (POLICY, product.clock() + 120)
    assert refused(lambda: product.portal.confirm(phone, "123456")) is Reason.CODE_INCOMPLETE
    assert refused(lambda: product.portal.confirm(phone, "4321")) is Reason.CODE_WRONG
    assert product.portal.confirm(phone, "1234").account.number == NUMBER


def test_its_attempts_are_counted_here_too(product: Product, phone: Client, maker: Maker) -> None:
    product.portal.request_code(phone, NUMBER)
    assert refused(lambda: product.portal.confirm(phone, "0000")) is Reason.CODE_WRONG
    assert refused(lambda: product.portal.confirm(phone, "0000")) is Reason.TOO_MANY_GUESSES
    maker.verdict = True
    assert refused(lambda: product.portal.confirm(phone, "1234")) is Reason.TOO_MANY_GUESSES


@pytest.mark.parametrize("reason", [Reason.CODE_EXPIRED, Reason.TOO_MANY_GUESSES])
def test_a_code_that_its_provider_calls_dead_is_dead(
    product: Product, phone: Client, maker: Maker, reason: Reason
) -> None:
    product.portal.request_code(phone, NUMBER)
    maker.verdict = Refused(reason)
    assert refused(lambda: product.portal.confirm(phone, "0000")) is reason
    maker.verdict = True
    assert refused(lambda: product.portal.confirm(phone, "1234")) is Reason.TOO_MANY_GUESSES


def test_a_provider_that_cannot_judge_just_now(product: Product, phone: Client, maker: Maker) -> None:
    product.portal.request_code(phone, NUMBER)
    maker.verdict = SmsError(Outcome.TEMPORARY, "later")
    assert refused(lambda: product.portal.confirm(phone, "1234")) is Reason.BUSY
    maker.verdict = True
    assert product.portal.confirm(phone, "1234")


def test_slow_judges_do_not_hold_every_thread(product: Product, maker: Maker) -> None:
    clients = [product.table.join(f"10.77.0.{i}", f"02:cc:00:00:00:0{i}") for i in range(1, 6)]
    for i, client in enumerate(clients):
        product.portal.request_code(client, f"+1415555267{i}")
    maker.busy, maker.verdict = threading.Barrier(5), True
    opened: list[Any] = []
    threads = [
        threading.Thread(target=lambda client=client: opened.append(product.portal.confirm(client, "1234")))
        for client in clients[:4]
    ]
    for thread in threads:
        thread.start()
    maker.busy.wait(5)  # all four are being judged
    assert refused(lambda: product.portal.confirm(clients[4], "1234")) is Reason.BUSY
    pending = product.portal.pending(clients[4])
    assert pending is not None
    assert pending.attempts == 0, "that was no guess"
    maker.busy.wait(5)
    for thread in threads:
        thread.join()
    maker.busy = None
    assert len(opened) == 4
    assert product.portal.confirm(clients[4], "1234")


def test_the_next_order_names_the_code_it_replaces(product: Product, phone: Client, maker: Maker) -> None:
    product.portal.request_code(phone, NUMBER)
    product.clock.move(61)
    product.portal.resend(phone)
    product.clock.move(700)  # by now the code is too old to be replaced
    product.portal.request_code(phone, NUMBER)
    product.portal.request_code(phone, "+14155552672")
    assert [order.replaces for order in maker.orders] == ["", "handle-1", "", ""]


def test_trouble_with_one_number_is_nobody_elses(product: Product, phone: Client, maker: Maker) -> None:
    maker.error = SmsError(Outcome.THROTTLED, "a code is on its way", of_number=True)
    product.portal.request_code(phone, NUMBER)
    failed = product.portal.pending(phone)
    assert failed is not None
    assert (failed.state, failed.outcome) == (State.FAILED, Outcome.THROTTLED)
    assert product.routes.ways[0].breaker.outcome is None
    maker.error = SmsError(Outcome.THROTTLED, "too fast")
    product.portal.request_code(phone, "+14155552672")
    assert product.routes.ways[0].breaker.outcome is Outcome.THROTTLED


def test_only_codes_typed_on_the_portal_are_tied_to_it(
    make_product: Callable[..., Product], phone: Client
) -> None:
    application = Application(id="booking", secret=Secret("s" * 16))
    product = make_product(web=Web(url="https://wifi.example.com/"), applications=(application,))
    product.table.join(phone.ip, phone.mac)
    product.portal.request_code(phone, NUMBER)
    product.applications.create(application, {"to": "+14155552672"})
    first, second = (text.body for text in product.outbox.sent)
    assert "@wifi.example.com #" in first
    assert "@" not in second


def test_naming_numbers_without_a_code_has_its_limits(
    make_product: Callable[..., Product], phone: Client
) -> None:
    product = make_product(otp=Otp(mode="format_only"))
    client = product.table.join(phone.ip, phone.mac)
    for i in range(3):
        product.portal.admit(client, f"+1415555267{i}")
    assert refused(lambda: product.portal.admit(client, NUMBER)) is Reason.SEVERAL_TEXTS


APPLICATION = Application(
    id="booking", secret=Secret("a-secret-of-the-application"), callbacks=("http://127.0.0.1:9/",)
)
WISH = {"phoneNumber": NUMBER, "otpCallbackUrl": "http://127.0.0.1:9/told"}


def told(product: Product) -> list[str]:
    """Return the states that are to be told."""
    due = product.store.due_callbacks(product.clock())
    return [json.loads(callback.body)["data"][0]["status"] for callback in due]


def test_an_application_is_told_that_a_restart_ended_its_text(
    make_product: Callable[..., Product], maker: Maker, clock: Any
) -> None:
    way = Way(Route(), "maker", maker, maker, Breaker(clock))
    product = make_product(ways=[way], applications=(APPLICATION,))
    product.paused = True
    product.applications.create(APPLICATION, WISH)
    product.exchange.fail_interrupted()
    assert told(product) == ["SEND_FAILED"]


def test_an_application_is_told_that_its_last_guess_was_lost(
    make_product: Callable[..., Product], maker: Maker, clock: Any
) -> None:
    way = Way(Route(), "maker", maker, maker, Breaker(clock))
    product = make_product(ways=[way], applications=(APPLICATION,))
    made = product.applications.create(APPLICATION, WISH)
    maker.verdict = SmsError(Outcome.UNKNOWN, "no answer")
    for _ in range(POLICY.attempts):
        with pytest.raises(ApiError):
            product.applications.check(APPLICATION, made["otpId"], "1234")
    assert told(product) == ["PENDING", "FAILED"]


def test_a_provider_from_elsewhere_may_raise_anything(
    product: Product, phone: Client, maker: Maker
) -> None:
    product.portal.request_code(phone, NUMBER)
    maker.verdict = RuntimeError("1234")
    assert refused(lambda: product.portal.confirm(phone, "1234")) is Reason.BUSY


def test_guesses_that_nobody_judged_are_not_used_up(product: Product, phone: Client, maker: Maker) -> None:
    product.portal.request_code(phone, NUMBER)
    maker.verdict = SmsError(Outcome.TEMPORARY, "later")
    for _ in range(product.config.limits.guesses_per_client + 1):
        assert refused(lambda: product.portal.confirm(phone, "1234")) is Reason.BUSY


def test_a_code_that_the_guest_gave_up_is_replaced_as_well(
    product: Product, phone: Client, maker: Maker
) -> None:
    product.portal.request_code(phone, NUMBER)
    product.portal.restart(phone)
    product.clock.move(61)
    product.portal.request_code(phone, NUMBER)
    assert maker.orders[-1].replaces == "handle-1"


def test_nobody_is_sent_what_was_given_up_meanwhile(product: Product, phone: Client, maker: Maker) -> None:
    product.paused = True
    product.portal.request_code(phone, NUMBER)
    product.portal.restart(phone)
    product.send_waiting()
    assert not maker.orders
    assert "texts" not in product.store.used(product.clock())


def test_limits_in_force_hold_without_a_code_too(make_product: Callable[..., Product]) -> None:
    product = make_product(otp=Otp(mode="format_only"))
    product.purse.set_limit("texts_per_client_burst", "1")
    client = product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    product.portal.admit(client, NUMBER)
    assert refused(lambda: product.portal.admit(client, NUMBER)) is Reason.SEVERAL_TEXTS
