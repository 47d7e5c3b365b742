"""Answers of a gateway of one's own."""

from __future__ import annotations

from portald.model import Outcome
from portald.schema import Secret
from portald.sms.gateway import Gateway
from tests.sms.tables import TOKEN, Row

SECRETS = [TOKEN]


def make(url: str, timeout: float = 5) -> Gateway:
    return Gateway(
        url=f"{url}/send",
        bearer=Secret(TOKEN),
        success_contains="queued",
        message_id="/id",
        error_json="/error/code",
        outcomes={"7": "invalid_number", "quota": "no_credit", "HTTP 409": "blocked_by_recipient"},
        timeout=timeout,
    )


ROWS: dict[str, Row] = {
    "accepted": (200, {}, '{"status": "queued"}', ""),
    "accepted, created": (201, {}, "queued", ""),
    "accepted, with an id": (200, {}, '{"status": "queued", "id": "m-1"}', "m-1"),
    "accepted, the id a number": (200, {}, '{"status": "queued", "id": 17}', "17"),
    "accepted, the id a table": (200, {}, '{"status": "queued", "id": {}}', ""),
    "accepted, the id of two lines": (200, {}, '{"status": "queued", "id": "a\\nb"}', ""),
    "success without the word": (200, {}, '{"status": "rejected"}', Outcome.UNKNOWN),
    "success with a known error": (
        200,
        {},
        '{"x": "queued", "error": {"code": 7}}',
        Outcome.INVALID_NUMBER,
    ),
    "a known error": (400, {}, '{"error": {"code": "7"}}', Outcome.INVALID_NUMBER),
    "another known error": (403, {}, '{"error": {"code": "quota"}}', Outcome.NO_CREDIT),
    "an unknown error": (400, {}, '{"error": {"code": "8"}}', Outcome.CONFIGURATION),
    "an error of another shape": (400, {}, '{"error": ["7"]}', Outcome.CONFIGURATION),
    "a known status": (409, {}, "conflict", Outcome.BLOCKED_BY_RECIPIENT),
    "the word without success": (400, {}, "queued", Outcome.CONFIGURATION),
    "no content": (204, {}, "", Outcome.UNKNOWN),
    "payment required": (402, {}, "queued? no", Outcome.CONFIGURATION),
    "not changed": (304, {}, "", Outcome.CONFIGURATION),
    "refused, too deep to read": (400, {}, "[" * 60_000, Outcome.CONFIGURATION),
}
