"""The lab's internet: web sites over IPv4 and IPv6, with a stream that never ends.

python internet.py ADDRESS …      HTTP on port 80 and an HTTPS listener on 443, each address
"""

from __future__ import annotations

import http.server
import socket
import sys
import threading
import time

SUCCESS = b"<HTML><HEAD><TITLE>Success</TITLE></HEAD><BODY>Success</BODY></HTML>"  # as captive.apple.com


class Site(http.server.BaseHTTPRequestHandler):
    """Answers /stream with bytes for ever, /bytes/N with N of them, anything else with Success."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.startswith("/bytes/"):
            self._answer(bytes(int(self.path.removeprefix("/bytes/"))))
        elif self.path == "/stream":
            self._stream()
        elif self.path == "/generate_204":
            self.send_response(204)
            self.end_headers()
        else:
            self._answer(SUCCESS)

    def do_POST(self) -> None:
        left = int(self.headers.get("Content-Length", 0))
        while left > 0 and (part := self.rfile.read(min(left, 65_536))):
            left -= len(part)
        self._answer(b"thanks")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
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
