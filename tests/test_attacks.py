"""What strangers, programs and broken providers did to others, once."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from portald import config, limits
from portald.config import Application, Numbers, Otp
from portald.errors import ConfigError, Reason, Refused, SmsError
from portald.followup import Followups
from portald.limits import Allowance
from portald.model import Attempt, Client, Order, Outcome, Sent, Text, Wish
from portald.portal import Asking
from portald.schema import Secret
from portald.sms import breaker as breakers
from portald.sms.breaker import Breaker
from portald.sms.codes import Codes
from portald.sms.email import Email
from portald.sms.gateway import Gateway
from portald.sms.modem import Modem
from portald.sms.routes import Route, Way
from portald.sms.twilio import Twilio
from portald.sms.twilio_verify import TwilioVerify
from portald.sms.vonage import Vonage
from portald.store import Store
from portald.texts import Texts
from portald.web.server import Server
from tests.conftest import KEY, NUMBER, Clock, Outbox, Product
from tests.sms.conftest import Provider, provider
from tests.sms.wire import write

__all__ = ["provider"]

OWN = "+14155550100"
APPLICATION = Application(
    id="booking", secret=Secret("s" * 16), callbacks=("https://booking.example/hooks/",)
)


def way(sender: Any, clock: Clock, settings: Any, **route: Any) -> Way:
    return Way(Route(**route), "p", sender, Codes(sender, KEY, Texts(settings)), Breaker(clock))


def outcome(product: Product, number: str, device: int, **more: Any) -> Outcome | None:
    """Have a device ask for a code; return what became of it."""
    client = product.table.join(f"10.77.0.{device}", f"02:cc:00:00:01:{device:02x}")
    product.portal.request_code(client, number, Asking(**more))
    pending = product.portal.pending(client)
    assert pending is not None
    return pending.outcome


def form(handler: Any) -> dict[str, str]:
    return dict(parse_qsl(handler.server.provider.requests[-1].body.decode()))


# Logs -----------------------------------------------------------------------------------------


def test_nobody_writes_into_the_log_by_a_path(caplog: pytest.LogCaptureFixture) -> None:
    gone = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"].startswith("/bad"):
            raise RuntimeError
        start_response("200 OK", [])
        try:
            while True:
                yield bytes(100_000)
        finally:
            gone.set()

    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(app, [listener], threads=2)
    server.start()
    with caplog.at_level(logging.INFO):
        for path in ("bad", "c"):
            with socket.create_connection(listener.getsockname()) as browser:
                browser.sendall(f"GET /{path}/123456%0alevel=INFO HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert browser.recv(12).startswith(b"HTTP/1.1 ")
        assert gone.wait(5)
        server.stop()
    assert caplog.messages == ["event=request_failed"]


# Providers that rest for everybody -----------------------------------------------------------


@pytest.mark.parametrize("code", [21214, 21217, 21265, 21266, 21608, 29999])
def test_one_numbers_trouble_with_twilio_is_nobody_elses(
    provider: Provider, make_product: Callable[..., Product], clock: Clock, config: Any, code: int
) -> None:
    def behave(handler: Any) -> None:
        same = form(handler)["To"] == OWN
        write(handler, *((400, json.dumps({"code": code})) if same else (201, '{"sid": "SM1"}')))

    provider.behave = behave
    twilio = Twilio(account_sid="AC1", auth_token=Secret("t" * 9), sender=OWN, url=provider.url)
    product = make_product(ways=[way(twilio, clock, config)])
    if code == 29999:  # of no table: settings that have worked are not at fault
        assert outcome(product, NUMBER, 30) is Outcome.ACCEPTED
    assert outcome(product, OWN, 31) is not Outcome.ACCEPTED
    assert outcome(product, "+14165552671", 32) is Outcome.ACCEPTED


def test_a_tourists_country_is_no_fault_of_vonages_settings(
    provider: Provider, make_product: Callable[..., Product], clock: Clock, config: Any
) -> None:
    def behave(handler: Any) -> None:
        status = "15" if form(handler)["to"].startswith("1") else "0"
        write(handler, 200, json.dumps({"messages": [{"status": status, "message-id": "M1"}]}))

    provider.behave = behave
    vonage = Vonage(api_key="k", api_secret=Secret("s" * 9), sender="Aurora", url=provider.url)
    product = make_product(ways=[way(vonage, clock, config)], numbers=Numbers(country="DE"))
    assert outcome(product, NUMBER, 31) is Outcome.CONFIGURATION
    assert outcome(product, "015123456789", 32) is Outcome.ACCEPTED


class Picky(Outbox):
    """Takes no sender but its own."""

    def send(self, text: Text) -> str:
        if text.sender:
            raise SmsError(Outcome.CONFIGURATION, "not your sender")
        return super().send(text)


def test_an_applications_sender_is_no_fault_of_the_settings(
    make_product: Callable[..., Product], clock: Clock, config: Any
) -> None:
    product = make_product(ways=[way(Picky(), clock, config)], applications=(APPLICATION,))
    assert (
        product.applications.create(APPLICATION, {"to": NUMBER, "from": "Evil"})["status"] == "SEND_FAILED"
    )
    assert outcome(product, "+14165552671", 32) is Outcome.ACCEPTED


def test_what_a_browser_says_rests_nobody(
    provider: Provider, make_product: Callable[..., Product], clock: Clock, config: Any
) -> None:
    provider.say(200)
    for more in (
        {"headers": {"X-Client": "{{user_agent}}"}},
        {"url": f"{provider.url}/{{{{language}}}}/x"},
    ):
        gateway = Gateway(**{"url": provider.url, **more})  # type: ignore[arg-type]
        product = make_product(ways=[way(gateway, clock, config)])
        odd = {"language": "..", "agent": "x\xad"}
        assert outcome(product, NUMBER if "headers" in more else "+14165552671", 31, **odd) is not None
        last = "+14175552671" if "headers" in more else "+14185552671"
        assert outcome(product, last, 32, language="de", agent="y") is Outcome.ACCEPTED


def test_umlauts_do_not_rest_uqmi() -> None:
    with pytest.raises(SmsError) as caught:
        Modem(tool="uqmi", device="/dev/cdc-wdm0").send(Text(NUMBER, "für"))
    assert caught.value.of_number


def test_a_rest_is_never_longer_than_the_longest(clock: Clock) -> None:
    for outcome_ in (Outcome.TEMPORARY, Outcome.AUTHENTICATION):
        breaker = Breaker(clock)
        for _ in range(3):
            breaker.note(outcome_, float("inf"))
        assert breaker.wait() == breakers.LONGEST


def test_a_week_of_rests(clock: Clock) -> None:
    breaker = Breaker(clock)
    for _ in range(1100):
        breaker.note(Outcome.AUTHENTICATION)
    assert breaker.wait() == breakers.LONGEST


def test_a_trial_that_tells_nothing_is_another_ones(clock: Clock) -> None:
    breaker = Breaker(clock)
    breaker.note(Outcome.NO_CREDIT)
    breaker.spare()
    assert not breaker.admit(), "it rests on"
    clock.move(15)
    assert [breaker.admit(), breaker.admit()] == [True, False]
    breaker.spare()
    assert breaker.admit()


# Time, memory, rows ---------------------------------------------------------------------------


def test_a_mail_server_that_does_not_stop_talking() -> None:
    written = []

    def talk(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.sendall(b"220 hi\r\n")
                while True:
                    written.append(connection.send(b"250-" + b"a" * 1000 + b"\r\n"))
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=[listener])
        thread.start()
        email = Email(
            host="127.0.0.1",
            port=listener.getsockname()[1],
            security="none",
            sender="a@b.example",
            timeout=2,
        )
        began = time.monotonic()
        with pytest.raises(SmsError) as caught:
            email.send(Text(NUMBER, "1", carrier="verizon"))
        thread.join()
    assert caught.value.outcome is Outcome.TEMPORARY
    assert time.monotonic() - began < 1.5, "it was not heard out"
    assert sum(written) < 20_000_000


def test_a_text_in_a_modems_queue_has_its_whole_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mmcli"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *--send*) sleep 0.7;; *create*) cat > /dev/null; echo /SMS/7;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    modem, sent = Modem(tool="mmcli", device="queue", timeout=1.2), []

    def send() -> None:
        sent.append(modem.send(Text(NUMBER, "1")))

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sent == ["7", "7"]


def test_no_room_leaves_one_row_and_no_more(product: Product, phone: Client) -> None:
    product.exchange._later = lambda job: False
    for _ in range(9):
        with pytest.raises(Refused):
            product.portal.request_code(phone, NUMBER)
    assert len(product.store.challenges(99)) == 1


def test_an_application_that_does_not_answer_holds_up_itself_only(
    make_product: Callable[..., Product], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = tuple(Application(id=name, secret=Secret(name * 16)) for name in ("a", "b"))
    product = make_product(applications=both)
    called = []

    def ask(method: str, url: str, **more: Any) -> Any:
        called.append(url)
        raise SmsError(Outcome.UNKNOWN, "no answer within 10 s")

    monkeypatch.setattr("portald.followup.http.ask", ask)
    for i in range(30):
        product.store.add_callback("a", f"a{i}", "{}", product.clock())
    product.store.add_callback("b", "b0", "{}", product.clock())
    Followups(product.config, product.store, product.routes, product.applications, product.clock).look()
    assert sorted(called) == ["a0", "b0"]


# Limits ---------------------------------------------------------------------------------------


def test_what_is_given_back_makes_no_pause_shorter(store: Store, clock: Clock) -> None:
    pause = [Allowance("pause", 1, 60, Reason.TOO_SOON, growth=5)]

    def spend() -> float:
        store.open_challenge(Wish(Order(0, NUMBER), "x", "z"), 0, pause, clock())
        return store.wait_for("pause", clock())

    assert spend() == 60
    clock.move(60)
    for _ in range(5):  # not sent, again and again
        assert spend() == 120
        store.give_back(pause, clock())
        clock.move(10)
    assert spend() == 120
    clock.move(120)
    assert spend() == 240
    store.give_back(pause, clock())
    store.forget_quotas("pause")
    assert spend() == 60
    store.give_back(pause, clock())
    assert spend() == 60, "the first is the first, however often it is tried"


def test_free_e_mails_close_no_country_for_texts(product: Product) -> None:
    for i in range(25):
        attempt = Attempt(
            i + 1, "email", f"+4474002{i:05}", "GB", Outcome.ACCEPTED, carrier="late", parts=1
        )
        product.store.add_attempt(attempt, product.clock())
    product.clock.move(1000)
    assert product.purse.closed() == []


def test_a_challenge_never_has_the_texts_of_another(product: Product, phone: Client) -> None:
    product.portal.request_code(phone, NUMBER)
    product.rounds.round()
    product.clock.move(3 * limits.DAY)
    product.rounds.round()
    assert product.store.challenges(9) == []
    product.log_in(product.table.join("10.77.0.12", "02:cc:00:00:00:02"), "+14165552671")
    assert {row.attempt.number: row.verified for row in product.store.logged(9)} == {
        NUMBER: False, "+14165552671": True,
    }  # fmt: skip


# Codes ----------------------------------------------------------------------------------------


class Judge:
    def __init__(self) -> None:
        self.error: SmsError | None = None

    def start(self, order: Order) -> Sent:
        return Sent("handle", order.policy)

    def check(self, reference: str, to: str, code: str) -> bool:
        if self.error:
            raise self.error
        return code == "123456"


def test_a_guess_that_nobody_judged_was_none(
    make_product: Callable[..., Product], phone: Client, clock: Clock
) -> None:
    judge = Judge()
    product = make_product(ways=[Way(Route(), "j", judge, judge, Breaker(clock))])
    product.portal.request_code(phone, NUMBER)
    judge.error = SmsError(Outcome.TEMPORARY, "later")
    for _ in range(6):
        with pytest.raises(Refused):
            product.portal.confirm(phone, "123456")
    judge.error = SmsError(Outcome.UNKNOWN, "it may have been counted")
    with pytest.raises(Refused):
        product.portal.confirm(phone, "123456")
    pending = product.portal.pending(phone)
    assert pending is not None
    assert pending.attempts == 1
    judge.error = None
    assert product.portal.confirm(phone, "123456").account.number == NUMBER


def test_twilio_approves_what_was_asked_for(provider: Provider) -> None:
    verify = TwilioVerify(account_sid="AC1", auth_token=Secret("t"), service="VA1", url=provider.url)
    provider.say(200, json.dumps({"sid": "VE2", "to": NUMBER, "status": "approved"}))
    assert not verify.check("VE1", NUMBER, "123456")
    assert verify.check("VE2", NUMBER, "123456")


def test_sessions_that_nobody_proved_end_when_codes_begin(make_product: Callable[..., Product]) -> None:
    product = make_product(otp=Otp(mode="format_only"))
    client = product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    product.portal.admit(client, NUMBER)
    product.log_in(product.table.join("10.77.0.12", "02:cc:00:00:00:02"), "+14165552671")
    assert product.store.end_unverified(product.clock()) == 1
    assert [session.verified for session in product.portal.sessions()] == [True]


# What is told, and to whom --------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"url": "/x{{mobile_digits}}y", "method": "GET", "payload": {"t": "{{body}}"}},
        {"url": "/send?apikey=SuperSecretKey&to={{mobile}}", "payload": {"t": "{{body}}"}},
        {"url": "/send", "payload": {"apikey": "SuperSecretKey", "to": "{{mobile}}", "t": "{{body}}"}},
        {"url": "/send", "content_type": "form", "payload": "p=SuperSecretKey&to={{mobile}}&t={{body}}"},
    ],
)
def test_a_provider_that_quotes_everything(provider: Provider, more: dict[str, Any]) -> None:
    def behave(handler: Any) -> None:
        request = handler.server.provider.requests[-1]
        write(handler, 400, f"bad request: {request.path} {request.body.decode()}")

    provider.behave = behave
    with pytest.raises(SmsError) as caught:
        Gateway(**{**more, "url": provider.url + more["url"]}).send(Text(NUMBER, "code 739126", "739126"))
    assert "SuperSecretKey" not in caught.value.words
    assert "4155552671" not in caught.value.words


@pytest.mark.parametrize("tool", ["gammu", "uqmi", "sms_tool"])
def test_an_operator_is_told_of_texts_in_arguments(tool: str) -> None:
    assert "argument" in Modem(tool=tool, device="/dev/x").warnings()[0]
    assert Modem(tool="mmcli").warnings() == []


def test_an_empty_secret_proves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "portald.toml").write_text(
        f'[[zones]]\ninterface = "br0"\nnetworks = ["10.77.0.0/24"]\n'
        f'[[applications]]\nid = "a"\nsecret_file = "{tmp_path}/empty"\n'
    )
    with pytest.raises(ConfigError, match="secret_file: empty"):
        config.load(tmp_path / "portald.toml")


@pytest.mark.parametrize(
    "tail", ["../../admin", "%2e%2e/x", "..%2fx", ".%2E/", "a/./b", "..\\x", "\ud800", "é", "\r\nX: y"]
)
def test_a_callback_stays_where_it_may_go(make_product: Callable[..., Product], tail: str) -> None:
    product = make_product(applications=(APPLICATION,))
    web = product.operator().test_client()
    token = product.applications.token("booking", "s" * 16)
    answer = web.post(
        "/otp", json={"to": NUMBER, "otpCallbackUrl": f"https://booking.example/hooks/{tail}"},
        headers={"Authorization": f"Bearer {token}", "Host": "localhost"},
    )  # fmt: skip
    assert (answer.status_code, answer.json and answer.json["error"]["type"]) == (400, "invalid_param")
    assert product.applications.create(
        APPLICATION, {"to": NUMBER, "otpCallbackUrl": "https://booking.example/hooks/a?b=/../c"}
    )


@pytest.mark.parametrize("body", ["[" * 16_000, '{"a":' * 3000, json.dumps({"template": "{{pin}}\ud800"})])
def test_json_that_nobody_writes(make_product: Callable[..., Product], body: str) -> None:
    product = make_product(applications=(APPLICATION,))
    token = product.applications.token("booking", "s" * 16)
    answer = product.operator().test_client().post(
        "/otp", data=body, content_type="application/json",
        headers={"Authorization": f"Bearer {token}", "Host": "localhost"},
    )  # fmt: skip
    assert answer.status_code == 400
    assert answer.json
    assert answer.json["error"]["code"] == 2000


def test_a_late_failure_takes_nobody_elses_pause(product: Product, phone: Client) -> None:
    product.paused = True
    product.portal.request_code(phone, NUMBER)
    (late,) = product.jobs
    product.jobs.clear()
    product.clock.move(61)
    product.portal.request_code(product.table.join("10.77.0.12", "02:cc:00:00:00:02"), NUMBER)
    product.outbox.error = SmsError(Outcome.TEMPORARY, "503")
    late()
    assert product.store.wait_for(limits.number_pause(NUMBER), product.clock()) == 120


def test_a_key_in_the_url_is_not_shown(
    make_product: Callable[..., Product], clock: Clock, config: Any
) -> None:
    gateway = Gateway(
        url="https://sms.example/send?apikey=SuperSecretKey&to={{mobile}}", payload={"t": "{{body}}"}
    )
    product = make_product(ways=[way(gateway, clock, config)])
    (row,) = product.texting.providers()
    assert row["settings"]["url"] == "https://sms.example/send?…"


def test_changes_of_limits_are_all_or_none(product: Product) -> None:
    web = product.operator().test_client()
    for body in (
        {"set": {"texts": "77", "foo": "3"}}, {"set": {"texts": "77"}, "close": ["GB", "Germany"]},
        {"set": {"texts": "77"}, "forget": [":ff"]}, {"close": ["GB"], "forget": ["12"]},
    ):  # fmt: skip
        answer = web.post("/api/sms/limits", json=body, headers={"Host": "localhost"})
        assert answer.status_code == 422
    assert product.store.limits() == {}
    assert product.store.gates() == {}
