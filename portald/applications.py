"""The venue's own programs: codes for them, with the fields, states and errors of SMS.CX's OTP API.

https://sms.cx: what a program does there works here with another address.  Beyond it there are
the states SENDING and SEND_FAILED: no request here waits for a provider.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from portald import phone, texts
from portald.config import Application, Config
from portald.display import summary
from portald.errors import ConfigError, PortaldError, Reason, Refused
from portald.exchange import Exchange
from portald.limits import MILLION
from portald.model import Challenge, Kind, Order, Outcome, Policy, State, Wish
from portald.ports import Clock
from portald.store import Store

TOKEN_LIFETIME = 3600


@dataclass
class ApiError(PortaldError):
    """An answer other than the one hoped for; ``code`` is SMS.CX's number for it."""

    status: int
    type: str
    code: int
    message: str
    retry_after: float = 0

    def __post_init__(self) -> None:
        super().__init__(f"{self.type}: {self.message}")


class Applications:
    """One method for each request of the API."""

    def __init__(self, config: Config, store: Store, exchange: Exchange, key: bytes, clock: Clock) -> None:
        self._config = config
        self._applications = {application.id: application for application in config.applications}
        self._store = store
        self._exchange = exchange
        self._key = key
        self._clock = clock

    # Who asks ----------------------------------------------------------------------------

    def token(self, name: str, secret: str) -> str:
        """Return a bearer token for an application (RFC 6749, 4.4)."""
        application = self._applications.get(name)
        known = application.secret.reveal() if application else ""
        if not hmac.compare_digest(known.encode(), secret.encode()) or application is None:
            raise ApiError(401, "invalid_client", 1600, "No application has this id and secret.")
        claim = f"{name}:{int(self._clock()) + TOKEN_LIFETIME}"
        return f"{_encode(claim.encode())}.{self._sign(claim, application)}"

    def who(self, token: str) -> Application:
        """Return whose token this is; raise ``ApiError`` if it is nobody's or too old."""
        encoded, _, signature = token.partition(".")
        try:
            claim = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            name, _, expires = claim.partition(":")
            application = self._applications[name]
            genuine = hmac.compare_digest(signature.encode(), self._sign(claim, application).encode())
            if genuine and int(expires) > self._clock():
                return application
        except (ValueError, KeyError):
            pass
        raise ApiError(401, "invalid_token", 1600, "Get a new token from /oauth/token.")

    def _sign(self, claim: str, application: Application) -> str:
        # The secret is in it, so that changing it ends the tokens as well.
        message = f"token\0{claim}\0{application.secret.reveal()}".encode()
        return _encode(hmac.new(self._key, message, hashlib.sha256).digest())

    # What it asks --------------------------------------------------------------------------

    def create(self, application: Application, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a code; fields that are absent are as in the settings."""
        number = self._number(body)
        holder = _track_id(body)
        order = Order(
            challenge=0,
            to=number,
            policy=_policy(body, self._config.otp.policy),
            language=str(body.get("language", ""))[:35],
            sender=_sender(body),
            template=_template(body),
            on_portal=False,
        )
        wish = Wish(
            order, holder, f"application:{application.id}", application.id, _callback(body, application)
        )
        try:
            self._exchange.ask(wish, lambda limits: replace(limits, texts_per_zone=application.texts))
        except Refused as refused:
            raise _refusal(refused) from None
        return self.get(application, holder)

    def get(self, application: Application, otp_id: str) -> dict[str, Any]:
        return self.as_data(self._find(application, otp_id))

    def check(self, application: Application, otp_id: str, pin: Any) -> dict[str, Any]:
        """Judge a pin; raise ``ApiError`` unless it is the right one, in time."""
        challenge = self._find(application, otp_id)
        if not isinstance(pin, str) or not pin.strip():
            raise ApiError(400, "invalid_param", 2022, "pin is missing, empty or not a text.")
        status = self.status(challenge)
        if status in _CLOSED:
            raise ApiError(400, *_CLOSED[status])
        if status != "PENDING":
            raise ApiError(409, "otp_not_sent", 2090, "The text has not been sent.", retry_after=2)
        try:
            right = self._exchange.judge(challenge.holder, pin)
        except Refused as refused:
            raise self._wrong(application, otp_id, refused) from None
        if not self._store.use_challenge(right.id, self._clock()):
            raise ApiError(400, *_CLOSED["VERIFIED"])
        verified = self._find(application, otp_id)
        self.tell(verified)
        return self.as_data(verified)

    def cancel(self, application: Application, otp_id: str) -> dict[str, Any]:
        """Cancel a code that is pending."""
        challenge = self._find(application, otp_id)
        if self.status(challenge) == "CANCELLED":
            raise ApiError(403, "otp_cancelled", 2030, "It is cancelled already.")
        if self.status(challenge) in _CLOSED or not self._exchange.forget(challenge.holder):
            raise ApiError(403, "otp_not_pending", 2031, "Only a pending code can be cancelled.")
        cancelled = self._find(application, otp_id)
        self.tell(cancelled)
        return self.as_data(cancelled)

    # What it is told -----------------------------------------------------------------------

    def status(self, challenge: Challenge) -> str:
        """Return the state by SMS.CX's name."""
        if challenge.state is State.WAITING and challenge.expires_at > self._clock():
            return "SENDING"
        if challenge.state is State.USED:
            return "VERIFIED"
        if challenge.state is State.REPLACED:
            return "CANCELLED"
        if challenge.state is State.FAILED:
            return "SEND_FAILED"
        if challenge.attempts >= challenge.policy.attempts:
            return "FAILED"
        return "PENDING" if challenge.expires_at > self._clock() else "EXPIRED"

    def as_data(self, challenge: Challenge) -> dict[str, Any]:
        """Return what the API tells of a code; until it is sent, ``cost`` is the most it may be."""
        sending = challenge.state is State.WAITING
        data: dict[str, Any] = {
            "otpId": challenge.holder,
            "phoneNumber": challenge.number,
            "countryIso": phone.region(challenge.number),
            "status": self.status(challenge),
            "cost": (challenge.price if sending else self._store.cost(challenge.id)) / MILLION,
            "parts": self._store.parts(challenge.id),
            "maxAttempts": challenge.policy.attempts,
            "attempts": challenge.attempts,
            "ttl": challenge.policy.lifetime,
            "otpCallbackUrl": challenge.callback or None,
            "dateCreated": _date(challenge.created_at),
            "dateExpires": _date(challenge.expires_at),
        }
        if challenge.outcome not in (None, Outcome.ACCEPTED):
            # Also where the text may have been sent all the same.
            data["error"] = "sms_provider_error"
            data["error_description"] = summary(challenge.words or "")
        return data

    def tell(self, challenge: Challenge) -> None:
        """Have the application's callback told how a code fares now; repeated until it answers."""
        if not challenge.callback:
            return
        fresh = self._store.latest_challenge(challenge.holder) or challenge
        body = json.dumps({"event": "otp_update", "data": [self.as_data(fresh)]})
        self._store.add_callback(challenge.application, challenge.callback, body, self._clock())

    # Inside --------------------------------------------------------------------------------

    def _find(self, application: Application, otp_id: str) -> Challenge:
        challenge = self._store.latest_challenge(otp_id)
        if challenge is None or challenge.application != application.id:
            raise ApiError(404, "not_found", 2021, "There is no such otpId.")
        return challenge

    def _number(self, body: Mapping[str, Any]) -> str:
        typed = body.get("phoneNumber", body.get("to"))
        if not isinstance(typed, str) or not typed.strip():
            raise ApiError(400, "invalid_param", 2001, "phoneNumber is empty.")
        country = body.get("countryIso", self._config.numbers.country)
        numbers = replace(self._config.numbers, country=str(country).upper())
        try:
            phone.check_place(numbers.country)
            return phone.read(typed, numbers)
        except (ConfigError, Refused) as error:
            if isinstance(error, Refused) and error.reason is Reason.COUNTRY_CLOSED:
                raise _refusal(error) from None
            raise ApiError(400, "invalid_param", 2020, f"phoneNumber cannot get texts: {error}") from None

    def _wrong(self, application: Application, otp_id: str, refused: Refused) -> ApiError:
        status = self.status(self._find(application, otp_id))
        if status == "FAILED":
            return ApiError(400, "otp_failed", 2027, "That was the last attempt.")
        if status in _CLOSED:
            return ApiError(400, *_CLOSED[status])
        if refused.reason in (Reason.CODE_WRONG, Reason.CODE_INCOMPLETE):
            return ApiError(400, "invalid_pin", 2029, "That is not the pin.")
        return _refusal(refused)


_CLOSED = {
    "VERIFIED": ("otp_verified", 2023, "It is verified already."),
    "CANCELLED": ("otp_cancelled", 2024, "It was cancelled."),
    "EXPIRED": ("otp_expired", 2025, "It is too old."),
    "FAILED": ("otp_failed", 2026, "Its attempts are used up."),
    "SEND_FAILED": ("otp_not_sent", 2091, "Its text could not be sent."),
}


def _policy(body: Mapping[str, Any], standard: Policy) -> Policy:
    kind = body.get("pinType", standard.kind)
    if kind not in tuple(Kind):
        raise ApiError(400, "invalid_param", 2014, "pinType is letters, numbers or alphanumeric.")
    return Policy(
        kind=Kind(kind),
        length=_whole(body, "pinLength", standard.length, 4, 10, 2016),
        lifetime=_whole(body, "ttl", standard.lifetime, 60, 1800, 2008),
        attempts=_whole(body, "maxAttempts", standard.attempts, 1, 10, 2011),
    )


def _whole(body: Mapping[str, Any], name: str, standard: int, low: int, high: int, code: int) -> int:
    value = body.get(name, standard)
    if type(value) is not int:
        raise ApiError(400, "invalid_param", code, f"{name} is a whole number.")
    if not low <= value <= high:
        raise ApiError(400, "invalid_param", code + 1, f"{name} is from {low} to {high}.")
    return value


def _sender(body: Mapping[str, Any]) -> str:
    sender = body.get("from", "")
    if not isinstance(sender, str) or (sender and not re.fullmatch(r"[+]?[\w .&-]{3,15}", sender)):
        raise ApiError(400, "invalid_param", 2005, "from has 3 to 15 letters or digits.")
    return sender


def _template(body: Mapping[str, Any]) -> str:
    template = body.get("template", "")
    if template:
        try:
            if not isinstance(template, str) or len(template) > 640 or "\0" in template:
                raise ConfigError("at most 640 characters of text")
            filled = texts.macros(template, link=False)({"code": "\0", "name": "", "minutes": ""})
        except ConfigError as error:
            raise ApiError(400, "invalid_param", 2006, f"template: {error}") from None
        if "\0" not in filled:
            raise ApiError(400, "invalid_param", 2006, "template lacks {{pin}}.")
    return str(template)


def _track_id(body: Mapping[str, Any]) -> str:
    """Return a new id; SMS.CX's trackId is checked for its form and otherwise ignored."""
    try:
        uuid.UUID(str(body.get("trackId", "00000000-0000-0000-0000-000000000000")))
    except ValueError:
        raise ApiError(400, "invalid_param", 2018, "trackId is a UUID.") from None
    return str(uuid.uuid4())


def _callback(body: Mapping[str, Any], application: Application) -> str:
    url = body.get("otpCallbackUrl") or ""
    if not url:
        return application.callback
    # Whom portald calls is the operator's choice: it stands where no one else can reach.
    if not (isinstance(url, str) and url.startswith(application.callbacks or ("\0",)) and _stays(url)):
        raise ApiError(400, "invalid_param", 2019, "otpCallbackUrl is not among the callbacks set.")
    return str(url)


def _stays(url: str) -> bool:
    """Tell whether a URL leads where it seems to: clients and servers take dots out of paths."""
    path = unquote(re.split("[?#]", url, maxsplit=1)[0]).replace("\\", "/")
    return url.isascii() and url.isprintable() and not {".", ".."} & set(path.split("/"))


def _refusal(refused: Refused) -> ApiError:
    reason = refused.reason
    if reason is Reason.COUNTRY_CLOSED:
        return ApiError(400, "NoCoverage", 2020, "No texts are sent to this country.")
    return ApiError(
        429, "rate_limit", 1429, f"{reason.value}: see Retry-After", retry_after=refused.retry_after or 60
    )


def _date(at: float) -> str:
    return datetime.fromtimestamp(int(at), UTC).isoformat().replace("+00:00", "Z")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
