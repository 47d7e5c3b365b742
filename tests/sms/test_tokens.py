"""Tokens of OAuth 2: kept while they are good, replaced when refused, and never a second text."""

from __future__ import annotations

import json
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jwt
import pytest

from portald.errors import SmsError
from portald.model import Outcome
from portald.schema import Secret
from portald.sms import tokens
from tests.sms.conftest import Provider
from tests.sms.tables import TOKEN
from tests.sms.wire import basic, form, write


@pytest.fixture(autouse=True)
def no_tokens() -> Iterator[None]:
    """Another test's server may have had the same port."""
    tokens.client.cache_clear()
    yield
    tokens.client.cache_clear()


class Server:
    """Gives out t1, t2, … and accepts the latest, unless told otherwise."""

    def __init__(self, provider: Provider, **answer: Any) -> None:
        self.provider = provider
        self.answer = {"expires_in": 3600, "token_type": "Bearer"} | answer
        self.given = 0
        self.accepts: Callable[[str], bool] = lambda token: token == f"t{self.given}"
        provider.behave = self._behave

    def _behave(self, handler: Any) -> None:
        request = self.provider.requests[-1]
        if request.path == "/token":
            self.given += 1
            write(handler, 200, json.dumps({"access_token": f"t{self.given}"} | self.answer))
        else:
            good = self.accepts(request.headers["Authorization"].removeprefix("Bearer "))
            write(handler, 200 if good else 401, "{}")

    @property
    def client(self) -> tokens.Client:
        return tokens.client(f"{self.provider.url}/token", "A1", Secret(TOKEN))

    def ask(self) -> int:
        return self.client.ask("POST", f"{self.provider.url}/send", timeout=5, json_body={}).status

    @property
    def log(self) -> str:
        paths = [request.path for request in self.provider.requests]
        return " ".join(path.removeprefix("/") for path in paths)


def test_a_token_is_kept(provider: Provider) -> None:
    server = Server(provider)
    assert [server.ask() for _ in range(3)] == [200, 200, 200]
    assert server.log == "token send send send"
    asked, *sent = provider.requests
    assert asked.headers["Authorization"] == basic("A1", TOKEN)
    assert form(asked) == {"grant_type": "client_credentials"}
    assert {request.headers["Authorization"] for request in sent} == {"Bearer t1"}


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"expires_in": 31}, True),
        ({"expires_in": "3600"}, True),
        ({"expires_in": None}, True),
        ({"expires_in": "never"}, True),
        ({"expires_in": -1}, True),
        ({"expires_in": [1]}, True),
        ({"expires_in": 30}, False),
        ({"expires_in": 0}, False),
        ({"expires_in": "5"}, False),
    ],
    ids=str,
)
def test_how_long_a_token_is_kept(provider: Provider, answer: dict[str, Any], kept: bool) -> None:
    """One that is about to end is good for the request it was fetched for."""
    server = Server(provider, **answer)
    assert (server.ask(), server.ask()) == (200, 200)
    assert server.log == ("token send send" if kept else "token send token send")


def test_a_token_that_is_not_good_any_more_is_replaced(provider: Provider) -> None:
    """What was answered with 401 was not carried out, so it may be asked again."""
    server = Server(provider)
    server.ask()
    server.accepts = lambda token: token == "t2"
    assert (server.ask(), server.ask()) == (200, 200)
    assert server.log == "token send send token send send"


def test_a_fresh_token_that_is_refused_is_not_used_again(provider: Provider) -> None:
    server = Server(provider)
    server.accepts = lambda token: False
    assert server.ask() == 401
    assert server.log == "token send"
    server.accepts = lambda token: token == "t2"
    assert server.ask() == 200
    assert server.log == "token send token send"


def test_a_replaced_token_that_is_refused_as_well(provider: Provider) -> None:
    server = Server(provider)
    server.ask()
    server.accepts = lambda token: False
    assert server.ask() == 401
    assert server.log == "token send send token send"


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
def test_nothing_but_401_is_asked_again(provider: Provider, status: int) -> None:
    server = Server(provider)
    server.ask()
    provider.say(status)
    answer = server.client.ask("POST", f"{provider.url}/send", timeout=5)
    assert answer.status == status
    assert server.log == "token send send"


def test_a_request_that_broke_is_not_asked_again(provider: Provider) -> None:
    server = Server(provider)
    server.ask()
    provider.raw()
    with pytest.raises(SmsError) as caught:
        server.ask()
    assert caught.value.outcome is Outcome.UNKNOWN
    assert server.log == "token send send"


