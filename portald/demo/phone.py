"""What a guest's phone does, with nothing but the standard library; one JSON object comes out.

python phone.py fetch METHOD URL [4|6] [BODY] [HEADER=VALUE …]    one request, redirects not followed
python phone.py connect HOST PORT [4|6]          one TCP connection
python phone.py stream URL                       read until cut; a line when it starts
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
import sys
import time
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 8
FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6, "": socket.AF_UNSPEC}


def resolve(host: str, port: int, family: str) -> Any:
    return socket.getaddrinfo(host, port, FAMILIES[family], socket.SOCK_STREAM)[0]


def dial(host: str, port: int, family: str) -> socket.socket:
    kind, _, _, _, address = resolve(host, port, family)
    connection = socket.socket(kind, socket.SOCK_STREAM)
    connection.settimeout(TIMEOUT)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def fetch(method: str, url: str, family: str = "", body: str = "", *more: str) -> dict[str, Any]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    host, port = parts.hostname or "", parts.port or (443 if secure else 80)
    with contextlib.closing(http.client.HTTPConnection(host, port)) as connection:
        connection.sock = dial(host, port, family)
        peer, serial = connection.sock.getpeername()[0], ""
        if secure:
            context = ssl.create_default_context()
            connection.sock = tls = context.wrap_socket(connection.sock, server_hostname=host)
            serial = str((tls.getpeercert() or {}).get("serialNumber"))
        headers = {"User-Agent": "phone"} | dict(one.split("=", 1) for one in more)
        if body:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, path, body=body or None, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
    return {
        "status": answer.status,
        "location": answer.getheader("Location"),
        "headers": dict(answer.getheaders()),
        "serial": serial,
        "body": content[:200_000].decode("utf-8", "replace"),
        "length": len(content),
        "peer": peer,
    }


def connect(host: str, port: str, family: str = "") -> dict[str, Any]:
    with dial(host, int(port), family) as connection:
        return {"peer": connection.getpeername()[0]}


def stream(url: str) -> dict[str, Any]:
    """Read a stream until it is cut; ``last`` is when the last byte came."""
    parts = urlsplit(url)
    with dial(parts.hostname or "", parts.port or 80, "") as connection:
        connection.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.hostname}\r\n\r\n".encode())
        received, last, error = 0, 0.0, "closed"
        connection.settimeout(3)
        try:
            while data := connection.recv(65_536):
                if not received:
                    print(json.dumps({"started": time.time()}), flush=True)
                received, last = received + len(data), time.time()
        except OSError as problem:
            error = type(problem).__name__
    return {"received": received, "last": last, "end": error}


def main(arguments: list[str]) -> None:
    actions: dict[str, Any] = {"fetch": fetch, "connect": connect, "stream": stream}
    started = time.monotonic()
    try:
        result = actions[arguments[0]](*arguments[1:])
    except OSError as error:
        result = {"error": type(error).__name__, "text": str(error)}
    result["seconds"] = time.monotonic() - started
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
