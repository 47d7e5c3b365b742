"""Vonage's answers: always 200, with a status for each part."""

from __future__ import annotations

import json
from typing import Any

from portald.model import Outcome
from portald.schema import Secret
from portald.sms.vonage import Vonage
from tests.sms.tables import TOKEN, Row

SECRETS = [TOKEN]


def make(url: str, timeout: float = 5) -> Vonage:
    return Vonage(api_key="abcd1234", api_secret=Secret(TOKEN), sender="Lobby", url=url, timeout=timeout)


def parts(*statuses: Any) -> str:
    return json.dumps(
        {
            "message-count": str(len(statuses)),
            "messages": [
                {"to": "14155552671", "message-id": f"0A{n}", "status": status, "error-text": "no"}
                for n, status in enumerate(statuses)
            ],
        }
    )


ROWS: dict[str, Row] = {
    "accepted": (200, {}, parts("0"), "0A0"),
    "accepted, in parts": (200, {}, parts("0", "0", "0"), "0A0"),
    "accepted, a number": (200, {}, parts(0), "0A0"),
    "accepted, one part not": (200, {}, parts("0", "5"), Outcome.UNKNOWN),
    "accepted, but the first part": (200, {}, parts("9", "0"), Outcome.UNKNOWN),
    "no part accepted": (200, {}, parts("9", "9"), Outcome.NO_CREDIT),
    "accepted without an id": (200, {}, '{"messages": [{"status": "0"}]}', Outcome.UNKNOWN),
    "accepted with a strange id": (
        200, {}, '{"messages": [{"status": "0", "message-id": 5}]}', Outcome.UNKNOWN,
    ),
    "created": (201, {}, parts("0"), Outcome.UNKNOWN),
    "no content": (204, {}, "", Outcome.UNKNOWN),
    "no parts": (200, {}, '{"messages": []}', Outcome.UNKNOWN),
    "parts of another kind": (200, {}, '{"messages": ["0"]}', Outcome.UNKNOWN),
    "not parts": (200, {}, '{"messages": {"status": "0"}}', Outcome.UNKNOWN),
    "a list": (200, {}, "[]", Outcome.UNKNOWN),
    "throttled": (200, {}, parts("1"), Outcome.THROTTLED),
    "missing": (200, {}, parts("2"), Outcome.CONFIGURATION),
    "invalid": (200, {}, parts("3"), Outcome.CONFIGURATION),
    "wrong secret": (200, {}, parts("4"), Outcome.AUTHENTICATION),
    "their error": (200, {}, parts("5"), Outcome.TEMPORARY),
    "no such prefix": (200, {}, parts("6"), Outcome.INVALID_NUMBER),
    "number barred": (200, {}, parts("7"), Outcome.BLOCKED_BY_RECIPIENT),
    "account barred": (200, {}, parts("8"), Outcome.AUTHENTICATION),
    "no credit": (200, {}, parts("9"), Outcome.NO_CREDIT),
    "too many connections": (200, {}, parts("10"), Outcome.THROTTLED),
    "not enabled": (200, {}, parts("11"), Outcome.CONFIGURATION),
    "too long": (200, {}, parts("12"), Outcome.CONFIGURATION),
    "wrong signature": (200, {}, parts("14"), Outcome.AUTHENTICATION),
    "not our sender": (200, {}, parts("15"), Outcome.CONFIGURATION),
    "network code": (200, {}, parts("22"), Outcome.CONFIGURATION),
    "callback": (200, {}, parts("23"), Outcome.CONFIGURATION),
    "demo account": (200, {}, parts("29"), Outcome.CONFIGURATION),
    "signature and secret": (200, {}, parts("32"), Outcome.AUTHENTICATION),
    "number gone": (200, {}, parts("33"), Outcome.INVALID_NUMBER),
    "unheard of": (200, {}, parts("77"), Outcome.UNKNOWN),
    "a strange status": (200, {}, parts({"a": 1}), Outcome.UNKNOWN),
}  # fmt: skip
