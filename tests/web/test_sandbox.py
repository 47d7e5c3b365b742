"""The sandbox over real HTTP: Twilio's wire format, told by the providers that speak it."""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Iterator

import pytest
import requests
from werkzeug.serving import WSGIRequestHandler, make_server

from portald.errors import SmsError
from portald.model import Outcome, Text
from portald.ports import Sender
from portald.schema import Secret
from portald.sms.sandbox import Sandbox
from portald.sms.twilio import Twilio
from portald.web import sandbox
from portald.web.sandbox import sandbox_app
from tests.conftest import Clock

NUMBER = "+14155552671"


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        pass


@pytest.fixture
def url(clock: Clock) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, sandbox_app(clock), threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(params=["twilio", "sandbox"])
def sender(request: pytest.FixtureRequest, url: str) -> Sender:
    if request.param == "sandbox":
        return Sandbox(url=url)
    return Twilio(account_sid="AC1", auth_token=Secret("t"), sender="+15005550006", url=url)


def get(url: str) -> tuple[str, str]:
    """Return the content type and the body of a page."""
    with urllib.request.urlopen(url) as response:
        return response.headers["Content-Type"], response.read().decode()


def texts(url: str) -> list[dict[str, object]]:
    with requests.get(f"{url}/texts", timeout=5) as response:
        assert response.headers["Content-Type"] == "application/json"
        found: list[dict[str, object]] = response.json()
        return found


def test_a_text_is_accepted_and_shown(sender: Sender, url: str, clock: Clock) -> None:
    sid = sender.send(Text(NUMBER, "123456 is your <b>code</b> & more"))
    assert sid.startswith("SM")
    assert len(sid) == 34
    assert texts(url) == [
        {"sid": sid, "to": NUMBER, "body": "123456 is your <b>code</b> & more", "at": clock()}
    ]
    kind, page = get(f"{url}/")
    assert kind.startswith("text/html")
    assert NUMBER in page.replace("&#43;", "+")
    assert "123456 is your &lt;b&gt;code&lt;/b&gt; &amp; more" in page
    assert "<b>code" not in page


def test_the_newest_text_comes_first(sender: Sender, url: str) -> None:
    sids = [sender.send(Text(NUMBER, f"text {i}")) for i in range(3)]
    assert len(set(sids)) == 3
    assert [text["sid"] for text in texts(url)] == sids[::-1]
    _, page = get(f"{url}/")
    assert page.index("text 2") < page.index("text 1") < page.index("text 0")


def test_an_empty_inbox_says_so(url: str) -> None:
    assert "No text yet." in get(f"{url}/")[1]
    assert texts(url) == []


@pytest.mark.parametrize(
    ("ending", "outcome", "status"),
    [
        ("0001", Outcome.INVALID_NUMBER, 400),
        ("0004", Outcome.BLOCKED_BY_RECIPIENT, 400),
        ("0005", Outcome.UNKNOWN, 500),
        ("0006", Outcome.UNKNOWN, 200),
    ],
)
def test_numbers_that_are_answered_otherwise(
    sender: Sender, url: str, ending: str, outcome: Outcome, status: int
) -> None:
    number = f"+1415555{ending}"
    with pytest.raises(SmsError) as caught:
        sender.send(Text(number, "text"))
    assert caught.value.outcome is outcome
    assert f"HTTP {status}" in caught.value.words
    assert number[1:] not in caught.value.words
    assert texts(url) == []


def test_a_slow_number(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SLOW", 0.4)
    with pytest.raises(SmsError) as caught:
        Sandbox(url=url, timeout=0.1).send(Text("+14155550007", "text"))
    assert caught.value.outcome is Outcome.UNKNOWN
    assert Sandbox(url=url, timeout=2).send(Text("+14155550007", "text")).startswith("SM")


def test_an_empty_text_is_refused_as_twilio_does(sender: Sender) -> None:
    with pytest.raises(SmsError) as caught:
        sender.send(Text(NUMBER, ""))
    assert caught.value.outcome is Outcome.CONFIGURATION
    assert "Message body is required." in caught.value.words


def test_the_wire_format(url: str) -> None:
    """Field for field as in Twilio's reference."""
    address = f"{url}/2010-04-01/Accounts/AC9/Messages.json"
    with requests.post(address, {"To": NUMBER, "Body": "b"}, auth=("AC9", "t"), timeout=5) as response:
        assert response.status_code == 201
        answer = response.json()
    assert answer.pop("sid").startswith("SM")
    assert answer == {"status": "queued", "to": NUMBER, "body": "b", "account_sid": "AC9"}
    with requests.post(address, {"To": NUMBER, "Body": "b"}, timeout=5) as response:
        assert (response.status_code, response.json()["code"]) == (401, 20003)
        assert response.json().keys() == {"code", "message", "more_info", "status"}
    assert len(texts(url)) == 1


def test_old_texts_make_room(url: str) -> None:
    sender = Sandbox(url=url)
    for i in range(103):
        sender.send(Text(NUMBER, f"text {i}"))
    found = texts(url)
    assert len(found) == 100
    assert (found[0]["body"], found[-1]["body"]) == ("text 102", "text 3")
