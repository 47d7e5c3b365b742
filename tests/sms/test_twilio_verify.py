"""Twilio Verify: what is ordered, what it promises, and how it judges."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from portald.errors import ConfigError, Reason, Refused, SmsError
from portald.model import Kind, Order, Outcome, Policy
from portald.schema import build
from portald.sms.twilio_verify import TwilioVerify
from tests.sms.conftest import Provider
from tests.sms.tables import CODE, NUMBER, TOKEN
from tests.sms.tables.twilio import error
from tests.sms.tables.twilio_verify import make
from tests.sms.wire import basic, form, only, write

CREATED = '{"sid": "VE1", "status": "pending"}'


def judgement(status: str, to: str = NUMBER) -> str:
    return json.dumps({"sid": "VE1", "to": to, "status": status, "valid": status == "approved"})


# The order -----------------------------------------------------------------------------------


def test_request(provider: Provider) -> None:
    provider.say(201, CREATED)
    sent = make(provider.url).start(Order(7, NUMBER, sender="Bar", template="{code}"))
    assert sent.reference == "VE1"
    request = only(provider)
    assert (request.method, request.path) == ("POST", "/v2/Services/VA1/Verifications")
    assert request.headers["Authorization"] == basic("AC1", TOKEN)
    assert form(request) == {"To": NUMBER, "Channel": "sms"}


def test_request_with_an_api_key(provider: Provider) -> None:
    provider.say(201, CREATED)
    replace(make(f"{provider.url}/"), api_key="SK1").start(Order(7, NUMBER))
    request = only(provider)
    assert request.path == "/v2/Services/VA1/Verifications"
    assert request.headers["Authorization"] == basic("SK1", TOKEN)


@pytest.mark.parametrize(
    ("ip", "told"),
    [
        ("9.9.9.9", "9.9.9.9"),
        ("2620:fe::9", "2620:fe::9"),
        ("10.1.2.3", None),
        ("192.168.1.5", None),
        ("fe80::1", None),
        ("127.0.0.1", None),
        ("", None),
        ("somewhere", None),
    ],
)
def test_only_a_global_address_is_told(provider: Provider, ip: str, told: str | None) -> None:
    provider.say(201, CREATED)
    make(provider.url).start(Order(7, NUMBER, ip=ip))
    assert form(only(provider)).get("DeviceIp") == told


@pytest.mark.parametrize(("language", "locale"), [("de-AT", "de"), ("pt-BR", "pt-BR"), ("tlh", None)])
def test_language(provider: Provider, language: str, locale: str | None) -> None:
    provider.say(201, CREATED)
    make(provider.url).start(Order(7, NUMBER, language=language))
    assert form(only(provider)).get("Locale") == locale


def test_a_language_that_the_service_lacks(provider: Provider) -> None:
    """Twilio answers 404 and advises to ask again without; nothing has been sent then."""

    def behave(handler: Any) -> None:
        lacking = "Locale" in form(provider.requests[-1])
        write(handler, 404, error(20404, 404)) if lacking else write(handler, 201, CREATED)

    provider.behave = behave
    assert make(provider.url).start(Order(7, NUMBER, language="de")).reference == "VE1"
    first, second = map(form, provider.requests)
    assert first == {**second, "Locale": "de"}


@pytest.mark.parametrize(
    ("ordered", "holds"),
    [
        (Policy(), Policy(Kind.NUMBERS, 6, 300, 5)),
        (Policy(Kind.LETTERS, 8, 1800, 10), Policy(Kind.NUMBERS, 6, 600, 5)),
        (Policy(Kind.NUMBERS, 4, 60, 2), Policy(Kind.NUMBERS, 6, 60, 2)),
    ],
)
def test_policy_is_what_really_holds(provider: Provider, ordered: Policy, holds: Policy) -> None:
    provider.say(201, CREATED)
    assert make(provider.url).start(Order(7, NUMBER, ordered)).policy == holds


def test_length_is_that_of_the_service(provider: Provider) -> None:
    provider.say(201, CREATED)
    assert replace(make(provider.url), length=8).start(Order(7, NUMBER)).policy.length == 8


def test_a_trial_account_is_explained(provider: Provider) -> None:
    provider.say(400, error(21608))
    with pytest.raises(SmsError, match="trial account"):
        make(provider.url).start(Order(7, NUMBER))


@pytest.mark.parametrize(
    ("change", "words"), [({"length": 3}, "length: at least 4"), ({"service": None}, "service: missing")]
)
def test_settings_that_cannot_be(change: dict[str, Any], words: str) -> None:
    table = {"account_sid": "AC1", "auth_token": "t", "service": "VA1"} | change
    with pytest.raises(ConfigError, match=words):
        build(TwilioVerify, {name: value for name, value in table.items() if value is not None})


# The judgement -------------------------------------------------------------------------------


def test_check_request(provider: Provider) -> None:
    provider.say(200, judgement("approved"))
    assert make(provider.url).check("VE1", NUMBER, CODE) is True
    request = only(provider)
    assert (request.method, request.path) == ("POST", "/v2/Services/VA1/VerificationCheck")
    assert request.headers["Authorization"] == basic("AC1", TOKEN)
    assert form(request) == {"VerificationSid": "VE1", "Code": CODE}


@pytest.mark.parametrize(
    "body", [judgement("pending"), judgement("approved", "+14155552672"), '{"status": "approved"}']
)
def test_a_code_that_proves_nothing(provider: Provider, body: str) -> None:
    provider.say(200, body)
    assert make(provider.url).check("VE1", NUMBER, CODE) is False


@pytest.mark.parametrize("code", ["", "123", "12345678901", "12a456", "١٢٣٤٥٦", "12 456"])
def test_what_is_no_code_is_not_asked(provider: Provider, code: str) -> None:
    assert make(provider.url).check("VE1", NUMBER, code) is False
    assert provider.requests == []


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, judgement("max_attempts_reached"), Reason.TOO_MANY_GUESSES),
        (429, error(60202, 429), Reason.TOO_MANY_GUESSES),
        (200, judgement("canceled"), Reason.CODE_EXPIRED),
        (200, judgement("expired"), Reason.CODE_EXPIRED),
        (200, judgement("deleted"), Reason.CODE_EXPIRED),
        (200, judgement("failed"), Reason.CODE_EXPIRED),
        (404, error(20404, 404), Reason.CODE_EXPIRED),
        (404, "<h1>404</h1>", Reason.CODE_EXPIRED),
    ],
)
def test_a_dead_code(provider: Provider, status: int, body: str, reason: Reason) -> None:
    provider.say(status, body)
    with pytest.raises(Refused) as caught:
        make(provider.url).check("VE1", NUMBER, CODE)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, "[]", Outcome.UNKNOWN),
        (200, judgement("of a new kind"), Outcome.UNKNOWN),
        (200, '{"status": []}', Outcome.UNKNOWN),
        (201, judgement("approved"), Outcome.UNKNOWN),
        (401, error(20003, 401), Outcome.AUTHENTICATION),
        (400, error(60200), Outcome.CONFIGURATION),
        (400, judgement("approved"), Outcome.CONFIGURATION),
        (429, error(20429, 429), Outcome.THROTTLED),
        (500, error(20500, 500), Outcome.UNKNOWN),
        (503, "", Outcome.TEMPORARY),
    ],
)
def test_what_cannot_be_judged(provider: Provider, status: int, body: str, outcome: Outcome) -> None:
    provider.say(status, body)
    with pytest.raises(SmsError) as caught:
        make(provider.url).check("VE1", NUMBER, CODE)
    assert caught.value.outcome is outcome
    assert len(provider.requests) == 1


@pytest.mark.parametrize("status", [200, 400, 429, 500])
def test_an_answer_that_quotes_the_code_does_not_tell_it(provider: Provider, status: int) -> None:
    provider.say(status, f"the code {CODE} of {NUMBER} and {TOKEN}")
    with pytest.raises(SmsError) as caught:
        make(provider.url).check("VE1", NUMBER, CODE)
    said = f"{caught.value} {caught.value.args} {caught.value.words}"
    assert "the code … of" in said
    assert CODE not in said
    assert NUMBER not in said
    assert TOKEN not in said
