"""What a device and a server on the internet do in test_traffic.py; standard library only.

python load.py serve                      TCP and UDP on port 9000, both families
python load.py down HOST SECONDS SKIP     read for so long, after skipping; print bytes a second
python load.py up HOST SECONDS SKIP       the same, as counted by the server
python load.py fetch HOST BYTES           read so many, or until nothing comes for a second; print them
python load.py steady HOST SECONDS        read; print a line with the bytes of each 100 ms
python load.py listen HOST SECONDS        send one datagram, and read a flood for it; print as steady
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

PORT = 9000
ENDLESS = 1 << 60
BLOCK = bytes(65_536)


def serve() -> None:
    source = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    source.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    source.bind(("::", PORT))
    threading.Thread(target=flood, args=(source,), daemon=True).start()
    with socket.create_server(("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError, IndexError):
        wish = connection.recv(32).decode().split()  # always so long: the rest is traffic
        if wish[0] == "down":
            left = int(wish[1])
            while left:
                left -= connection.send(BLOCK[: min(left, len(BLOCK))])
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        else:
            skip, seconds = float(wish[1]), float(wish[2])
            connection.sendall(f"{speed(connection, skip, seconds)}".encode())


def flood(source: socket.socket) -> None:
    """Send a million bytes a second to whoever has asked, for ten seconds, whatever comes back."""
    while True:
        _, who = source.recvfrom(100)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                for _ in range(10):
                    source.sendto(bytes(1000), who)
            time.sleep(0.01)


def speed(connection: socket.socket, skip: float, seconds: float) -> float:
    begin = time.monotonic() + skip
    while time.monotonic() < begin:
        connection.recv(1 << 18)
    count, begin = 0, time.monotonic()
    while time.monotonic() < begin + seconds:
        count += len(connection.recv(1 << 18))
    return count / (time.monotonic() - begin)


def dial(host: str, wish: str) -> socket.socket:
    connection = socket.create_connection((host, PORT), 2)
    connection.sendall(wish.ljust(32).encode())
    return connection


def down(host: str, seconds: str, skip: str) -> None:
    with dial(host, f"down {ENDLESS}") as connection:
        connection.settimeout(10)
        print(speed(connection, float(skip), float(seconds)))


def up(host: str, seconds: str, skip: str) -> None:
    with dial(host, f"up {skip} {seconds}") as connection:
        connection.settimeout(10)
        threading.Thread(target=pour, args=(connection,), daemon=True).start()
        print(connection.recv(100).decode())


def pour(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection.send(BLOCK)


def fetch(host: str, count: str) -> None:
    received = 0
    with contextlib.suppress(OSError), dial(host, f"down {count}") as connection:
        connection.settimeout(1)
        while data := connection.recv(1 << 18):
            received += len(data)
    print(received)


def steady(host: str, seconds: str) -> None:
    with dial(host, f"down {ENDLESS}") as connection:
        tell(connection, float(seconds))


def listen(host: str, seconds: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.connect((host, PORT))
        asker.send(b"more")
        tell(asker, float(seconds))


def tell(source: socket.socket, seconds: float) -> None:
    source.settimeout(0.02)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        count, until = 0, time.monotonic() + 0.1
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                count += len(source.recv(1 << 18))
        print(count, flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
