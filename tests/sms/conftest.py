"""A provider of our own on loopback: answers as told and keeps what it was asked."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import pytest


@dataclass(frozen=True)
class Request:
    """What came over the wire."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    timeout = 5

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        provider = self.server.provider
        provider.requests.append(Request(self.command, self.path, dict(self.headers.items()), body))
        self.close_connection = True
        provider.behave(self)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Listener(ThreadingHTTPServer):
    provider: Provider

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is what some tests want."""


@dataclass
class Provider:
    """The server; ``behave`` does the answering and may do anything to the connection."""

    url: str
    stopping: threading.Event
    requests: list[Request] = field(default_factory=list)
    behave: Callable[[Any], None] = lambda handler: None

    def say(
        self, status: int, body: bytes | str = b"", headers: Mapping[str, str] | None = None
    ) -> Provider:
        """Answer every request like this from now on."""
        content = body.encode() if isinstance(body, str) else body

        def behave(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response_only(status)
            for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(content)

        self.behave = behave
        return self

    def raw(self, *pieces: bytes, pause: float = 0) -> Provider:
        """Answer every request with these bytes, with a pause before each piece."""

        def behave(handler: BaseHTTPRequestHandler) -> None:
            for piece in pieces:
                if pause and self.stopping.wait(pause):
                    return
                handler.wfile.write(piece)
                handler.wfile.flush()

        self.behave = behave
        return self


def _serve(context: SSLContext | None) -> Iterator[Provider]:
    with _Listener(("127.0.0.1", 0), _Handler) as listener:
        listener.daemon_threads = False
        if context is not None:
            listener.socket = context.wrap_socket(listener.socket, server_side=True)
        scheme = "http" if context is None else "https"
        provider = Provider(f"{scheme}://127.0.0.1:{listener.server_port}", threading.Event())
        listener.provider = provider
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield provider
        finally:
            provider.stopping.set()
            listener.shutdown()
            thread.join()


@pytest.fixture
def provider() -> Iterator[Provider]:
    """A provider over HTTP."""
    yield from _serve(None)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, with its key, that nobody trusts."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", path, "-out", f"{path}.crt"),
        ],
        check=True,
        capture_output=True,
    )
    with path.open("ab") as both:
        both.write(Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def tls_provider(certificate: Path) -> Iterator[Provider]:
    """A provider over HTTPS with a certificate of its own."""
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    yield from _serve(context)
