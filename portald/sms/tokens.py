"""Bearer tokens: fetched from an authorization server (OAuth 2), or signed here (JWT)."""

from __future__ import annotations

import functools
import math
import threading
import time
import uuid
from typing import Any

import jwt

from portald.errors import SmsError
from portald.model import Outcome
from portald.schema import Secret
from portald.sms import http

_EARLY = 30
"""Seconds before its end from which a token is not used any more."""


def now() -> int:
    """Return epoch seconds for what is signed; nothing here is decided by them."""
    return int(time.time())


def bearer_jwt(key: bytes, audience: str, subject: str | None = None) -> str:
    """Return a token signed with a shared secret (HS256), good for a minute.

    Raises ``ValueError`` for a key that is a public key or a certificate.
    """
    issued = now()
    claims = {"aud": audience, "iat": issued, "exp": issued + 60, "jti": uuid.uuid4().hex}
    if subject:
        claims["sub"] = subject
    try:
        # HMAC fills a short key up with zeros (RFC 2104): the signature is the same, and PyJWT does
        # not warn of a secret that both sides have agreed on.
        return jwt.encode(claims, key.ljust(32, b"\0"), algorithm="HS256")
    except jwt.PyJWTError as error:
        raise ValueError(str(error)) from None


class Client:
    """A client of an authorization server, which gets its tokens by its own credentials.

    https://www.rfc-editor.org/rfc/rfc6749#section-4.4
    """

    def __init__(self, url: str, name: str, secret: Secret, scope: str, verify: bool | str) -> None:
        self._url = url
        self._login = (name, secret)
        self._form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        self._verify = verify
        self._lock = threading.Lock()
        self._token = ""
        self._end = 0.0

    def ask(
        self, method: str, url: str, *, timeout: float, headers: dict[str, str] | None = None, **more: Any
    ) -> http.Answer:
        """Send a request with a token, all within ``timeout``; return the answer, or raise ``SmsError``.

        A token from before that is answered with 401 is replaced, and the request sent once more:
        it was certainly not carried out.
        """
        give_up = time.monotonic() + timeout
        while True:
            token, fresh = self._get(give_up)
            answer = http.ask(
                method,
                url,
                timeout=_left(give_up),
                headers={**(headers or {}), "Authorization": f"Bearer {token}"},
                verify=self._verify,
                **more,
            )
            if answer.status != 401:
                return answer
            self._drop(token)
            if fresh:
                return answer

    def _get(self, give_up: float) -> tuple[str, bool]:
        """Return a token, and whether it has just been fetched."""
        if not self._lock.acquire(timeout=_left(give_up)):
            raise SmsError(Outcome.TEMPORARY, "no token in time")
        try:
            if time.monotonic() < self._end:
                return self._token, False
            self._token, seconds = self._fetch(_left(give_up))
            self._end = time.monotonic() + seconds - _EARLY
            return self._token, True
        finally:
            self._lock.release()

    def _drop(self, token: str) -> None:
        if token == self._token:
            self._end = 0.0

    def _fetch(self, timeout: float) -> tuple[str, float]:
        name, secret = self._login
        try:
            answer = http.ask(
                "POST",
                self._url,
                form=self._form,
                login=(name, secret.reveal()),
                verify=self._verify,
                timeout=timeout,
            )
            if answer.status >= 300:
                raise answer.error() if "invalid_client" not in answer.text else _unknown_client(answer)
        except SmsError as error:
            # Whatever became of this request, no text has been sent.
            outcome = Outcome.TEMPORARY if error.outcome is Outcome.UNKNOWN else error.outcome
            raise SmsError(outcome, f"no token: {error.words}", error.retry_after) from None
        token, seconds = answer.json.get("access_token"), answer.json.get("expires_in")
        if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
            # Not quoted: there may be another token in it.
            raise SmsError(Outcome.TEMPORARY, f"no token: HTTP {answer.status} without one")
        return token, _seconds(seconds)


@functools.lru_cache
def client(url: str, name: str, secret: Secret, scope: str = "", verify: bool | str = True) -> Client:
    """Return the client with these settings; it is the same for all, so that they share its token."""
    return Client(url, name, secret, scope, verify)


def _left(give_up: float) -> float:
    return max(0.1, give_up - time.monotonic())


def _seconds(expires_in: Any) -> float:
    """Return how long a token is good for; for ever, until it is refused, if that is not said."""
    try:
        seconds = float(expires_in)
    except (TypeError, ValueError):
        return math.inf
    return seconds if seconds >= 0 else math.inf


def _unknown_client(answer: http.Answer) -> SmsError:
    return SmsError(Outcome.AUTHENTICATION, answer.words)
