"""Both ends of real connections through a gateway.

python traffic.py serve PORT [WORD]      answers each line: GET n, PUT n, TICK; or WORD at once
python traffic.py ask ADDRESS PORT LINE  prints what came back: a number of bytes, a word, an error
python traffic.py tick ADDRESS PORT      prints a line for every tick that arrives
python traffic.py hold ADDRESS PORT N    prints how many of N connections could be opened
python traffic.py name PORT              answers every datagram with itself
python traffic.py clock PORT              answers a large datagram with a small one, a small one with 30 large
python traffic.py flood FROM TO PORT SIZE N     sends N datagrams at once; prints how many came back
python traffic.py talk FROM TO PORT PAYLOAD N   sends N datagrams, and listens until all is still
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time

SO_RCVBUFFORCE = 33  # which the socket module does not name


def serve(port: str, word: str = "") -> None:
    with socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer, args=(connection, word), daemon=True).start()


def answer(connection: socket.socket, word: str) -> None:
    with connection, contextlib.suppress(OSError, ValueError):
        if word:
            connection.sendall(word.encode())
            connection.recv(100)
            return
        with connection.makefile("rb") as lines:
            verb, _, number = lines.readline().decode().strip().partition(" ")
            if verb == "GET":
                connection.sendall(bytes(int(number)))
            elif verb == "PUT":
                connection.sendall(str(len(lines.read(int(number)))).encode())
            while verb == "TICK":
                connection.sendall(b"tick\n")
                time.sleep(0.02)


def ask(address: str, port: str, line: str) -> None:
    try:
        with socket.create_connection((address, int(port)), 3) as connection:
            verb, _, number = line.partition(" ")
            connection.settimeout(20)
            connection.sendall(f"{line}\n".encode())
            if verb == "PUT":
                connection.sendall(bytes(int(number)))
            connection.shutdown(socket.SHUT_WR)
            got = b""
            while part := connection.recv(1 << 16):
                got += part
        print(len(got) if verb == "GET" else got.decode())
    except OSError as error:
        print(type(error).__name__)


def tick(address: str, port: str) -> None:
    with socket.create_connection((address, int(port)), 3) as connection:
        connection.sendall(b"TICK\n")
        while part := connection.recv(100):
            print(part.decode().strip(), flush=True)


def hold(address: str, port: str, number: str) -> None:
    held = []
    for _ in range(int(number)):
        with contextlib.suppress(OSError):
            held.append(socket.create_connection((address, int(port)), 0.3))
    print(len(held))


def name(port: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", int(port)))
        while True:
            payload, sender = listener.recvfrom(2000)
            listener.sendto(payload, sender)


def clock(port: str) -> None:
    with udp(socket.AF_INET6) as listener:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", int(port)))
        while True:
            payload, sender = listener.recvfrom(2000)
            for _ in range(30 if len(payload) < 500 else 1):
                listener.sendto(bytes(1000 if len(payload) < 500 else 10), sender)


def flood(source: str, target: str, port: str, size: str, count: str) -> None:
    back = 0
    with udp(socket.AF_INET6 if ":" in target else socket.AF_INET) as sender:
        sender.bind((source, 0))
        for _ in range(int(count)):
            with contextlib.suppress(OSError):  # an ICMP refusal of the one before
                sender.sendto(bytes(int(size)), (target, int(port)))
        sender.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                with contextlib.suppress(ConnectionError, PermissionError):
                    sender.recv(2000)
                    back += 1
    print(back)


def udp(family: int) -> socket.socket:
    """Return a socket that has room for a flood."""
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 22)
    return made


def talk(source: str, target: str, port: str, payload: str, count: str) -> None:
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as talker:
        talker.bind((source, 0))
        for _ in range(int(count)):
            with contextlib.suppress(OSError):  # an ICMP refusal of the one before
                talker.sendto(payload.encode(), (target, int(port)))
            time.sleep(0.02)
        # An answer to a socket that is closed would be answered by ICMP, and that is counted.
        talker.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            for _ in range(2 * int(count)):
                with contextlib.suppress(ConnectionError, PermissionError):
                    talker.recv(2000)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