def test_clients_with_the_same_settings_share_a_token(provider: Provider) -> None:
    server = Server(provider)
    server.ask()
    url = f"{provider.url}/token"
    assert tokens.client(url, "A1", Secret(TOKEN)) is server.client
    for other in [
        tokens.client(url, "A2", Secret(TOKEN)),
        tokens.client(url, "A1", Secret("another")),
        tokens.client(url, "A1", Secret(TOKEN), "otp"),
        tokens.client(f"{url}s", "A1", Secret(TOKEN)),
    ]:
        assert other is not server.client


def test_many_at_once_fetch_one_token(provider: Provider) -> None:
    server = Server(provider)
    client, barrier, found = server.client, threading.Barrier(8), []

    def fetch() -> None:
        barrier.wait()
        found.append(client._get(time.monotonic() + 60)[0])

    server.client._lock.acquire()
    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    server.client._lock.release()
    for thread in threads:
        thread.join()
    assert found == ["t1"] * 8
    assert server.log == "token"


def test_a_token_that_another_fetches_for_too_long(provider: Provider) -> None:
    server = Server(provider)
    with server.client._lock, pytest.raises(SmsError, match="no token in time") as caught:
        server.client.ask("POST", f"{provider.url}/send", timeout=0.1)
    assert caught.value.outcome is Outcome.TEMPORARY
    assert provider.requests == []


# No token: whatever became of that request, no text was sent ------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (401, "", Outcome.AUTHENTICATION),
        (400, '{"error": "invalid_client"}', Outcome.AUTHENTICATION),
        (400, '{"error": "invalid_scope"}', Outcome.CONFIGURATION),
        (302, "", Outcome.CONFIGURATION),
        (429, "", Outcome.THROTTLED),
        (500, "", Outcome.TEMPORARY),
        (503, "", Outcome.TEMPORARY),
        (200, "", Outcome.TEMPORARY),
        (200, '{"access_token": 5}', Outcome.TEMPORARY),
        (200, '{"access_token": ""}', Outcome.TEMPORARY),
        (200, '{"access_token": "a\\r\\nX-Injected: 1"}', Outcome.TEMPORARY),
        (200, '{"access_token": "tökén"}', Outcome.TEMPORARY),
    ],
)
def test_no_token(provider: Provider, status: int, body: str, outcome: Outcome) -> None:
    server = Server(provider)
    provider.say(status, body, {"Retry-After": "9"} if status in (429, 503) else {})
    with pytest.raises(SmsError, match=f"no token: HTTP {status}") as caught:
        server.ask()
    assert caught.value.outcome is outcome
    assert caught.value.retry_after == (9 if status in (429, 503) else 0)
    assert server.log == "token"


def test_no_token_server() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SmsError) as caught:
            tokens.client(url, "A1", Secret(TOKEN)).ask("POST", url, timeout=5)
    assert caught.value.outcome is Outcome.TEMPORARY


@pytest.mark.parametrize("pieces", [(), (b"HTTP/1.1 200",)])
def test_a_token_request_that_broke(provider: Provider, pieces: tuple[bytes, ...]) -> None:
    server = Server(provider)
    provider.raw(*pieces)
    with pytest.raises(SmsError) as caught:
        server.ask()
    assert caught.value.outcome is Outcome.TEMPORARY
    assert server.log == "token"


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_an_answer_that_quotes_secrets_does_not_tell_them(provider: Provider, status: int) -> None:
    server = Server(provider)
    login = basic("A1", TOKEN).split()[1]
    provider.say(status, f'{{"secret": "{TOKEN}", "login": "{login}", "refresh_token": "r3fr3sh"}}')
    with pytest.raises(SmsError) as caught:
        server.ask()
    said = f"{caught.value} {caught.value.args}"
    assert TOKEN not in said
    assert login not in said
    assert status != 200 or "r3fr3sh" not in said


def test_an_answer_that_quotes_the_token_does_not_tell_it(provider: Provider) -> None:
    server = Server(provider, access_token="a-bearer-token")
    server.accepts = lambda token: True
    server.ask()
    provider.say(500, "bad: Bearer a-bearer-token")
    answer = server.client.ask("POST", f"{provider.url}/send", timeout=5)
    assert "a-bearer-token" not in answer.words


# Tokens that we sign ---------------------------------------------------------------------------


@pytest.mark.parametrize("key", [b"k", b"k" * 31, b"k" * 32, b"k" * 64, b"k" * 100])
def test_signed_tokens(key: bytes) -> None:
    """Short keys do not change what others compute with them."""
    token = tokens.bearer_jwt(key, "them", "us")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        claims = jwt.decode(token, key, ["HS256"], audience="them")
    assert claims["sub"] == "us"
    assert claims["exp"] - claims["iat"] == 60
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, b"another key of thirty-two letters", ["HS256"], audience="them")


def test_a_public_key_does_not_sign() -> None:
    with pytest.raises(ValueError, match=r"asymmetric|PEM"):
        tokens.bearer_jwt(b"-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----\n", "them")
