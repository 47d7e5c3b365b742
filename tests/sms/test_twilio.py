"""Twilio: settings that go into the request, delivery, and signed reports."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from portald.errors import ConfigError, Forged, SmsError
from portald.model import Outcome, Report
from portald.schema import Secret, build
from portald.sms.twilio import Twilio, sign
from tests.sms.conftest import Provider
from tests.sms.tables import TOKEN, text
from tests.sms.tables.twilio import error, make
from tests.sms.wire import basic, form, only

# Twilio's own examples: its documentation, and tests/unit/test_request_validator.py of twilio-python.
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
CALL = {
    "CallSid": ["CA1234567890ABCDE"],
    "Digits": ["1234"],
    "From": ["+14158675309"],
    "To": ["+18005551212"],
    "Caller": ["+14158675309"],
}
TWICE = {"Sid": ["CA123"], "SidAccount": ["AC123"], "Digits": ["5678", "1234"]}
DIGEST = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
JSON = b'{"property": "value", "boolean": true}'


@pytest.fixture
def account() -> Twilio:
    return Twilio(account_sid="AC1", auth_token=Secret("12345"), sender="Lobby")


def seal(url: str, params: Any, token: str = "12345") -> dict[str, str]:
    pairs = {name: [value] for name, value in params.items()}
    return {"X-Twilio-Signature": sign(token.encode(), url, pairs).decode()}


def test_settings_that_go_into_the_request(provider: Provider) -> None:
    provider.say(201, '{"sid": "SM1"}')
    account = replace(
        make(provider.url),
        messaging_service="MG1",
        smart_encoding=True,
        status_callback="https://wifi.example/reports/twilio",
    )
    account.send(text(sender="Bar"))
    sent = form(only(provider))
    assert (sent["From"], sent["MessagingServiceSid"]) == ("Bar", "MG1")
    assert sent["SmartEncoded"] == "true"
    assert sent["StatusCallback"] == "https://wifi.example/reports/twilio"


def test_a_sender_or_a_service_is_needed() -> None:
    with pytest.raises(ConfigError, match="sender: missing"):
        build(Twilio, {"account_sid": "AC1", "auth_token": "t"})


def test_a_trial_account_is_explained(provider: Provider) -> None:
    provider.say(400, error(21608))
    with pytest.raises(SmsError, match="trial account may text only numbers that are verified"):
        make(provider.url).send(text())


def test_repr_hides_the_tokens() -> None:
    account = Twilio(
        account_sid="AC1", auth_token=Secret(TOKEN), webhook_token=Secret("other"), sender="Lobby"
    )
    assert TOKEN not in repr(account)
    assert "other" not in repr(account)


# Delivery -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "report"),
    [
        ('{"status": "delivered", "error_code": null}', Report("SM1", True)),
        ('{"status": "read", "error_code": null}', Report("SM1", True)),
        ('{"status": "queued", "error_code": null}', Report("SM1", None)),
        ('{"status": "sent"}', Report("SM1", None)),
        ('{"status": "of a new kind"}', Report("SM1", None)),
        (
            '{"status": "undelivered", "error_code": 30003}',
            Report("SM1", False, "undelivered: 30003 the phone is off or without signal"),
        ),
        (
            '{"status": "failed", "error_code": 30006}',
            Report("SM1", False, "failed: 30006 a landline, or a network that cannot be reached"),
        ),
        ('{"status": "failed", "error_code": 39999}', Report("SM1", False, "failed: 39999")),
        ('{"status": "canceled", "error_code": null}', Report("SM1", False, "canceled")),
    ],
)
def test_delivery(provider: Provider, body: str, report: Report) -> None:
    provider.say(200, body)
    assert make(provider.url).delivery("SM1") == report
    request = only(provider)
    assert (request.method, request.path) == ("GET", "/2010-04-01/Accounts/AC1/Messages/SM1.json")
    assert request.headers["Authorization"] == basic("AC1", TOKEN)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (404, error(20404, 404), Outcome.CONFIGURATION),
        (401, error(20003, 401), Outcome.AUTHENTICATION),
        (429, error(20429, 429), Outcome.THROTTLED),
        (200, "[]", Outcome.UNKNOWN),
        (200, '{"status": 5}', Outcome.UNKNOWN),
    ],
)
def test_delivery_that_cannot_be_told(provider: Provider, status: int, body: str, outcome: Outcome) -> None:
    provider.say(status, body)
    with pytest.raises(SmsError) as caught:
        make(provider.url).delivery("SM1")
    assert caught.value.outcome is outcome


def test_the_name_of_a_message_stays_one_part_of_the_path(provider: Provider) -> None:
    provider.say(404)
    with pytest.raises(SmsError):
        make(provider.url).delivery("../SM1?x")
    assert only(provider).path.endswith("/Messages/..%2FSM1%3Fx.json")


# Reports ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "params", "signature"),
    [
        (URL, CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        (
            URL,
            {**CALL, "From": ["+12349013030"], "Caller": ["+12349013030"]},
            "0/KCTR6DLpKmkAf8muzZqo1nDgQ=",
        ),
        (URL, TWICE, "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
        (URL.replace(".com", ".com:443"), CALL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (f"{URL}&bodySHA256={DIGEST}", {}, "a9nBmqA0ju/hNViExpshrM61xv4="),
    ],
)
def test_published_signatures(url: str, params: dict[str, list[str]], signature: str) -> None:
    assert sign(b"12345", url, params).decode() == signature


@pytest.mark.parametrize(
    ("url", "signature"),
    [
        (URL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        (URL.replace(".com", ".com:1234"), "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        (URL.replace(".com", ".com:1234").replace("https", "http"), "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
        (URL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
        (URL.replace("https", "http"), "0ZXoZLH/DfblKGATFgpif+LLRf4="),
    ],
    ids=["as it is", "without its port", "with its port", "port 443 added", "port 80 added"],
)
def test_published_requests_are_proven(account: Twilio, url: str, signature: str) -> None:
    """A proxy may hide the port that Twilio signed, or show one that it did not."""
    body = urlencode(CALL, doseq=True).encode()
    assert account.reports(url, {"X-Twilio-Signature": signature}, body) == []


def test_published_request_with_json(account: Twilio) -> None:
    url, headers = f"{URL}&bodySHA256={DIGEST}", {"X-Twilio-Signature": "a9nBmqA0ju/hNViExpshrM61xv4="}
    assert hashlib.sha256(JSON).hexdigest() == DIGEST
    assert account.reports(url, headers, JSON) == []
    with pytest.raises(Forged):
        account.reports(url, headers, JSON + b" ")
    with pytest.raises(Forged):
        account.reports(URL, headers, JSON)


REPORT = {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30005", "To": "+14155552671"}
FAILED = Report("SM1", False, "undelivered: 30005 no such number")


@pytest.mark.parametrize("name", ["X-Twilio-Signature", "x-twilio-signature", "X-TWILIO-SIGNATURE"])
def test_a_report(account: Twilio, name: str) -> None:
    headers = {name: seal(URL, REPORT)["X-Twilio-Signature"]}
    assert account.reports(URL, headers, urlencode(REPORT).encode()) == [FAILED]


@pytest.mark.parametrize(
    ("status", "delivered"), [("delivered", True), ("sent", None), ("queued", None), ("read", True)]
)
def test_a_report_of_a_text_under_way(account: Twilio, status: str, delivered: bool | None) -> None:
    report = {"MessageSid": "SM1", "MessageStatus": status, "New": "", "Other": "ö &="}
    found = account.reports(URL, seal(URL, report), urlencode(report).encode())
    assert found == [Report("SM1", delivered)]


def test_a_report_of_something_else(account: Twilio) -> None:
    assert account.reports(URL, seal(URL, {"AccountSid": "AC1"}), b"AccountSid=AC1") == []


FORGERIES: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "no signature": (URL, {}, REPORT),
    "empty": (URL, {"X-Twilio-Signature": ""}, REPORT),
    "rubbish": (URL, {"X-Twilio-Signature": "\xe9"}, REPORT),
    "another key": (URL, seal(URL, REPORT, "54321"), REPORT),
    "another address": (f"{URL}0", seal(URL, REPORT), REPORT),
    "another host": (URL.replace("my", "your"), seal(URL, REPORT), REPORT),
    "another value": (URL, seal(URL, REPORT), {**REPORT, "MessageStatus": "delivered"}),
    "one more": (URL, seal(URL, REPORT), {**REPORT, "MessageStatus": ["undelivered", "delivered"]}),
    "one fewer": (URL, seal(URL, REPORT), {"MessageSid": "SM1", "MessageStatus": "undelivered"}),
    "none": (URL, seal(URL, REPORT), {}),
    "an address that is none": ("https://[::1", seal("https://[::1", REPORT), REPORT),
}


@pytest.mark.parametrize("case", FORGERIES)
def test_a_forged_report(account: Twilio, case: str) -> None:
    url, headers, params = FORGERIES[case]
    with pytest.raises(Forged):
        account.reports(url, headers, urlencode(params, doseq=True).encode())


def test_a_signed_address_does_not_prove_a_body(account: Twilio) -> None:
    """The signature of a request without a body is no signature of one with it."""
    headers = {**seal(URL, {}), "Content-Type": "application/json"}
    with pytest.raises(Forged):
        account.reports(URL, headers, urlencode(REPORT).encode())


@pytest.mark.parametrize("body", [b"\xff\xfe", b"&".join(b"a%d=1" % n for n in range(300))])
def test_a_body_that_is_no_form(account: Twilio, body: bytes) -> None:
    with pytest.raises(Forged):
        account.reports(URL, seal(URL, {}), body)


def test_a_parameter_that_is_there_twice_is_signed_once(account: Twilio) -> None:
    line = f"{URL}MessageSidSM1MessageStatussent".encode()
    signature = base64.b64encode(hmac.new(b"12345", line, "sha1").digest()).decode()
    body = b"MessageStatus=sent&MessageSid=SM1&MessageSid=SM1"
    assert account.reports(URL, {"X-Twilio-Signature": signature}, body) == [Report("SM1", None)]


def test_an_api_key_cannot_prove_reports() -> None:
    """Twilio signs with the account's token, whatever key asks."""
    by_key = Twilio(account_sid="AC1", api_key="SK1", auth_token=Secret("12345"), sender="Lobby")
    body = urlencode(REPORT).encode()
    with pytest.raises(Forged, match="webhook_token is not set"):
        by_key.reports(URL, seal(URL, REPORT), body)
    known = replace(by_key, webhook_token=Secret("of the account"))
    assert known.reports(URL, seal(URL, REPORT, "of the account"), body) == [FAILED]
    with pytest.raises(Forged):
        known.reports(URL, seal(URL, REPORT), body)
