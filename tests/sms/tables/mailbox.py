"""Codes to mailboxes are tested with e-mail-to-SMS, against the same mail server."""

from __future__ import annotations

from urllib.parse import urlsplit

from portald.schema import Secret
from portald.sms.mailbox import Mailbox
from tests.sms.tables import TOKEN

PLAIN = False
SECRETS = [TOKEN]


def make(url: str, timeout: float = 5) -> Mailbox:
    return Mailbox(
        host=urlsplit(url).hostname or "",
        port=urlsplit(url).port or 25,
        security="none",
        user="portald",
        password=Secret(TOKEN),
        sender="wifi@example.net",
        timeout=timeout,
    )


# In the server's codes; what it says is in the tests.
ROWS = {
    "accepted": (250, "<an id of our own>"),
}
