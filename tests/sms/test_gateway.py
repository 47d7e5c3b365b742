"""A gateway described in the settings: what is refused, what is sent, and what is a success."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings

from portald.errors import ConfigError, SmsError
from portald.model import Outcome, Text
from portald.schema import Secret, build
from portald.sms.gateway import Gateway
from tests.sms.conftest import Provider, Request
from tests.sms.tables import CODE, NUMBER, TEXT, text
from tests.sms.test_payload import nasty

URL = "http://127.0.0.1:9/send"
BOTH = {"to": "{{mobile}}", "text": "{{body}}"}

hostile = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# Settings ----------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no url": ({"url": ""}, "url: expected http"),
    "no scheme": ({"url": "sms.example/send"}, "url: expected http"),
    "other scheme": ({"url": "ftp://sms.example"}, "url: expected http"),
    "no host": ({"url": "https:///send"}, "url: "),
    "broken host": ({"url": "https://[::1/send"}, "url: "),
    "a placeholder as scheme": ({"url": "{{body}}://sms.example"}, "url: expected http"),
    "a placeholder in the host": ({"url": "https://{{account}}.sms.example", "account": "a"}, "url: placeholders"),
    "a placeholder in the fragment": ({"url": "https://sms.example/#{{body}}"}, "url: placeholders are for"),
    "an unknown placeholder in the url": ({"url": "https://sms.example/{{accout}}"}, "url: {{accout}} is not known"),
    "method": ({"method": "DELETE"}, "method: expected POST or PUT or GET, got 'DELETE'"),
    "small letters": ({"method": "post"}, "method: expected POST or"),
    "content type": ({"content_type": "xml"}, "content_type: expected json or form, got 'xml'"),
    "JSON with GET": ({"content_type": "JSON", "method": "GET"}, "content_type: a GET has no JSON; set method"),
    "no text": ({"payload": {"to": "{{mobile}}"}}, "payload: {{body}} is missing"),
    "no number": ({"payload": {"text": "{{body}}"}}, "payload: {{mobile}} is missing"),
    "text as a name": ({"payload": {"to": "{{mobile}}", "{{body}}": "x"}}, "payload: {{body}} is missing"),
    "number as a name": ({"payload": {"{{mobile}}": "x", "t": "{{body}}"}}, "payload: {{mobile}} is missing"),
    "misspelt": (
        {"payload": {"to": "{{mobil}}", "t": "{{body}}"}},
        "payload: {{mobil}} is not known; did you mean {{mobile}}?",
    ),
    "nested form": ({"content_type": "form", "payload": {"a": BOTH}}, "payload: only text values"),
    "nested query": ({"method": "GET", "payload": {"a": [*BOTH.values()]}}, "payload: only text values"),
    "number in a form": ({"content_type": "form", "payload": {**BOTH, "n": 1}}, "payload: only text"),
    "a date": ({"payload": {**BOTH, "when": date(2026, 1, 1)}}, "payload: only text"),
    "not a number": ({"payload": {**BOTH, "n": float("nan")}}, "payload: only text"),
    "payload neither": ({"payload": ["x"]}, "payload: expected a table or text, got list"),
    "payload no JSON": ({"payload": "{“to”: {{mobile}}}"}, "payload: not JSON, line 1, column 2"),
    "payload no form": ({"payload": "x", "content_type": "form"}, "payload: expected to={{mobile}}"),
    "header of two lines": ({"headers": {"X-A": "a\r\nX-B: b"}}, "headers.X-A: expected one line of text"),
    "header name of two lines": ({"headers": {"X-A\nX-B": "b"}}, "headers.X-A\nX-B: expected one line"),
    "header with a number": ({"headers": {"X-A": 5}}, "headers.X-A: expected one line of text"),
    "header name with a colon": ({"headers": {"X-A: b": "c"}}, "headers."),
    "header without a name": ({"headers": {"": "c"}}, "headers."),
    "header in another script": ({"headers": {"X-A": "€"}}, "headers.X-A"),
    "header without a value": ({"headers": "X-A"}, "headers: expected name: value"),
    "header with an unknown placeholder": ({"headers": "X-A: {{boddy}}"}, "headers: {{boddy}} is not known"),
    "headers neither": ({"headers": ["x"]}, "headers: expected a table or text, got list"),
    "one more header without its value": ({"header_name": "X-A"}, "header_name: give header_name and"),
    "one more header, wrong": ({"header_name": "X A", "header_value": "b"}, "headers.X A: expected one line"),
    "user alone": ({"user": "u"}, "user: give user and password together"),
    "password alone": ({"password": "p"}, "user: give user and password together"),
    "bearer and user": ({"bearer": "b", "user": "u", "password": "p"}, "bearer: give one of"),
    "bearer and OAuth": (
        {"bearer": "b", "oauth_url": URL, "oauth_id": "i", "oauth_secret": "s"},
        "bearer: give one of",
    ),
    "half of OAuth": ({"oauth_url": URL, "oauth_id": "i"}, "oauth_id: give oauth_url, oauth_id and"),
    "the other half": ({"oauth_id": "i", "oauth_secret": "s"}, "oauth_url: give oauth_url and oauth_id"),
    "OAuth nowhere": ({"oauth_url": "x", "oauth_id": "i", "oauth_secret": "s"}, "oauth_url: expected"),
    "no sender": ({"payload": {**BOTH, "f": "{{from}}"}}, "sender: missing, and the request has a place"),
    "no key": ({"headers": "X-Key: {{key}}"}, "key: missing"),
    "no account": ({"url": "https://sms.example/{{account}}"}, "account: missing"),
    "a sender too many": ({"sender": "Lobby"}, "sender: the request has no place for it; put {{from}} there"),
    "a key too many": ({"key": "k"}, "key: the request has no place for it"),
    "nobody looks": ({"ca_file": "x", "verify_tls": False}, "ca_file: nobody looks at it"),
    "success code as text": ({"success_codes": ["200"]}, "success_codes[0]: expected a whole number"),
    "no pointer": ({"message_id": "id"}, "message_id: expected a JSON pointer"),
    "a broken pointer": ({"error_json": "/a~2"}, "error_json: expected a JSON pointer"),
    "no pointer for success": ({"success_json": {"status": "ok"}}, "success_json: expected a JSON pointer"),
    "nothing for success": ({"success_json": {"/status": []}}, "success_json./status: expected a value"),
    "a table for success": ({"success_json": {"/status": {"a": 1}}}, "success_json./status: expected a value"),
    "no such outcome": ({"outcomes": {"7": "lost"}}, "outcomes.7: expected one of invalid_number"),
    "success is none": ({"outcomes": {"7": "accepted"}}, "outcomes.7: expected one of"),
    "no such script": ({"script": "/nonexistent.lua"}, "script: cannot be read"),
    "timeout too long": ({"timeout": 31}, "timeout: at most 30"),
}  # fmt: skip


@pytest.mark.parametrize("row", WRONG)
def test_settings_that_are_refused(row: str) -> None:
    table, problem = WRONG[row]
    with pytest.raises(ConfigError) as caught:
        build(Gateway, {"url": URL, **table})
    (found,) = caught.value.problems
    assert found.startswith(problem)


def test_a_url_is_enough() -> None:
    gateway = build(Gateway, {"url": URL})
    assert (gateway.method, gateway.content_type, gateway.payload) == ("POST", None, BOTH)
    assert gateway.headers == {}


def test_secrets_do_not_show() -> None:
    shown = repr(
        build(
            Gateway,
            {
                "url": URL,
                "payload": {**BOTH, "key": "s3cret"},
                "headers": "X-Key: s3cret, X-Other: {{key}}",
                "header_name": "X-A",
                "header_value": "s3cret",
                "key": "s3cret",
                "oauth_url": URL,
                "oauth_id": "me",
                "oauth_secret": "s3cret",
            },
        )
    )
    assert "s3cret" not in shown


RISKS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "none": ({"bearer": "b"}, []),
    "a key in the payload": ({"payload": {**BOTH, "apikey": "x"}}, []),
    "a key in the query": ({"url": "https://sms.example/?key=x"}, []),
    "this machine": ({"url": "http://localhost:8080/", "bearer": "b"}, []),
    "no TLS": ({"url": "http://192.0.2.1/", "bearer": "b"}, ["url: http:// shows"]),
    "no proof": ({"verify_tls": False, "bearer": "b"}, ["verify_tls: false"]),
    "nobody": ({}, ["url: nothing in the request says"]),
    "a token without TLS": (
        {"oauth_url": "http://192.0.2.1/token", "oauth_id": "i", "oauth_secret": "s"},
        ["oauth_url: http:// shows"],
    ),
    "WSO2's spelling": ({"headers": "authorisation: x"}, ["headers: HTTP's own header is Authorization"]),
}


@pytest.mark.parametrize("row", RISKS)
def test_risks_are_named(row: str) -> None:
    table, expected = RISKS[row]
    found = build(Gateway, {"url": "https://sms.example/send", **table}).warnings()
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True))


def test_a_missing_certificate_file_is_an_error_that_asks_the_next_one(
    tls_provider: Provider, tmp_path: Path
) -> None:
    """Whether it is noticed when starting or only when sending."""
    (tmp_path / "rubbish.pem").write_text("no certificate")
    for name in ("nothing.pem", "rubbish.pem"):
        gateway = Gateway(url=tls_provider.url, ca_file=str(tmp_path / name))
        assert failure(gateway).outcome is Outcome.CONFIGURATION


def test_certificates_need_not_be_verified_and_that_is_told(
    tls_provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    tls_provider.say(200)
    assert failure(Gateway(url=tls_provider.url)).outcome is Outcome.CONFIGURATION
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            Gateway(url=tls_provider.url, verify_tls=False).send(text())
    assert [record.getMessage() for record in caplog.records] == [
        "event=tls_not_verified host=127.0.0.1"
    ] * 2
    assert len(tls_provider.requests) == 2


@pytest.mark.parametrize(
    "more",
    [{"bearer": Secret("tök€n")}, {"user": "jürgen€", "password": Secret("pässwört€")}],
    ids=["bearer", "basic"],
)
def test_secrets_in_other_scripts(provider: Provider, more: dict[str, Any]) -> None:
    """They are sent as UTF-8, or refused when starting; they are no surprise at the first text."""
    provider.say(200)
    Gateway(url=provider.url, **more).send(text())
    assert len(provider.requests) == 1


# What is sent ------------------------------------------------------------------------------


def failure(gateway: Gateway) -> SmsError:
    with pytest.raises(SmsError) as caught:
        gateway.send(text())
    return caught.value


def sent(
    provider: Provider, number: str = NUMBER, body: str = TEXT, path: str = "/send", **more: Any
) -> Request:
    provider.say(200)
    provider.requests.clear()
    Gateway(url=f"{provider.url}{path}", **more).send(text(number, body))
    (request,) = provider.requests
    return request


def pairs(encoded: str) -> list[tuple[str, str]]:
    return parse_qsl(encoded, keep_blank_values=True, strict_parsing=True)


@hostile
@given(number=nasty, body=nasty)
@pytest.mark.parametrize(
    "payload",
    [
        {"a": [{"b": "<{{mobile}}>"}, 1, True, 1.5], "c": "{{body}}", "d": "{{mobile_digits}}"},
        '{"a": [{"b": "<{{mobile}}>"}, 1, true, 1.5], "c": {{body}}, "d": {{mobile_digits}}}',
    ],
    ids=["table", "text"],
)
def test_whatever_it_is_it_stays_inside_its_json_string(
    provider: Provider, payload: Any, number: str, body: str
) -> None:
    request = sent(provider, number, body, payload=payload)
    assert json.loads(request.body) == {
        "a": [{"b": f"<{number}>"}, 1, True, 1.5],
        "c": body,
        "d": number.removeprefix("+"),
    }


@hostile
@given(number=nasty, body=nasty)
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    "payload",
    [{"to": "{{mobile}}", "text": "{{body}}", "fixed": "a&b={c}"}, "to={{mobile}}&text={{body}}&fixed=a%26b%3D%7Bc%7D"],
    ids=["table", "text"],
)  # fmt: skip
def test_whatever_it_is_it_stays_inside_its_form_field(
    provider: Provider, method: str, payload: Any, number: str, body: str
) -> None:
    request = sent(provider, number, body, method=method, content_type="form", payload=payload)
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert pairs(request.body.decode()) == [("to", number), ("text", body), ("fixed", "a&b={c}")]


@hostile
@given(number=nasty, body=nasty)
def test_whatever_it_is_it_stays_inside_its_query_field(provider: Provider, number: str, body: str) -> None:
    request = sent(provider, number, body, method="GET", payload={**BOTH, "key": "k"})
    parts = urlsplit(request.path)
    assert parts.path == "/send"
    assert pairs(parts.query) == [("to", number), ("text", body), ("key", "k")]
    assert request.body == b""


@hostile
@given(number=nasty, body=nasty)
def test_whatever_it_is_it_stays_inside_its_part_of_the_path(
    provider: Provider, number: str, body: str
) -> None:
    provider.requests.clear()
    provider.say(200)
    gateway = Gateway(url=f"{provider.url}/v1/{{{{mobile}}}}/x?text={{{{body}}}}", payload={})
    try:
        gateway.send(text(number, body))
    except SmsError as refused:
        assert number in {".", ".."}
        assert refused.outcome is Outcome.CONFIGURATION  # noqa: PT017
        return
    parts = urlsplit(provider.requests[0].path)
    assert [parse_qsl(f"x={segment.replace('+', '%2B')}", keep_blank_values=True)[0][1]
            for segment in parts.path.split("/")] == ["", "v1", number, "x"]  # fmt: skip
    assert pairs(parts.query) == [("text", body)]


def test_placeholders_inside_a_text_stay_as_they_are(provider: Provider) -> None:
    body = "{{mobile}} {{body}} {{mobile_digits}} {{{{body}}}} ${code} @@pin@@"
    request = sent(provider, NUMBER, body, payload={"to": "{{mobile}}/{{body}}", "n": "{{ mobile }}"})
    assert json.loads(request.body) == {"to": f"{NUMBER}/{body}", "n": NUMBER}


def test_everything_that_is_known_can_be_sent(provider: Provider) -> None:
    provider.say(200)
    names = ["body", "mobile", "mobile_digits", "from", "code", "reference", "ip", "user_agent", "language",
             "ttl_minutes", "ttl_seconds", "account", "key"]  # fmt: skip
    gateway = build(
        Gateway,
        {
            "url": f"{provider.url}/send/{{{{account}}}}",
            "payload": {name: f"{{{{{name}}}}}" for name in names},
            "headers": {"X-Key": "K {{key}}", "X-From": "{{from}}"},
            "sender": "Lobby",
            "account": "acc",
            "key": "k",
        },
    )
    gateway.send(
        Text("+336", "b", "739126", 301, "de", "192.0.2.9", "Mozilla ü", sender="Other", reference="7")
    )
    (request,) = provider.requests
    assert request.path == "/send/acc"
    assert (request.headers["X-Key"], request.headers["X-From"]) == ("K k", "Other")
    assert json.loads(request.body) == dict(
        zip(names, ["b", "+336", "336", "Other", "739126", "7", "192.0.2.9", "Mozilla ü", "de", "6", "301", "acc", "k"],
            strict=True)
    )  # fmt: skip


def test_a_gateway_sends_the_same_form_twice(provider: Provider) -> None:
    """Filling in does not change the settings."""
    provider.say(200)
    gateway = Gateway(url=provider.url, payload={"a": {"to": "{{mobile}}"}, "b": ["{{body}}"]})
    for number, body in (("+1", "one"), ("+2", "two")):
        gateway.send(text(number, body))
        assert json.loads(provider.requests[-1].body) == {"a": {"to": number}, "b": [body]}


def test_query_is_added_to_the_one_of_the_url(provider: Provider) -> None:
    request = sent(provider, path="/send?key=a%26b", method="GET")
    assert pairs(urlsplit(request.path).query) == [("key", "a&b"), ("to", NUMBER), ("text", TEXT)]


@pytest.mark.parametrize(
    ("method", "content_type", "kind"),
    [
        ("POST", None, "json"),
        ("PUT", None, "json"),
        ("GET", None, "query"),
        ("GET", "form", "query"),
        ("POST", "JSON", "json"),
        ("PUT", "application/json", "json"),
        ("POST", "FORM", "form"),
        ("POST", "x-www-form-urlencoded", "form"),
        ("PUT", "application/x-www-form-urlencoded", "form"),
    ],
)
def test_methods_and_content_types(
    provider: Provider, method: str, content_type: str | None, kind: str
) -> None:
    request = sent(provider, method=method, content_type=content_type)
    assert request.method == method
    read: dict[str, Callable[[], Any]] = {
        "query": lambda: dict(pairs(urlsplit(request.path).query)),
        "json": lambda: json.loads(request.body),
        "form": lambda: dict(pairs(request.body.decode())),
    }
    assert read[kind]() == {"to": NUMBER, "text": TEXT}
    if method != "GET":
        assert urlsplit(request.path).query == ""


def test_authorizations(provider: Provider) -> None:
    assert "Authorization" not in sent(provider).headers
    assert sent(provider, bearer=Secret("tok")).headers["Authorization"] == "Bearer tok"
    basic = sent(provider, user="me", password=Secret("p:w")).headers["Authorization"]
    assert basic == "Basic " + base64.b64encode(b"me:p:w").decode()
    assert sent(provider, header_name="X-A", header_value=Secret("p w")).headers["X-A"] == "p w"


def test_nothing_in_a_secret_is_a_placeholder(provider: Provider) -> None:
    secret = "{{body}}@@x@@${y}"
    headers = sent(provider, bearer=Secret(secret), header_name="X-A", header_value=Secret(secret)).headers
    assert (headers["Authorization"], headers["X-A"]) == (f"Bearer {secret}", secret)


def test_an_oauth_token_is_fetched_and_sent(provider: Provider) -> None:
    def behave(handler: Any) -> None:
        body = b'{"access_token": "t0k", "expires_in": 3600}' if handler.path == "/token" else b"queued"
        handler.send_response_only(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    provider.behave = behave
    gateway = Gateway(
        url=f"{provider.url}/send",
        oauth_url=f"{provider.url}/token",
        oauth_id="me",
        oauth_secret=Secret("pw"),
        oauth_scope="sms",
    )
    for _ in range(2):
        gateway.send(text())
    asked, *texts = provider.requests
    assert (asked.path, dict(pairs(asked.body.decode()))) == (
        "/token",
        {"grant_type": "client_credentials", "scope": "sms"},
    )
    assert [(request.path, request.headers["Authorization"]) for request in texts] == [
        ("/send", "Bearer t0k")
    ] * 2


def test_further_headers(provider: Provider) -> None:
    headers = sent(provider, headers={"X-Api-Key": "k", "User-Agent": "venue"}).headers
    assert (headers["X-Api-Key"], headers["User-Agent"]) == ("k", "venue")
    headers = sent(provider, headers="authorisation: qwer1234asdfzxcv, x-csrf: true, x-abc: a, b").headers
    assert (headers["authorisation"], headers["x-csrf"], headers["x-abc"]) == (
        "qwer1234asdfzxcv",
        "true",
        "a, b",
    )


def test_a_header_that_would_be_two_lines_is_not_sent(provider: Provider) -> None:
    gateway = Gateway(url=provider.url, headers={"X-Text": "{{body}}"})
    with pytest.raises(SmsError) as caught:
        gateway.send(text(body=f"{CODE}\r\nX-Evil: 1"))
    assert caught.value.outcome is Outcome.CONFIGURATION
    assert CODE not in caught.value.words
    assert provider.requests == []


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
        assert gateway.send(text()) == ""
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
        assert gateway.send(text()) == ""
    else:
        found = failure(gateway)
        assert found.outcome is Outcome.UNKNOWN
        assert "without 'OK'" in found.words


@pytest.mark.parametrize(
    ("tests", "body", "good"),
    [
        ({"/status": "queued"}, '{"status": "queued"}', True),
        ({"/status": "queued"}, '{"status": "failed"}', False),
        ({"/status": "queued"}, '{"Status": "queued"}', False),
        ({"/status": ["queued", "sent"]}, '{"status": "sent"}', True),
        ({"/messages/0/code": 0}, '{"messages": [{"code": "0"}]}', True),
        ({"/messages/0/code": "0"}, '{"messages": [{"code": 0}]}', True),
        ({"/messages/1/code": 0}, '{"messages": [{"code": 0}]}', False),
        ({"/messages/-1/code": 0}, '{"messages": [{"code": 0}]}', False),
        ({"/messages/00/code": 0}, '{"messages": [{"code": 0}]}', False),
        ({"/ok": True}, '{"ok": true}', True),
        ({"/ok": True}, '{"ok": false}', False),
        ({"/0/a~1b~0c": "x"}, '[{"a/b~c": "x"}]', True),
        ({"": "queued"}, '"queued"', True),
        ({"/a": "b", "/c": "d"}, '{"a": "b", "c": "x"}', False),
        ({"/a": "b"}, '{"a": ["b"]}', False),
        ({"/a": "b"}, '{"a": null}', False),
        ({"/a": "b"}, "no JSON", False),
        ({"/a": "b"}, "[" * 60_000, False),
    ],
)
def test_success_json(provider: Provider, tests: dict[str, Any], body: str, good: bool) -> None:
    provider.say(200, body)
    gateway = Gateway(url=provider.url, success_json=tests)
    if good:
        assert gateway.send(text()) == ""
    else:
        assert failure(gateway).outcome is Outcome.UNKNOWN
    assert len(provider.requests) == 1


def test_all_tests_have_to_pass(provider: Provider) -> None:
    gateway = Gateway(
        url=provider.url,
        success_codes=(200,),
        success_contains="x",
        success_json={"/a": 1},
        message_id="/a",
    )
    provider.say(200, '{"a": 1, "x": 2}')
    assert gateway.send(text()) == "1"
    for status, body in ((201, '{"a": 1, "x": 2}'), (200, '{"a": 1}'), (200, '{"a": 2, "x": 2}')):
        provider.say(status, body)
        failure(gateway)


@pytest.mark.parametrize("echo", [NUMBER, NUMBER[1:], f"id-{CODE}", TEXT])
def test_an_id_that_gives_away_whose_it_is_is_none(provider: Provider, echo: str) -> None:
    provider.say(200, json.dumps({"id": echo}))
    assert Gateway(url=provider.url, message_id="/id").send(text()) == ""


def test_letters_of_a_code_are_masked_in_words(provider: Provider) -> None:
    provider.say(400, "we do not carry GRNXQ")
    with pytest.raises(SmsError) as caught:
        Gateway(url=provider.url).send(Text(NUMBER, "Code: GRNXQ", "GRNXQ"))
    assert "GRNXQ" not in caught.value.words
