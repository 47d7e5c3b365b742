"""A gateway as Auth0 defines it: the request, the token that proves it, Auth0's words."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest

from portald.errors import ConfigError, SmsError
from portald.model import Outcome
from portald.schema import Secret, build
from portald.sms.auth0 import Authentication, SmsGateway
from tests.sms.conftest import Provider
from tests.sms.tables import NUMBER, TEXT, TOKEN, text
from tests.sms.tables.sms_gateway import make
from tests.sms.wire import only, sent_json

# Of Auth0's example.
AUTH = {"method": "bearer", "subject": "urn:Auth0", "audience": "urn:MySmsGateway", "secret": "MySecret"}


def settings(url: str = "https://sms.example", **more: Any) -> dict[str, Any]:
    return {"gateway_url": url, "sender": "Lobby", **more}


def failure(gateway: SmsGateway) -> SmsError:
    with pytest.raises(SmsError) as caught:
        gateway.send(text())
    return caught.value


# The request ---------------------------------------------------------------------------------


def test_request(provider: Provider) -> None:
    provider.say(200)
    assert make(provider.url).send(text(ip="10.1.2.3", agent="Browser")) == ""
    request = only(provider)
    assert (request.method, request.path) == ("POST", "/send")
    assert sent_json(request) == {"recipient": NUMBER, "body": TEXT, "sender": "Lobby"}


@pytest.mark.parametrize("yes", [True, "true"])
def test_request_with_the_guest(provider: Provider, yes: Any) -> None:
    provider.say(200)
    gateway = build(SmsGateway, settings(provider.url, forward_req_info=yes))
    gateway.send(text(ip="10.1.2.3", agent="Browser", sender="Bar"))
    assert sent_json(only(provider)) == {
        "recipient": NUMBER,
        "body": TEXT,
        "sender": "Bar",
        "req": {"ip": "10.1.2.3", "user-agent": "Browser"},
    }


@pytest.mark.parametrize("no", [False, "false"])
def test_request_without_the_guest_and_without_a_sender(provider: Provider, no: Any) -> None:
    provider.say(200)
    build(SmsGateway, {"gateway_url": provider.url, "forward_req_info": no}).send(text(ip="10.1.2.3"))
    assert sent_json(only(provider)) == {"recipient": NUMBER, "body": TEXT, "sender": ""}


def test_nothing_proves_a_request_unless_asked_for(provider: Provider) -> None:
    provider.say(200)
    SmsGateway(gateway_url=provider.url).send(text())
    assert "Authorization" not in only(provider).headers


# The token -----------------------------------------------------------------------------------


def claims(provider: Provider, key: bytes) -> dict[str, Any]:
    """Return what the latest token says, checked as a gateway would."""
    scheme, _, token = provider.requests[-1].headers["Authorization"].partition(" ")
    assert scheme == "Bearer"
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    # Padded, as PyJWT warns of short keys; HMAC does so itself.
    return jwt.decode(token, key.ljust(32, b"\0"), ["HS256"], audience="urn:MySmsGateway")


def test_token(provider: Provider) -> None:
    provider.say(200)
    gateway = build(SmsGateway, settings(provider.url, gateway_authentication=AUTH))
    gateway.send(text())
    said = claims(provider, b"MySecret")
    assert (said["sub"], said["aud"]) == ("urn:Auth0", "urn:MySmsGateway")
    assert said["exp"] - said["iat"] == 60
    assert said.keys() == {"sub", "aud", "iat", "exp", "jti"}
    gateway.send(text())
    assert claims(provider, b"MySecret")["jti"] != said["jti"]


def test_token_without_a_subject(provider: Provider) -> None:
    provider.say(200)
    auth = {name: value for name, value in AUTH.items() if name != "subject"}
    build(SmsGateway, settings(provider.url, gateway_authentication=auth)).send(text())
    assert claims(provider, b"MySecret").keys() == {"aud", "iat", "exp", "jti"}


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("padding", [True, False])
def test_secret_in_base64url(provider: Provider, inside: bool, padding: bool) -> None:
    """The older description has the switch beside the secret's table, the newer one inside."""
    provider.say(200)
    key = b"\xfb\xff\xbf??>>~"
    secret = base64.urlsafe_b64encode(key).decode()
    assert "-" in secret
    assert "_" in secret
    assert secret.endswith("=")
    auth = {**AUTH, "secret": secret if padding else secret.rstrip("=")}
    switch = {"secret_base64_encoded": True}
    table = settings(provider.url, gateway_authentication={**auth, **switch}) if inside else settings(
        provider.url, gateway_authentication=auth, **switch
    )  # fmt: skip
    build(SmsGateway, table).send(text())
    assert claims(provider, key)["sub"] == "urn:Auth0"


