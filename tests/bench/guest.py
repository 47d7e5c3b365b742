"""The guest's side of the measurements; runs in the phone's namespace, prints one JSON list.

python guest.py redirects COUNT       seconds each, one connection after the other
python guest.py flood SECONDS         redirects answered, eight connections at a time
python guest.py enter FORM CODE       seconds from sending the code to the first packet through
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time

PORTAL, SITE = "10.77.0.1", "203.0.113.10"
PROBE = b"GET /hotspot-detect.html HTTP/1.1\r\nHost: captive.apple.com\r\n\r\n"


def ask(address: str, request: bytes) -> bytes:
    with socket.create_connection((address, 80), 10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return answer


def redirects(count: str) -> list[float]:
    times = []
    for _ in range(int(count)):
        started = time.perf_counter()
        assert b"302 Found" in ask(SITE, PROBE)
        times.append(time.perf_counter() - started)
    return times


def flood(seconds: str) -> list[float]:
    end, done = time.monotonic() + float(seconds), [0] * 8

    def work(index: int) -> None:
        while time.monotonic() < end:
            ask(SITE, PROBE)
            done[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [sum(done) / float(seconds)]


def enter(form: str, code: str) -> list[float]:
    body = f"form={form}&code={code}".encode()
    head = f"POST /code HTTP/1.1\r\nHost: {PORTAL}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    head += "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    started = time.perf_counter()
    answer = ask(PORTAL, head.encode() + body)
    answered = time.perf_counter() - started
    assert b" 303 " in answer.split(b"\r\n")[0], answer
    socket.create_connection((SITE, 443), 5).close()
    return [answered, time.perf_counter() - started]


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
