"""Codes to mailboxes are tested with e-mail-to-SMS, against the same mail server."""

from __future__ import annotations

import dataclasses

from portald.sms.mailbox import Mailbox
from tests.sms.tables import email
from tests.sms.tables.email import PLAIN, ROWS, SECRETS

__all__ = ["PLAIN", "ROWS", "SECRETS"]


def make(url: str, timeout: float = 5) -> Mailbox:
    server = email.make(url, timeout)
    fields = {field.name: getattr(server, field.name) for field in dataclasses.fields(server)}
    del fields["carriers_file"]
    return Mailbox(**fields)
