"""A modem has its own tests, with programs that behave as the real ones."""

from __future__ import annotations

from portald.sms.modem import Modem

PLAIN = False
SECRETS: list[str] = []


def make(url: str, timeout: float = 5) -> Modem:
    return Modem(tool="mmcli", timeout=timeout)


# In exit statuses.
ROWS = {
    "accepted": (0, "21"),
}
