"""Codes by e-mail, to guests whose phone gets no texts here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from portald.errors import SmsError
from portald.model import Outcome, Text
from portald.schema import setting
from portald.sms.email import ADDRESS, MailServer, compose


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox(MailServer):
    """A mail server for codes to the guests' own addresses."""

    to_mailboxes: ClassVar[bool] = True

    subject: str = setting("the subject of the e-mail", "Your Wi-Fi code")

    def warnings(self) -> list[str]:
        return self.risks()

    def send(self, text: Text) -> str:
        if not ADDRESS.fullmatch(text.to):
            raise SmsError(Outcome.INVALID_NUMBER, "not a mail address", of_number=True)
        return self.deliver(text.to, compose(text.body, text.to, self.sender, self.subject))
