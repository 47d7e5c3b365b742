"""Vonage's SMS API, formerly Nexmo.

https://developer.vonage.com/en/api/sms
The answer is always HTTP 200; each part of a text has a status of its own, and only ``"0"`` is
success.  What was sent cannot be asked for: the search for messages is being removed in favour of
reports that cost money.  Delivery receipts can be trusted only if the account signs them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from portald.errors import ConfigError, Forged, SmsError
from portald.model import Outcome, Report, Text
from portald.schema import Secret, one_of, setting
from portald.sms import http, tokens
from portald.texts import measure

METHODS = ("md5hash", "md5", "sha1", "sha256", "sha512")

# https://developer.vonage.com/en/messaging/sms/guides/troubleshooting-sms
OUTCOMES = {
    **dict.fromkeys(("2", "3", "11", "12", "15", "22", "23", "29"), Outcome.CONFIGURATION),
    **dict.fromkeys(("4", "8", "14", "32"), Outcome.AUTHENTICATION),
    **dict.fromkeys(("1", "10"), Outcome.THROTTLED),
    **dict.fromkeys(("6", "33"), Outcome.INVALID_NUMBER),
    "5": Outcome.TEMPORARY,
    "7": Outcome.BLOCKED_BY_RECIPIENT,
    "9": Outcome.NO_CREDIT,
}
HINTS = {"29": "a demo account may text only numbers on its list of test numbers"}
OF_NUMBER = {"15", "29"}
"""15 depends on the country: https://api.support.vonage.com/hc/en-us/articles/204014883"""

# https://developer.vonage.com/en/messaging/sms/guides/delivery-receipts
DELIVERED = {"delivered": True, "expired": False, "failed": False, "rejected": False}
MEANINGS = {
    "1": "unknown, perhaps no such number",
    "2": "the phone is off or without signal",
    "3": "the number is no longer in use",
    "4": "the subscriber bars such texts",
    "5": "the number has changed networks",
    "6": "filtered as spam by the network",
    "7": "the phone is busy",
    "8": "a failure in the network",
    "9": "the subscriber has sent STOP",
    "11": "no route to this network",
    "12": "unreachable",
    "14": "blocked by the network",
    "15": "the subscriber has no credit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vonage:
    """A Vonage account; with a signature secret and no API secret it signs its requests."""

    api_key: str = setting("the account's key")
    api_secret: Secret | None = setting("its secret", None)
    signature_secret: Secret | None = setting("the secret that signs delivery receipts", None)
    signature_method: str = setting(f"as set in the account: {', '.join(METHODS)}", "md5hash")
    sender: str = setting("the number or name texts come from")
    status_callback: str | None = setting("where delivery receipts go, instead of the account's", None)
    timeout: float = setting("seconds to wait for an answer", 10.0, 1, 30)
    url: str = setting("where the API is", "https://rest.nexmo.com")

    def __post_init__(self) -> None:
        one_of("signature_method", self.signature_method, METHODS)
        if not (self.api_secret or self.signature_secret):
            raise ConfigError("api_secret: missing (or give signature_secret)")
        if len(self.status_callback or "") > 100:
            raise ConfigError("status_callback: Vonage takes at most 100 characters")

    def send(self, text: Text) -> str:
        form = {
            "from": text.sender or self.sender,
            "to": text.to.removeprefix("+"),
            "text": text.body,
            "ttl": str(max(20_000, text.lifetime * 1000)),
        }
        if measure(text.body).encoding != "GSM-7":
            form["type"] = "unicode"
        if text.reference:
            form["client-ref"] = text.reference
        if self.status_callback:
            form["callback"] = self.status_callback
        if self.api_secret is None:
            form |= {"api_key": self.api_key, "timestamp": str(tokens.now())}
            form["sig"] = self._sign(form)
        answer = http.ask(
            "POST",
            f"{self.url.rstrip('/')}/sms/json",
            form=form,
            login=(self.api_key, self.api_secret.reveal()) if self.api_secret else None,
            secrets=[text.code, form.get("sig", ""), *self._secrets()],
            timeout=self.timeout,
        )
        return _first_part(answer)

    def reports(self, url: str, headers: Mapping[str, str], body: bytes) -> list[Report]:
        """Read a delivery receipt.  A repeated one proves to be Vonage's as well, and says the same."""
        params = _params(url, headers, body)
        given = params.pop("sig", "")
        if self.signature_secret is None:
            raise Forged("signature_secret is not set, so no receipt can be proven")
        if not hmac.compare_digest(given.lower().encode(), self._sign(params).encode()):
            raise Forged("the signature is not Vonage's")
        delivered = DELIVERED.get(params.get("status", ""))
        code = params.get("err-code", "")
        words = f"{params.get('status')}: {MEANINGS.get(code, f'error {code[:8]}')}"
        message = params.get("messageId")
        return [Report(message, delivered, words if delivered is False else "")] if message else []

    def _sign(self, params: Mapping[str, str]) -> str:
        """https://developer.vonage.com/en/getting-started/concepts/signing-messages"""
        pairs = (
            (name, value.replace("&", "_").replace("=", "_")) for name, value in sorted(params.items())
        )
        line = "".join(f"&{name}={value}" for name, value in pairs).encode()
        secret = (self.signature_secret or Secret("")).reveal().encode()
        if self.signature_method == "md5hash":
            return hashlib.md5(line + secret, usedforsecurity=False).hexdigest()
        return hmac.new(secret, line, self.signature_method).hexdigest()

    def _secrets(self) -> list[str]:
        return [secret.reveal() for secret in (self.api_secret, self.signature_secret) if secret]


def _first_part(answer: http.Answer) -> str:
    """Return the id of the first part if all were taken; raise ``SmsError`` if not."""
    if answer.status >= 300:
        raise answer.error()
    found = answer.json.get("messages")
    parts = [part for part in found if isinstance(part, dict)] if isinstance(found, list) else []
    statuses = [str(part.get("status")) for part in parts]
    message = parts[0].get("message-id") if parts else None
    if answer.status == 200 and set(statuses) == {"0"} and isinstance(message, str) and message:
        return message
    if answer.status != 200 or not statuses or "0" in statuses:
        # Some parts may be under way, and a guest reads the code in any of them.
        raise SmsError(Outcome.UNKNOWN, f"not all parts were taken: {answer.words}")
    outcome = OUTCOMES.get(statuses[0], Outcome.UNKNOWN)
    hint = HINTS.get(statuses[0])
    words = f"{answer.words} ({hint})" if hint else answer.words
    raise SmsError(outcome, words, answer.retry_after, of_number=statuses[0] in OF_NUMBER)


def _params(url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
    """Return what a receipt says, in whichever of its three forms it came."""
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    try:
        if "json" in kind.lower():
            given: Any = json.loads(body)
            return {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in given.items()
            }
        query = body.decode() if body else urlsplit(url).query
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=100)
    except (ValueError, AttributeError, RecursionError):
        raise Forged("not a receipt") from None
    params = dict(pairs)
    if len(params) != len(pairs):
        raise Forged("a parameter is there twice")
    return params
