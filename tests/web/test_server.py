"""Connections to portald: which of them are closed, and when."""

from __future__ import annotations

import select
import socket
from http.client import HTTPResponse

import pytest

from portald.web import server
from portald.web.server import Server

MAC = "02:00:00:00:00:01"


def asked(connection: socket.socket) -> bytes:
    """Send a request; return the body of the answer, which comes in pieces or at once."""
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = HTTPResponse(connection)
    answer.begin()
    return answer.read()


def test_spare_connections_of_a_device_that_is_let_in_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """They were meant for sites that were redirected; they would lead to the portal once more."""

    def app(_environ: object, start_response: object) -> list[bytes]:
        start_response("200 OK", [("Content-Length", "2")])  # type: ignore[operator]
        return [b"hi"]

    monkeypatch.setattr(server, "_mac", lambda connection: MAC)
    listener = socket.create_server(("127.0.0.1", 0))
    serving, address = Server(app, [listener], threads=1), listener.getsockname()
    serving.start()
    try:
        with (
            socket.create_connection(address, 10) as spare,
            socket.create_connection(address, 10) as used,
        ):
            assert asked(used) == b"hi"
            serving.close_unused("02:00:00:00:00:99")
            assert asked(used) == b"hi"
            assert not select.select([spare], [], [], 0)[0], "another device's are left alone"
            serving.close_unused(MAC)
            assert spare.recv(1) == b"", "closed"
            assert asked(used) == b"hi", "still open"
    finally:
        serving.stop()
