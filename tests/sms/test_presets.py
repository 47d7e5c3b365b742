"""Presets, each on the wire: what it sends, what a success is, and a failure that its provider documents."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from portald.errors import SmsError
from portald.model import Outcome, Text
from portald.schema import build
from portald.sms.gateway import Gateway
from portald.sms.presets import described, preset
from tests.sms.conftest import Provider
from tests.sms.tables import CODE, NUMBER, TEXT, TOKEN, text

BASIC = "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()


@dataclass(frozen=True)
class Case:
    """What a provider's documentation shows."""

    url: str
    body: Any
    header: tuple[str, str]
    taken: tuple[int, str, str]
    """Status, body and the id in it."""
    refused: list[tuple[int, str, Outcome]]
    without_sender: Any = None


CASES = {
    "telnyx": Case(
        "https://api.telnyx.com/v2/messages",
        {"from": "Lobby", "to": NUMBER, "text": TEXT},
        ("Authorization", f"Bearer {TOKEN}"),
        (200, '{"data": {"id": "40385f64-5717-4562-b3fc-2c963f66afa6", "to": [{"status": "queued"}]}}',
         "40385f64-5717-4562-b3fc-2c963f66afa6"),
        [(400, '{"errors": [{"code": "40310", "title": "Invalid \'to\' address"}]}', Outcome.INVALID_NUMBER),
         (402, '{"errors": [{"code": "20100", "title": "Insufficient Funds"}]}', Outcome.NO_CREDIT),
         (400, '{"errors": [{"code": "40300"}]}', Outcome.BLOCKED_BY_RECIPIENT),
         (401, '{"errors": [{"code": "10009", "title": "Authentication failed"}]}', Outcome.AUTHENTICATION),
         (429, '{"errors": [{"code": "10011"}]}', Outcome.THROTTLED)],
    ),
    "plivo": Case(
        "https://api.plivo.com/v1/Account/me/Message/",
        {"src": "Lobby", "dst": NUMBER, "text": TEXT},
        ("Authorization", BASIC),
        (202, '{"message": "message(s) queued", "message_uuid": ["db3ce55a-7f1d"], "api_id": "db342550"}', "db3ce55a-7f1d"),
        [(401, '{"error": "authentication_failed"}', Outcome.AUTHENTICATION),
         (400, '{"api_id": "x", "error": "invalid_parameter"}', Outcome.CONFIGURATION),
         (429, '{"error": "rate_limit_exceeded"}', Outcome.THROTTLED),
         (200, '{"message_uuid": ["x"]}', Outcome.CONFIGURATION)],
    ),
    "sinch": Case(
        "https://us.sms.api.sinch.com/xms/v1/acc/batches",
        {"from": "Lobby", "to": [NUMBER], "body": TEXT},
        ("Authorization", f"Bearer {TOKEN}"),
        (201, '{"id": "01FC66621XXXXX119Z8PMV1QPU", "to": ["x"], "canceled": false}', "01FC66621XXXXX119Z8PMV1QPU"),
        [(401, "", Outcome.AUTHENTICATION),
         (400, '{"code": "syntax_invalid_parameter_format", "text": "…"}', Outcome.CONFIGURATION)],
    ),
    "clicksend": Case(
        "https://rest.clicksend.com/v3/sms/send",
        {"messages": [{"source": "portald", "from": "Lobby", "to": NUMBER, "body": TEXT}]},
        ("Authorization", BASIC),
        (200, '{"response_code": "SUCCESS", "data": {"messages": [{"status": "SUCCESS", "message_id": "1EF2D909"}]}}', "1EF2D909"),
        [(200, '{"response_code": "SUCCESS", "data": {"messages": [{"status": "COUNTRY_NOT_ENABLED"}]}}', Outcome.REGION_NOT_ALLOWED),
         (200, '{"data": {"messages": [{"status": "INVALID_RECIPIENT"}]}}', Outcome.INVALID_NUMBER),
         (200, '{"data": {"messages": [{"status": "INSUFFICIENT_CREDIT"}]}}', Outcome.NO_CREDIT),
         (200, '{"data": {"messages": [{"status": "SOMETHING"}]}}', Outcome.UNKNOWN),
         (401, '{"response_code": "UNAUTHORIZED"}', Outcome.AUTHENTICATION)],
        {"messages": [{"source": "portald", "to": NUMBER, "body": TEXT}]},
    ),
    "messagebird": Case(
        "https://rest.messagebird.com/messages",
        {"originator": "Lobby", "recipients": [NUMBER[1:]], "body": TEXT, "datacoding": "auto"},
        ("Authorization", f"AccessKey {TOKEN}"),
        (201, '{"id": "b5d424244a5b4fd0b5b5728bccaafc23", "recipients": {"totalSentCount": 1}}', "b5d424244a5b4fd0b5b5728bccaafc23"),
        [(422, '{"errors": [{"code": 25, "description": "Not enough balance"}]}', Outcome.NO_CREDIT),
         (422, '{"errors": [{"code": 9, "description": "no (correct) recipients found"}]}', Outcome.INVALID_NUMBER),
         (401, '{"errors": [{"code": 2, "description": "Request not allowed"}]}', Outcome.AUTHENTICATION)],
    ),
    "seven": Case(
        "https://gateway.seven.io/api/sms",
        {"from": "Lobby", "to": NUMBER, "text": TEXT},
        ("X-Api-Key", TOKEN),
        (200, '{"success": "100", "messages": [{"id": "77130318", "success": true}]}', "77130318"),
        [(200, '{"success": "202", "messages": []}', Outcome.INVALID_NUMBER),
         (200, '{"success": "500"}', Outcome.NO_CREDIT),
         (200, '{"success": "900"}', Outcome.AUTHENTICATION),
         (200, "900", Outcome.UNKNOWN)],
        {"to": NUMBER, "text": TEXT},
    ),
    "46elks": Case(
        "https://api.46elks.com/a1/sms",
        {"from": "Lobby", "to": NUMBER, "message": TEXT},
        ("Authorization", BASIC),
        (200, '{"status": "created", "id": "s17a6dafb12d6b1cabc053d57dac2b9d8", "parts": 1}', "s17a6dafb12d6b1cabc053d57dac2b9d8"),
        [(401, "API access requires Basic HTTP authentication", Outcome.AUTHENTICATION),
         (400, "Invalid to number", Outcome.CONFIGURATION)],
    ),
    "d7": Case(
        "https://api.d7networks.com/messages/v1/send",
        {"messages": [{"channel": "sms", "recipients": [NUMBER], "content": TEXT, "msg_type": "text", "data_coding": "auto"}],
         "message_globals": {"originator": "Lobby"}},
        ("Authorization", f"Bearer {TOKEN}"),
        (200, '{"request_id": "001cda15-36df-4bd8", "status": "accepted"}', "001cda15-36df-4bd8"),
        [(401, '{"detail": {"code": "INVALID_TOKEN"}}', Outcome.AUTHENTICATION),
         (402, '{"detail": {}}', Outcome.NO_CREDIT)],
    ),
    "bulksms": Case(
        "https://api.bulksms.com/v1/messages?auto-unicode=true",
        {"from": "Lobby", "to": NUMBER, "body": TEXT},
        ("Authorization", BASIC),
        (201, '[{"id": "4321", "type": "SENT", "status": {"id": "ACCEPTED", "type": "ACCEPTED"}}]', "4321"),
        [(403, '{"type": "https://developer.bulksms.com/json/v1/errors#insufficient-credits", "status": 403}', Outcome.NO_CREDIT),
         (401, '{"type": "https://developer.bulksms.com/json/v1/errors#authentication-failed"}', Outcome.AUTHENTICATION),
         (201, '[{"id": "4321", "status": {"type": "FAILED"}}]', Outcome.UNKNOWN)],
        {"to": NUMBER, "body": TEXT},
    ),
    "africastalking": Case(
        "https://api.africastalking.com/version1/messaging",
        {"username": "acc", "from": "Lobby", "to": NUMBER, "message": TEXT},
        ("apiKey", TOKEN),
        (201, '{"SMSMessageData": {"Recipients": [{"statusCode": 101, "messageId": "ATPid_Sample"}]}}', "ATPid_Sample"),
        [(201, '{"SMSMessageData": {"Recipients": [{"statusCode": 403, "messageId": "None"}]}}', Outcome.INVALID_NUMBER),
         (201, '{"SMSMessageData": {"Recipients": [{"statusCode": 405}]}}', Outcome.NO_CREDIT),
         (201, '{"SMSMessageData": {"Recipients": [{"statusCode": 406}]}}', Outcome.BLOCKED_BY_RECIPIENT),
         (201, '{"SMSMessageData": {"Message": "InvalidSenderId", "Recipients": []}}', Outcome.UNKNOWN),
         (401, "The supplied authentication is invalid", Outcome.AUTHENTICATION)],
        {"username": "acc", "to": NUMBER, "message": TEXT},
    ),
    "android": Case(
        "http://192.0.2.20:8080/message",
        {"textMessage": {"text": TEXT}, "phoneNumbers": [NUMBER]},
        ("Authorization", BASIC),
        (202, '{"id": "zXDYfTmTVf3iMd16zzdBj", "state": "Pending", "recipients": []}', "zXDYfTmTVf3iMd16zzdBj"),
        [(401, "", Outcome.AUTHENTICATION), (400, '{"message": "…"}', Outcome.CONFIGURATION)],
    ),
}  # fmt: skip

