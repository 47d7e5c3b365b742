"""SMS.CX: what is ordered, texts by prefix, how it judges, and its tokens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from portald.errors import ConfigError, Reason, Refused, SmsError
from portald.model import Kind, Order, Outcome, Policy, Report
from portald.schema import Secret, build
from portald.sms import tokens
from portald.sms.smscx import SmsCx
from tests.sms.conftest import Provider, Request
from tests.sms.tables import CODE, NUMBER, TOKEN
from tests.sms.tables.smscx import CREATED, ID, LIMIT, error, make
from tests.sms.wire import basic, form, only, sent_json, write


@pytest.fixture(autouse=True)
def no_tokens() -> Iterator[None]:
    """Another test's server may have had the same port."""
    tokens.client.cache_clear()
    yield
    tokens.client.cache_clear()


# The order -----------------------------------------------------------------------------------


def test_request(provider: Provider) -> None:
    provider.say(201, CREATED)
    sent = make(f"{provider.url}/").start(Order(7, NUMBER))
    assert (sent.reference, sent.message) == (ID, ID)
    request = only(provider)
    assert (request.method, request.path) == ("POST", "/otp")
    assert request.headers["X-API-KEY"] == TOKEN
    assert "Authorization" not in request.headers
    assert sent_json(request) == {
        "phoneNumber": NUMBER,
        "ttl": 300,
        "maxAttempts": 5,
        "pinType": "numbers",
        "pinLength": 6,
    }


def test_request_with_everything(provider: Provider) -> None:
    provider.say(201, CREATED)
    account = SmsCx(
        api_key=Secret(TOKEN),
        sender="Lobby",
        template="Your code is {{pin}}",
        callback="https://wifi.example/status",
        number_field="to",
        url=provider.url,
    )
    account.start(Order(7, NUMBER, Policy(Kind.ALPHANUMERIC, 8, 600, 3)))
    assert sent_json(only(provider)) == {
        "to": NUMBER,
        "from": "Lobby",
        "template": "Your code is {{pin}}",
        "otpCallbackUrl": "https://wifi.example/status",
        "ttl": 600,
        "maxAttempts": 3,
        "pinType": "alphanumeric",
        "pinLength": 8,
    }


@pytest.mark.parametrize(
    ("ordered", "holds"),
    [
        (Policy(), Policy()),
        (Policy(Kind.LETTERS, 12, 3600, 20), Policy(Kind.LETTERS, 10, 1800, 10)),
        (Policy(Kind.ALPHANUMERIC, 3, 30, 0), Policy(Kind.ALPHANUMERIC, 4, 60, 1)),
    ],
)
def test_policy_is_what_really_holds(provider: Provider, ordered: Policy, holds: Policy) -> None:
    provider.say(201, CREATED)
    assert make(provider.url).start(Order(7, NUMBER, ordered)).policy == holds
    body = sent_json(only(provider))
    assert (body["ttl"], body["maxAttempts"]) == (holds.lifetime, holds.attempts)
    assert (body["pinType"], body["pinLength"]) == (holds.kind.value, holds.length)


def answers(provider: Provider, *rows: tuple[int, str]) -> None:
    """Give these answers one after the other, the last one for ever."""
    left = list(rows)

    def behave(handler: Any) -> None:
        write(handler, *(left.pop(0) if len(left) > 1 else left[0]))

    provider.behave = behave


@pytest.mark.parametrize(("first", "second"), [("phoneNumber", "to"), ("to", "phoneNumber")])
def test_the_number_by_its_other_name(provider: Provider, first: str, second: str) -> None:
    """The two descriptions of this interface disagree; what lacks a number has not been sent."""
    answers(provider, (400, error("invalid_param", 2001)), (201, CREATED))
    account = replace(make(provider.url), number_field=first)
    assert account.start(Order(7, NUMBER)).reference == ID
    bodies = [sent_json(request) for request in provider.requests]
    assert [body.pop(name) for body, name in zip(bodies, (first, second), strict=True)] == [NUMBER] * 2
    assert bodies[0] == bodies[1]


def test_the_number_by_no_name(provider: Provider) -> None:
    provider.say(400, error("invalid_param", 2001))
    with pytest.raises(SmsError) as caught:
        make(provider.url).start(Order(7, NUMBER))
    assert caught.value.outcome is Outcome.INVALID_NUMBER
    assert len(provider.requests) == 2


# Texts ---------------------------------------------------------------------------------------

TEXTS = {"+33": "Code : {{pin}}", "+336": "Mobile : {{pin}}", "+1": "@@password@@ for {name}"}


