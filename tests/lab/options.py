"""What a phone is told when it joins, byte by byte; standard library only, as root in the phone's namespace.

python options.py dhcp6 INTERFACE OPTION         asks for an option (RFC 8415), prints it in hex
python options.py ra INTERFACE OPTION            asks for a router advertisement, prints its option
python options.py dns SERVER NAME TYPE           prints the code and the data of each answer in hex
"""

from __future__ import annotations

import secrets
import socket
import struct
import sys
from collections.abc import Iterator

PATIENCE = 0.5
"""Seconds until it asks again: the server may be just starting."""


def dhcp6(interface: str, option: str) -> None:
    number = secrets.token_bytes(3)
    identity = struct.pack("!HHHH", 1, 10, 3, 1) + secrets.token_bytes(6)  # DUID-LL
    question = b"\x0b" + number + identity + struct.pack("!HHH", 6, 2, int(option))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asker:
        scope = socket.if_nametoindex(interface)
        asker.bind(("::", 546))
        answer = ask(asker, question, ("ff02::1:2", 547, 0, scope), b"\x07" + number)
    for code, value in dhcp6_options(answer[4:]):
        if code == int(option):
            print(value.hex())


def dhcp6_options(data: bytes) -> Iterator[tuple[int, bytes]]:
    while data:
        code, length = struct.unpack_from("!HH", data)
        yield code, data[4 : 4 + length]
        data = data[4 + length :]


def ra(interface: str, option: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as asker:
        scope = socket.if_nametoindex(interface)
        asker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        asker.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, scope)
        answer = ask(asker, b"\x85\0\0\0\0\0\0\0", ("ff02::2", 0, 0, scope), b"\x86\0")
    rest = answer[16:]
    while rest:
        size = rest[1] * 8
        if rest[0] == int(option):
            print(rest[2:size].hex())
        rest = rest[size:]


def dns(server: str, name: str, kind: str) -> None:
    number = secrets.token_bytes(2)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = number + b"\1\0\0\1\0\0\0\0\0\0" + labels + struct.pack("!BHH", 0, int(kind), 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        answer = ask(asker, question, (server, 53), number)
    data = []
    at = len(question)
    for _ in range(int.from_bytes(answer[6:8])):
        at += 2 if answer[at] >= 0xC0 else answer.index(b"\0", at) + 1 - at
        length = int.from_bytes(answer[at + 8 : at + 10])
        data.append(answer[at + 10 : at + 10 + length].hex())
        at += 10 + length
    print(answer[3] & 15, *data)


def ask(asker: socket.socket, question: bytes, server: tuple[object, ...], beginning: bytes) -> bytes:
    """Ask until an answer with this beginning comes."""
    asker.settimeout(PATIENCE)
    for _ in range(20):
        asker.sendto(question, server)
        try:
            while not (answer := asker.recv(4096)).startswith(beginning):
                pass
        except (TimeoutError, ConnectionError):
            continue
        return answer
    sys.exit("no answer")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
