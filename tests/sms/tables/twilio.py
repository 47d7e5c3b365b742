"""Twilio's answers."""

from __future__ import annotations

import json
from typing import Any

from portald.model import Outcome
from portald.schema import Secret
from portald.sms.twilio import Twilio
from tests.sms.tables import TOKEN, Row

SECRETS = [TOKEN]


def make(url: str, timeout: float = 5) -> Twilio:
    return Twilio(
        account_sid="AC1", auth_token=Secret(TOKEN), sender="+15005550006", url=url, timeout=timeout
    )


def error(code: Any, status: int = 400, message: str = "no") -> str:
    return json.dumps({"code": code, "message": message, "more_info": "https://…", "status": status})


DEEP = "[" * 60_000
ROWS: dict[str, Row] = {
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
