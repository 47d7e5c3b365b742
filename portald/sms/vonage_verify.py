"""Vonage Verify, version 2: Vonage makes the code, texts it, and judges what the guest typed.

https://developer.vonage.com/en/api/verify.v2
Codes are digits and good for three guesses.  While one is good, no other can be sent to the same
number.  Errors are problems as in RFC 9457.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from portald.errors import ConfigError, Reason, Refused, SmsError
from portald.languages import closest
from portald.model import Kind, Order, Outcome, Policy, Sent
from portald.schema import Secret, setting
from portald.sms import http

ATTEMPTS = 3
PENDING = 409
"""Another code for this number is still good."""
OUTCOMES = {
    402: Outcome.NO_CREDIT,
    PENDING: Outcome.THROTTLED,
    422: Outcome.CONFIGURATION,
}

# https://developer.vonage.com/en/verify/guides/verify-v2-languages; the first of a language stands for it.
LOCALES = (
    "en-us en-gb en-au en-in ar-xa cs-cz da-dk de-de el-gr es-es es-mx es-us fi-fi fil-ph fr-fr fr-ca"
    " hi-in hu-hu id-id is-is it-it ja-jp ko-kr nb-no nl-nl pl-pl pt-pt pt-br ro-ro ru-ru sv-se th-th"
    " tr-tr vi-vn zh-cn zh-hk zh-tw"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VonageVerify:
    """A Vonage account, and the name its texts mention."""

    api_key: str = setting("the account's key")
    api_secret: Secret = setting("its secret")
    brand: str = setting("the name in the text, up to 18 characters")
    sender: str | None = setting("the number or name texts come from, instead of Vonage's", None)
    timeout: float = setting("seconds to wait for an answer", 10.0, 1, 30)
    url: str = setting("where the API is", "https://api.nexmo.com")

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[^/{}:$]{1,18}", self.brand):
            raise ConfigError("brand: expected 1 to 18 characters, none of / { } : $")

    def start(self, order: Order) -> Sent:
        policy = Policy(
            Kind.NUMBERS,
            length=min(max(order.policy.length, 4), 10),
            lifetime=min(max(order.policy.lifetime, 15), 900),
            attempts=min(order.policy.attempts, ATTEMPTS),
        )
        step = {"channel": "sms", "to": order.to.removeprefix("+")}
        if sender := order.sender or self.sender:
            step["from"] = sender
        body: dict[str, Any] = {
            "brand": self.brand,
            "workflow": [step],
            "code_length": policy.length,
            "channel_timeout": policy.lifetime,
        }
        if locale := closest(order.language, LOCALES.split()):
            body["locale"] = locale
        if order.replaces:
            # Two codes for one number at a time are refused.  That this one has ended is fine, too.
            with contextlib.suppress(SmsError):
                self._ask("DELETE", f"/{quote(order.replaces, safe='')}")
        answer = self._ask("POST", "", body)
        reference = answer.json.get("request_id")
        if answer.status == 202 and isinstance(reference, str) and reference:
            return Sent(reference, policy)
        raise _failure(answer)

    def check(self, reference: str, to: str, code: str) -> bool:
        answer = self._ask("POST", f"/{quote(reference, safe='')}", {"code": code}, code)
        if answer.status == 410:
            raise Refused(Reason.TOO_MANY_GUESSES)
        if answer.status == 404:
            raise Refused(Reason.CODE_EXPIRED)
        if answer.status == 400:
            return False
        if answer.status == 200 and answer.json.get("status") == "completed":
            return True
        raise _failure(answer)

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *secrets: str
    ) -> http.Answer:
        return http.ask(
            method,
            f"{self.url.rstrip('/')}/v2/verify{path}",
            json_body=body,
            login=(self.api_key, self.api_secret.reveal()),
            secrets=secrets,
            timeout=self.timeout,
        )


def _failure(answer: http.Answer) -> SmsError:
    if answer.status < 300:
        return SmsError(Outcome.UNKNOWN, f"not Vonage's answer: {answer.words}")
    if answer.status == 422 and _is_about_the_number(answer.json.get("invalid_parameters")):
        return SmsError(Outcome.INVALID_NUMBER, answer.words)
    outcome = OUTCOMES.get(answer.status)
    if outcome is None:
        return answer.error()
    return SmsError(outcome, answer.words, answer.retry_after, of_number=answer.status == PENDING)


def _is_about_the_number(problems: Any) -> bool:
    names = [p.get("name") for p in problems if isinstance(p, dict)] if isinstance(problems, list) else []
    return any(re.fullmatch(r"(.*[.\]])?to", str(name)) for name in names)
