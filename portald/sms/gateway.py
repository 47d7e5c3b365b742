"""Any provider with an HTTP interface, described in the settings.

    [[sms]]
    type = "http"
    url = "https://sms.example.net/send"
    bearer_file = "/etc/portald/sms.token"
    payload = { to = "{{mobile}}", message = "{{body}}" }
    success_contains = "queued"

The placeholders are filled in after the payload has been parsed, value by value: whatever a text
holds, it stays inside its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from portald.config import Secret, setting, split_url
from portald.errors import ConfigError, SmsError
from portald.model import Outcome
from portald.sms import http

_METHODS = ("POST", "PUT", "GET")
_CONTENT_TYPES = ("json", "form")
_PLACEHOLDER = re.compile(r"\{\{(mobile|mobile_digits|body)\}\}")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ENDLESS = (float("inf"), float("-inf"))
_PAYLOAD = {"to": "{{mobile}}", "text": "{{body}}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A custom SMS gateway."""

    url: str = setting("where requests go")
    method: str = setting("POST, PUT or GET", "POST")
    content_type: str = setting("json or form; GET puts the payload into the query", "json")
    payload: dict[str, Any] = field(
        default_factory=lambda: dict(_PAYLOAD),
        repr=False,  # some providers want their key in it
        metadata={"help": "names and values; {{mobile}}, {{mobile_digits}} and {{body}} are filled in"},
    )
    headers: dict[str, Any] = field(
        default_factory=dict, repr=False, metadata={"help": "further headers, name and value"}
    )
    bearer: Secret | None = setting("a token for the Authorization header", None)
    user: str | None = setting("a user for basic authentication", None)
    password: Secret | None = setting("and the password", None)
    success_codes: tuple[int, ...] = setting("HTTP codes of success; empty is any 2xx", ())
    success_contains: str | None = setting("what the body of a success contains", None)
    ca_file: str | None = setting("certificates to trust instead of the system's", None)
    timeout: float = setting("seconds to wait for an answer", 10.0, 1, 30)

    def __post_init__(self) -> None:
        if split_url(self.url) is None:
            raise ConfigError(f"url: expected http:// or https://, got {self.url!r}")
        if self.method not in _METHODS:
            raise ConfigError(f"method: expected one of {', '.join(_METHODS)}, got {self.method!r}")
        if self.content_type not in _CONTENT_TYPES:
            raise ConfigError(f"content_type: expected json or form, got {self.content_type!r}")
        values = list(_leaves(self.payload))
        if not all(isinstance(v, (str, int, float)) and v == v and v not in _ENDLESS for v in values):
            raise ConfigError("payload: only text, finite numbers, true and false can be sent")
        filled = {name for v in values if isinstance(v, str) for name in _PLACEHOLDER.findall(v)}
        if "body" not in filled:
            raise ConfigError("payload: {{body}} is missing, so no text would be sent")
        if not filled & {"mobile", "mobile_digits"}:
            raise ConfigError("payload: {{mobile}} is missing, so nobody would get it")
        if self.flat and not all(isinstance(value, str) for value in self.payload.values()):
            raise ConfigError("payload: only text values can be sent as a form or query")
        for name, value in self.headers.items():
            text = name + value if isinstance(value, str) else "\n"
            if (
                not (text.isascii() and text.isprintable() and _HEADER.fullmatch(name))
                or value != value.strip()
            ):
                raise ConfigError(f"headers.{name}: expected one line of text")
        if self.bearer and self.user:
            raise ConfigError("bearer: give either bearer, or user and password")
        if (self.user is None) != (self.password is None):
            raise ConfigError("user: give user and password together")

    @property
    def flat(self) -> bool:
        return self.method == "GET" or self.content_type == "form"

    def send(self, to: str, text: str) -> str:
        values = {"mobile": to, "mobile_digits": to.lstrip("+"), "body": text}
        payload = _fill(self.payload, values)
        headers = dict(self.headers)
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer.reveal()}"
        answer = http.ask(
            self.method,
            self.url,
            query=payload if self.method == "GET" else None,
            form=payload if self.flat and self.method != "GET" else None,
            json_body=None if self.flat else payload,
            headers=headers,
            login=(self.user, self.password.reveal()) if self.user and self.password else None,
            verify=self.ca_file or True,
            timeout=self.timeout,
        )
        if not self._in_success_codes(answer.status):
            if answer.status < 400:
                raise SmsError(Outcome.CONFIGURATION, f"not a success code: {answer.words}")
            raise answer.error()
        if self.success_contains is not None and self.success_contains not in answer.text:
            raise SmsError(Outcome.UNKNOWN, f"without {self.success_contains!r}: {answer.words}")
        return ""

    def _in_success_codes(self, status: int) -> bool:
        return status in self.success_codes if self.success_codes else 200 <= status < 300


def _leaves(value: Any) -> Iterator[Any]:
    match value:
        case dict():
            for inner in value.values():
                yield from _leaves(inner)
        case list():
            for inner in value:
                yield from _leaves(inner)
        case _:
            yield value


def _fill(value: Any, values: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {name: _fill(inner, values) for name, inner in value.items()}
        case list():
            return [_fill(inner, values) for inner in value]
        case str():
            # One pass: a placeholder inside a text stays as it is.
            return _PLACEHOLDER.sub(lambda found: values[found[1]], value)
        case _:
            return value
