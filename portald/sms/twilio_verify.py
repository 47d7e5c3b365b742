"""Twilio Verify: Twilio makes the code, texts it, and judges what the guest typed.

https://www.twilio.com/docs/verify/api/verification
https://www.twilio.com/docs/verify/api/verification-check
A code is good for ten minutes and five guesses, whatever is ordered; what kind it is and how long
is set in the service.  To ask again within that time sends the same code again.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from portald.errors import Reason, Refused, SmsError
from portald.languages import closest
from portald.model import Kind, Order, Outcome, Policy, Sent
from portald.schema import Secret, setting
from portald.sms import http, twilio

LIFETIME, ATTEMPTS = 600, 5

# https://www.twilio.com/docs/verify/api/error-codes
OUTCOMES = twilio.OUTCOMES | {
    60203: Outcome.THROTTLED,
    60205: Outcome.INVALID_NUMBER,
    60212: Outcome.THROTTLED,
    60220: Outcome.REGION_NOT_ALLOWED,
    60238: Outcome.REGION_NOT_ALLOWED,
    60410: Outcome.REGION_NOT_ALLOWED,
    60605: Outcome.REGION_NOT_ALLOWED,
}
TOO_MANY_GUESSES, INVALID_PARAMETER = 60202, 60200
DEAD = ("canceled", "deleted", "expired", "failed")

# https://www.twilio.com/docs/verify/supported-languages
LOCALES = (
    "en en-GB af ar ca zh zh-CN zh-HK hr cs da nl et fi fr de el he hi hu id it ja kn ko lt ms mr nb pl"
    " pt pt-BR ro ru sk es sv tl te th tr uk vi"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioVerify:
    """A Verify service of a Twilio account."""

    account_sid: str = setting("the account, AC…")
    auth_token: Secret = setting("its token, or an API key's secret")
    api_key: str | None = setting("an API key, SK…, if auth_token is its secret", None)
    service: str = setting("the Verify service, VA…")
    length: int = setting("how many digits a code has, as set in the service", 6, 4, 10)
    timeout: float = setting("seconds to wait for an answer", 10.0, 1, 30)
    url: str = setting("where the API is", "https://verify.twilio.com")

    def start(self, order: Order) -> Sent:
        form = {"To": order.to, "Channel": "sms"}
        if _is_global(order.ip):
            form["DeviceIp"] = order.ip
        locale = closest(order.language, LOCALES.split())
        answer = self._ask("Verifications", form | ({"Locale": locale} if locale else {}))
        if answer.status == 404 and locale:
            # The service's template may have fewer languages.  Twilio advises to ask again without.
            answer = self._ask("Verifications", form)
        body = answer.json
        if answer.status == 201 and isinstance(body.get("sid"), str):
            ordered = order.policy
            lifetime, attempts = min(LIFETIME, ordered.lifetime), min(ATTEMPTS, ordered.attempts)
            return Sent(body["sid"], Policy(Kind.NUMBERS, self.length, lifetime, attempts))
        if body.get("code") == INVALID_PARAMETER and str(body.get("message")).endswith(": To"):
            raise SmsError(Outcome.INVALID_NUMBER, answer.words)
        raise twilio.failure(answer, OUTCOMES)

    def check(self, reference: str, to: str, code: str) -> bool:
        if not (code.isascii() and code.isdigit() and 4 <= len(code) <= 10):
            return False  # Twilio calls that an invalid parameter
        answer = self._ask("VerificationCheck", {"VerificationSid": reference, "Code": code}, code)
        body = answer.json
        status = body.get("status")
        if status == "max_attempts_reached" or body.get("code") == TOO_MANY_GUESSES:
            raise Refused(Reason.TOO_MANY_GUESSES)
        # Twilio forgets a verification that is over, for whatever reason.
        if answer.status == 404 or (answer.status == 200 and status in DEAD):
            raise Refused(Reason.CODE_EXPIRED)
        if answer.status == 200 and status in ("pending", "approved"):
            ours = body.get("to") == to and body.get("sid", reference) == reference
            return status == "approved" and ours
        raise twilio.failure(answer, OUTCOMES)

    def _ask(self, what: str, form: dict[str, str], *secrets: Any) -> http.Answer:
        return http.ask(
            "POST",
            f"{self.url.rstrip('/')}/v2/Services/{self.service}/{what}",
            form=form,
            login=(self.api_key or self.account_sid, self.auth_token.reveal()),
            secrets=secrets,
            timeout=self.timeout,
        )


def _is_global(ip: str) -> bool:
    """Whether Twilio could tell anything from this address: guests' own are private."""
    try:
        return ipaddress.ip_address(ip).is_global
    except ValueError:
        return False
