"""A real tunnel through DNS (iodine) before login: it works, and carries next to nothing."""

from __future__ import annotations

import json
import re
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from portald.demo.lab import Host, until
from portald.demo.venue import PORTAL, SITE, Venue
from tests.lab import wire
from tests.lab_fixtures import require_lab

pytestmark = pytest.mark.lab

FAR = "203.0.113.40"
NAME, WORDS = "t.example", ("-f", "-P", "word")
SECONDS, MOST = 2, 8_000
"""Bytes a second, where megabytes could pass."""
TALK = """
import os, socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    try: s.sendto(os.urandom(1000), ("%s", 9))
    except OSError: pass
    time.sleep(0.01)
"""


def carried(host: Host) -> int:
    """Return the bytes that have come out of the tunnel."""
    shown = json.loads(host.run("ip", "-s", "-j", "link", "show", "dns0"))
    return int(shown[0]["stats64"]["rx"]["bytes"])


def under_way(host: Host) -> bool:
    """Tell whether the tunnel carries anything."""
    return carried(host) > 20_000


def near(host: Host) -> str:
    """Return the tunnel's address on a host, if it has one."""
    found = re.search(r"10\.99\.0\.\d+", host.run("ip", "-br", "address"))
    return found[0] if found else ""


def dns(guest: Host, server: str, count: int) -> int:
    return int(guest.run(sys.executable, "-I", wire.__file__, "dns", server, SITE, str(count), "0"))


def test_a_tunnel_through_dns_carries_little_and_others_are_answered() -> None:
    """One over IPv4 and one over IPv6, at the same time."""
    require_lab()
    if not Path("/dev/net/tun").exists():
        pytest.skip("no /dev/net/tun here, and so no tunnel")
    with Venue() as venue:
        internet = venue.internet
        internet.run("ip", "address", "add", f"{FAR}/24", "dev", "eth0")
        internet.start("iodined", *WORDS, "-c", "-l", FAR, "10.99.0.1/24", NAME)
        until(lambda: "dns0" in internet.run("ip", "-br", "link"), "no far end")
        venue.start()
        venue.serve_guests(f"server=/{NAME}/{FAR}")
        guests = [venue.phone, venue.guest("second"), venue.guest("other")]
        for guest in guests:
            venue.lease(guest)
        *tunnels, other = guests
        venue.wait_ipv6(tunnels[1])
        for guest, resolver in zip(tunnels, (PORTAL, "2001:db8:77::1"), strict=True):
            guest.start("iodine", *WORDS, "-r", "-T", "NULL", "-m", "1100", resolver, NAME)
        for guest in tunnels:
            until(partial(near, guest), f"no tunnel for {guest.name}", 30)
            internet.start(sys.executable, "-I", "-c", TALK % near(guest))
            guest.start(sys.executable, "-I", "-c", TALK % "10.99.0.1")
        for guest, resolver in zip(tunnels, (PORTAL, "2001:db8:77::1"), strict=True):
            until(partial(under_way, guest), "the tunnel carries nothing", 30)
            dns(guest, resolver, 300)  # the first 150 questions are everybody's; these use them up
        begun = time.monotonic()
        before = [carried(host) for host in (*tunnels, internet)]
        assert dns(other, PORTAL, 150) == 150, "a phone's first look-ups"
        until(lambda: time.monotonic() > begun + SECONDS, "no clock")
        after = [carried(host) for host in (*tunnels, internet)]
        lasted = time.monotonic() - begun
        *down, up = ((now - then) / lasted for now, then in zip(after, before, strict=True))
        print(*(f"{rate:.0f} B/s down" for rate in down), f"{up:.0f} B/s up by both")
        assert all(rate < MOST for rate in (*down, up))
