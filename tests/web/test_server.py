"""Connections to portald: which of them are closed, and when."""

from __future__ import annotations

import socket
from http.client import HTTPResponse

import pytest

from portald.web import server
from portald.web.server import Server


def asked(connection: socket.socket) -> bytes:
    """Send a request; return the body of the answer, which comes in pieces or at once."""
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = HTTPResponse(connection)
    answer.begin()
    return answer.read()


def test_a_browsers_spare_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was meant for a site that was redirected; after login it would lead to the portal once more."""
    monkeypatch.setattr(server, "IDLE_TIME", 1000)
    monkeypatch.setattr(server, "UNUSED_TIME", 1)

    def app(_environ: object, start_response: object) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])  # type: ignore[operator]
        return [b"hi"]

    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    running = Server(app, [listener], threads=1)
    running.start()
    try:
        with socket.create_connection(address, 30) as used, socket.create_connection(address, 30) as spare:
            assert asked(used) == b"hi"
            assert spare.recv(1) == b"", "closed"
            assert asked(used) == b"hi", "still open"
    finally:
        running.stop()
