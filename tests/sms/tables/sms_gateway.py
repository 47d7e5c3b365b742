"""Answers of a gateway as Auth0 defines it: the status alone counts."""

from __future__ import annotations

from portald.model import Outcome
from portald.schema import Secret
from portald.sms.auth0 import Authentication, SmsGateway
from tests.sms.tables import TOKEN, Row

SECRETS = [TOKEN]


def make(url: str, timeout: float = 5) -> SmsGateway:
    return SmsGateway(
        gateway_url=f"{url}/send",
        sender="Lobby",
        gateway_authentication=Authentication(
            method="bearer", subject="portald", audience="sms", secret=Secret(TOKEN)
        ),
        timeout=timeout,
    )


ROWS: dict[str, Row] = {
    "accepted": (200, {}, '{"sent": true}', ""),
    "accepted, in no words": (200, {}, "", ""),
    "accepted, in words of failure": (200, {}, '{"error": "no"}', ""),
    "created": (201, {}, "", Outcome.UNKNOWN),
    "accepted for later": (202, {}, "", Outcome.UNKNOWN),
    "no content": (204, {}, "", Outcome.UNKNOWN),
    "not changed": (304, {}, "", Outcome.CONFIGURATION),
    "bad request": (400, {}, "{}", Outcome.CONFIGURATION),
    "not authenticated": (401, {}, "{}", Outcome.AUTHENTICATION),
    "not there": (404, {}, "{}", Outcome.CONFIGURATION),
    "their error": (500, {}, "{}", Outcome.UNKNOWN),
    "not now": (503, {}, "{}", Outcome.TEMPORARY),
}
