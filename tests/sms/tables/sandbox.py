"""The sandbox's answers: some of Twilio's."""

from __future__ import annotations

from portald.sms.sandbox import Sandbox
from tests.sms.tables import twilio

SECRETS: list[str] = []


def make(url: str, timeout: float = 5) -> Sandbox:
    return Sandbox(url=url, timeout=timeout)


ROWS = {
    name: twilio.ROWS[name]
    for name in ("accepted", "created without an id", "not a number", "unsubscribed", "their error")
}
