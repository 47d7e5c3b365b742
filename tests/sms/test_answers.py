"""Every provider over real HTTP: which answer is which outcome, one request only, and no secrets told.

A provider without a table here fails ``test_every_provider_has_its_table``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import pytest

from portald.config import Secret
from portald.errors import SmsError
from portald.model import Outcome
from portald.ports import Sender
from portald.sms import PROVIDERS
from portald.sms.failover import Failover
from portald.sms.gateway import Gateway
from portald.sms.sandbox import Sandbox
from portald.sms.twilio import Twilio
from tests.sms.conftest import Provider, Request

NUMBER = "+14155552671"
CODE = "739126"
TEXT = f"{CODE} is your Lobby Wi-Fi code."
TOKEN = "t0k3n-of-the-account"
TIMEOUT = 0.3

Row = tuple[int, Mapping[str, str], str, "Outcome | str"]
"""Status, headers, body; and the message id if it is accepted, or else the outcome."""


def twilio(url: str, timeout: float = 5) -> Sender:
    return Twilio(
        account_sid="AC1", auth_token=Secret(TOKEN), sender="+15005550006", url=url, timeout=timeout
    )


def gateway(url: str, timeout: float = 5) -> Sender:
    return Gateway(url=f"{url}/send", bearer=Secret(TOKEN), success_contains="queued", timeout=timeout)


def sandbox(url: str, timeout: float = 5) -> Sender:
    return Sandbox(url=url, timeout=timeout)


MAKE: dict[str, Callable[..., Sender]] = {"twilio": twilio, "http": gateway, "sandbox": sandbox}


def error(code: Any, status: int = 400, message: str = "no") -> str:
    return json.dumps({"code": code, "message": message, "more_info": "https://…", "status": status})


DEEP = "[" * 60_000
TWILIO: dict[str, Row] = {
    "accepted": (201, {}, '{"sid": "SM1", "status": "queued"}', "SM1"),
    "created without an id": (201, {}, '{"status": "queued"}', Outcome.UNKNOWN),
    "created with a strange id": (201, {}, '{"sid": 5}', Outcome.UNKNOWN),
    "created with a list": (201, {}, '["SM1"]', Outcome.UNKNOWN),
    "created, too deep to read": (201, {}, DEEP, Outcome.UNKNOWN),
    "created, a number too long to read": (201, {}, "1" * 10_000, Outcome.UNKNOWN),
    "not created but fine": (200, {}, '{"sid": "SM1"}', Outcome.UNKNOWN),
    "no content": (204, {}, "", Outcome.UNKNOWN),
    "wrong token": (401, {}, error(20003, 401), Outcome.AUTHENTICATION),
    "wrong token, other status": (400, {}, error(20003), Outcome.AUTHENTICATION),
    "too many requests": (429, {"Retry-After": "3"}, error(20429, 429), Outcome.THROTTLED),
    "not a number": (400, {}, error(21211), Outcome.INVALID_NUMBER),
    "not a mobile number": (400, {}, error(21614), Outcome.INVALID_NUMBER),
    "a landline": (400, {}, error(21635), Outcome.INVALID_NUMBER),
    "not our sender": (400, {}, error(21606), Outcome.CONFIGURATION),
    "no such sender": (400, {}, error(21212), Outcome.CONFIGURATION),
    "no text": (400, {}, error(21602), Outcome.CONFIGURATION),
    "text too long": (400, {}, error(21617), Outcome.CONFIGURATION),
    "trial account": (400, {}, error(21608), Outcome.CONFIGURATION),
    "region not enabled": (403, {}, error(21408, 403), Outcome.REGION_NOT_ALLOWED),
    "not reachable from there": (400, {}, error(21612), Outcome.REGION_NOT_ALLOWED),
    "unsubscribed": (400, {}, error(21610), Outcome.BLOCKED_BY_RECIPIENT),
    "queue full": (429, {}, error(21611, 429), Outcome.TEMPORARY),
    "suspended": (400, {}, error(30002), Outcome.NO_CREDIT),
    "unheard of": (400, {}, error(29999), Outcome.CONFIGURATION),
    "their error": (500, {}, error(20500, 500), Outcome.UNKNOWN),
    "code as text": (400, {}, error("21211"), Outcome.CONFIGURATION),
    "code as a list": (400, {}, error([21211]), Outcome.CONFIGURATION),
    "code as a table": (400, {}, error({"a": 1}), Outcome.CONFIGURATION),
    "no code": (400, {}, error(None), Outcome.CONFIGURATION),
    "refused, too deep to read": (400, {}, DEEP, Outcome.CONFIGURATION),
}
TABLES: dict[str, dict[str, Row]] = {
    "twilio": TWILIO,
    "sandbox": {
        name: TWILIO[name]
        for name in ("accepted", "created without an id", "not a number", "unsubscribed", "their error")
    },
    "http": {
        "accepted": (200, {}, '{"status": "queued"}', ""),
        "accepted, created": (201, {}, "queued", ""),
        "success without the word": (200, {}, '{"status": "rejected"}', Outcome.UNKNOWN),
        "the word without success": (400, {}, "queued", Outcome.CONFIGURATION),
        "no content": (204, {}, "", Outcome.UNKNOWN),
        "payment required": (402, {}, "queued? no", Outcome.CONFIGURATION),
        "not changed": (304, {}, "", Outcome.CONFIGURATION),
    },
}

GENERIC: dict[str, Row] = {
    "unauthorized": (401, {}, "who?", Outcome.AUTHENTICATION),
    "forbidden": (403, {}, "no", Outcome.AUTHENTICATION),
    "not found": (404, {}, "<h1>404</h1>", Outcome.CONFIGURATION),
    "throttled": (429, {"Retry-After": "17"}, "", Outcome.THROTTLED),
    "their error": (500, {}, "oops", Outcome.UNKNOWN),
    "bad gateway": (502, {}, "", Outcome.UNKNOWN),
    "unavailable": (503, {"Retry-After": "17"}, "", Outcome.TEMPORARY),
    "gateway timeout": (504, {}, "", Outcome.UNKNOWN),
    "rubbish": (201, {}, "\x00<html>\x7f{{{", Outcome.UNKNOWN),
    "empty": (201, {}, "", Outcome.UNKNOWN),
    "null": (201, {}, "null", Outcome.UNKNOWN),
    "huge": (201, {}, "x" * 4_000_000, Outcome.UNKNOWN),
    "huge refusal": (400, {}, "x" * 4_000_000, Outcome.CONFIGURATION),
    "not really gzip": (201, {"Content-Encoding": "gzip"}, "queued", Outcome.UNKNOWN),
}

every_provider = pytest.mark.parametrize("name", PROVIDERS)


def failure(sender: Sender) -> SmsError:
    with pytest.raises(SmsError) as caught:
        sender.send(NUMBER, TEXT)
    return caught.value


def test_every_provider_has_its_table() -> None:
    assert MAKE.keys() == TABLES.keys() == PROVIDERS.keys()
    assert all(isinstance(MAKE[name]("http://127.0.0.1"), kind) for name, kind in PROVIDERS.items())
    for table in TABLES.values():
        assert any(not isinstance(expected, Outcome) for *_, expected in table.values())


@pytest.mark.parametrize(
    ("name", "row"), [(name, row) for name, table in TABLES.items() for row in table.values()],
    ids=[f"{name}-{row}" for name, table in TABLES.items() for row in table],
)  # fmt: skip
def test_answers_of_the_provider(provider: Provider, name: str, row: Row) -> None:
    status, headers, body, expected = row
    provider.say(status, body, headers)
    if isinstance(expected, Outcome):
        assert failure(MAKE[name](provider.url)).outcome is expected
    else:
        assert MAKE[name](provider.url).send(NUMBER, TEXT) == expected
    assert len(provider.requests) == 1


@every_provider
@pytest.mark.parametrize("row", GENERIC)
def test_answers_that_any_server_may_give(provider: Provider, name: str, row: str) -> None:
    status, headers, body, expected = GENERIC[row]
    provider.say(status, body, headers)
    found = failure(MAKE[name](provider.url))
    assert found.outcome is expected
    assert found.retry_after == (17 if "Retry-After" in headers else 0)
    assert f"HTTP {status}" in found.words or "gzip" in row
    assert len(found.words) < 500
    assert len(provider.requests) == 1


@every_provider
@pytest.mark.parametrize(
    ("header", "seconds"),
    [("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("-5", 0), ("soon", 0), ("nan", 0), ("1.5", 1.5)],
)
def test_retry_after_is_a_number_of_seconds(
    provider: Provider, name: str, header: str, seconds: float
) -> None:
    provider.say(429, "", {"Retry-After": header})
    assert failure(MAKE[name](provider.url)).retry_after == seconds


# Connections that go wrong -----------------------------------------------------------------


@every_provider
def test_no_answer_in_time(provider: Provider, name: str) -> None:
    provider.raw(b"HTTP/1.0 201 Created\r\n\r\n", pause=2)
    begun = time.monotonic()
    assert failure(MAKE[name](provider.url, TIMEOUT)).outcome is Outcome.UNKNOWN
    assert time.monotonic() - begun < 1
    assert len(provider.requests) == 1


HEAD = b"HTTP/1.1 201 Created\r\n"
DRIPS: dict[str, list[bytes]] = {
    "body until the end": [HEAD + b"\r\n"] + [b"x"] * 40,
    "body of a length": [HEAD + b"Content-Length: 40\r\n\r\n"] + [b"x"] * 40,
    "body in chunks": [HEAD + b"Transfer-Encoding: chunked\r\n\r\n"] + [b"1\r\nx\r\n"] * 40,
    "headers": [HEAD] + [b"X-Slow: 1\r\n"] * 40,
    "one header": [HEAD + b"X-Slow: "] + [b"1"] * 40,
}


@every_provider
@pytest.mark.parametrize("drip", DRIPS)
def test_an_answer_in_drips_is_given_up_in_time(provider: Provider, name: str, drip: str) -> None:
    """Each drip comes well within the timeout, the answer as a whole does not."""
    provider.raw(*DRIPS[drip], pause=0.04)
    begun = time.monotonic()
    assert failure(MAKE[name](provider.url, TIMEOUT)).outcome is Outcome.UNKNOWN
    assert time.monotonic() - begun < 1
    assert len(provider.requests) == 1


@every_provider
def test_connection_refused(name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening
        found = failure(MAKE[name](f"http://127.0.0.1:{taken.getsockname()[1]}"))
    assert found.outcome is Outcome.TEMPORARY


@every_provider
@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"\0\1\2rubbish\r\n\r\n",),
        (b"HTTP/1.1 201",),
        (HEAD + b"Content-Length: 500\r\n\r\n{}",),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",),
        (HEAD + b"X: " + b"x" * 200_000,),
    ],
    ids=["at once", "after rubbish", "in the status", "in the body", "in a chunk", "in a long header"],
)
def test_connection_closed(provider: Provider, name: str, pieces: tuple[bytes, ...]) -> None:
    """The text may have been taken before: nobody may send it again unasked."""
    provider.raw(*pieces)
    assert failure(MAKE[name](provider.url)).outcome is Outcome.UNKNOWN
    assert len(provider.requests) == 1


@every_provider
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(provider: Provider, name: str, status: int) -> None:
    provider.say(status, "", {"Location": f"{provider.url}/elsewhere"})
    assert failure(MAKE[name](provider.url)).outcome is Outcome.CONFIGURATION
    assert len(provider.requests) == 1


@every_provider
def test_a_certificate_that_is_not_trusted(tls_provider: Provider, name: str) -> None:
    found = failure(MAKE[name](tls_provider.url))
    assert found.outcome is Outcome.CONFIGURATION
    assert found.words.startswith("TLS: ")
    assert tls_provider.requests == []


@every_provider
def test_plain_http_where_tls_is_expected(provider: Provider, name: str) -> None:
    found = failure(MAKE[name](provider.url.replace("http", "https")))
    assert found.outcome is Outcome.CONFIGURATION
    assert provider.requests == []


def test_a_certificate_that_is_trusted(tls_provider: Provider, certificate: Path) -> None:
    tls_provider.say(200)
    Gateway(url=tls_provider.url, ca_file=str(certificate)).send(NUMBER, TEXT)
    assert len(tls_provider.requests) == 1


@pytest.mark.parametrize("last", [b"", b"\x17\x03\x03\x00\x40" + b"x" * 64, b"garbage " * 9])
def test_tls_that_breaks_after_the_request(tls_provider: Provider, certificate: Path, last: bytes) -> None:
    """The request was complete, so the text may have been sent: this is no wrong setting."""

    def behave(handler: Any) -> None:
        os.write(handler.connection.fileno(), last)  # beneath TLS

    tls_provider.behave = behave
    found = failure(Gateway(url=tls_provider.url, ca_file=str(certificate)))
    assert len(tls_provider.requests) == 1
    assert found.outcome is Outcome.UNKNOWN


@every_provider
def test_a_host_that_does_not_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any, **more: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)  # a real look-up would leave the machine
    assert failure(MAKE[name]("http://sms.invalid")).outcome is Outcome.TEMPORARY


@every_provider
@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://a..b", "http://[::1", "http://"])
def test_an_address_that_cannot_be_one(name: str, url: str) -> None:
    """If the settings let it pass, it is at least an ``SmsError``, so that the next one is asked."""
    try:
        sender = MAKE[name](url)
    except Exception as refused:
        assert type(refused).__name__ == "ConfigError"  # noqa: PT017
        return
    assert failure(sender).outcome is Outcome.CONFIGURATION


# What is asked -----------------------------------------------------------------------------


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def form(request: Request) -> dict[str, str]:
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    return {name: value for name, (value,) in parse_qs(request.body.decode(), strict_parsing=True).items()}


def only(provider: Provider) -> Request:
    (request,) = provider.requests
    assert request.headers["User-Agent"] == "portald"
    return request


def test_request_of_twilio(provider: Provider) -> None:
    provider.say(201, '{"sid": "SM1"}')
    twilio(provider.url).send(NUMBER, TEXT)
    request = only(provider)
    assert (request.method, request.path) == ("POST", "/2010-04-01/Accounts/AC1/Messages.json")
    assert request.headers["Authorization"] == basic("AC1", TOKEN)
    assert form(request) == {"To": NUMBER, "Body": TEXT, "From": "+15005550006", "ValidityPeriod": "300"}


def test_request_of_twilio_with_an_api_key_and_a_service(provider: Provider) -> None:
    provider.say(201, '{"sid": "SM1"}')
    sender = Twilio(
        account_sid="AC1",
        auth_token=Secret(TOKEN),
        api_key="SK1",
        messaging_service="MG1",
        lifetime=60,
        url=f"{provider.url}/",
    )
    sender.send(NUMBER, "ein Tëxt & mehr=%41+")
    request = only(provider)
    assert request.path == "/2010-04-01/Accounts/AC1/Messages.json"
    assert request.headers["Authorization"] == basic("SK1", TOKEN)
    assert form(request) == {
        "To": NUMBER,
        "Body": "ein Tëxt & mehr=%41+",
        "MessagingServiceSid": "MG1",
        "ValidityPeriod": "60",
    }


def test_request_of_the_sandbox(provider: Provider) -> None:
    provider.say(201, '{"sid": "SM1"}')
    sandbox(provider.url).send(NUMBER, TEXT)
    request = only(provider)
    assert (request.method, request.path) == ("POST", "/2010-04-01/Accounts/ACsandbox/Messages.json")
    assert request.headers["Authorization"] == basic("ACsandbox", "sandbox")
    assert (form(request)["To"], form(request)["Body"]) == (NUMBER, TEXT)


def test_request_of_a_gateway(provider: Provider) -> None:
    provider.say(200, "queued")
    gateway(provider.url).send(NUMBER, TEXT)
    request = only(provider)
    assert (request.method, request.path) == ("POST", "/send")
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {"to": NUMBER, "text": TEXT}


@every_provider
def test_the_environment_is_not_asked(
    provider: Provider, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login intruder password intruder\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    provider.say(200)
    Gateway(url=provider.url).send(NUMBER, TEXT)
    assert "Authorization" not in only(provider).headers
    failure(MAKE[name](provider.url))
    assert len(provider.requests) == 2
    assert provider.requests[1].headers["Authorization"] != basic("intruder", "intruder")


# What is told --------------------------------------------------------------------------------


def quoted_request(handler_request: Request) -> str:
    """Return the request's content in every way a server may quote it."""
    body = handler_request.body.decode()
    return f"cannot: {body} {unquote_plus(body)} {handler_request.path} {NUMBER[1:]} {NUMBER} {CODE}"