def test_secret_from_a_file(provider: Provider, tmp_path: Path) -> None:
    provider.say(200)
    (tmp_path / "secret").write_text("MySecret\n")
    auth = {**AUTH, "secret_file": str(tmp_path / "secret")}
    del auth["secret"]
    build(SmsGateway, settings(provider.url, gateway_authentication=auth)).send(text())
    assert claims(provider, b"MySecret")


def test_repr_hides_the_secret() -> None:
    assert TOKEN not in repr(make("https://sms.example"))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "method": ({"method": "basic"}, "gateway_authentication.method: only bearer is known"),
    "no audience": ({"audience": ""}, "gateway_authentication.audience: expected 1 to 128"),
    "long audience": ({"audience": "a" * 129}, "gateway_authentication.audience: expected 1 to 128"),
    "long subject": ({"subject": "a" * 65}, "gateway_authentication.subject: expected 1 to 64"),
    "no secret": ({"secret": ""}, "gateway_authentication.secret: expected 1 to 5120"),
    "long secret": ({"secret": "a" * 5121}, "gateway_authentication.secret: expected 1 to 5120"),
    "not base64": (
        {"secret": "a b!", "secret_base64_encoded": True},
        "gateway_authentication.secret: cannot be used",
    ),
    "not even letters": (
        {"secret": "ä" * 8, "secret_base64_encoded": True},
        "gateway_authentication.secret: cannot be used",
    ),
    "a public key": (
        {"secret": "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n"},
        "gateway_authentication.secret: cannot be used",
    ),
    "unheard of": ({"algorithm": "HS512"}, "gateway_authentication.algorithm: unknown key"),
}


@pytest.mark.parametrize("case", WRONG)
def test_authentication_that_cannot_be(case: str) -> None:
    change, words = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        build(SmsGateway, settings(gateway_authentication={**AUTH, **change}))
    assert words in str(caught.value)
    assert "a b!" not in str(caught.value)
    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gateway_url": "ftp://sms.example"}, "gateway_url: expected http"),
        ({"sender": "a" * 129}, "sender: expected 1 to 128"),
        ({"forward_req_info": "yes"}, "forward_req_info: expected true or false, got 'yes'"),
        ({"forward_req_info": 2}, "forward_req_info: expected true or false, got 2"),
        ({"timeout": 31.0}, "timeout: at most 30"),
    ],
)
def test_settings_that_cannot_be(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(SmsGateway, settings(**change))


# Auth0's words -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [201, 202, 204, 302, 400, 403, 404, 429, 500, 503])
def test_words_of_an_answer(provider: Provider, status: int) -> None:
    provider.say(status, "no" if status != 204 else "")
    words = failure(make(provider.url)).words
    start = f"Unexpected response while calling the SMS gateway: {status}"
    assert words.partition(" - ") == (start, " - ", f"HTTP {status} no" if status != 204 else "HTTP 204")


def test_words_of_a_refusal(provider: Provider) -> None:
    provider.say(401, "who?")
    found = failure(make(provider.url))
    assert found.outcome is Outcome.AUTHENTICATION
    assert found.words == "Authentication failed while calling the SMS gateway: 401 - HTTP 401 who?"


def test_words_of_a_timeout(provider: Provider) -> None:
    provider.raw(b"", pause=2)
    found = failure(make(provider.url, 0.2))
    assert found.outcome is Outcome.UNKNOWN
    assert found.words == "Timeout while calling the SMS gateway: no answer within 0.2 s"


def test_words_of_another_failure_are_ours(provider: Provider) -> None:
    provider.raw()
    found = failure(make(provider.url))
    assert found.outcome is Outcome.UNKNOWN
    assert found.words.startswith("the connection broke")


def test_an_answer_that_quotes_the_secret_does_not_tell_it(provider: Provider) -> None:
    secret = 'se"cret of both'
    auth = Authentication(method="bearer", audience="sms", secret=Secret(secret))
    provider.say(500, json.dumps({"secret": secret}))
    found = failure(replace(make(provider.url), gateway_authentication=auth))
    assert "cret of both" not in found.words
