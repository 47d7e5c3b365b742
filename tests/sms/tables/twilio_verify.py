"""Answers of Twilio Verify to a new verification."""

from __future__ import annotations

from portald.model import Outcome
from portald.schema import Secret
from portald.sms.twilio_verify import TwilioVerify
from tests.sms.tables import TOKEN, Row
from tests.sms.tables.twilio import error

SECRETS = [TOKEN]


def make(url: str, timeout: float = 5) -> TwilioVerify:
    return TwilioVerify(
        account_sid="AC1", auth_token=Secret(TOKEN), service="VA1", url=url, timeout=timeout
    )


ROWS: dict[str, Row] = {
    "accepted": (201, {}, '{"sid": "VE1", "status": "pending"}', "VE1"),
    "created without an id": (201, {}, '{"status": "pending"}', Outcome.UNKNOWN),
    "created with a strange id": (201, {}, '{"sid": 5}', Outcome.UNKNOWN),
    "created with a list": (201, {}, '["VE1"]', Outcome.UNKNOWN),
    "not created but fine": (200, {}, '{"sid": "VE1"}', Outcome.UNKNOWN),
    "wrong token": (401, {}, error(20003, 401), Outcome.AUTHENTICATION),
    "no such service": (404, {}, error(20404, 404), Outcome.CONFIGURATION),
    "not a number": (400, {}, error(60200, message="Invalid parameter: To"), Outcome.INVALID_NUMBER),
    "wrong channel": (400, {}, error(60200, message="Invalid parameter: Channel"), Outcome.CONFIGURATION),
    "strange message": (400, {}, error(60200).replace('"no"', "[5]"), Outcome.CONFIGURATION),
    "sent too often": (429, {"Retry-After": "600"}, error(60203, 429), Outcome.THROTTLED),
    "a landline": (403, {}, error(60205, 403), Outcome.INVALID_NUMBER),
    "too many at once": (429, {}, error(60212, 429), Outcome.THROTTLED),
    "country needs vetting": (403, {}, error(60220, 403), Outcome.REGION_NOT_ALLOWED),
    "blocked by Twilio": (403, {}, error(60238, 403), Outcome.REGION_NOT_ALLOWED),
    "prefix blocked for fraud": (403, {}, error(60410, 403), Outcome.REGION_NOT_ALLOWED),
    "country blocked": (403, {}, error(60605, 403), Outcome.REGION_NOT_ALLOWED),
    "region not enabled": (403, {}, error(21408, 403), Outcome.REGION_NOT_ALLOWED),
    "trial account": (400, {}, error(21608), Outcome.CONFIGURATION),
    "unsubscribed": (400, {}, error(21610), Outcome.BLOCKED_BY_RECIPIENT),
    "unheard of": (400, {}, error(69999), Outcome.CONFIGURATION),
    "their error": (500, {}, error(20500, 500), Outcome.UNKNOWN),
}
