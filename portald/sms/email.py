"""E-mail-to-SMS: an e-mail to the gateway of the guest's carrier, which brings it as a text.

Carriers are switching these gateways off, and a mail server that took the e-mail does not know
whether a text arrives: see ``carriers.toml``.  The e-mail is what such gateways want: one
recipient, no subject, plain text and nothing but the text; to an address made of digits, at a
domain of our own list.
"""

from __future__ import annotations

import contextlib
import functools
import re
import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from pathlib import Path

from portald import phone
from portald.errors import ConfigError, SmsError
from portald.model import Outcome, Text
from portald.schema import Secret, one_of, setting
from portald.sms import carriers
from portald.sms.carriers import Carrier
from portald.sms.risks import near
from portald.sms.smtp import Conversation, expect

_SECURITY = ("starttls", "tls", "none")
ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}")
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_POLICY = SMTP.clone(cte_type="7bit")  # not every mail server and gateway takes more


# Read once: a mistake in a file that is being edited must not stop the texts of a running portald.
_load = functools.cache(carriers.load)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """A mail server that takes our e-mail."""

    host: str = setting("the mail server")
    port: int = setting("its port; 587 for starttls, 465 for tls", 587, 1, 65535)
    security: str = setting("starttls, tls or none", "starttls")
    user: str | None = setting("a user, if it wants one", None)
    password: Secret | None = setting("and the password", None)
    sender: str = setting("the address e-mails come from")
    envelope_sender: str | None = setting("the address that refusals go to, if it is another one", None)
    ca_file: str | None = setting("certificates to trust instead of the system's", None)
    timeout: float = setting("seconds for the whole exchange", 15.0, 1, 60)

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.host):
            raise ConfigError(f"host: expected a name or an address, got {self.host!r}")
        one_of("security", self.security, _SECURITY)
        for name in ("sender", "envelope_sender"):
            value = getattr(self, name)
            if value is not None and not ADDRESS.fullmatch(value):
                raise ConfigError(f"{name}: expected an address such as wifi@example.net, got {value!r}")
        if (self.user is None) != (self.password is None):
            raise ConfigError("user: give user and password together")
        if self.user and self.password and not (self.user + self.password.reveal()).isascii():
            raise ConfigError("password: mail servers take ASCII only, in user and password")
        if self.security == "none" and self.password and not near(self.host):
            raise ConfigError("security: a password would cross the network in clear; set starttls or tls")
        try:
            self._context()
        except OSError as error:
            raise ConfigError(f"ca_file: cannot be used: {error}") from None

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    def risks(self) -> list[str]:
        """Return what works and is a risk."""
        if self.security == "none" and not near(self.host):
            return ["security: none shows codes to everybody on the way; set starttls or tls"]
        return []

    def deliver(self, recipient: str, message: EmailMessage) -> str:
        """Hand an e-mail over; return its Message-ID.  Raises ``SmsError``."""
        with Conversation(self.timeout) as conversation:
            with conversation.step("connection", Outcome.TEMPORARY):
                context = self._context() if self.security == "tls" else None
                server = conversation.connect(self.host, self.port, context)
                server.ehlo_or_helo_if_needed()
            if self.security == "starttls":
                with conversation.step("STARTTLS", Outcome.CONFIGURATION):
                    server.starttls(context=conversation.watched(self._context()))
                    server.ehlo_or_helo_if_needed()
            if self.user and self.password:
                with conversation.step("AUTH", Outcome.CONFIGURATION):
                    server.login(self.user, self.password.reveal())
            with conversation.step("MAIL", Outcome.CONFIGURATION):
                expect(server.mail(self.envelope_sender or self.sender))
            with conversation.step("RCPT", Outcome.INVALID_NUMBER):
                expect(server.rcpt(recipient))
            with conversation.step("DATA", Outcome.CONFIGURATION, sent=True):
                expect(server.data(message.as_bytes()))
            with contextlib.suppress(smtplib.SMTPException, OSError):
                server.quit()  # it has the e-mail: nothing that happens now matters
        return str(message["Message-ID"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Email(MailServer):
    """A mail server that takes e-mail for the carriers' gateways."""

    carriers_file: str | None = setting("a TOML file that changes the list of carriers", None)

    def __post_init__(self) -> None:
        MailServer.__post_init__(self)
        _load(self._carriers_path)

    @property
    def _carriers_path(self) -> Path | None:
        return Path(self.carriers_file) if self.carriers_file else None

    @property
    def carriers(self) -> Mapping[str, Carrier]:
        """The carriers that a guest may name, by key."""
        return _load(self._carriers_path)

    def warnings(self) -> list[str]:
        """Return what works and is a risk."""
        return [
            "type: every mail server on the way can read the codes; nothing of value should hang on them",
            *self.risks(),
        ]

    def send(self, text: Text) -> str:
        carrier = self.carriers.get(text.carrier)
        if carrier is None:
            raise SmsError(Outcome.CONFIGURATION, "the guest's carrier is not in the list")
        recipient = address(text.to, carrier)
        return self.deliver(recipient, compose(text.body, recipient, self.sender))


def compose(body: str, recipient: str, sender: str, subject: str = "") -> EmailMessage:
    """Return the e-mail for a text; gateways want no subject."""
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    # Lines are made to end as lines of an e-mail do, or some servers would see other lines in it.
    lines = re.split(r"\r\n|\r|\n", body.encode("utf-8", "replace").decode())
    message.set_content("\n".join(lines))
    return message


def address(number: str, carrier: Carrier) -> str:
    """Return the address of a telephone at its carrier's gateway; raise ``SmsError`` if it has none."""
    try:
        zero = carrier.number_format == "zero_national"
        digits = phone.national(number, zero) if re.fullmatch(r"\+[1-9][0-9]{5,14}", number) else ""
    except ValueError:
        digits = ""
    if not digits:
        raise SmsError(Outcome.INVALID_NUMBER, "not a number in international form")
    if not phone.is_in(number, carrier.country):
        # Without its country code, it would be the number of somebody else there.
        raise SmsError(
            Outcome.INVALID_NUMBER, f"not a number of {carrier.country}, where {carrier.name} is"
        )
    if carrier.number_format.startswith("e164"):
        digits = number if carrier.number_format == "e164_plus" else number.removeprefix("+")
    return f"{digits}@{carrier.domain}"
