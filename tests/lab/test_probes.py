"""Every probe of phones and computers, before login and after, and a real NetworkManager that asks one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest

from portald.demo.internet import systems
from portald.demo.lab import Host, until
from portald.demo.venue import PORTAL, Venue
from tests.lab import probe
from tests.programs import program

pytestmark = pytest.mark.lab

PROBES = [one for system in systems() for one in system["probes"]]
PLAIN = [one for one in PROBES if one["url"].startswith("http://")]


def target(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.netloc, parts.path + (f"?{parts.query}" if parts.query else "")


def request(one: dict[str, Any], method: str = "", close: bool = False) -> str:
    host, path = target(one["url"])
    end = "Connection: close\r\n" if close else ""
    return (
        f"{method or one.get('method', 'GET')} {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n{end}\r\n"
    )


def ask(guest: Host, requests: Sequence[tuple[str, int, str]]) -> list[str]:
    """Let a guest's phone send raw requests; return the raw answers, complete as the connection was closed."""
    done = subprocess.run(
        guest.command(sys.executable, "-I", probe.__file__),
        input=json.dumps(requests), capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    answers: list[str] = json.loads(done.stdout)
    return answers


def to_portal(answer: str) -> bool:
    """Tell whether an answer is what every client takes for a portal: not its success, and a way to follow."""
    head, _, body = answer.partition("\r\n\r\n")
    lines = head.split("\r\n")
    return (
        lines[0].split(" ", 1)[1] == "302 Found"
        and f"Location: http://{PORTAL}/" in lines
        and "Cache-Control: no-store" in lines
        and len(body) < 200
    )


def test_before_login_each_is_led_to_the_portal(venue: Venue) -> None:
    sent = []
    for one in PLAIN:
        host, path = target(one["url"])
        sent += [(host, 80, request(one)), (host, 80, request(one, "HEAD"))]
        sent.append((host, 80, f"GET {path} HTTP/1.0\r\n\r\n"))
        sent.append((host, 80, f"GET {one['url']} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
    answers = ask(venue.phone, sent)
    for (_, _, asked), answer in zip(sent, answers, strict=True):
        assert to_portal(answer), (asked, answer)
        if asked.startswith("HEAD"):
            assert answer.endswith("\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nHost: CAPTIVE.apple.com.:80",
        "GET / HTTP/1.1\r\nHost:",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b",
        "GET http://captive.apple.com HTTP/1.1\r\nHost: captive.apple.com",
        "GET http://captive.apple.com:80/?x=http://evil.example/ HTTP/1.1\r\nHost: \xe4\xf6",
        "OPTIONS * HTTP/1.1\r\nHost: captive.apple.com",
        "PROPFIND / HTTP/1.1\r\nHost: captive.apple.com",
    ],
)
def test_odd_ones_too(venue: Venue, head: str) -> None:
    (answer,) = ask(venue.phone, [("captive.apple.com", 80, f"{head}\r\n\r\n")])
    assert to_portal(answer), answer
    assert "evil" not in answer


def test_by_https_each_is_refused_at_once(venue: Venue) -> None:
    """A silent drop would have phones wait, and an answer would have to lie about its name."""
    hosts = [target(one["url"])[0] for one in PROBES if one not in PLAIN]
    assert ask(venue.phone, [(host, 443, "") for host in hosts]) == ["ConnectionRefusedError"] * len(hosts)
    looked_up = venue.phone.run(
        sys.executable, "-Ic", "import socket; print(socket.gethostbyname('dns.msftncsi.com'))"
    )
    assert looked_up.strip() == "131.107.255.255", "Windows goes by this as well"


def test_after_login_each_gets_its_own_answer(venue: Venue) -> None:
    guest = venue.guest("after")
    venue.lease(guest)
    venue.log_in(guest, "+4915123400099")
    answers = ask(guest, [(target(one["url"])[0], 80, request(one, close=True)) for one in PLAIN])
    for one, answer in zip(PLAIN, answers, strict=True):
        head, _, body = answer.partition("\r\n\r\n")
        assert head.split(" ")[1] == str(one.get("status", 200)), one["url"]
        assert one.get("body", "") == body, one["url"]
        for name, value in one.get("headers", {}).items():
            assert f"{name}: {value}\r\n" in head + "\r\n"


BUS = """<busconfig><listen>unix:path={folder}/bus</listen><auth>EXTERNAL</auth><policy context="default">
<allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
</policy></busconfig>"""
MANAGER = """
[main]
plugins=keyfile
dns=none
dhcp=internal
auth-polkit=false
[keyfile]
path={folder}/profiles
[connectivity]
uri={url}
interval=3600
"""
PROFILE = """
[connection]
id=wifi
type=ethernet
interface-name=wlan0
[ipv4]
method=auto
[ipv6]
method=auto
"""


class Laptop:
    """A guest's laptop that runs NetworkManager, which joins the network by itself."""

    def __init__(self, venue: Venue, url: str) -> None:
        self.host, folder = venue.guest("laptop"), venue.scratch / "laptop"
        (folder / "profiles").mkdir(parents=True)
        profile = folder / "profiles/wifi.nmconnection"
        for path, text in (
            (folder / "bus.conf", BUS), (folder / "manager.conf", MANAGER), (profile, PROFILE),
        ):  # fmt: skip
            path.write_text(text.format(folder=folder, url=url))
        profile.chmod(0o600)
        # What it writes is the laptop's own.  It cannot replace a mounted file: so the DNS server that
        # DHCP names is there from the beginning.
        (folder / "resolv.conf").write_text(f"nameserver {PORTAL}\n")
        resolv = os.path.realpath("/etc/resolv.conf")
        for place in ("/run", "/var/lib"):
            self.host.run("mount", "-t", "tmpfs", "tmpfs", place)
        if resolv.startswith("/run/"):
            self.host.run("install", "-D", "/dev/null", resolv)
        self.host.run("mount", "--bind", str(folder / "resolv.conf"), resolv)
        # By this it tells a container, where no udev tells that an interface is ready.
        self.host.run("mount", "-t", "sysfs", "-o", "ro", "sysfs", "/sys")
        self._bus = ["env", f"DBUS_SYSTEM_BUS_ADDRESS=unix:path={folder}/bus"]
        config = f"--config-file={folder}/bus.conf"
        self.host.start(*program("dbus-daemon"), config, "--nofork", "--nopidfile", "--nosyslog")
        until((folder / "bus").exists, "no D-Bus")
        files = [f"--config={folder}/manager.conf", f"--state-file={folder}/state"]
        nowhere = [
            f"--{kind}={folder}/none" for kind in ("config-dir", "system-config-dir", "intern-config")
        ]
        with (venue.scratch / "NetworkManager.log").open("wb") as log:
            self.host.start(*self._bus, *program("NetworkManager"), "--debug", *files, *nowhere, output=log)
        until(lambda: self.nmcli("-g", "GENERAL.STATE", "device", "show", "wlan0") == "100 (connected)",
              "NetworkManager does not join")  # fmt: skip

    def nmcli(self, *words: str) -> str:
        return self.host.run(*self._bus, *program("nmcli"), *words, check=False).strip()

    def connectivity(self) -> str:
        return self.nmcli("networking", "connectivity", "check")


@pytest.fixture
def laptop(venue: Venue) -> Laptop:
    return Laptop(venue, "http://nmcheck.gnome.org/check_network_status.txt")


def test_networkmanager_sees_the_portal_and_then_the_internet(venue: Venue, laptop: Laptop) -> None:
    assert laptop.connectivity() == "portal"
    venue.log_in(laptop.host, "+4915123400123")
    assert laptop.connectivity() == "full"
    venue.ctl("revoke", venue.mac(laptop.host))
    assert laptop.connectivity() == "portal"
