"""What a phone sends to find out where it is, byte by byte: requests in as JSON, answers out.

[[host, port, request], …] on standard input; for each the raw answer until the other side closes
the connection, or the name of the error.
"""

from __future__ import annotations

import contextlib
import functools
import json
import socket
import sys


@functools.cache  # before login, a phone may not look up much
def resolve(host: str) -> str:
    return socket.gethostbyname(host)


def ask(host: str, port: int, request: str) -> str:
    try:
        with contextlib.closing(socket.create_connection((resolve(host), port), 8)) as connection:
            connection.sendall(request.encode("latin-1"))
            answer = b""
            while part := connection.recv(65_536):
                answer += part
            return answer.decode("latin-1")
    except OSError as error:
        return type(error).__name__


if __name__ == "__main__":
    print(json.dumps([ask(*one) for one in json.load(sys.stdin)]))
