"""Every provider over real HTTP: which answer is which outcome, one request only, and no secrets told.

A provider without a table here fails ``test_every_provider_has_its_table``.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import pytest

from portald.errors import SmsError
from portald.model import Outcome
from portald.schema import Secret
from portald.sms import PROVIDERS, find, http
from portald.sms.gateway import Gateway
from portald.sms.twilio import Twilio
from tests.sms import tables
from tests.sms.conftest import Provider, Request
from tests.sms.tables import CODE, HTTP, NUMBER, TABLES, TEXT, TOKEN, Row, carry, text
from tests.sms.wire import basic, form, only, write

TIMEOUT = 0.3

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

every_provider = pytest.mark.parametrize("name", HTTP)
every_secret = pytest.mark.parametrize("name", [name for name in HTTP if TABLES[name].SECRETS])


def make(name: str, url: str, timeout: float = 5) -> Any:
    return TABLES[name].make(url, timeout)


def failure(provider: Any) -> SmsError:
    with pytest.raises(SmsError) as caught:
        carry(provider)
    return caught.value


def test_every_provider_has_its_table() -> None:
    """Importing the tables has told already; a table without a success would not say much."""
    files = {path.stem for path in Path(tables.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == set(PROVIDERS)
    for name, table in TABLES.items():
        assert isinstance(table.make("http://127.0.0.1"), find(name))
        assert any(not isinstance(row[-1], Outcome) for row in table.ROWS.values())


@pytest.mark.parametrize(
    ("name", "row"), [(name, row) for name in HTTP for row in TABLES[name].ROWS.values()],
    ids=[f"{name}-{row}" for name in HTTP for row in TABLES[name].ROWS],
)  # fmt: skip
def test_answers_of_the_provider(provider: Provider, name: str, row: Row) -> None:
    status, headers, body, expected = row
    provider.say(status, body, headers)
    if isinstance(expected, Outcome):
        assert failure(make(name, provider.url)).outcome is expected
    else:
        assert carry(make(name, provider.url)) == expected
    assert len(provider.requests) == 1


@every_provider
@pytest.mark.parametrize("row", GENERIC)
def test_answers_that_any_server_may_give(provider: Provider, name: str, row: str) -> None:
    status, headers, body, expected = {**GENERIC, **getattr(TABLES[name], "GENERIC", {})}[row]
    provider.say(status, body, headers)
    found = failure(make(name, provider.url))
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
    assert failure(make(name, provider.url)).retry_after == seconds


# Connections that go wrong -----------------------------------------------------------------


@every_provider
def test_no_answer_in_time(provider: Provider, name: str) -> None:
    provider.raw(b"HTTP/1.0 201 Created\r\n\r\n", pause=2)
    begun = time.monotonic()
    assert failure(make(name, provider.url, TIMEOUT)).outcome is Outcome.UNKNOWN
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
    assert failure(make(name, provider.url, TIMEOUT)).outcome is Outcome.UNKNOWN
    assert time.monotonic() - begun < 1
    assert len(provider.requests) == 1


@every_provider
def test_connection_refused(name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening
        found = failure(make(name, f"http://127.0.0.1:{taken.getsockname()[1]}"))
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
    assert failure(make(name, provider.url)).outcome is Outcome.UNKNOWN
    assert len(provider.requests) == 1


@every_provider
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(provider: Provider, name: str, status: int) -> None:
    provider.say(status, "", {"Location": f"{provider.url}/elsewhere"})
    assert failure(make(name, provider.url)).outcome is Outcome.CONFIGURATION
    assert len(provider.requests) == 1


@every_provider
def test_a_certificate_that_is_not_trusted(tls_provider: Provider, name: str) -> None:
    found = failure(make(name, tls_provider.url))
    assert found.outcome is Outcome.CONFIGURATION
    assert found.words.startswith("TLS: ")
    assert tls_provider.requests == []


@every_provider
def test_plain_http_where_tls_is_expected(provider: Provider, name: str) -> None:
    found = failure(make(name, provider.url.replace("http", "https")))
    assert found.outcome is Outcome.CONFIGURATION
    assert provider.requests == []


def test_a_certificate_that_is_trusted(tls_provider: Provider, certificate: Path) -> None:
    tls_provider.say(200)
    Gateway(url=tls_provider.url, ca_file=str(certificate)).send(text())
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
    assert failure(make(name, "http://sms.invalid")).outcome is Outcome.TEMPORARY


@every_provider
@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://a..b", "http://[::1", "http://"])
def test_an_address_that_cannot_be_one(name: str, url: str) -> None:
    """If the settings let it pass, it is at least an ``SmsError``, so that the next one is asked."""
    try:
        sender = make(name, url)
    except Exception as refused:
        assert type(refused).__name__ == "ConfigError"  # noqa: PT017
        return
    assert failure(sender).outcome is Outcome.CONFIGURATION


# What is asked -----------------------------------------------------------------------------


def test_request_of_twilio(provider: Provider) -> None:
    provider.say(201, '{"sid": "SM1"}')
    make("twilio", provider.url).send(text())
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
        url=f"{provider.url}/",
    )
    sender.send(text(body="ein Tëxt & mehr=%41+", lifetime=60))
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
    make("sandbox", provider.url).send(text())
    request = only(provider)
    assert (request.method, request.path) == ("POST", "/2010-04-01/Accounts/ACsandbox/Messages.json")
    assert request.headers["Authorization"] == basic("ACsandbox", "sandbox")
    assert (form(request)["To"], form(request)["Body"]) == (NUMBER, TEXT)


def test_request_of_a_gateway(provider: Provider) -> None:
    provider.say(200, "queued")
    make("http", provider.url).send(text())
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
    Gateway(url=provider.url).send(text())
    assert "Authorization" not in only(provider).headers
    provider.say(500)
    failure(make(name, provider.url))
    assert len(provider.requests) == 2
    assert provider.requests[1].headers.get("Authorization") != basic("intruder", "intruder")


# What is told --------------------------------------------------------------------------------


def quoted_request(request: Request) -> str:
    """Return the request's content in every way a server may quote it."""
    body = request.body.decode()
    return f"cannot: {body} {unquote_plus(body)} {request.path} {NUMBER[1:]} {NUMBER}"


