"""Answers of a gateway of one's own."""

from __future__ import annotations

from portald.model import Outcome
from portald.schema import Secret
from portald.sms.gateway import Gateway
from tests.sms.tables import TOKEN, Row

SECRETS = [TOKEN]


def make(url: str, timeout: float = 5) -> Gateway:
    return Gateway(url=f"{url}/send", bearer=Secret(TOKEN), success_contains="queued", timeout=timeout)


ROWS: dict[str, Row] = {
    "accepted": (200, {}, '{"status": "queued"}', ""),
    "accepted, created": (201, {}, "queued", ""),
    "success without the word": (200, {}, '{"status": "rejected"}', Outcome.UNKNOWN),
    "the word without success": (400, {}, "queued", Outcome.CONFIGURATION),
    "no content": (204, {}, "", Outcome.UNKNOWN),
    "payment required": (402, {}, "queued? no", Outcome.CONFIGURATION),
    "not changed": (304, {}, "", Outcome.CONFIGURATION),
}
