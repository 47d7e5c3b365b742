"""The guests' pages over the real WSGI stack: what is shown, what is refused, what is safe."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client as Browser
from werkzeug.test import TestResponse

from portald.config import Config, Otp
from portald.errors import FirewallError, Reason, Refused, SmsError
from portald.model import Attempt, Client, Kind, Outcome
from portald.sms.breaker import Breaker
from portald.sms.carriers import Carrier
from portald.sms.codes import Codes
from portald.sms.email import Email
from portald.sms.routes import Route, Way
from portald.texts import Texts
from portald.web.catalogues import speak
from portald.web.common import STATUS, make_app
from tests.conftest import KEY, NUMBER, Clock, Outbox, Product

HOST = "10.77.0.1"


class Phone:
    """A browser on a device of the guest network; follows nothing by itself and keeps no cookie."""

    def __init__(self, product: Product, ip: str = "10.77.0.11", host: str = HOST) -> None:
        self._browser = Browser(product.web(), use_cookies=False)
        self._environ = {"REMOTE_ADDR": ip, "HTTP_HOST": host}

    def get(self, path: str, **headers: str) -> TestResponse:
        return self._browser.get(path, environ_overrides=self._environ, headers=headers)

    def post(self, path: str, accept: str = "text/html", **form: str) -> TestResponse:
        return self._browser.post(
            path, data=form, environ_overrides=self._environ, headers={"Accept": accept}
        )

    @property
    def form(self) -> str:
        """The token of whatever page this device is on."""
        for path in ("/", "/code", "/status"):
            if found := re.search(r'name="form" value="([0-9a-f]+)"', self.get(path).text):
                return found[1]
        raise AssertionError("no form anywhere")

    def ask(self, number: str = NUMBER) -> TestResponse:
        return self.post("/number", form=self.form, number=number)


@pytest.fixture
def browser(product: Product, phone: Client) -> Phone:
    return Phone(product)


def test_the_whole_way(browser: Phone, product: Product) -> None:
    assert browser.get("/").status_code == 200
    answer = browser.ask("(415) 555-2671")
    assert (answer.status_code, answer.location) == (303, "/code")
    page = browser.get("/code")
    assert 'autocomplete="one-time-code" required' in page.text
    assert 'inputmode="numeric"' in page.text
    answer = browser.post("/code", form=browser.form, code=product.outbox.code())
    assert (answer.status_code, answer.location) == (303, "/status")
    page = browser.get("/status")
    assert "You are online" in page.text
    assert "no limit" in page.text
    assert browser.get("/").location == "/status"
    assert browser.get("/code").location == "/status"
    assert browser.post("/leave", form=browser.form).location == "/left"
    assert "logged out" in browser.get("/left").text
    assert browser.get("/status").location == "/"


def test_the_page_was_closed_and_comes_back_without_a_cookie(product: Product, phone: Client) -> None:
    Phone(product).ask()
    again = Phone(product)
    assert again.get("/").location == "/code"
    page = again.get("/code").text
    assert "+14…71" in page
    assert NUMBER not in page


def test_a_text_on_its_way_is_waited_for_without_javascript(product: Product, phone: Client) -> None:
    product.paused = True
    browser = Phone(product)
    browser.ask()
    page = browser.get("/code").text
    assert "Sending your code" in page
    assert '<meta http-equiv="refresh" content="2; url=/code">' in page
    assert "<input id=" not in page, "a refresh must not eat what is being typed"
    product.send_waiting()
    page = browser.get("/code").text
    assert "http-equiv" not in page
    assert 'id="code"' in page


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.ACCEPTED])
def test_each_failure_of_a_text_is_one_sentence(product: Product, browser: Phone, outcome: Outcome) -> None:
    product.outbox.error = SmsError(outcome, "the provider's own words")
    browser.ask()
    page = browser.get("/code").text
    sentence = re.search(r'role="alert">(.*?)</p>', page, re.S)
    assert sentence
    assert 20 < len(sentence[1].strip()) < 120
    assert "provider" not in page
    assert ('id="code"' in page) == (outcome is Outcome.UNKNOWN), "what may have been sent may come"


def test_a_failed_text_can_be_asked_for_again(product: Product, browser: Phone) -> None:
    product.outbox.error = SmsError(Outcome.TEMPORARY, "down")
    browser.ask()
    product.outbox.error = None
    assert browser.post("/resend", form=browser.form).status_code == 303
    assert "Type the code" in browser.get("/code").text


def test_a_wrong_number_can_be_corrected_at_once(product: Product, browser: Phone) -> None:
    browser.ask("415 555 2670")
    assert browser.post("/restart", form=browser.form).location == "/"
    assert browser.ask("415 555 2671").status_code == 303
    assert [to for to, _ in product.outbox.texts] == ["+14155552670", "+14155552671"]


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("", Reason.NUMBER_UNREADABLE),
        ("hello", Reason.NUMBER_UNREADABLE),
        ("12", Reason.NUMBER_INVALID),
        ("+1 800 555 1234", Reason.NUMBER_NOT_MOBILE),
        ("+1 900 555 1234", Reason.NUMBER_NOT_MOBILE),
        ("+1 415 555 2671 ext. 9", Reason.NUMBER_INVALID),
        ("9" * 5000, Reason.NUMBER_UNREADABLE),
        ('"><script>alert(1)</script>', Reason.NUMBER_UNREADABLE),
    ],
)
def test_a_number_that_cannot_have_a_text(
    browser: Phone, product: Product, typed: str, reason: Reason
) -> None:
    answer = browser.ask(typed)
    assert answer.status_code == STATUS[reason]
    assert 'role="alert"' in answer.text
    assert 'aria-describedby="problem"' in answer.text
    assert "<script>alert" not in answer.text
    machine = browser.post("/number", accept="application/json", form=browser.form, number=typed)
    assert machine.json == {"error": reason, "retry_after": 0}
    assert product.outbox.texts == []


def test_too_soon_says_when(browser: Phone, product: Product) -> None:
    browser.ask()
    answer = browser.post("/resend", form=browser.form)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "60"
    assert "You can try again in 60 seconds" in answer.text
    product.clock.move(60)
    assert browser.post("/resend", form=browser.form).status_code == 303


def test_wrong_codes_count_down_and_then_end(browser: Phone, product: Product) -> None:
    browser.ask()
    wrong = "000000" if product.outbox.code() != "000000" else "111111"
    for left in ("4 tries left", "3 tries left", "2 tries left", "1 try left"):
        answer = browser.post("/code", form=browser.form, code=wrong)
        assert answer.status_code == 422
        assert left in answer.text
    answer = browser.post("/code", form=browser.form, code=wrong)
    assert answer.status_code == 429
    assert 'id="code"' not in answer.text
    answer = browser.post("/code", form=browser.form, code=product.outbox.code())
    assert answer.status_code == 429, "even the right one is too late"
    assert browser.get("/status").location == "/"


def test_a_code_may_be_typed_as_people_do(browser: Phone, product: Product) -> None:
    browser.ask()
    code = product.outbox.code()
    assert browser.post("/code", form=browser.form, code=f" {code[:3]}-{code[3:]} ").status_code == 303


@pytest.mark.parametrize("typed", ["", "1", "abc", "1" * 5000, "\x00", "１２３"])
def test_what_is_not_a_code_costs_no_try(browser: Phone, product: Product, typed: str) -> None:
    browser.ask()
    assert browser.post("/code", form=browser.form, code=typed).status_code == 422
    assert browser.post("/code", form=browser.form, code=product.outbox.code()).status_code == 303


def test_a_double_tap_is_harmless(browser: Phone, product: Product) -> None:
    browser.ask()
    form, code = browser.form, product.outbox.code()
    first = browser.post("/code", form=form, code=code)
    second = browser.post("/code", form=form, code=code)
    assert (first.location, second.location) == ("/status", "/status")
    assert len(product.portal.sessions()) == 1


def test_a_double_tap_on_what_sends_a_text(browser: Phone, product: Product, phone: Client) -> None:
    product.paused = True
    form = browser.form
    for _ in range(2):
        answer = browser.post("/number", form=form, number=NUMBER)
        assert (answer.status_code, answer.location) == (303, "/code")
    product.send_waiting()
    product.clock.move(61)
    form = browser.form
    browser.post("/resend", form=form)
    again = browser.post("/resend", form=form)
    assert "goes on by itself" in again.text
    assert 'http-equiv="refresh"' in again.text


def test_an_old_code(browser: Phone, product: Product) -> None:
    browser.ask()
    form = browser.form
    product.clock.move(301)
    answer = browser.post("/code", form=form, code=product.outbox.code())
    assert answer.status_code == 410
    assert "too old" in answer.text


def test_online_only_when_the_kernel_holds_the_grant(product: Product, browser: Phone) -> None:
    browser.ask()
    apply = product.firewall.apply
    product.firewall.apply = lambda add, remove: (_ for _ in ()).throw(FirewallError("away"))
    assert browser.post("/code", form=browser.form, code=product.outbox.code()).location == "/status"
    page = browser.get("/status").text
    assert "Almost there" in page
    assert 'content="2; url=/status"' in page
    product.firewall.apply = apply
    product.rounds.round()
    assert "You are online" in browser.get("/status").text


def test_a_closed_group(product: Product, browser: Phone) -> None:
    browser.ask()
    product.store.connection.execute("DELETE FROM groups")
    answer = browser.post("/code", form=browser.form, code=product.outbox.code())
    assert answer.status_code == 403
    assert "switched off" in answer.text


# Safety ---------------------------------------------------------------------------------------


POSTS = [
    "/number", "/code", "/resend", "/restart", "/leave", "/reset", "/window", "/pin", "/voucher", "/password",
    "/forgotten", "/staff", "/back", "/agree", "/extend",
]  # fmt: skip


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("form", ["", "0" * 32, "ü", None])
def test_a_form_of_another_site_does_nothing(
    product: Product, browser: Phone, path: str, form: str | None
) -> None:
    product.log_in(product.table.clients["10.77.0.11"])
    fields = {"number": NUMBER, "code": "123456"} | ({} if form is None else {"form": form})
    assert browser.post(path, **fields).status_code == 400
    assert len(product.portal.sessions()) == 1
    assert len(product.outbox.texts) == 1


def test_the_list_of_posts_is_complete(product: Product) -> None:
    rules = product.web().url_map.iter_rules()
    assert {rule.rule for rule in rules if "POST" in (rule.methods or ())} == set(POSTS)


@pytest.mark.parametrize("path", POSTS)
def test_another_devices_form_is_worth_nothing(product: Product, browser: Phone, path: str) -> None:
    product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    foreign = Phone(product, "10.77.0.12").form
    assert browser.post(path, form=foreign, number=NUMBER, code="1").status_code == 400


def test_a_form_lives_half_a_day_at_least(browser: Phone, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    form, now = browser.form, time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 43_000)
    assert browser.post("/restart", form=form).status_code == 303
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * 43_200 + 1)
    assert browser.post("/restart", form=form).status_code == 400


def test_a_stranger_is_told_what_to_do(product: Product) -> None:
    answer = Phone(product, "10.77.0.99").get("/")
    assert answer.status_code == 403
    assert "join it again" in answer.text


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"])
def test_no_header_makes_one_device_another(product: Product, phone: Client, header: str) -> None:
    product.log_in(phone)
    product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    other = Phone(product, "10.77.0.12")
    assert other.get("/status", **{header: "10.77.0.11"}).location == "/"


PAGES = ["/", "/code", "/status", "/left", "/nothing-here"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_need_nothing_from_anywhere(product: Product, browser: Phone, path: str) -> None:
    """No script but ours, no cookie, no outside host, under 30 kB, never stored."""
    if path == "/code":
        browser.ask()
    if path == "/status":
        product.log_in(product.table.clients["10.77.0.11"])
    page = browser.get(path)
    assert len(page.data) < 30_000
    assert "Set-Cookie" not in page.headers
    assert page.headers["Cache-Control"] == "no-store"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    (nonce,) = set(re.findall(r'nonce="([^"]+)"', page.text))
    assert f"script-src 'nonce-{nonce}';" in policy
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    seen = Seen()
    seen.feed(page.text)
    assert page.text.count("<script") == 1
    assert all(not url or url.startswith(("/", "?language=", "data:,")) for url in seen.urls), seen.urls
    assert 'name="viewport" content="width=device-width' in page.text
    assert '<html lang="en" dir="ltr">' in page.text
    assert seen.labelled == seen.inputs, "every field has its label"
    assert "prefers-color-scheme:dark" in page.text


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.urls: list[str] = []
        self.inputs: set[str] = set()
        self.labelled: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.tags.add(tag)
        self.urls += [values[name] or "" for name in ("src", "href", "action") if name in values]
        assert not any(name.startswith("on") for name in values)
        if tag in ("input", "select") and values.get("type") != "hidden":
            self.inputs.add(values.get("id") or "?")
        if tag == "label":
            self.labelled.add(values.get("for") or "")


def test_a_style_nonce_is_used_once(browser: Phone) -> None:
    nonces = {re.search(r'nonce="([^"]+)"', browser.get("/").text)[1] for _ in range(5)}  # type: ignore[index]
    assert len(nonces) == 5


def test_a_failure_of_ours_is_a_page_and_a_log_line(
    product: Product, browser: Phone, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(product.portal, "status", lambda client: 1 / 0)
    with caplog.at_level(logging.ERROR):
        answer = browser.get("/status")
    assert answer.status_code == 500
    assert "our fault" in answer.text
    assert "ZeroDivisionError" not in answer.text
    assert "event=page_failed page=online.status" in caplog.text


# Words ----------------------------------------------------------------------------------------


def test_every_reason_and_outcome_has_its_sentence() -> None:
    app = make_app("words")
    speak(app)
    with app.test_request_context():
        words: Any = app.jinja_env.get_template("guest/words.html").module
    assert set(words.reasons) == {str(reason) for reason in Reason} == {str(r) for r in STATUS}
    assert set(words.mailed) == set(words.outcomes)
    assert set(words.outcomes) == {str(o) for o in Outcome if o is not Outcome.ACCEPTED}


def test_longer_codes(make_product: Callable[..., Product]) -> None:
    product = make_product(otp=Otp(length=8))
    product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    browser = Phone(product)
    browser.ask()
    assert "Code of 8 digits" in browser.get("/code").text
    code = product.outbox.texts[-1][1][:8]
    assert browser.post("/code", form=browser.form, code=code).location == "/status"


@pytest.mark.parametrize("path", ["/number", "/resend", "/restart", "/leave"])
def test_loading_the_answer_to_a_form_again_leads_on(browser: Phone, path: str) -> None:
    assert browser.get(path).location == "/"


def test_logged_out_is_not_said_to_who_is_online(product: Product, browser: Phone) -> None:
    product.log_in(product.table.clients["10.77.0.11"])
    assert browser.get("/left").location == "/status"


def test_the_wait_is_said_once_and_everywhere(product: Product, browser: Phone) -> None:
    browser.ask()
    assert browser.get("/code").text.count("60 seconds") == 1
    assert browser.post("/resend", form=browser.form).text.count("60 seconds") == 1
    for _ in range(5):
        browser.post(
            "/code", form=browser.form, code="000000" if product.outbox.code() != "000000" else "111111"
        )
    page = browser.get("/code").text
    assert 'id="code"' not in page
    assert 'You can ask for another in <time data-left="60">60 seconds</time>' in page


# Other codes, and none ----------------------------------------------------------------------


def test_codes_of_letters(make_product: Callable[..., Product]) -> None:
    product = make_product(otp=Otp(kind=Kind.LETTERS, length=5))
    product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    browser = Phone(product)
    browser.ask()
    page = browser.get("/code").text
    assert "Code of 5 letters" in page
    assert 'autocapitalize="characters"' in page
    assert 'inputmode="numeric"' not in page
    code = product.outbox.sent[-1].code
    assert browser.post("/code", form=browser.form, code=f" {code.lower()} ").location == "/status"


def test_format_only_lets_in_without_a_code_and_says_so(make_product: Callable[..., Product]) -> None:
    product = make_product(otp=Otp(mode="format_only"))
    product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    browser = Phone(product)
    page = browser.get("/").text
    assert "Go online" in page
    assert "Step 1 of 2" in page
    assert "text you a code" not in page
    assert browser.ask("12").status_code == 422
    assert browser.ask("+18005551234").status_code == 422
    assert product.portal.sessions() == []
    assert browser.ask().location == "/status"
    (session,) = product.portal.sessions()
    assert not session.verified
    assert product.outbox.texts == []
    assert (
        not product.operator()
        .test_client()
        .get("/api/sessions", headers={"Host": "localhost"})
        .json[0]["verified"]
    )


def test_nobody_gets_in_without_a_code_where_codes_are_asked_for(browser: Phone, product: Product) -> None:
    with pytest.raises(Refused):
        product.portal.admit(Client("02:cc:00:00:00:01", "10.77.0.11", "guest"), NUMBER)


def test_a_code_asked_for_again_is_of_the_kind_now_set(browser: Phone, product: Product) -> None:
    browser.ask()
    assert browser.post("/code", form=browser.form, code="12345").status_code == 422


@pytest.mark.parametrize(
    ("headers", "language"),
    [
        ({"Accept-Language": "de-CH,de;q=0.9,en;q=0.5"}, "de"), ({"Accept-Language": "gsw, pt-BR;q=0.9"}, "pt-BR"),
        ({"Accept-Language": "en-US,en;q=0.9,de;q=0.8"}, "en-US"),  # the text's own language comes first
        ({"Accept-Language": "sv"}, "sv"), ({}, ""), ({"Accept-Language": "%%%;q=x"}, ""),
        ({"Accept-Language": "en", "X-Request-Language": "fr"}, "fr"),
        ({"X-Request-Language": "x" * 100}, ""), ({"X-Request-Language": "../call me"}, ""),
            ({"X-Request-Language": "zh-Hans_CN"}, "zh-Hans_CN"),
    ],
)  # fmt: skip
def test_the_text_is_in_the_guests_language(
    make_product: Callable[..., Product], headers: dict[str, str], language: str
) -> None:
    product = make_product(otp=Otp(texts={"de": "{code} DE", "pt-BR": "{code} BR"}))
    product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    browser = Phone(product)
    form = browser.form
    browser._browser.post(
        "/number",
        data={"form": form, "number": NUMBER},
        environ_overrides=browser._environ,
        headers=headers,
    )
    (text,) = product.outbox.sent
    assert (text.language or "")[: len(language) or 99].lower() == language.lower()
    assert text.ip == "10.77.0.11"


# By carrier ---------------------------------------------------------------------------------


@dataclass
class ByCarrier(Outbox):
    """What e-mail-to-SMS looks like to the portal."""

    carriers: dict[str, Carrier] = field(default_factory=lambda: dict(CARRIERS))


CARRIERS = {
    key: Carrier(key, name, "US", "sms.example", "national", state, "seen", date(2023, 1, 1), ends)
    for key, name, state, ends in (
        ("good", "Good Mobile", "working", None), ("gone", "Gone Wireless", "ended", None),
        ("late", "Late Telecom", "ending", date(2023, 11, 13)), ("soon", "Soon Cell", "ending", date(2023, 11, 14)),
    )
}  # fmt: skip


@pytest.fixture
def carried(make_product: Callable[..., Product], config: Config, clock: Clock) -> Product:
    def way(kind: str, provider: Any) -> Way:
        return Way(Route(), kind, provider, Codes(provider, KEY, Texts(config)), Breaker(clock))

    product = make_product(ways=[way("email", ByCarrier()), way("outbox", Outbox())])
    product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    return product


def outbox_of(product: Product, kind: str) -> Any:
    return next(way.provider for way in product.routes.ways if way.kind == kind)


def test_the_guest_chooses_a_carrier_and_joins_the_group_sms(carried: Product) -> None:
    browser = Phone(carried)
    page = browser.get("/").text
    assert '<option value="good">Good Mobile' in page
    assert '<option value="soon">Soon Cell' in page
    for ended in ("Gone Wireless", "Late Telecom"):
        assert f"<option disabled>{ended} (US)" in page
    answer = browser.post("/number", form=browser.form, number=NUMBER, carrier="good")
    assert answer.location == "/code"
    code_page = browser.get("/code").text
    assert "We asked <strong>Good Mobile</strong> to bring a text" in code_page
    assert "not certain" in code_page
    assert "delivered" not in code_page
    mails = outbox_of(carried, "email")
    assert outbox_of(carried, "outbox").texts == []
    assert mails.sent[0].carrier == "good"
    assert browser.post("/code", form=browser.form, code=mails.code()).location == "/status"
    (session,) = carried.portal.sessions()
    assert (session.account.group, session.plan, session.expires_at) == ("SMS", "unlimited", None)
    (row,) = [row for row in carried.portal.carrier_report() if row["carrier"].key == "good"]
    assert (row["seen"].sent, row["seen"].verified) == (1, 1)


def test_a_resend_goes_the_same_way(carried: Product) -> None:
    browser = Phone(carried)
    browser.post("/number", form=browser.form, number=NUMBER, carrier="good")
    carried.clock.move(61)
    browser.post("/resend", form=browser.form)
    assert [text.carrier for text in outbox_of(carried, "email").sent] == ["good", "good"]


@pytest.mark.parametrize("carrier", ["gone", "late", "nobody", "good@evil.example"])
def test_carriers_that_are_not_offered(carried: Product, carrier: str) -> None:
    browser = Phone(carried)
    answer = browser.post("/number", form=browser.form, number=NUMBER, carrier=carrier)
    assert answer.status_code == 422
    assert "not offered" in answer.text
    assert outbox_of(carried, "email").texts == []


def test_without_the_group_it_is_not_offered(carried: Product) -> None:
    carried.store.connection.execute("INSERT INTO groups (name, plan) VALUES ('hotel', 'unlimited')")
    carried.store.connection.execute("DELETE FROM groups WHERE name = 'SMS'")
    browser = Phone(carried)
    assert "carrier" not in browser.get("/").text
    assert browser.post("/number", form=browser.form, number=NUMBER, carrier="good").status_code == 422


def test_a_mistake_keeps_the_choice(carried: Product) -> None:
    browser = Phone(carried)
    page = browser.post("/number", form=browser.form, number="12", carrier="good").text
    assert "<details open>" in page
    assert '<option value="good" selected>' in page


def test_a_carrier_whose_codes_never_come_back_is_not_offered(carried: Product) -> None:
    for i in range(20):
        attempt = Attempt(9000 + i, "email", f"+1415555{i:04}", "US", Outcome.ACCEPTED, carrier="good")
        carried.store.add_attempt(attempt, carried.clock())
    page = Phone(carried).get("/").text
    assert '<option value="good">' not in page
    assert "<option disabled>Good Mobile" in page
    carried.clock.move(86_401)
    assert '<option value="good">' in Phone(carried).get("/").text, "for a day only"


def test_the_operator_sees_what_is_known_of_carriers(carried: Product) -> None:
    page = carried.operator().test_client().get("/", headers={"Host": "localhost"}).text
    assert "Carriers are switching their e-mail gateways off" in page
    for carrier in CARRIERS.values():
        assert carrier.name in page


def test_a_list_of_carriers_that_is_being_edited(
    make_product: Callable[..., Product], config: Config, clock: Clock, tmp_path: Path
) -> None:
    own = tmp_path / "carriers.toml"
    own.write_text("")
    email = Email(host="127.0.0.1", sender="a@example.net", security="none", carriers_file=str(own))
    outbox, texts = Outbox(), Texts(config)
    ways = [
        Way(Route(), "outbox", outbox, Codes(outbox, KEY, texts), Breaker(clock)),
        Way(Route(), "email", email, Codes(email, KEY, texts), Breaker(clock)),
    ]
    product = make_product(ways=ways)
    phone = product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    own.write_text("[a mistake")
    product.portal.request_code(phone, NUMBER)
    assert len(outbox.texts) == 1


def test_only_by_carrier(make_product: Callable[..., Product], config: Config, clock: Clock) -> None:
    mails = ByCarrier()
    product = make_product(
        ways=[Way(Route(), "email", mails, Codes(mails, KEY, Texts(config)), Breaker(clock))]
    )
    product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    page = Phone(product).get("/").text
    assert "Text me a code" not in page
    assert "Ask my carrier for a text" in page
    product.store.connection.execute("DELETE FROM groups WHERE name = 'SMS'")
    assert "switched off" in Phone(product).get("/").text