def told(sender: Any) -> str:
    """Return everything that a text leaves behind."""
    try:
        carry(sender)
    except SmsError as found:
        return "\n".join([str(found), repr(found), found.words, repr(found.args), repr(sender)])
    return repr(sender)


def echo(provider: Provider, status: int, quote: Callable[[Request], str]) -> None:
    provider.behave = lambda handler: write(handler, status, quote(provider.requests[-1]))


@every_provider
@pytest.mark.parametrize("status", [200, 302, 400, 401, 429, 500, 503])
def test_an_answer_that_quotes_the_text_does_not_tell_it(
    provider: Provider, name: str, status: int
) -> None:
    echo(provider, status, quoted_request)
    said = told(make(name, provider.url))
    assert CODE not in said
    assert NUMBER not in said
    assert NUMBER[1:] not in said


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
    provider: Provider, name: str, spelt: str, hidden: str
) -> None:
    provider.say(400, spelt)
    assert hidden not in told(make(name, provider.url))


def credentials(request: Request) -> list[str]:
    """Return what of a request's headers gives access, with and without the scheme before it."""
    names = {"authorization", "x-api-key"}
    values = [value for name, value in request.headers.items() if name.lower() in names]
    return values + [value.partition(" ")[2] or value for value in values]


@every_secret
@pytest.mark.parametrize("status", [201, 302, 400, 401, 500])
def test_an_answer_that_quotes_a_secret_does_not_tell_it(
    provider: Provider, name: str, status: int
) -> None:
    secrets = TABLES[name].SECRETS
    echo(provider, status, lambda request: f"no: {credentials(request)} {secrets} {request.body!r}")
    said = told(make(name, provider.url))
    assert f"HTTP {status} no: " in said
    for secret in [*secrets, *credentials(only(provider))]:
        assert secret not in said


@every_provider
def test_an_answer_still_says_what_is_wrong(provider: Provider, name: str) -> None:
    provider.say(400, "{\n  The sender   is not registered\n}")
    assert "HTTP 400 { The sender is not registered }" in told(make(name, provider.url))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_broken_connection_does_not_tell_the_request(provider: Provider, method: str) -> None:
    url = f"{provider.url}/send?key={TOKEN}"
    provider.raw()
    senders = [
        Gateway(url=url, method=method, content_type="form"),
        Gateway(url=f"http://127.0.0.1:9/send?key={TOKEN}", method=method, content_type="form"),
    ]
    for sender in senders:
        said = told(sender).replace(repr(sender), "")
        assert said
        assert CODE not in said
        assert NUMBER[1:] not in said
        assert TOKEN not in said


# What http.py does for all of them ---------------------------------------------------------------


@pytest.mark.parametrize("secret", ["p&ss=w+rd", 'quo"te', "täglich", "739126"])
@pytest.mark.parametrize("quote", [str, quote_plus, lambda secret: json.dumps(secret)[1:-1]])
def test_secrets_are_masked_however_they_are_spelt(
    provider: Provider, secret: str, quote: Callable[[str], str]
) -> None:
    provider.say(400, f"bad {quote(secret)}")
    answer = http.ask("POST", provider.url, form={"key": "x"}, secrets=[secret, "", "abc"], timeout=5)
    assert answer.words == "HTTP 400 bad …"


def test_what_is_too_short_to_be_a_secret_is_left(provider: Provider) -> None:
    provider.say(400, "the abc of it")
    answer = http.ask("GET", provider.url, secrets=["", "abc"], timeout=5)
    assert answer.words == "HTTP 400 the abc of it"


def test_headers_are_found_however_they_are_written(provider: Provider) -> None:
    provider.say(200, "", {"X-Rate-Limit-Reset": "5"})
    assert http.ask("GET", provider.url, timeout=5).headers["x-rate-limit-reset"] == "5"