@pytest.mark.parametrize(
    ("to", "more", "template"),
    [
        ("+33142685300", {}, "Code : {{pin}}"),
        ("+33612345678", {}, "Mobile : {{pin}}"),
        (NUMBER, {}, "{{pin}} for Lobby"),
        ("+447400123456", {}, "{{pin}}, good for 5 min"),
        ("+33612345678", {"template": "{code}!", "sender": "Bar"}, "{{pin}}!"),
        (NUMBER, {"template": "{{pin}} {{code}} {name} {minutes}"}, "{{pin}} {{pin}} Lobby 5"),
    ],
)
def test_texts(provider: Provider, to: str, more: dict[str, str], template: str) -> None:
    provider.say(201, CREATED)
    account = SmsCx(
        api_key=Secret(TOKEN),
        template="{code}, good for {minutes} min",
        templates_by_prefix=TEXTS,
        brand="Lobby",
        url=provider.url,
    )
    account.start(Order(7, to, **more))
    body = sent_json(only(provider))
    assert body["template"] == template
    assert body.get("from") == more.get("sender")


@pytest.mark.parametrize("template", ["no code", "{code} {unheard}", "{code"])
def test_an_ordered_text_that_cannot_be_used(provider: Provider, template: str) -> None:
    with pytest.raises(SmsError) as caught:
        make(provider.url).start(Order(7, NUMBER, template=template))
    assert caught.value.outcome is Outcome.CONFIGURATION
    assert provider.requests == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"template": "no code"}, r"template: the guest needs \{\{pin\}\} in it"),
        ({"template": "{{pin}} {{other}}"}, "template: only .*, not other"),
        ({"templates_by_prefix": {"33": "{{pin}}"}}, "templates_by_prefix: expected beginnings"),
        ({"templates_by_prefix": {"+33": "pin"}}, r"templates_by_prefix.\+33: the guest needs"),
        ({"sender": "ab"}, "sender: expected 3 to 15 characters, got 2"),
        ({"sender": "a" * 16}, "sender: expected 3 to 15 characters, got 16"),
        ({"number_field": "number"}, "number_field: expected phoneNumber or to"),
        ({"app_id": "A"}, "app_id: give app_id and app_secret together"),
        ({"app_secret": "s"}, "app_id: give app_id and app_secret together"),
        ({"app_id": "A", "app_secret": "s"}, "api_key: give either api_key, or"),
        ({"api_key": None}, "api_key: give either api_key, or"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], words: str) -> None:
    table = {"api_key": TOKEN} | change
    with pytest.raises(ConfigError, match=words):
        build(SmsCx, {name: value for name, value in table.items() if value is not None})


def test_repr_hides_the_secrets() -> None:
    assert TOKEN not in repr(make("https://api.example"))
    assert TOKEN not in repr(SmsCx(app_id="A", app_secret=Secret(TOKEN)))


# Limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (LIMIT, 25),
        ({**LIMIT, "Retry-After": "7"}, 7),
        ({**LIMIT, "X-Rate-Limit-Reset": "1795168700"}, 0),
        ({**LIMIT, "X-Rate-Limit-Reset": "9999999999"}, 86_400),
        ({**LIMIT, "X-Rate-Limit-Reset": "soon"}, 0),
        ({**LIMIT, "X-Rate-Limit-Reset": "nan"}, 0),
        ({**LIMIT, "Date": "today"}, 0),
        ({"X-Rate-Limit-Reset": "1795168825"}, 0),
        ({}, 0),
    ],
)
def test_how_long_to_wait(provider: Provider, headers: dict[str, str], seconds: float) -> None:
    """The limit ends at a time of the server's clock; ours may be wrong."""
    provider.say(429, error("rate_limit", 1004), headers)
    with pytest.raises(SmsError) as caught:
        make(provider.url).start(Order(7, NUMBER))
    assert (caught.value.outcome, caught.value.retry_after) == (Outcome.THROTTLED, seconds)


# The judgement -------------------------------------------------------------------------------


def test_check_request(provider: Provider) -> None:
    provider.say(200, json.dumps({"otpId": ID, "status": "VERIFIED"}))
    assert make(provider.url).check(ID, NUMBER, "grnxq") is True
    request = only(provider)
    assert (request.method, request.path) == ("POST", f"/otp/{ID}")
    assert request.headers["X-API-KEY"] == TOKEN
    assert sent_json(request) == {"pin": "GRNXQ"}


