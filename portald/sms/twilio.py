"""Twilio Programmable Messaging.

https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource
Success is 201.  Errors are ``{"code", "message", "more_info", "status"}``; the code says more
than the status.  A trial account sends only to numbers it has verified (code 21608).
"""

from __future__ import annotations

from dataclasses import dataclass

from portald.config import Secret, setting
from portald.errors import ConfigError, SmsError
from portald.model import Outcome
from portald.sms import http

# https://www.twilio.com/docs/api/errors
OUTCOMES = {
    20003: Outcome.AUTHENTICATION,
    20429: Outcome.THROTTLED,
    21211: Outcome.INVALID_NUMBER,
    21212: Outcome.CONFIGURATION,
    21408: Outcome.REGION_NOT_ALLOWED,
    21602: Outcome.CONFIGURATION,
    21606: Outcome.CONFIGURATION,
    21608: Outcome.CONFIGURATION,
    21610: Outcome.BLOCKED_BY_RECIPIENT,
    21611: Outcome.TEMPORARY,
    21612: Outcome.REGION_NOT_ALLOWED,
    21614: Outcome.INVALID_NUMBER,
    21617: Outcome.CONFIGURATION,
    21635: Outcome.INVALID_NUMBER,
    21730: Outcome.TEMPORARY,
    30002: Outcome.NO_CREDIT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Twilio:
    """A Twilio account; give ``sender`` or ``messaging_service``."""

    account_sid: str = setting("the account, AC…")
    auth_token: Secret = setting("its token, or an API key's secret")
    api_key: str | None = setting("an API key, SK…, if auth_token is its secret", None)
    sender: str | None = setting("the number or name texts come from", None)
    messaging_service: str | None = setting("a messaging service, MG…, instead of a sender", None)
    lifetime: int = setting("seconds after which an undelivered text is dropped", 300, 5, 36_000)
    timeout: float = setting("seconds to wait for an answer", 10.0, 1, 30)
    url: str = setting("where the API is", "https://api.twilio.com")

    def __post_init__(self) -> None:
        if not (self.sender or self.messaging_service):
            raise ConfigError("sender: missing (or give messaging_service)")

    def send(self, to: str, text: str) -> str:
        form = {"To": to, "Body": text, "ValidityPeriod": str(self.lifetime)}
        if self.sender:
            form["From"] = self.sender
        if self.messaging_service:
            form["MessagingServiceSid"] = self.messaging_service
        answer = http.ask(
            "POST",
            f"{self.url.rstrip('/')}/2010-04-01/Accounts/{self.account_sid}/Messages.json",
            form=form,
            login=(self.api_key or self.account_sid, self.auth_token.reveal()),
            timeout=self.timeout,
        )
        body = answer.json
        if answer.status == 201 and isinstance(body.get("sid"), str):
            return str(body["sid"])
        if answer.status < 300:
            raise SmsError(Outcome.UNKNOWN, f"not Twilio's answer: {answer.words}")
        code = body.get("code")
        outcome = OUTCOMES.get(code) if isinstance(code, int) else None
        raise SmsError(outcome, answer.words, answer.retry_after) if outcome else answer.error()
