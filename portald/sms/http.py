"""The one place that speaks HTTP to providers: what can go wrong becomes a typed outcome."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

import requests
import requests.adapters
import urllib3

from portald.errors import SmsError
from portald.model import Outcome
from portald.phone import mask_all
from portald.schema import split_url

MOST_BYTES = 65_536
_WORDS = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered."""

    status: int
    text: str
    retry_after: float
    private: frozenset[str] = frozenset()
    """The request's digits, among them the code, and secrets: an answer that quotes them is masked."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is something else."""
        try:
            body = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        return body if isinstance(body, dict) else {}

    @property
    def words(self) -> str:
        """The body as one masked line for the operator."""
        text = " ".join(self.text.split())
        for digits in sorted(self.private, key=len, reverse=True):
            text = text.replace(digits, "…")
        return f"HTTP {self.status} {mask_all(text)[:_WORDS]}".strip()

    def error(self) -> SmsError:
        """Return the outcome that the status alone tells."""
        if self.status in (401, 403):
            return SmsError(Outcome.AUTHENTICATION, self.words)
        if self.status == 429:
            return SmsError(Outcome.THROTTLED, self.words, self.retry_after)
        if self.status >= 500:
            # The server may have failed after taking the text.  503 says it has not.
            outcome = Outcome.TEMPORARY if self.status == 503 else Outcome.UNKNOWN
            return SmsError(outcome, self.words, self.retry_after)
        # 400 and 422 may mean this number as well as our settings.
        return SmsError(Outcome.CONFIGURATION, self.words, vague=self.status in (400, 422))


class Late(SmsError):
    """No connection, or no complete answer, in the time there was."""