@pytest.mark.parametrize("body", [error("invalid_pin", 2029), error("invalid_param", "2022")])
def test_a_wrong_code(provider: Provider, body: str) -> None:
    provider.say(400, body)
    assert make(provider.url).check(ID, NUMBER, CODE) is False
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind", "code", "reason"),
    [
        (404, "not_found", 2021, Reason.CODE_EXPIRED),
        (400, "otp_verified", 2023, Reason.CODE_EXPIRED),
        (400, "otp_cancelled", 2024, Reason.CODE_EXPIRED),
        (400, "otp_expired", 2025, Reason.CODE_EXPIRED),
        (400, "otp_failed", 2026, Reason.TOO_MANY_GUESSES),
        (400, "otp_failed", 2027, Reason.TOO_MANY_GUESSES),
        (400, "otp_expired", 2028, Reason.CODE_EXPIRED),
    ],
)
def test_a_dead_code(provider: Provider, status: int, kind: str, code: int, reason: Reason) -> None:
    provider.say(status, error(kind, code))
    with pytest.raises(Refused) as caught:
        make(provider.url).check(ID, NUMBER, CODE)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, "", Outcome.UNKNOWN),
        (200, '{"status": "PENDING"}', Outcome.UNKNOWN),
        (200, '["VERIFIED"]', Outcome.UNKNOWN),
        (201, '{"status": "VERIFIED"}', Outcome.UNKNOWN),
        (400, '{"status": "VERIFIED"}', Outcome.CONFIGURATION),
        (401, error("invalid_api_key", 1001), Outcome.AUTHENTICATION),
        (404, "<h1>404</h1>", Outcome.CONFIGURATION),
        (429, error("rate_limit", 1004), Outcome.THROTTLED),
        (500, "", Outcome.UNKNOWN),
        (503, "", Outcome.TEMPORARY),
    ],
)
def test_what_cannot_be_judged(provider: Provider, status: int, body: str, outcome: Outcome) -> None:
    provider.say(status, body)
    with pytest.raises(SmsError) as caught:
        make(provider.url).check(ID, NUMBER, CODE)
    assert caught.value.outcome is outcome
    assert len(provider.requests) == 1


@pytest.mark.parametrize("code", [CODE, "GRNXQ", "grnxq"])
def test_an_answer_that_quotes_the_code_does_not_tell_it(provider: Provider, code: str) -> None:
    provider.say(500, f"the code {code} or {code.upper()} of {NUMBER} and {TOKEN}")
    with pytest.raises(SmsError) as caught:
        make(provider.url).check(ID, NUMBER, code)
    said = f"{caught.value} {caught.value.args} {caught.value.words}"
    assert "the code … or … of" in said
    assert code not in said
    assert NUMBER not in said
    assert TOKEN not in said


# Delivery ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "delivered"),
    [("VERIFIED", True), ("PENDING", None), ("EXPIRED", None), ("FAILED", None), ("CANCELLED", None)],
)
def test_delivery(provider: Provider, status: str, delivered: bool | None) -> None:
    """No status says that a text did not arrive: a code that is not typed may have been read."""
    provider.say(200, json.dumps({"otpId": ID, "status": status}))
    assert make(provider.url).delivery(ID) == Report(ID, delivered)
    request = only(provider)
    assert (request.method, request.path, request.body) == ("GET", f"/otp/{ID}", b"")


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (404, error("not_found", 2021), Outcome.CONFIGURATION),
        (200, "[]", Outcome.UNKNOWN),
        (200, '{"status": 5}', Outcome.UNKNOWN),
    ],
)
def test_delivery_that_cannot_be_told(provider: Provider, status: int, body: str, outcome: Outcome) -> None:
    provider.say(status, body)
    with pytest.raises(SmsError) as caught:
        make(provider.url).delivery(ID)
    assert caught.value.outcome is outcome


# Tokens of an application --------------------------------------------------------------------


def test_an_application_gets_its_token(provider: Provider) -> None:
    token = json.dumps({"access_token": "abc-123", "expires_in": 86_400, "token_type": "Bearer"})
    answers(provider, (200, token), (201, CREATED), (200, '{"status": "VERIFIED"}'))
    account = SmsCx(app_id="A1", app_secret=Secret(TOKEN), scope="otp", url=provider.url)
    assert account.start(Order(7, NUMBER)).reference == ID
    assert account.check(ID, NUMBER, CODE) is True
    asked, started, checked = provider.requests

    def line(request: Request) -> tuple[str, str]:
        return request.path, request.headers["Authorization"]

    assert line(asked) == ("/oauth/token", basic("A1", TOKEN))
    assert form(asked) == {"grant_type": "client_credentials", "scope": "otp"}
    assert line(started) == ("/otp", "Bearer abc-123")
    assert line(checked) == (f"/otp/{ID}", "Bearer abc-123")
    assert "X-API-KEY" not in started.headers


def test_an_application_that_is_not_known(provider: Provider) -> None:
    provider.say(401, error("invalid_client", 1600))
    account = SmsCx(app_id="A1", app_secret=Secret(TOKEN), url=provider.url)
    with pytest.raises(SmsError, match="no token: HTTP 401") as caught:
        account.start(Order(7, NUMBER))
    assert caught.value.outcome is Outcome.AUTHENTICATION
    assert only(provider).path == "/oauth/token"