def told(sender: Sender, caplog: pytest.LogCaptureFixture) -> str:
    """Return everything that a failing text leaves behind."""
    caplog.set_level(logging.INFO)
    found = failure(Failover([("it", sender)]))
    assert "event=text_refused provider=it" in caplog.text
    return "\n".join([str(found), repr(found), found.words, repr(found.args), repr(sender), caplog.text])


def echo(provider: Provider, status: int, quote: Callable[[Request], str]) -> None:
    def behave(handler: Any) -> None:
        provider.say(status, quote(provider.requests[-1]))
        provider.behave(handler)

    provider.behave = behave


@every_provider
@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500, 503])
def test_an_answer_that_quotes_the_text_does_not_tell_it(
    provider: Provider, name: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    echo(provider, status, quoted_request)
    text = told(MAKE[name](provider.url), caplog)
    assert CODE not in text
    assert NUMBER not in text
    assert NUMBER[1:] not in text


@every_provider
@pytest.mark.parametrize(
    ("spelt", "hidden"),
    [
        ("+1 (415) 555-2671", "555-2671"),
        ("+1-415-555-2671", "555-2671"),
        ("Number 4155552671 is wrong", "4155552671"),
        ("Wrong number: 4155552671.", "4155552671"),
        ("Number:4155552671", "4155552671"),
    ],
)
def test_an_answer_that_spells_the_number_differently(
    provider: Provider, name: str, spelt: str, hidden: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider.say(400, spelt)
    assert hidden not in told(MAKE[name](provider.url), caplog)


SECRET_QUOTES: dict[str, Callable[[Request], str]] = {
    "header": lambda request: f"bad header: {request.headers['Authorization']}",
    "token alone": lambda request: f"bad token {request.headers['Authorization'].split()[1]}",
    "token in clear": lambda request: f"no account with the token {TOKEN!r}",
}


@pytest.mark.parametrize("name", ["twilio", "http"])
@pytest.mark.parametrize("quote", SECRET_QUOTES)
def test_an_answer_that_quotes_the_token_does_not_tell_it(
    provider: Provider, name: str, quote: str, caplog: pytest.LogCaptureFixture
) -> None:
    echo(provider, 401, SECRET_QUOTES[quote])
    text = told(MAKE[name](provider.url), caplog)
    assert TOKEN not in text
    assert base64.b64encode(f"AC1:{TOKEN}".encode()).decode() not in text


@every_provider
def test_an_answer_still_says_what_is_wrong(
    provider: Provider, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    provider.say(400, "{\n  The sender   is not registered\n}")
    assert "HTTP 400 { The sender is not registered }" in told(MAKE[name](provider.url), caplog)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_broken_connection_does_not_tell_the_request(
    provider: Provider, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"{provider.url}/send?key={TOKEN}"
    provider.raw()
    senders = [
        Gateway(url=url, method=method, content_type="form"),
        Gateway(url=f"http://127.0.0.1:9/send?key={TOKEN}", method=method, content_type="form"),
    ]
    for sender in senders:
        caplog.clear()
        text = told(sender, caplog).replace(repr(sender), "")
        assert CODE not in text
        assert NUMBER[1:] not in text
        assert TOKEN not in text
