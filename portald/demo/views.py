"""Windows into the lab: forwards a listener of this machine to something inside.

python views.py FD tcp:ADDRESS:PORT      bytes as they are
python views.py FD unix:PATH             bytes as they are
python views.py FD phone:ADDRESS:PORT    a browser here becomes the guest's phone: the
                                         portal's name is put into requests and taken out
                                         of redirects; /internet is a site outside
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import threading

SITE = "captive.apple.com"


def main(arguments: list[str]) -> None:
    listener = socket.socket(fileno=int(arguments[0]))
    kind, _, target = arguments[1].partition(":")
    while True:
        browser, _ = listener.accept()
        threading.Thread(target=serve, args=(browser, kind, target), daemon=True).start()


def serve(browser: socket.socket, kind: str, target: str) -> None:
    with browser, contextlib.suppress(OSError):
        browser.settimeout(60)
        if kind == "phone":
            be_phone(browser, target)
        else:
            with dial(kind, target) as inside:
                back = threading.Thread(target=pump, args=(inside, browser), daemon=True)
                back.start()
                pump(browser, inside)
                back.join()


def be_phone(browser: socket.socket, target: str) -> None:
    """Carry one request as the phone would send it, and its answer back."""
    head, rest = read_head(browser)
    host, address = target.rpartition(":")[0], target
    path = head.split(b" ", 2)[1] if head.count(b" ") >= 2 else b"/"
    if path.startswith(b"/internet"):
        host, address = SITE, f"{SITE}:80"
        head = head.replace(path, b"/hotspot-detect.html", 1)
    head = re.sub(rb"(?im)^(host|connection|origin|referer|accept-encoding):.*\r\n", b"", head)
    first, _, fields = head.partition(b"\r\n")
    length = re.search(rb"(?im)^content-length: *(\d+)", fields)
    while length and len(rest) < int(length[1]):
        rest += browser.recv(65_536)
    with dial("tcp", address) as inside:
        inside.sendall(first + f"\r\nHost: {host}\r\nConnection: close\r\n".encode() + fields + rest)
        answer, body = read_head(inside)
        portal = target.rpartition(":")[0].encode()
        answer = re.sub(rb"(?im)^location: http://" + re.escape(portal) + rb"/", b"Location: /", answer)
        browser.sendall(answer + body)
        pump(inside, browser)


def read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data and len(data) < 65_536:
        part = connection.recv(65_536)
        if not part:
            break
        data += part
    head, gap, rest = data.partition(b"\r\n\r\n")
    return head + gap, rest


def dial(kind: str, target: str) -> socket.socket:
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(target)
        return connection
    host, _, port = target.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=60)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(sys.argv[1:])
