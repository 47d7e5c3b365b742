"""Twilio Programmable Messaging.

https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource
Success is 201.  Errors are ``{"code", "message", "more_info", "status"}``; the code says more
than the status.  A trial account sends only to numbers it has verified (code 21608).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from portald.errors import ConfigError, Forged, SmsError
from portald.model import Outcome, Report, Text
from portald.schema import Secret, setting
from portald.sms import http

# https://www.twilio.com/docs/api/errors
OUTCOMES = {
    20003: Outcome.AUTHENTICATION,
    20429: Outcome.THROTTLED,
    21211: Outcome.INVALID_NUMBER,
    21212: Outcome.CONFIGURATION,
    21214: Outcome.INVALID_NUMBER,
    21217: Outcome.INVALID_NUMBER,
    21265: Outcome.INVALID_NUMBER,
    21266: Outcome.INVALID_NUMBER,  # our own
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
HINTS = {21608: "a trial account may text only numbers that are verified in Twilio's console"}
DELIVERED = {"delivered": True, "read": True, "failed": False, "undelivered": False, "canceled": False}
MEANINGS = {
    "30001": "too many texts were waiting",
    "30002": "the account is suspended",
    "30003": "the phone is off or without signal",
    "30004": "blocked by the network or the subscriber",
    "30005": "no such number",
    "30006": "a landline, or a network that cannot be reached",
    "30007": "filtered by the network",
    "30008": "unknown",
    "30034": "the sender is not registered for texts to the United States",
    "30450": "taken for SMS pumping; the number is blocked for half an hour",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Twilio:
    """A Twilio account; give ``sender`` or ``messaging_service``."""

    account_sid: str = setting("the account, AC…")
    auth_token: Secret = setting("its token, or an API key's secret")
    api_key: str | None = setting("an API key, SK…, if auth_token is its secret", None)
    sender: str | None = setting("the number or name texts come from", None)
    messaging_service: str | None = setting("a messaging service, MG…, instead of a sender", None)
    smart_encoding: bool = setting("have letters replaced that make a text longer", False)
    status_callback: str | None = setting("where Twilio reports what became of a text", None)
    webhook_token: Secret | None = setting("the account's token, if auth_token is an API key's", None)
    timeout: float = setting("seconds to wait for an answer", 10.0, 1, 30)
    url: str = setting("where the API is", "https://api.twilio.com")

    def __post_init__(self) -> None:
        if not (self.sender or self.messaging_service):
            raise ConfigError("sender: missing (or give messaging_service)")

    def send(self, text: Text) -> str:
        form = {"To": text.to, "Body": text.body, "ValidityPeriod": str(text.lifetime)}
        if sender := text.sender or self.sender:
            form["From"] = sender
        if self.messaging_service:
            form["MessagingServiceSid"] = self.messaging_service
        if self.smart_encoding:
            form["SmartEncoded"] = "true"
        if self.status_callback:
            form["StatusCallback"] = self.status_callback
        answer = self._ask("POST", "Messages.json", form=form, secrets=[text.code])
        body = answer.json
        if answer.status == 201 and isinstance(body.get("sid"), str):
            return str(body["sid"])
        raise failure(answer, OUTCOMES)

    def delivery(self, message: str) -> Report:
        """Return what Twilio knows of a text.

        https://www.twilio.com/docs/messaging/api/message-resource#fetch-a-message-resource
        """
        answer = self._ask("GET", f"Messages/{quote(message, safe='')}.json")
        body = answer.json
        if answer.status != 200 or not isinstance(body.get("status"), str):
            raise failure(answer, OUTCOMES)
        return _report(message, body["status"], body.get("error_code"))

    def reports(self, url: str, headers: Mapping[str, str], body: bytes) -> list[Report]:
        """Read a status callback, which the account's token signs.

        https://www.twilio.com/docs/usage/webhooks/webhooks-security
        """
        given = next((v for name, v in headers.items() if name.lower() == "x-twilio-signature"), "")
        try:
            digests = parse_qs(urlsplit(url).query).get("bodySHA256")
            # A body is read as the form that is signed with the URL, unless the URL has its digest.
            form = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=200)
            spellings = _spellings(url)
        except ValueError:
            raise Forged("not a report") from None
        if digests is not None:
            if digests != [hashlib.sha256(body).hexdigest()]:
                raise Forged("the body is not the one that was signed")
            form = {}
        if self.api_key and self.webhook_token is None:
            raise Forged("webhook_token is not set, so no report can be proven")
        key = (self.webhook_token or self.auth_token).reveal().encode()
        signed = [hmac.compare_digest(given.encode(), sign(key, each, form)) for each in spellings]
        if not any(signed):
            raise Forged("the signature is not Twilio's")
        found = {name: values[-1] for name, values in form.items()}
        message, status = found.get("MessageSid"), found.get("MessageStatus")
        return [_report(message, status, found.get("ErrorCode"))] if message and status else []

    def _ask(self, method: str, path: str, **more: Any) -> http.Answer:
        return http.ask(
            method,
            f"{self.url.rstrip('/')}/2010-04-01/Accounts/{self.account_sid}/{path}",
            login=(self.api_key or self.account_sid, self.auth_token.reveal()),
            timeout=self.timeout,
            **more,
        )


OF_NUMBER = {21608, 60203, 60212}
"""A trial account's, and Verify's limits for one number; those of the account are others."""


def failure(answer: http.Answer, outcomes: Mapping[int, Outcome]) -> SmsError:
    """Return what an answer of Twilio's that is not a success means."""
    if answer.status < 300:
        return SmsError(Outcome.UNKNOWN, f"not Twilio's answer: {answer.words}")
    code = answer.json.get("code")
    outcome = outcomes.get(code) if isinstance(code, int) else None
    if outcome is None:
        return answer.error()
    hint = f" ({HINTS[code]})" if code in HINTS else ""
    return SmsError(outcome, answer.words + hint, answer.retry_after, of_number=code in OF_NUMBER)


def sign(key: bytes, url: str, form: Mapping[str, list[str]]) -> bytes:
    """Return Twilio's signature of a request: the URL, then every name and value, in order."""
    pairs = "".join(name + value for name in sorted(form) for value in sorted(set(form[name])))
    return base64.b64encode(hmac.new(key, (url + pairs).encode(), "sha1").digest())


def _spellings(url: str) -> set[str]:
    """Return the URL as it is, without its port, and with it: Twilio signs one of them."""
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {url, *(parts._replace(netloc=each).geturl() for each in (host, f"{host}:{port}"))}


def _report(message: str, status: str, code: Any) -> Report:
    delivered = DELIVERED.get(status)
    words = f"{status}: {code} {MEANINGS.get(str(code), '')}".strip() if code else status
    return Report(message, delivered, words if delivered is False else "")