GIVEN = {
    "bearer": TOKEN,
    "key": TOKEN,
    "user": "me",
    "password": TOKEN,
    "account": "acc",
    "sender": "Lobby",
    "url": "http://192.0.2.20:8080/message",
}


def table(name: str, **more: Any) -> dict[str, Any]:
    """Return what an operator's [[sms]] table and the preset make together."""
    given = {key: GIVEN[key] for key in described()[name][1]}
    return {**(preset(name) or {}), **given, **more}


def made(name: str, provider: Provider, **more: Any) -> Gateway:
    parts = urlsplit(table(name)["url"])
    path = parts._replace(scheme="", netloc="").geturl()
    return build(Gateway, {**table(name, **more), "url": f"{provider.url}{path}"})


def test_every_preset_has_its_case() -> None:
    assert set(CASES) == set(described())
    assert preset("nobody") is None


@pytest.mark.parametrize("name", CASES)
def test_a_preset_is_complete_with_what_it_says_it_needs(name: str) -> None:
    about, needs = described()[name]
    assert about
    assert needs
    gateway = build(Gateway, table(name))
    url = gateway.url.replace("{{account}}", gateway.account or gateway.user or "")
    assert url == CASES[name].url
    assert url.startswith("https://") or name == "android"


@pytest.mark.parametrize("name", CASES)
def test_what_is_sent(provider: Provider, name: str) -> None:
    case = CASES[name]
    provider.say(*case.taken[:2])
    optional = {"sender": "Lobby"} if case.without_sender else {}
    assert made(name, provider, **optional).send(text()) == case.taken[2]
    if case.without_sender:
        assert made(name, provider).send(text()) == case.taken[2]
    for request, body in zip(provider.requests, (case.body, case.without_sender), strict=False):
        assert request.method == "POST"
        wanted = urlsplit(case.url)
        assert request.path == wanted._replace(scheme="", netloc="").geturl()
        assert request.headers[case.header[0]] == case.header[1]
        form = "form" in request.headers["Content-Type"]
        content = dict(parse_qsl(request.body.decode())) if form else json.loads(request.body)
        assert content == body


@pytest.mark.parametrize(
    ("name", "position"), [(name, n) for name, case in CASES.items() for n in range(len(case.refused))]
)
def test_what_is_refused(provider: Provider, name: str, position: int) -> None:
    status, body, outcome = CASES[name].refused[position]
    provider.say(status, body)
    with pytest.raises(SmsError) as caught:
        made(name, provider).send(text())
    assert caught.value.outcome is outcome
    assert CODE not in caught.value.words
    assert len(provider.requests) == 1


@pytest.mark.parametrize("name", CASES)
def test_a_text_s_own_sender_comes_first(provider: Provider, name: str) -> None:
    case = CASES[name]
    provider.say(*case.taken[:2])
    made(name, provider).send(Text(NUMBER, f"Code: {CODE}", CODE, sender="Other"))
    sent = provider.requests[0].body.decode()
    assert ("Other" in sent) == (name != "android")
    assert "Lobby" not in sent
