"""Messages on the socket between the halves: four bytes of length, then JSON.

An answer may have rows after it, a line each: they are made and taken apart one by one, since ten
thousand at once are megabytes on both sides.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Any

MOST_BYTES = 16 * 2**20


def send_frame(connection: socket.socket, message: Any, rows: Iterable[Any] = ()) -> None:
    body = bytearray(4)
    body += _json(message)
    for row in rows:
        body += b"\n" + _json(row)
    struct.pack_into("!I", body, 0, len(body) - 4)
    connection.sendall(body)


def receive_frame(connection: socket.socket) -> Any:
    """Return the next message; raise ``EOFError`` at the end, ``ValueError`` for rubbish."""
    return _parsed(_body(connection))


def receive_answer(connection: socket.socket) -> tuple[Any, Iterator[Any]]:
    """Return the next message and the rows after it, which raise ``ValueError`` where they are rubbish."""
    body = _body(connection)
    end = body.find(b"\n")
    return (_parsed(body), iter(())) if end < 0 else (_parsed(body[:end]), _rows(body, end + 1))


def _rows(body: bytearray, at: int) -> Iterator[Any]:
    while at <= len(body):
        end = body.find(b"\n", at)
        end = len(body) if end < 0 else end
        yield _parsed(body[at:end])
        at = end + 1


def _json(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _parsed(body: bytearray) -> Any:
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _body(connection: socket.socket) -> bytearray:
    (length,) = struct.unpack("!I", _receive(connection, 4))
    if length > MOST_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    return _receive(connection, length)


def _receive(connection: socket.socket, length: int) -> bytearray:
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(min(length - len(parts), 1 << 16))
        if not part:
            raise EOFError("the connection was closed")
        parts += part
    return parts