def ask(
    method: str,
    url: str,
    *,
    timeout: float,
    form: Mapping[str, str] | None = None,
    json_body: Any = None,
    data: bytes | None = None,
    query: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    login: tuple[str, str] | None = None,
    secrets: Iterable[str] = (),
    verify: bool | str = True,
) -> Answer:
    """Send one request, once, and return the answer; raise ``SmsError`` if there is none.

    A request is never repeated here: one that timed out may have been carried out.  ``secrets``
    are those that the body or the query shows, or that signed the request; those in ``headers``
    and ``login`` are known anyway.
    """
    if split_url(url) is None:
        raise SmsError(Outcome.CONFIGURATION, "the url cannot be one")
    headers = {"User-Agent": "portald", **(headers or {})}
    if login is not None:
        pair = base64.b64encode(":".join(login).encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    digits = re.findall(r"\d{4,}", repr((form, json_body, data, query)))
    private = frozenset(digits) | _secrets(headers, login, secrets)
    give_up = time.monotonic() + timeout
    with requests.Session() as session, _Deadline(session, timeout) as deadline:
        # Neither .netrc passwords nor a proxy of the environment belong in this request.
        session.trust_env = False
        try:
            with session.request(
                method,
                url,
                params=query,
                data=form if data is None else data,
                json=json_body,
                headers={name: value.encode() for name, value in headers.items()},
                timeout=(min(5.0, timeout), timeout),
                allow_redirects=False,
                verify=verify,
                stream=True,
            ) as response:
                body = _read(response, give_up)
                return Answer(response.status_code, body, _retry_after(response), private, response.headers)
        except requests.exceptions.SSLError as error:
            if deadline.over:
                raise _late(timeout) from None
            if deadline.connected:
                raise SmsError(Outcome.UNKNOWN, f"TLS broke: {_brief(error)}") from None
            raise SmsError(Outcome.CONFIGURATION, f"TLS: {_brief(error)}{_tls_hint(error)}") from None
        except requests.exceptions.ConnectTimeout:
            raise Late(Outcome.TEMPORARY, "no connection in time") from None
        except requests.exceptions.Timeout:
            raise _late(timeout) from None
        except requests.exceptions.ConnectionError as error:
            if deadline.over:
                raise _late(timeout) from None
            raise _unconnected(error) from None
        except requests.exceptions.RequestException as error:
            raise SmsError(Outcome.UNKNOWN, f"unusable answer: {_brief(error)}") from None
        except (OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            # Raised before anything is sent: certificates that are not there, and the like.
            outcome = Outcome.UNKNOWN if deadline.connected else Outcome.CONFIGURATION
            raise SmsError(outcome, f"cannot be asked: {type(error).__name__}") from None


def _tls_hint(error: Exception) -> str:
    """Return what the two commonest refusals of TLS mean."""
    words = repr(error)
    if "WRONG_VERSION_NUMBER" in words or "record layer failure" in words:
        return "; nothing speaks https there: is it http://, or another port?"
    return "; if the certificate is your own, set ca_file" if "CERTIFICATE_VERIFY_FAILED" in words else ""


def _late(timeout: float) -> Late:
    return Late(Outcome.UNKNOWN, f"no answer within {timeout:g} s")


def _secrets(headers: Mapping[str, str], login: tuple[str, str] | None, secrets: Iterable[str]) -> set[str]:
    """Return what an answer must not bring into a log, in every way it may be spelt there."""
    values = {value for name, value in headers.items() if name.lower() not in _OPEN_HEADERS}
    values |= {value.partition(" ")[2] for value in values}
    values |= {*secrets, login[1] if login else ""}
    values |= {spell(value) for value in values for spell in (quote_plus, _in_json)}
    return {value for value in values if len(value) >= 4}


def _in_json(value: str) -> str:
    return json.dumps(value)[1:-1]


_OPEN_HEADERS = {"user-agent", "accept", "content-type"}


class _Deadline(requests.adapters.HTTPAdapter):
    """Ends a connection when the time for the whole exchange is over.

    The timeouts of sockets are for one read: an answer in drips would never meet them.
    """

    def __init__(self, session: requests.Session, seconds: float) -> None:
        super().__init__()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self.over = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, self)

    @property
    def connected(self) -> bool:
        """Whether the request may have been sent."""
        return bool(self._sockets)

    def get_connection_with_tls_context(self, *args: Any, **more: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **more)
        sockets, kind = self._sockets, pool.ConnectionCls

        class Watched(kind):  # type: ignore[misc, valid-type]
            def connect(self) -> None:
                super().connect()
                sockets.append(self.sock)

        pool.ConnectionCls = Watched
        return pool

    def _end(self) -> None:
        self.over = bool(self._sockets)
        for connected in self._sockets:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # beneath TLS

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._sockets.clear()


def _read(response: requests.Response, give_up: float) -> str:
    body = bytearray()
    for chunk in response.iter_content(4096):
        body += chunk
        if len(body) > MOST_BYTES:
            break
    if time.monotonic() > give_up:
        raise requests.exceptions.ReadTimeout
    return bytes(body[:MOST_BYTES]).decode("utf-8", "replace")


def _unconnected(error: requests.exceptions.ConnectionError) -> SmsError:
    # urllib3 tells "never connected" from "connected, then lost" only by the class inside.
    inside = repr(error)
    if "NameResolutionError" in inside:
        return SmsError(Outcome.TEMPORARY, "no connection: the host's name is not known")
    if "NewConnectionError" in inside:
        why = re.search(r"\[Errno \d+\] ([A-Za-z ]+)", inside)
        return SmsError(
            Outcome.TEMPORARY, f"no connection: {why[1] if why else 'the host is out of reach'}"
        )
    return SmsError(Outcome.UNKNOWN, f"the connection broke: {_brief(error)}")


def _brief(error: Exception) -> str:
    """Return the innermost cause only: the outer texts carry the URL with its parameters."""
    inner: Any = error
    while True:
        reason = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(reason, Exception):
            break
        inner = reason
    return mask_all(f"{type(inner).__name__}: {getattr(inner, 'strerror', None) or ''}".rstrip(": "))


def _retry_after(response: requests.Response) -> float:
    try:
        return min(max(0.0, float(response.headers.get("Retry-After", 0))), 86_400.0)
    except ValueError:
        return 0.0
