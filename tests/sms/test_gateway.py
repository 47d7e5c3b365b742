"""A gateway described in the settings: what is refused, and that nothing leaves its field."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portald.config import Secret, build
from portald.errors import ConfigError, SmsError
from portald.model import Outcome
from portald.sms.gateway import Gateway
from tests.sms.conftest import Provider, Request

URL = "http://127.0.0.1:9/send"
NUMBER = "+14155552671"
TEXT = "123456 is your code"
BOTH = {"to": "{{mobile}}", "text": "{{body}}"}

hostile = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
nasty = st.text(max_size=60) | st.lists(
    st.sampled_from(
        [
            *('"', "'", "\\", "\n", "\r\n", "&", "=", "+", "%", "%26", "#", "?", "\0", " ", ";", "1"),
            *("{", "}", "{{", "}}", "{{mobile}}", "{{body}}", "{{mobile_digits}}"),
            *('","to":"', "&to=", "ß", "🙂", "</x>"),
        ]
    )
).map("".join)


# Settings ----------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no url": ({"url": ""}, "url: expected http"),
    "no scheme": ({"url": "sms.example/send"}, "url: expected http"),
    "other scheme": ({"url": "ftp://sms.example"}, "url: expected http"),
    "no host": ({"url": "https:///send"}, "url: "),
    "broken host": ({"url": "https://[::1/send"}, "url: "),
    "method": ({"method": "DELETE"}, "method: expected one of POST, PUT, GET, got 'DELETE'"),
    "small letters": ({"method": "post"}, "method: expected one of"),
    "content type": ({"content_type": "xml"}, "content_type: expected json or form, got 'xml'"),
    "no text": ({"payload": {"to": "{{mobile}}"}}, "payload: {{body}} is missing"),
    "no number": ({"payload": {"text": "{{body}}"}}, "payload: {{mobile}} is missing"),
    "text as a name": ({"payload": {"to": "{{mobile}}", "{{body}}": "x"}}, "payload: {{body}} is missing"),
    "number as a name": (
        {"payload": {"{{mobile}}": "x", "t": "{{body}}"}},
        "payload: {{mobile}} is missing",
    ),
    "misspelt number": (
        {"payload": {"to": "{{mobil}}", "t": "{{body}}"}},
        "payload: {{mobile}} is missing",
    ),
    "unknown number": ({"payload": {"to": "{{mobile_digit}}", "t": "{{body}}"}}, "payload: "),
    "nested form": ({"content_type": "form", "payload": {"a": BOTH}}, "payload: only text values"),
    "nested query": ({"method": "GET", "payload": {"a": [*BOTH.values()]}}, "payload: only text values"),
    "number in a form": ({"content_type": "form", "payload": {**BOTH, "n": 1}}, "payload: only text"),
    "a date": ({"payload": {**BOTH, "when": date(2026, 1, 1)}}, "payload"),
    "not a number": ({"payload": {**BOTH, "n": float("nan")}}, "payload"),
    "header of two lines": ({"headers": {"X-A": "a\r\nX-B: b"}}, "headers.X-A: expected one line of text"),
    "header name of two lines": ({"headers": {"X-A\nX-B": "b"}}, "headers.X-A\nX-B: expected one line"),
    "header with a number": ({"headers": {"X-A": 5}}, "headers.X-A: expected one line of text"),
    "header name with a colon": ({"headers": {"X-A: b": "c"}}, "headers."),
    "header without a name": ({"headers": {"": "c"}}, "headers."),
    "header in another script": ({"headers": {"X-A": "€"}}, "headers.X-A"),
    "user alone": ({"user": "u"}, "user: give user and password together"),
    "password alone": ({"password": "p"}, "user: give user and password together"),
    "payload no table": ({"payload": "x"}, "payload: expected a table, got text"),
    "headers no table": ({"headers": ["x"]}, "headers: expected a table, got a list"),
    "success code as text": ({"success_codes": ["200"]}, "success_codes[0]: expected a whole number"),
    "timeout too long": ({"timeout": 31}, "timeout: at most 30"),
}


@pytest.mark.parametrize("row", WRONG)
def test_settings_that_are_refused(row: str) -> None:
    table, problem = WRONG[row]
    # Always given here, so that a row shows one problem; that they may be left out is shown below.
    with pytest.raises(ConfigError) as caught:
        build(Gateway, {"url": URL, "payload": BOTH, "headers": {}, **table})
    (found,) = caught.value.problems
    assert found.startswith(problem)


def test_a_url_is_enough() -> None:
    gateway = build(Gateway, {"url": URL})
    assert (gateway.method, gateway.content_type, gateway.payload) == ("POST", "json", BOTH)
    assert gateway.headers == {}


def test_a_missing_certificate_file_is_an_error_that_asks_the_next_one(
    tls_provider: Provider, tmp_path: Path
) -> None:
    """Whether it is noticed when starting or only when sending."""
    (tmp_path / "rubbish.pem").write_text("no certificate")
    for name in ("nothing.pem", "rubbish.pem"):
        try:
            gateway = Gateway(url=tls_provider.url, ca_file=str(tmp_path / name))
        except ConfigError as refused:
            assert "ca_file" in str(refused)  # noqa: PT017
            continue
        assert failure(gateway).outcome is Outcome.CONFIGURATION


@pytest.mark.parametrize(
    "more",
    [{"bearer": Secret("tök€n")}, {"user": "jürgen€", "password": Secret("pässwört€")}],
    ids=["bearer", "basic"],
)
def test_secrets_in_other_scripts(provider: Provider, more: dict[str, Any]) -> None:
    """They are sent as UTF-8, or refused when starting; they are no surprise at the first text."""
    try:
        gateway = Gateway(url=provider.url, **more)
    except ConfigError:
        return
    provider.say(200)
    gateway.send(NUMBER, TEXT)
    assert len(provider.requests) == 1


# What is sent ------------------------------------------------------------------------------


def failure(gateway: Gateway) -> SmsError:
    with pytest.raises(SmsError) as caught:
        gateway.send(NUMBER, TEXT)
    return caught.value


def sent(provider: Provider, number: str = NUMBER, text: str = TEXT, **more: Any) -> Request:
    provider.say(200)
    provider.requests.clear()
    Gateway(url=f"{provider.url}/send", **more).send(number, text)
    (request,) = provider.requests
    return request


def pairs(encoded: str) -> list[tuple[str, str]]:
    return parse_qsl(encoded, keep_blank_values=True, strict_parsing=True)


@hostile
@given(number=nasty, text=nasty)
def test_whatever_it_is_it_stays_inside_its_json_string(provider: Provider, number: str, text: str) -> None:
    payload = {"a": [{"b": "<{{mobile}}>"}, 1, True, 1.5], "c": "{{body}}", "d": "{{mobile_digits}}"}
    request = sent(provider, number, text, payload=payload)
    assert json.loads(request.body) == {
        "a": [{"b": f"<{number}>"}, 1, True, 1.5],
        "c": text,
        "d": number.lstrip("+"),
    }


@hostile
@given(number=nasty, text=nasty)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_whatever_it_is_it_stays_inside_its_form_field(
    provider: Provider, method: str, number: str, text: str
) -> None:
    payload = {"to": "{{mobile}}", "text": "{{body}}", "fixed": "a&b={c}"}
    request = sent(provider, number, text, method=method, content_type="form", payload=payload)
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert pairs(request.body.decode()) == [("to", number), ("text", text), ("fixed", "a&b={c}")]


@hostile
@given(number=nasty, text=nasty)
def test_whatever_it_is_it_stays_inside_its_query_field(provider: Provider, number: str, text: str) -> None:
    request = sent(provider, number, text, method="GET", payload={**BOTH, "key": "k"})
    parts = urlsplit(request.path)
    assert parts.path == "/send"
    assert pairs(parts.query) == [("to", number), ("text", text), ("key", "k")]
    assert request.body == b""


def test_placeholders_inside_a_text_stay_as_they_are(provider: Provider) -> None:
    text = "{{mobile}} {{body}} {{mobile_digits}} {{{{body}}}}"
    request = sent(provider, NUMBER, text, payload={"to": "{{mobile}}/{{body}}", "n": "{{ mobile }}"})
    assert json.loads(request.body) == {"to": f"{NUMBER}/{text}", "n": "{{ mobile }}"}


def test_a_gateway_sends_the_same_form_twice(provider: Provider) -> None:
    """Filling in does not change the settings."""
    provider.say(200)
    gateway = Gateway(url=provider.url, payload={"a": {"to": "{{mobile}}"}, "b": ["{{body}}"]})
    for number, text in (("+1", "one"), ("+2", "two")):
        gateway.send(number, text)
        assert json.loads(provider.requests[-1].body) == {"a": {"to": number}, "b": [text]}


def test_query_is_added_to_the_one_of_the_url(provider: Provider) -> None:
    provider.say(200)
    Gateway(url=f"{provider.url}/send?key=a%26b", method="GET").send(NUMBER, TEXT)
    (request,) = provider.requests
    assert pairs(urlsplit(request.path).query) == [("key", "a&b"), ("to", NUMBER), ("text", TEXT)]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("content_type", ["json", "form"])
def test_methods_and_content_types(provider: Provider, method: str, content_type: str) -> None:
    request = sent(provider, method=method, content_type=content_type)
    assert request.method == method
    read: dict[str, Callable[[], Any]] = {
        "query": lambda: dict(pairs(urlsplit(request.path).query)),
        "json": lambda: json.loads(request.body),
        "form": lambda: dict(pairs(request.body.decode())),
    }
    assert read["query" if method == "GET" else content_type]() == {"to": NUMBER, "text": TEXT}
    if method != "GET":
        assert urlsplit(request.path).query == ""


def test_authorizations(provider: Provider) -> None:
    assert "Authorization" not in sent(provider).headers
    assert sent(provider, bearer=Secret("tok")).headers["Authorization"] == "Bearer tok"
    basic = sent(provider, user="me", password=Secret("p:w")).headers["Authorization"]
    assert basic == "Basic " + base64.b64encode(b"me:p:w").decode()


def test_further_headers(provider: Provider) -> None:
    headers = sent(provider, headers={"X-Api-Key": "k", "User-Agent": "venue"}).headers
    assert (headers["X-Api-Key"], headers["User-Agent"]) == ("k", "venue")


# What is a success -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "status", "outcome"),
    [
        ((), 200, None),
        ((), 202, None),
        ((), 302, Outcome.CONFIGURATION),
        ((), 400, Outcome.CONFIGURATION),
        ((202,), 202, None),
        ((202,), 200, Outcome.CONFIGURATION),
        ((202,), 401, Outcome.AUTHENTICATION),
        ((202,), 500, Outcome.UNKNOWN),
        ((200, 302), 302, None),
        ((400,), 400, None),
    ],
)
def test_success_codes(
    provider: Provider, codes: tuple[int, ...], status: int, outcome: Outcome | None
) -> None:
    provider.say(status, "words", {"Location": "/x"})
    gateway = Gateway(url=provider.url, success_codes=codes)
    if outcome is None:
        assert gateway.send(NUMBER, TEXT) == ""
    else:
        assert failure(gateway).outcome is outcome
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ("status=OK", True),
        ("ok", False),
        ("", False),
        ("x" * 200_000 + "OK", False),
        ("OK" + "x" * 200_000, True),
    ],
)
def test_success_contains(provider: Provider, body: str, good: bool) -> None:
    provider.say(200, body)
    gateway = Gateway(url=provider.url, success_contains="OK")
    if good:
        assert gateway.send(NUMBER, TEXT) == ""
    else:
        found = failure(gateway)
        assert found.outcome is Outcome.UNKNOWN
        assert "without 'OK'" in found.words
