"""The SMS sandbox: a server of ours that shows texts on a page instead of sending them.

Start it with ``portald sandbox``.  It speaks Twilio's wire format, so what works with it works
with Twilio.
"""

from __future__ import annotations

from dataclasses import dataclass

from portald.model import Text
from portald.schema import Secret, setting
from portald.sms.twilio import Twilio


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """Texts to a sandbox; for trying portald out."""

    url: str = setting("where the sandbox is", "http://127.0.0.1:8025")
    timeout: float = setting("seconds to wait for an answer", 10.0, 1, 30)

    def send(self, text: Text) -> str:
        twilio = Twilio(
            account_sid="ACsandbox",
            auth_token=Secret("sandbox"),
            sender="portald",
            url=self.url,
            timeout=self.timeout,
        )
        return twilio.send(text)
