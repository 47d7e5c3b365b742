"""The lab's internet: web sites over IPv4 and IPv6, what phones probe among them, and an endless stream.

python internet.py ADDRESS …      HTTP on port 80 and an HTTPS listener on 443, each address
"""

from __future__ import annotations

import http.server
import socket
import sys
import threading
import time
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


def systems() -> list[dict[str, Any]]:
    """Return what phones and computers ask, and what is answered (probes.toml)."""
    rows: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("probes.toml").read_text("utf-8"))[
        "systems"
    ]
    return rows


def _by_place() -> dict[tuple[str, str], dict[str, Any]]:
    found = {}
    for probe in (probe for system in systems() for probe in system["probes"]):
        parts = urlsplit(probe["url"])
        found[parts.netloc, f"{parts.path}?{parts.query}".rstrip("?")] = probe
    return found


PROBES = _by_place()
NAMES = {host for host, _ in PROBES}
SUCCESS = PROBES["captive.apple.com", "/hotspot-detect.html"]


class Site(http.server.BaseHTTPRequestHandler):
    """Answers probes as their real hosts do, /stream with bytes for ever, /bytes/N with N, else Success."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        probe = PROBES.get((self.headers.get("Host", ""), self.path))
        if probe is None and self.path.startswith("/bytes/"):
            self._answer(bytes(int(self.path.removeprefix("/bytes/"))))
        elif probe is None and self.path == "/stream":
            self._stream()
        else:
            self._probe(probe or SUCCESS)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        left = int(self.headers.get("Content-Length", 0))
        while left > 0 and (part := self.rfile.read(min(left, 65_536))):
            left -= len(part)
        self._answer(b"thanks")

    def _probe(self, probe: dict[str, Any]) -> None:
        self._answer(probe.get("body", "").encode(), probe.get("status", 200), probe.get("headers", {}))

    def _answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            while True:
                self.wfile.write(bytes(1000))
                time.sleep(0.001)
        except OSError:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


class Server6(Server):
    address_family = socket.AF_INET6


def main(addresses: list[str]) -> None:
    threads = []
    for address in addresses:
        kind = Server6 if ":" in address else Server
        # On 443 nobody speaks TLS: reaching it at all is what is observed.
        for port in (80, 443):
            threads.append(threading.Thread(target=kind((address, port), Site).serve_forever))
            threads[-1].start()
    # From Python 3.12 on, a program whose main thread has ended may start no further thread.
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1:])
