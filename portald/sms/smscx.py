"""SMS.CX one-time passwords: SMS.CX makes the code, texts it, and judges what the guest typed.

https://github.com/smscx/smscx-api-python-library/blob/main/docs/api/OtpApi.md
Errors are ``{"error": {"type", "message", "uri", "code"}}``.  Its webhooks are not signed, so they
are not read here; ``delivery`` asks instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from portald.errors import ConfigError, Reason, Refused, SmsError
from portald.model import Order, Outcome, Policy, Report, Sent
from portald.schema import Secret, one_of, setting, table
from portald.sms import http, tokens
from portald.texts import macros

FIELDS = ("phoneNumber", "to")
NO_NUMBER = 2001
OUTCOMES: Mapping[int | str, Outcome] = {
    NO_NUMBER: Outcome.INVALID_NUMBER,
    2020: Outcome.INVALID_NUMBER,
    "insufficientcredit": Outcome.NO_CREDIT,
    "nocoverage": Outcome.REGION_NOT_ALLOWED,
    "invalidapikey": Outcome.AUTHENTICATION,
    "invalidclient": Outcome.AUTHENTICATION,
    "accessdenied": Outcome.AUTHENTICATION,
    "ratelimit": Outcome.THROTTLED,
    "invalidparam": Outcome.CONFIGURATION,
}
WRONG = {2022, 2029}
DEAD = {
    2021: Reason.CODE_EXPIRED,  # not known, or not any more
    2023: Reason.CODE_EXPIRED,  # used already
    2024: Reason.CODE_EXPIRED,
    2025: Reason.CODE_EXPIRED,
    2026: Reason.TOO_MANY_GUESSES,
    2027: Reason.TOO_MANY_GUESSES,
    2028: Reason.CODE_EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsCx:
    """An SMS.CX application, known by ``app_id`` and ``app_secret``, or an account's ``api_key``."""

    app_id: str | None = setting("the application's id", None)
    app_secret: Secret | None = setting("and its secret", None)
    scope: str = setting("what the application's token may be used for; empty is everything", "")
    api_key: Secret | None = setting("a key, instead of an application", None)
    sender: str | None = setting("the originator of texts, 3 to 15 characters", None)
    template: str | None = setting("the text with {{pin}} in it, instead of the application's", None)
    templates_by_prefix: dict[str, str] = table('other texts by beginnings of numbers: "+33" = "…"')
    brand: str = setting("what {name} in a template becomes", "Wi-Fi")
    number_field: str = setting(f"how the number's field is called: {' or '.join(FIELDS)}", FIELDS[0])
    callback: str | None = setting("where SMS.CX reports the code's status to", None)
    timeout: float = setting("seconds to wait for an answer", 10.0, 1, 30)
    url: str = setting("where the API is", "https://api.sms.cx")

    def __post_init__(self) -> None:
        one_of("number_field", self.number_field, FIELDS)
        if (self.app_id is None) != (self.app_secret is None):
            raise ConfigError("app_id: give app_id and app_secret together")
        if (self.app_id is None) == (self.api_key is None):
            raise ConfigError("api_key: give either api_key, or app_id and app_secret")
        if self.sender is not None and not 3 <= len(self.sender) <= 15:
            raise ConfigError(f"sender: expected 3 to 15 characters, got {len(self.sender)}")
        for prefix, template in self.templates_by_prefix.items():
            if not re.fullmatch(r"\+[1-9]\d{0,14}", prefix):
                raise ConfigError(f'templates_by_prefix: expected beginnings like "+33", got {prefix!r}')
            self._pin(template, 300, f"templates_by_prefix.{prefix}")
        if self.template is not None:
            self._pin(self.template, 300, "template")

    def start(self, order: Order) -> Sent:
        ordered = order.policy
        policy = Policy(
            ordered.kind,
            length=min(max(ordered.length, 4), 10),
            lifetime=min(max(ordered.lifetime, 60), 1800),
            attempts=min(max(ordered.attempts, 1), 10),
        )
        wishes = {
            "from": order.sender or self.sender,
            "template": self._template(order, policy.lifetime),
            "otpCallbackUrl": self.callback,
        }
        body: dict[str, Any] = {name: value for name, value in wishes.items() if value} | {
            "ttl": policy.lifetime,
            "maxAttempts": policy.attempts,
            "pinType": policy.kind.value,
            "pinLength": policy.length,
        }
        answer = self._ask("POST", "/otp", json_body={self.number_field: order.to, **body})
        if _error(answer)[0] == NO_NUMBER:
            # Its own descriptions disagree on the name of this field; without a number, nothing was sent.
            other = FIELDS[1 - FIELDS.index(self.number_field)]
            answer = self._ask("POST", "/otp", json_body={other: order.to, **body})
        reference = answer.json.get("otpId")
        if answer.status == 201 and isinstance(reference, str) and reference:
            return Sent(reference, policy, reference)
        raise _failure(answer)

    def check(self, reference: str, to: str, code: str) -> bool:
        pin = code.upper()  # as SMS.CX makes them
        answer = self._ask("POST", _otp(reference), json_body={"pin": pin}, secrets=[code, pin])
        number, _ = _error(answer)
        if answer.status == 200 and answer.json.get("status") == "VERIFIED":
            return True
        if number in WRONG:
            return False
        if number in DEAD:
            raise Refused(DEAD[number])
        raise _failure(answer)

    def delivery(self, message: str) -> Report:
        """Return what is known: a code that was typed has arrived, and no other status says if it has."""
        answer = self._ask("GET", _otp(message))
        status = answer.json.get("status")
        if answer.status != 200 or not isinstance(status, str):
            raise _failure(answer)
        return Report(message, True if status == "VERIFIED" else None)

    def _ask(self, method: str, path: str, **more: Any) -> http.Answer:
        base = self.url.rstrip("/")
        if self.app_id is not None and self.app_secret is not None:
            client = tokens.client(f"{base}/oauth/token", self.app_id, self.app_secret, self.scope)
            return client.ask(method, base + path, timeout=self.timeout, **more)
        headers = {"X-API-KEY": self.api_key.reveal() if self.api_key else ""}
        return http.ask(method, base + path, timeout=self.timeout, headers=headers, **more)

    def _template(self, order: Order, lifetime: int) -> str | None:
        if order.template:
            try:
                return self._pin(order.template, lifetime, "template")
            except ConfigError as error:
                raise SmsError(Outcome.CONFIGURATION, str(error)) from None
        fitting = [prefix for prefix in self.templates_by_prefix if order.to.startswith(prefix)]
        best = max(fitting, key=len, default=None)
        chosen = self.template if best is None else self.templates_by_prefix[best]
        return None if chosen is None else self._pin(chosen, lifetime, "template")

    def _pin(self, template: str, lifetime: int, where: str) -> str:
        """Return a template of ours as one of SMS.CX's, in which only ``{{pin}}`` is left to fill in."""
        values = {"code": "{{pin}}", "name": self.brand, "minutes": str(max(1, lifetime // 60))}
        try:
            filled = macros(template)(values)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        if "{{pin}}" not in filled:
            raise ConfigError(f"{where}: the guest needs {{{{pin}}}} in it")
        return filled


def _otp(reference: str) -> str:
    return f"/otp/{quote(reference, safe='')}"


def _error(answer: http.Answer) -> tuple[int, str]:
    """Return an answer's error code, and its type without regard to how it is spelt."""
    error = answer.json.get("error")
    if not isinstance(error, dict):
        return 0, ""
    code = str(error.get("code"))
    return int(code) if re.fullmatch(r"\d{1,6}", code) else 0, re.sub(
        "[^a-z]", "", str(error.get("type")).lower()
    )


def _failure(answer: http.Answer) -> SmsError:
    if answer.status < 300:
        return SmsError(Outcome.UNKNOWN, f"not SMS.CX's answer: {answer.words}")
    code, kind = _error(answer)
    outcome = OUTCOMES.get(code) or OUTCOMES.get(kind) or answer.error().outcome
    wait = (
        (answer.retry_after or _until_reset(answer)) if outcome is Outcome.THROTTLED else answer.retry_after
    )
    return SmsError(outcome, answer.words, wait)


def _until_reset(answer: http.Answer) -> float:
    """Return the seconds until the limit is lifted, by the server's own clock."""
    try:
        then = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
        return min(max(0.0, float(answer.headers.get("X-Rate-Limit-Reset", "")) - then), 86_400.0)
    except (ValueError, TypeError):
        return 0.0
