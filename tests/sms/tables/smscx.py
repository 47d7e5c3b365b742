"""SMS.CX's answers to a new password; how it finds its token has tests of its own."""

from __future__ import annotations

import json
from typing import Any

from portald.model import Outcome
from portald.schema import Secret
from portald.sms.smscx import SmsCx
from tests.sms.tables import TOKEN, Row

SECRETS = [TOKEN]
ID = "0b7d2ba4-7f49-4c0e-a0b8-a0b2e2d1f5b3"
CREATED = json.dumps(
    {
        "otpId": ID, "phoneNumber": "+14155552671", "countryIso": "US", "status": "PENDING",
        "cost": 0.043, "parts": 1, "maxAttempts": 5, "attempts": 0, "ttl": 300, "otpCallbackUrl": None,
        "dateCreated": "2026-11-20 10:00:00", "dateExpires": "2026-11-20 10:05:00",
    }
)  # fmt: skip


def make(url: str, timeout: float = 5) -> SmsCx:
    return SmsCx(api_key=Secret(TOKEN), url=url, timeout=timeout)


def error(kind: Any, code: Any = None) -> str:
    return json.dumps({"error": {"type": kind, "message": "no", "uri": "https://…", "code": code}})


LIMIT = {"Date": "Fri, 20 Nov 2026 10:00:00 GMT", "X-Rate-Limit-Reset": "1795168825"}
ROWS: dict[str, Row] = {
    "accepted": (201, {}, CREATED, ID),
    "created without an id": (201, {}, '{"status": "PENDING"}', Outcome.UNKNOWN),
    "created with a strange id": (201, {}, '{"otpId": 5}', Outcome.UNKNOWN),
    "created with a list": (201, {}, f'["{ID}"]', Outcome.UNKNOWN),
    "fine, but not created": (200, {}, CREATED, Outcome.UNKNOWN),
    "not a number": (400, {}, error("invalid_param", 2020), Outcome.INVALID_NUMBER),
    "not a number, code as text": (400, {}, error("invalid_param", "2020"), Outcome.INVALID_NUMBER),
    "not a sender": (400, {}, error("invalid_param", 2005), Outcome.CONFIGURATION),
    "template without a pin": (400, {}, error("invalid_param", 2006), Outcome.CONFIGURATION),
    "too long": (400, {}, error("invalid_param", 2017), Outcome.CONFIGURATION),
    "no credit": (400, {}, error("insufficient_credit", 1003), Outcome.NO_CREDIT),
    "wrong key": (401, {}, error("invalid_api_key", 1001), Outcome.AUTHENTICATION),
    "wrong application": (401, {}, error("invalid_client", 1600), Outcome.AUTHENTICATION),
    "not allowed": (403, {}, error("access_denied", 1002), Outcome.AUTHENTICATION),
    "no coverage": (400, {}, error("no_coverage", 1110), Outcome.REGION_NOT_ALLOWED),
    "no coverage, spelt differently": (400, {}, error("NoCoverage"), Outcome.REGION_NOT_ALLOWED),
    "throttled": (429, LIMIT, error("rate_limit", 1004), Outcome.THROTTLED),
    "throttled, in no words": (429, LIMIT, "", Outcome.THROTTLED),
    "unheard of": (400, {}, error("weather", 9999), Outcome.CONFIGURATION),
    "strange code": (400, {}, error([1], {"a": 1}), Outcome.CONFIGURATION),
    "strange error": (400, {}, '{"error": "invalid_param"}', Outcome.CONFIGURATION),
    "their error": (500, {}, error("server_error", 1000), Outcome.UNKNOWN),
}
