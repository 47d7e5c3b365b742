"""The one place that speaks SMTP: one conversation, in bounded time; what goes wrong becomes an outcome."""

from __future__ import annotations

import contextlib
import re
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

from portald.errors import SmsError
from portald.model import Outcome
from portald.phone import mask_all

_WORDS = 200
_MOST_BYTES = 65_536
"""What a server may say in all: smtplib keeps every line of an answer until its last."""


class Conversation:
    """A conversation with a mail server, which is over when its time is."""

    def __init__(self, seconds: float) -> None:
        self._give_up = time.monotonic() + seconds
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._over = False
        self._server: smtplib.SMTP | None = None
        self._tls: ssl.SSLSocket | None = None

    def __enter__(self) -> Conversation:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        for open_ in (self._server, self._tls):
            if open_ is not None:
                open_.close()

    def _end(self) -> None:
        """Shut the connection beneath TLS: an answer in drips would never meet a socket's timeout."""
        self._over = True
        plain = self._server.sock if self._server is not None else None
        for connected in (self._tls, plain):
            if connected is not None:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connected, socket.SHUT_RDWR)

    @property
    def _late(self) -> bool:
        """Whether the time is over: a socket may notice that before the timer's thread runs."""
        return self._over or time.monotonic() >= self._give_up

    def connect(self, host: str, port: int, context: ssl.SSLContext | None) -> smtplib.SMTP:
        """Return a server that has greeted; with a context, everything is inside TLS."""
        left, name = max(0.1, self._give_up - time.monotonic()), socket.gethostname()
        if context is None:
            server: smtplib.SMTP = _Plain(local_hostname=name, timeout=left)
        else:
            server = _Inside(local_hostname=name, timeout=left, context=self.watched(context))
        server._host = host  # type: ignore[attr-defined]  # what certificates are compared with
        self._server = server
        code, said = server.connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        return server

    def watched(self, context: ssl.SSLContext) -> Any:
        """Return a context whose handshakes end with this conversation too."""
        return _Watched(self, context)

    @contextlib.contextmanager
    def step(self, name: str, refused: Outcome, sent: bool = False) -> Iterator[None]:
        """Turn what goes wrong into its outcome; once ``sent``, silence may mean success."""
        silent = Outcome.UNKNOWN if sent else Outcome.TEMPORARY
        try:
            yield
        except smtplib.SMTPResponseException as error:
            outcome = _outcome(error, refused) if 400 <= error.smtp_code < 600 else silent
            raise SmsError(outcome, f"{name}: {_said(error)}") from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, smtplib.SMTPServerDisconnected) as error:
            why = "no answer in time" if self._late else type(error).__name__
            raise SmsError(silent, f"{name}: {why}") from None
        except ssl.SSLError as error:
            outcome = silent if sent or self._late else Outcome.CONFIGURATION
            raise SmsError(outcome, f"{name}: TLS: {error.reason or type(error).__name__}") from None
        except (smtplib.SMTPException, ValueError) as error:
            # Raised by smtplib itself: the server does not offer it, or it cannot be said.
            raise SmsError(Outcome.CONFIGURATION, f"{name}: {type(error).__name__}") from None
        except OSError as error:
            why = "no answer in time" if self._late else type(error).__name__
            raise SmsError(silent, f"{name}: {why}") from None


class _Bounded:
    """A file that ends the conversation with a server that does not stop talking."""

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, _MOST_BYTES
        self.close = file.close

    def readline(self, most: int) -> bytes:
        line: bytes = self._file.readline(most)
        self._left -= len(line)
        if self._left < 0:
            raise OSError("too long an answer")
        return line


class _Plain(smtplib.SMTP):
    file: Any

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Bounded(self.sock.makefile("rb"))
        return super().getreply()


class _Inside(_Plain, smtplib.SMTP_SSL):
    pass


class _Watched:
    def __init__(self, conversation: Conversation, context: ssl.SSLContext) -> None:
        self._conversation, self._context = conversation, context

    def wrap_socket(self, sock: socket.socket, server_hostname: str) -> ssl.SSLSocket:
        wrapped = self._context.wrap_socket(
            sock, server_hostname=server_hostname, do_handshake_on_connect=False
        )
        self._conversation._tls = wrapped
        wrapped.do_handshake()
        return wrapped


def expect(answer: tuple[int, bytes]) -> None:
    """Raise the server's refusal, if that is what its answer is."""
    code, said = answer
    if not 200 <= code < 300:
        raise smtplib.SMTPResponseException(code, said)


def _outcome(error: smtplib.SMTPResponseException, refused: Outcome) -> Outcome:
    """https://www.rfc-editor.org/rfc/rfc5321#section-4.2.3, rfc4954#section-6, rfc3463 for 5.7."""
    code = error.smtp_code
    if code < 500:
        return Outcome.TEMPORARY
    if code in (534, 535, 538):
        return Outcome.AUTHENTICATION
    if code == 530 or _text(error).startswith("5.7."):
        return Outcome.CONFIGURATION
    if refused is Outcome.INVALID_NUMBER and not 550 <= code <= 553:
        return Outcome.CONFIGURATION
    return refused


def _text(error: smtplib.SMTPResponseException) -> str:
    said: Any = error.smtp_error
    return " ".join((said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)).split())


def _said(error: smtplib.SMTPResponseException) -> str:
    """Return the server's words without addresses and long numbers, which may be the guest's."""
    plain = re.sub(r"\S*@\S*|\d{4,}", "…", mask_all(_text(error)))
    return f"{error.smtp_code} {plain[:_WORDS]}".strip()
