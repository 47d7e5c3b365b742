"""A gateway of one's own that speaks what Auth0 asks of one (``provider: "sms_gateway"``).

https://auth0.com/docs/authenticate/passwordless/authentication-methods/use-sms-gateway-passwordless
The settings and the words of failures are Auth0's.  Success is HTTP 200, whatever the body says.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from portald.errors import ConfigError, SmsError
from portald.model import Outcome, Text
from portald.schema import Secret, setting, split_url
from portald.sms import http, risks, tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """How a request proves to be ours: by a token that the shared secret signs."""

    method: str = setting("bearer is the only one")
    subject: str | None = setting("who we are (sub), up to 64 characters", None)
    audience: str = setting("who the gateway is (aud), up to 128 characters")
    secret: Secret = setting("what both know, up to 5120 characters")
    secret_base64_encoded: bool = setting("whether the secret is written in base64url", False)

    def __post_init__(self) -> None:
        if self.method != "bearer":
            raise ConfigError(f"method: only bearer is known, got {self.method!r}")
        _check_length("subject", self.subject, 64)
        _check_length("audience", self.audience, 128)
        _check_length("secret", self.secret.reveal(), 5120)


@dataclass(frozen=True, slots=True, kw_only=True)
class SmsGateway:
    """An SMS gateway as Auth0 defines it; without ``gateway_authentication`` it trusts anybody."""

    gateway_url: str = setting("where requests go")
    sender: str | None = setting("the number or name texts come from; Auth0 calls it from", None)
    forward_req_info: Any = setting("whether the guest's address and browser are sent too", False)
    gateway_authentication: Authentication | None = setting("method, subject, audience, secret", None)
    secret_base64_encoded: bool = setting("the same as in gateway_authentication", False)
    timeout: float = setting("seconds to wait for an answer", 10.0, 1, 30)

    def __post_init__(self) -> None:
        if split_url(self.gateway_url) is None:
            raise ConfigError(f"gateway_url: expected http:// or https://, got {self.gateway_url!r}")
        _check_length("sender", self.sender, 128)
        if self.forward_req_info not in (True, False, "true", "false"):
            raise ConfigError(f"forward_req_info: expected true or false, got {self.forward_req_info!r}")
        self._headers()  # a secret that cannot sign is known now

    def warnings(self) -> list[str]:
        known = self.gateway_authentication is not None
        return list(risks.of_request(self.gateway_url, {}, known, verified=True))

    def send(self, text: Text) -> str:
        body: dict[str, object] = {
            "recipient": text.to,
            "body": text.body,
            "sender": text.sender or self.sender or "",
        }
        if self.forward_req_info in (True, "true"):  # Auth0 writes it both ways
            body["req"] = {"ip": text.ip, "user-agent": text.agent}
        given = self.gateway_authentication
        try:
            answer = http.ask(
                "POST",
                self.gateway_url,
                json_body=body,
                headers=self._headers(),
                secrets=[text.code, given.secret.reveal() if given else ""],
                timeout=self.timeout,
            )
        except http.Late as late:
            words = f"Timeout while calling the SMS gateway: {late.words}"
            raise SmsError(late.outcome, words) from None
        if answer.status == 200:
            return ""
        what = "Authentication failed" if answer.status == 401 else "Unexpected response"
        words = f"{what} while calling the SMS gateway: {answer.status} - {answer.words}"
        if answer.status < 300:
            # Another kind of success is none to Auth0, but the text has probably been sent.
            raise SmsError(Outcome.UNKNOWN, words)
        raise answer.error().retold(words, None)

    def _headers(self) -> dict[str, str]:
        given = self.gateway_authentication
        if given is None:
            return {}
        secret = given.secret.reveal()
        try:
            encoded = given.secret_base64_encoded or self.secret_base64_encoded
            key = _decode(secret) if encoded else secret.encode()
            token = tokens.bearer_jwt(key, given.audience, given.subject)
        except ValueError as error:
            raise ConfigError(f"gateway_authentication.secret: cannot be used: {error}") from None
        return {"Authorization": f"Bearer {token}"}


def _decode(secret: str) -> bytes:
    """Read base64url, with or without its padding; raise ``ValueError`` if it is none."""
    plain = secret.rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)


def _check_length(name: str, value: str | None, most: int) -> None:
    if value is not None and not 1 <= len(value) <= most:
        raise ConfigError(f"{name}: expected 1 to {most} characters, got {len(value)}")
