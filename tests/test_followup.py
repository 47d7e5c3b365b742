"""What comes after a text: deliveries are asked for, applications are told, signed and again."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from portald.config import Application
from portald.errors import SmsError
from portald.followup import RETRIES, WATCHED, Followups
from portald.model import Client, Outcome, Report, State
from portald.schema import Secret
from portald.sms.breaker import Breaker
from portald.sms.codes import Codes
from portald.sms.routes import Route, Way
from portald.texts import Texts
from tests.conftest import KEY, NUMBER, Outbox, Product

SECRET = "a-secret-of-the-application"


@dataclass
class Tracked(Outbox):
    """A provider that can be asked."""

    reports: dict[str, Report] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def delivery(self, message: str) -> Report:
        self.asked.append(message)
        if self.error is not None:
            raise self.error
        return self.reports.get(message, Report(message, None))


class Listener(ThreadingHTTPServer):
    """An application's callback: answers as told and keeps what came."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.status = 200
        self.came: list[tuple[Any, bytes]] = []

    def told(self, status: str) -> int:
        """Return how often a code was told to be in this state."""
        return [json.loads(body)["data"][0]["status"] for _, body in self.came].count(status)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Taking(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.came.append((dict(self.headers.items()), body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def tracked() -> Tracked:
    return Tracked()


@pytest.fixture
def product(
    make_product: Callable[..., Product], listener: Listener, tracked: Tracked, config: Any, clock: Any
) -> Product:
    way = Way(Route(), "tracked", tracked, Codes(tracked, KEY, Texts(config)), Breaker(clock))
    application = Application(id="booking", secret=Secret(SECRET), callbacks=(listener.url,))
    return make_product(ways=[way], applications=(application,))


@pytest.fixture
def followups(product: Product) -> Followups:
    return Followups(product.config, product.store, product.routes, product.applications, product.clock)


def test_a_provider_that_is_out_of_order_holds_up_nobody(
    product: Product, followups: Followups, tracked: Tracked, listener: Listener, monkeypatch: Any
) -> None:
    callback = {"otpCallbackUrl": listener.url}
    for i in range(3):
        product.applications.create(
            product.config.applications[0], {"phoneNumber": f"+1415555267{i}", **callback}
        )
    tracked.error = SmsError(Outcome.UNKNOWN, "no answer")
    followups.look()
    assert tracked.asked == ["id1"], "the others would have to wait for as long"
    assert listener.told("PENDING") == 3
    tracked.error = RuntimeError("of a provider from elsewhere")
    followups.look()
    assert tracked.asked == ["id1", "id1"]


# Delivery --------------------------------------------------------------------------------------


def test_a_text_that_could_not_be_delivered(
    product: Product, phone: Client, followups: Followups, tracked: Tracked
) -> None:
    def page() -> str:
        browser = product.web().test_client()
        return browser.get(
            "/code", base_url="http://10.77.0.1", environ_base={"REMOTE_ADDR": phone.ip}
        ).text

    product.portal.request_code(phone, NUMBER)
    followups.look()
    assert "See whether your phone can be reached" in page()
    pending = product.portal.pending(phone)
    assert pending is not None
    assert pending.delivered is None
    tracked.reports["id1"] = Report("id1", False, "unreachable")
    followups.look()
    pending = product.portal.pending(phone)
    assert pending is not None
    assert (pending.state, pending.delivered) == (State.SENT, False)
    assert "Your phone seems unreachable" in page()
    assert "See whether" not in page()
    followups.look()
    assert tracked.asked == ["id1", "id1"], "what is decided is not asked again"
    # If it comes after all, it is good.
    assert product.portal.confirm(phone, tracked.code())


def test_nobody_asks_for_what_is_old_or_was_answered(
    product: Product, phone: Client, followups: Followups, tracked: Tracked
) -> None:
    product.portal.request_code(phone, NUMBER)
    product.portal.confirm(phone, tracked.code())
    followups.look()
    assert tracked.asked == []
    other = product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    product.portal.request_code(other, "+14155552672")
    product.clock.move(WATCHED + 1)
    followups.look()
    assert tracked.asked == []


def test_a_provider_that_cannot_be_asked_now(
    product: Product, phone: Client, followups: Followups, tracked: Tracked
) -> None:
    product.portal.request_code(phone, NUMBER)
    tracked.error = SmsError(Outcome.TEMPORARY, "later")
    followups.look()
    tracked.error = None
    tracked.reports["id1"] = Report("id1", True)
    followups.look()
    assert [row.delivered for row in product.store.logged(9)] == [True]


# Applications ------------------------------------------------------------------------------------


def order(product: Product, listener: Listener, number: str = NUMBER, **more: Any) -> Any:
    application = product.config.applications[0]
    body = {"phoneNumber": number, "otpCallbackUrl": f"{listener.url}otp", **more}
    return product.applications.create(application, body)


def test_the_application_is_told_and_can_prove_who_tells(
    product: Product, followups: Followups, listener: Listener
) -> None:
    made = order(product, listener)
    followups.look()
    ((headers, body),) = listener.came
    told = json.loads(body)
    assert (told["event"], told["data"][0]["otpId"]) == ("otp_update", made["otpId"])
    stamp = headers["X-Portald-Timestamp"]
    assert stamp == str(int(product.clock()))
    expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Portald-Signature"] == f"sha256={expected}"
    followups.look()
    assert len(listener.came) == 1


def test_it_is_told_again_until_it_listens(
    product: Product, followups: Followups, listener: Listener
) -> None:
    listener.status = 500
    order(product, listener)
    for tries, wait in enumerate(RETRIES, start=1):
        followups.look()
        followups.look()
        assert listener.told("PENDING") == tries
        product.clock.move(wait)
    listener.status = 204
    followups.look()
    product.clock.move(100_000)
    followups.look()
    assert listener.told("PENDING") == len(RETRIES) + 1


def test_it_is_given_up_some_day(product: Product, followups: Followups, listener: Listener) -> None:
    listener.status = 404
    order(product, listener)
    for wait in (*RETRIES, *[100_000] * 5):  # the code's end is told as well
        followups.look()
        product.clock.move(wait)
    assert listener.told("PENDING") == len(RETRIES) + 1
    assert product.store.due_callbacks(product.clock()) == []


def test_an_expired_code_is_told_once(product: Product, followups: Followups, listener: Listener) -> None:
    made = order(product, listener, ttl=60)
    followups.look()
    product.clock.move(61)
    followups.look()
    followups.look()
    assert (listener.told("PENDING"), listener.told("EXPIRED")) == (1, 1)
    assert product.applications.get(product.config.applications[0], made["otpId"])["status"] == "EXPIRED"


def test_an_application_that_is_gone_is_told_nothing(
    product: Product, followups: Followups, listener: Listener, make_product: Callable[..., Product]
) -> None:
    order(product, listener)
    without = make_product()
    Followups(without.config, without.store, without.routes, without.applications, without.clock).look()
    assert listener.came == []
    assert product.store.due_callbacks(product.clock()) == []


def test_the_thread_survives_and_stops(
    followups: Followups, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked = threading.Event()

    def broken() -> None:
        looked.set()
        raise RuntimeError("broken")

    monkeypatch.setattr("portald.followup.EVERY", 0.01)
    monkeypatch.setattr(followups, "look", broken)
    followups.start()
    assert looked.wait(5)
    looked.clear()
    assert looked.wait(5), "one failure does not end it"
    followups.stop()
    assert "event=followup_failed" in caplog.text
