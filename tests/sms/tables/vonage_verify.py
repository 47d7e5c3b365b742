"""Answers of Vonage Verify to a new verification."""

from __future__ import annotations

import json
from typing import Any

from portald.model import Outcome
from portald.schema import Secret
from portald.sms.vonage_verify import VonageVerify
from tests.sms.tables import TOKEN, Row

SECRETS = [TOKEN]
ID = "c11236f4-00bf-4b89-84ba-88b25df97315"


def make(url: str, timeout: float = 5) -> VonageVerify:
    return VonageVerify(
        api_key="abcd1234", api_secret=Secret(TOKEN), brand="Lobby Wi-Fi", url=url, timeout=timeout
    )


def problem(title: str, **more: Any) -> str:
    return json.dumps({"title": title, "type": "https://…", "detail": "no", "instance": "bf0c", **more})


def invalid(*names: Any) -> str:
    return problem("Invalid params", invalid_parameters=[{"name": name, "reason": "no"} for name in names])


ROWS: dict[str, Row] = {
    "accepted": (202, {}, json.dumps({"request_id": ID}), ID),
    "accepted without an id": (202, {}, "{}", Outcome.UNKNOWN),
    "accepted with a strange id": (202, {}, '{"request_id": 7}', Outcome.UNKNOWN),
    "accepted with a list": (202, {}, f'["{ID}"]', Outcome.UNKNOWN),
    "fine, but not accepted": (200, {}, json.dumps({"request_id": ID}), Outcome.UNKNOWN),
    "wrong secret": (401, {}, problem("Unauthorized"), Outcome.AUTHENTICATION),
    "low balance": (402, {}, problem("Low balance"), Outcome.NO_CREDIT),
    "forbidden": (403, {}, problem("Forbidden"), Outcome.AUTHENTICATION),
    "one is under way": (409, {"Retry-After": "9"}, problem("Conflict"), Outcome.THROTTLED),
    "invalid": (422, {}, invalid("brand"), Outcome.CONFIGURATION),
    "invalid number": (422, {}, invalid("workflow[0].to"), Outcome.INVALID_NUMBER),
    "invalid number, in short": (422, {}, invalid("brand", "to"), Outcome.INVALID_NUMBER),
    "invalid but not the number": (422, {}, invalid("photo", 5, None), Outcome.CONFIGURATION),
    "invalid in no list": (422, {}, problem("no", invalid_parameters="to"), Outcome.CONFIGURATION),
    "invalid in a strange list": (422, {}, problem("no", invalid_parameters=["to"]), Outcome.CONFIGURATION),
    "throttled": (429, {}, problem("Rate Limit Hit"), Outcome.THROTTLED),
    "their error": (500, {}, problem("Internal error"), Outcome.UNKNOWN),
}
