"""Many guests in one namespace: frames of each, in both families, every few hundredths of a second.

python crowd.py echo PORT                        the internet's end: sends back what it gets
python crowd.py guests INTERFACE GATEWAY FILE    commands on stdin, one JSON answer each on stdout

FILE holds ``[[MAC, IPv4, IPv6], …]`` and is read again at the command ``guests``.  ``report``
answers for each MAC and family: seconds since the last echo, the longest pause, echoes so far;
``reset`` starts pauses and echoes anew.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import sys
import time
from typing import Any

TICK = 0.04
TARGETS = {"4": "203.0.113.10", "6": "2001:db8:1::10"}
PORT = 9000


def echo(port: str) -> None:
    """Answer from the very address that was asked: a wildcard socket may take another."""
    listeners = []
    for family, kind in (("4", socket.AF_INET), ("6", socket.AF_INET6)):
        listener = socket.socket(kind, socket.SOCK_DGRAM)
        listener.bind((TARGETS[family], int(port)))
        listeners.append(listener)
    while True:
        for listener in select.select(listeners, [], [])[0]:
            payload, sender = listener.recvfrom(2000)
            listener.sendto(payload, sender)


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data + b"\0" * (len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(mac: str, gateway: str, source: str, family: str, payload: bytes) -> bytes:
    """Return a datagram to the internet's echo, as a guest's device sends it."""
    if len(payload) % 2:
        payload += b" "
    head = bytes.fromhex((gateway + mac).replace(":", ""))
    udp = struct.pack("!HHHH", PORT, PORT, 8 + len(payload), 0) + payload
    if family == "4":
        addresses = socket.inet_aton(source) + socket.inet_aton(TARGETS["4"])
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0) + addresses
        return head + b"\x08\x00" + ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + udp
    ends = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, TARGETS["6"])
    total = checksum(ends + struct.pack("!II", len(udp), 17) + udp)
    udp = udp[:6] + struct.pack("!H", total or 0xFFFF) + udp[8:]
    return head + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + ends + udp


def read(data: bytes) -> tuple[str, str] | None:
    """Return whose echo a frame is, and of which family; ``None`` for anything else."""
    kind = data[12:14]
    at = {b"\x08\x00": (23, 34), b"\x86\xdd": (20, 54)}.get(kind)
    if (
        at is None
        or len(data) < at[1] + 8
        or data[at[0]] != 17
        or data[at[1] : at[1] + 2] != struct.pack("!H", PORT)
    ):
        return None
    return data[:6].hex(":"), "4" if kind == b"\x08\x00" else "6"


class Guests:
    def __init__(self, interface: str, gateway: str, file: str) -> None:
        self.gateway, self.file = gateway, file
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind((interface, 0))
        self.socket.setblocking(False)
        self.seen: dict[tuple[str, str], list[float]] = {}
        self.load()

    def load(self) -> None:
        with open(self.file) as file:
            rows = json.load(file)
        self.frames = {
            (mac, family): frame(mac, self.gateway, address, family, mac.encode())
            for mac, *addresses in rows
            for family, address in zip("46", addresses, strict=True)
            if address
        }

    def reset(self) -> None:
        now = time.monotonic()
        self.seen = {key: [at[0], 0.0, 0, now] for key, at in self.seen.items()}  # type: ignore[list-item]

    def report(self) -> Any:
        now = time.monotonic()
        found: dict[str, dict[str, list[float]]] = {}
        for (mac, family), (last, longest, count, began) in self.seen.items():
            pause = max(longest, now - max(last, began))
            found.setdefault(mac, {})[family] = [round(now - last, 3), round(pause, 3), count]
        return found

    def heard(self) -> None:
        while True:
            try:
                data = self.socket.recv(2000)
            except BlockingIOError:
                return
            whose = read(data)
            if whose is None or whose not in self.frames:
                continue
            now = time.monotonic()
            last, longest, count, began = self.seen.get(whose, (now, 0.0, 0, now))
            self.seen[whose] = [now, max(longest, now - max(last, began)), count + 1, began]

    def run(self) -> None:
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= due:
                due = max(due + TICK, now)
                for data in self.frames.values():
                    with contextlib.suppress(OSError):  # the interface is down, or its queue is full
                        self.socket.send(data)
            ready, _, _ = select.select([self.socket, sys.stdin], [], [], max(0.0, due - time.monotonic()))
            if self.socket in ready:
                self.heard()
            if sys.stdin in ready:
                word = sys.stdin.readline().strip()
                if not word:
                    return
                answer = {"report": self.report, "reset": self.reset, "guests": self.load}[word]()
                print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "echo":
        echo(sys.argv[2])
    else:
        Guests(*sys.argv[2:]).run()
