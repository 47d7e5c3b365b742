"""Any provider with an HTTP interface, described in the settings.

    [[sms]]
    type = "http"
    url = "https://sms.example.net/send"
    bearer_file = "/etc/portald/sms.token"
    payload = '{"to": {{mobile}}, "message": {{body}}}'
    success_json = { "/status" = "queued" }

It has what Powerlynx and WSO2 call a custom provider, under their names where they agree.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import urllib3

from portald.errors import ConfigError, SmsError
from portald.model import Text
from portald.schema import Secret, one_of, setting, split_url, table
from portald.sms import answers, http, lua, payload, risks, scripted, tokens, written

log = logging.getLogger(__name__)

_METHODS = ("POST", "PUT", "GET")
_CONTENT_TYPES = {
    "json": "json",
    "application/json": "json",
    "form": "form",
    "x-www-form-urlencoded": "form",
    "application/x-www-form-urlencoded": "form",
}
_PAYLOAD = {"to": "{{mobile}}", "text": "{{body}}"}
_SAMPLE = Text("+15005550006", "123456 is a code.", code="123456", ip="192.0.2.1", agent="x", reference="1")


def _private(help: str, default: Any) -> Any:
    """Return a field for a table or a text that may hold a key, and so is not shown."""
    return field(default_factory=lambda: dict(default), repr=False, metadata={"help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A custom SMS gateway."""

    url: str = setting("where requests go; placeholders may stand in its path and query")
    method: str = setting("POST, PUT or GET", "POST")
    content_type: str | None = setting(
        "json or form; if not set, json for POST and PUT; GET puts the payload into the query", None
    )
    payload: Any = _private(
        "a table, or JSON or a form as text; {{mobile}}, {{mobile_digits}}, {{body}}, {{code}}, {{from}}, "
        "{{reference}}, {{ip}}, {{user_agent}}, {{language}}, {{ttl_minutes}}, {{ttl_seconds}}, "
        "{{account}} and {{key}} are filled in",
        _PAYLOAD,
    )
    headers: Any = _private('further headers: a table, or text: "x-csrf: true, x-abc: some-value"', {})
    header_name: str | None = setting("one more header", None)
    header_value: Secret | None = setting("and its value, kept secret", None)
    bearer: Secret | None = setting("a token for the Authorization header", None)
    user: str | None = setting("a user for basic authentication", None)
    password: Secret | None = setting("and the password", None)
    oauth_url: str | None = setting("where an OAuth 2 token is had for client credentials", None)
    oauth_id: str | None = setting("the client", None)
    oauth_secret: Secret | None = setting("and its secret", None)
    oauth_scope: str | None = setting("what the token is asked for", None)
    account: str | None = setting("fills in {{account}}; the user, if not set", None)
    key: Secret | None = setting("fills in {{key}}", None)
    sender: str | None = setting("the number or name texts come from; fills in {{from}}", None)
    verify_tls: bool = setting(
        "whether the gateway must prove who it is; false is logged at each text", True
    )
    ca_file: str | None = setting("certificates to trust instead of the system's", None)
    success_codes: tuple[int, ...] = setting("HTTP codes of success; empty is any 2xx", ())
    success_contains: str | None = setting("what the body of a success contains", None)
    success_json: dict[str, Any] = table(
        'what the JSON of a success has: "/status" = "queued", or a list of values'
    )
    message_id: str | None = setting('where its id for the text is: "/messages/0/id"', None)
    error_json: str | None = setting('where its error code is: "/error/code"', None)
    outcomes: dict[str, str] = table(
        'what an error code or "HTTP 402" means: invalid_number, blocked_by_recipient, region_not_allowed, '
        "no_credit, authentication, configuration, throttled, temporary or unknown"
    )
    script: str | None = setting("a Lua file that builds the request or checks the answer", None)
    timeout: float = setting("seconds to wait for an answer", 10.0, 1, 30)

    def __post_init__(self) -> None:
        if split_url(self.url) is None:
            raise ConfigError(f"url: expected http:// or https://, got {self.url!r}")
        one_of("method", self.method, _METHODS)
        self._check_content_type()
        self._check_authorization()
        if self.ca_file and not self.verify_tls:
            raise ConfigError("ca_file: nobody looks at it while verify_tls is false")
        for pointer in ("message_id", "error_json"):
            answers.check_pointer(getattr(self, pointer), pointer)
        answers.check_success_json(self.success_json)
        answers.check_outcomes(self.outcomes)
        used = payload.used(written.payload(self.payload, self.flat), "payload")
        used |= payload.used_in_url(self.url) | payload.used(written.headers(self.headers), "headers")
        builds = self.script is not None and scripted.try_out(lua.load(self.script), self._known(_SAMPLE))
        for name, value in (("sender", self.sender), ("account", self._account), ("key", self.key)):
            if name in used and not value:
                raise ConfigError(f"{name}: missing, and the request has a place for it")
            if getattr(self, name) and not ({name, f"{name}?"} & used or builds):
                place = "from" if name == "sender" else name
                raise ConfigError(f"{name}: the request has no place for it; put {{{{{place}}}}} there")
        if not (used & {"body", "code"} or builds):
            raise ConfigError("payload: {{body}} is missing, so no text would be sent")
        if not (used & {"mobile", "mobile_digits"} or builds):
            raise ConfigError("payload: {{mobile}} is missing, so nobody would get it")
        try:
            self._request(self._known(_SAMPLE))
        except SmsError as error:
            raise ConfigError(error.words) from None

    def _check_content_type(self) -> None:
        if self.content_type is not None and self.content_type.lower() not in _CONTENT_TYPES:
            raise ConfigError(f"content_type: expected json or form, got {self.content_type!r}")
        if self.method == "GET" and self._kind == "json" and self.content_type is not None:
            raise ConfigError(
                "content_type: a GET has no JSON; set method to POST, or leave content_type out"
            )

    def _check_authorization(self) -> None:
        for pair in (("user", "password"), ("header_name", "header_value"), ("oauth_url", "oauth_id")):
            if len({getattr(self, name) is None for name in pair}) == 2:
                raise ConfigError(f"{pair[0]}: give {pair[0]} and {pair[1]} together")
        if (self.oauth_id is None) != (self.oauth_secret is None):
            raise ConfigError("oauth_id: give oauth_url, oauth_id and oauth_secret together")
        if self.oauth_url and split_url(self.oauth_url) is None:
            raise ConfigError(f"oauth_url: expected https://, got {self.oauth_url!r}")
        if sum(map(bool, (self.bearer, self.user, self.oauth_url))) > 1:
            raise ConfigError("bearer: give one of bearer, user and password, or oauth_url")

    @property
    def _account(self) -> str:
        return self.account or self.user or ""

    @property
    def _kind(self) -> str:
        return _CONTENT_TYPES[(self.content_type or "json").lower()]

    @property
    def flat(self) -> bool:
        return self.method == "GET" or self._kind == "form"

    def send(self, text: Text) -> str:
        if not self.verify_tls:
            # Told in the log in our own words, and not by a library as well.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            log.warning("event=tls_not_verified host=%s", urlsplit(self.url).hostname)
        known = self._known(text)
        request = self._request(known)
        script = scripted.load(self.script) if self.script else None
        if script:
            request = scripted.build(script, known, request)
        answer = self._ask(request, text)
        message = scripted.check(script, answer) if script else None
        if message is None:
            message = answers.judge(
                answer,
                codes=self.success_codes,
                contains=self.success_contains,
                tests=self.success_json,
                message_id=self.message_id,
                error=self.error_json,
                outcomes=self.outcomes,
            )
        # An id ends in the log; a server that answers with what it was asked has none for us.
        told = (text.to.removeprefix("+"), text.code, text.body)
        return "" if any(word and word in message for word in told) else message

    def warnings(self) -> list[str]:
        """Return what works and is a risk."""
        headers = {**written.headers(self.headers), **self._secret_headers()}
        found = list(risks.of_request(self.url, headers, self._fixed(), self.verify_tls))
        if self.oauth_url and risks.in_clear(self.oauth_url):
            found.append("oauth_url: http:// shows the client's secret to everybody on the way")
        return found

    def _literals(self) -> list[str]:
        """Return what the operator wrote into payload and query himself: a key may be among it."""
        tree = written.payload(self.payload, self.flat)
        query = [value for _, value in parse_qsl(urlsplit(self.url).query)]
        found = [leaf for leaf in [*payload.leaves(tree), *query] if isinstance(leaf, str)]
        return [leaf for leaf in found if not payload.PLACEHOLDER.search(leaf)]

    def _fixed(self) -> bool:
        """Tell whether something in the request may say who we are."""
        tree = written.payload(self.payload, self.flat)
        own = [leaf for leaf in payload.leaves(tree) if not payload.used([leaf], "payload")]
        return bool(own or self.user or self.oauth_url or self.key)

    # The request ---------------------------------------------------------------------------

    def _secret_headers(self) -> dict[str, str]:
        """Return headers in which nothing is a placeholder, whatever a secret looks like."""
        headers = {}
        if self.header_name and self.header_value:
            headers = written.headers({self.header_name: self.header_value.reveal()})
        if self.bearer:
            headers["Authorization"] = f"Bearer {self.bearer.reveal()}"
        return headers

    def _known(self, text: Text) -> dict[str, str]:
        key = self.key.reveal() if self.key else ""
        return payload.values(text, self.sender or "", self._account, key)

    def _request(self, known: Mapping[str, str]) -> dict[str, Any]:
        """Return what ``http.ask`` is to send."""
        content = payload.fill(written.payload(self.payload, self.flat), known)
        return {
            "method": self.method,
            "url": payload.fill_url(self.url, known),
            "headers": {
                **payload.fill_headers(written.headers(self.headers), known),
                **self._secret_headers(),
            },
            "query" if self.method == "GET" else "form" if self.flat else "json_body": content,
        }

    def _ask(self, request: Mapping[str, Any], text: Text) -> http.Answer:
        key = self.key.reveal() if self.key else ""
        secrets = [text.code, text.to, text.to.removeprefix("+"), key, *self._literals()]
        verify = self.verify_tls and (self.ca_file or True)
        if self.oauth_url and self.oauth_id and self.oauth_secret:
            client = tokens.client(
                self.oauth_url, self.oauth_id, self.oauth_secret, self.oauth_scope or "", verify
            )
            return client.ask(**request, timeout=self.timeout, secrets=secrets)
        return http.ask(
            **request,
            login=(self.user, self.password.reveal()) if self.user and self.password else None,
            verify=verify,
            timeout=self.timeout,
            secrets=secrets,
        )
