"""What ``portalctl render`` prints, in the real programs: phones are told the portal's API and its name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from portald.config import Config, build
from portald.demo.lab import Host, cable, until
from portald.rendering import dnsmasq, kea, networkd, radvd
from tests.lab import options
from tests.lab_fixtures import require_lab
from tests.programs import newer, program

pytestmark = pytest.mark.lab

URI = "https://portal.example.com/captive-portal/api"
SETTINGS = build(
    Config,
    {
        "web": {"url": "https://portal.example.com/"},
        "zones": [
            {"name": "cafe", "interface": "br-guest", "networks": ["10.77.0.0/24"]},
            {"name": "camp", "interface": "br-camp", "networks": ["10.78.0.0/24"]},
        ],
    },
)
LEASE = """#!/bin/sh
[ "$1" = bound ] && echo "$ip $opt114" > {}
exit 0
"""


class Street:
    """A gateway with two networks of guests, a phone in each, and a network that is not for guests."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.gateway = Host("gateway")
        self.phones = {}
        for number, name in enumerate(("br-guest", "br-camp", "office")):
            phone = self.phones[name] = Host(name)
            # Nobody waits for the lab's own duplicate address detection.
            for host in (self.gateway, phone):
                host.sysctl(net__ipv6__conf__default__accept_dad=0)
            cable(self.gateway, name, phone, "wlan0")
            self.gateway.run("ip", "address", "add", f"10.{77 + number}.0.1/24", "dev", name)
            prefix = f"2001:db8:{77 + number}::1/64"
            self.gateway.run("ip", "address", "add", prefix, "dev", name, "nodad")
        self.gateway.sysctl(net__ipv6__conf__all__forwarding=1)
        show = ["ip", "-6", "-br", "address", "show", "scope", "link"]
        until(lambda: self.gateway.run(*show).count("fe80:") == 3, "the gateway has no IPv6")
        for phone in self.phones.values():
            until(lambda p=phone: "fe80:" in p.run(*show), "a phone has no IPv6")  # type: ignore[misc]

    def close(self) -> None:
        for host in (*self.phones.values(), self.gateway):
            host.close()

    def write(self, name: str, text: str) -> Path:
        path = self.scratch / name
        path.write_text(text)
        return path

    def serve(self, *command: str) -> None:
        """Start a server on the gateway, with files of its own."""
        # Kea keeps a lock and a file with its number; radvd wants its own user.
        places = {f"KEA_{what}": str(self.scratch) for what in ("LOCKFILE_DIR", "PIDFILE_DIR")}
        settings = [f"{name}={value}" for name, value in places.items()]
        with self.scratch.joinpath("log").open("ab") as log:
            self.gateway.start("env", *settings, *command, output=log)

    def dhcp(self, network: str) -> bytes:
        """Let a phone ask for an address and option 114 with a real client; return the option."""
        told = self.scratch / "told"
        told.unlink(missing_ok=True)
        script = self.write("lease.sh", LEASE.format(told))
        script.chmod(0o755)
        words = ["-i", "wlan0", "-s", str(script), "-n", "-q", "-f", "-t", "20", "-T", "1", "-O", "114"]
        self.phones[network].run("udhcpc", *words)
        return bytes.fromhex(told.read_text().split(" ")[1])

    def ask(self, network: str, *words: str) -> list[str]:
        program = [sys.executable, "-I", options.__file__]
        return self.phones[network].run(*program, *words).split()

    def told(self, network: str, how: str, option: int) -> list[bytes]:
        return [bytes.fromhex(found) for found in self.ask(network, how, "wlan0", str(option))]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Street]:
    require_lab()
    built = Street(tmp_path)
    try:
        yield built
    finally:
        built.close()


def test_dnsmasq_tells_guests_the_api_and_the_portal_s_address(town: Street) -> None:
    rendered = town.write("rendered", "\n".join(dnsmasq.lines(SETTINGS)))
    checked = subprocess.run(["dnsmasq", "--test", f"--conf-file={rendered}"], capture_output=True)
    assert checked.returncode == 0, checked.stderr
    # An "internet" with an HTTPS record (RFC 9460), and one that says the portal is elsewhere.
    record = "00010000010006026832026833"
    town.serve(
        "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--pid-file", "--port=54", "--no-resolv",
        "--listen-address=127.0.0.1", "--bind-interfaces",
        f"--dns-rr=www.example.com,65,{record}", f"--dns-rr=_dns.example.com,64,{record}", f"--dns-rr=portal.example.com,65,{record}",
        "--host-record=portal.example.com,192.0.2.1,2001:db8::1",
        "--host-record=use-application-dns.net,192.0.2.2", "--host-record=mask.icloud.com,192.0.2.3",
    )  # fmt: skip
    town.serve(
        "dnsmasq", "--no-daemon", f"--conf-file={rendered}", "--pid-file", "--no-resolv", "--no-ping",
        "--server=127.0.0.1#54", "--bind-dynamic", "--dhcp-authoritative", "--enable-ra",
        "--except-interface=lo", f"--dhcp-leasefile={town.scratch}/leases",
        *(f"--dhcp-range=10.{n}.0.50,10.{n}.0.99,10m" for n in (77, 78, 79)),
        *(f"--dhcp-range=2001:db8:{n}::,ra-stateless,64" for n in (77, 78, 79)),
    )  # fmt: skip
    for network in ("br-guest", "br-camp"):
        assert town.dhcp(network) == URI.encode()
        assert town.told(network, "dhcp6", 103) == [URI.encode()]
    assert town.dhcp("office") == b""
    assert town.told("office", "dhcp6", 103) == []
    for number, network in (77, "br-guest"), (78, "br-camp"):
        own = f"10.{number}.0.1"
        town.phones[network].run("ip", "address", "add", f"10.{number}.0.50/24", "dev", "wlan0")
        answers = {
            (name, kind): town.ask(network, "dns", own, name, str(kind))
            for name, kind in [
                *(("portal.example.com", kind) for kind in (1, 28, 65)),
                ("www.example.com", 65),
                ("_dns.example.com", 64),
                ("use-application-dns.net", 1),
                ("mask.icloud.com", 1),
            ]
        }
        assert answers == {
            ("portal.example.com", 1): ["0", bytes(int(part) for part in own.split(".")).hex()],
            ("portal.example.com", 28): ["0"],
            ("portal.example.com", 65): ["0"],
            ("www.example.com", 65): ["0", record],
            ("_dns.example.com", 64): ["0", record],
            ("use-application-dns.net", 1): ["3"],
            ("mask.icloud.com", 1): ["0", "c0000203"],
        }


def test_kea_tells_guests_the_api(town: Street) -> None:
    for family, subnets in ((4, "10.{}.0.0/24"), (6, "2001:db8:{}::/64")):
        path = town.write(f"portald{family}.json", "\n".join(kea.lines(SETTINGS, family)))
        networks = zip((77, 78, 79), town.phones, strict=True)
        whole = {
            "interfaces-config": {"interfaces": list(town.phones)},
            "lease-database": {"type": "memfile", "persist": False},
            f"subnet{family}": [
                {"id": n, "subnet": subnets.format(n), "interface": name}
                | ({"pools": [{"pool": f"10.{n}.0.50-10.{n}.0.99"}]} if family == 4 else {})
                for n, name in networks
            ],
            "client-classes": "HERE",
        }
        if family == 6:  # kept in memory, not in /var/lib
            whole["server-id"] = {"type": "LL", "identifier": "020000000001", "persist": False}
        text = json.dumps({f"Dhcp{family}": whole}).replace('"HERE"', f'<?include "{path}"?>')
        file = town.write(f"kea-dhcp{family}.conf", text)
        *libraries, installed = program(f"kea-dhcp{family}")
        # A copy, since AppArmor keeps the installed one, by its path, to its own directories.
        server = [*libraries, str(shutil.copy2(installed, town.scratch))]
        checked = town.gateway.run("env", "KEA_LOCKFILE_DIR=none", *server, "-t", str(file))
        assert "rror" not in checked
        town.serve(*server, "-c", str(file))
    for network in ("br-guest", "br-camp"):
        assert town.dhcp(network) == URI.encode()
        assert town.told(network, "dhcp6", 103) == [URI.encode()]
    assert town.dhcp("office") == b""
    assert town.told("office", "dhcp6", 103) == []


def test_networkd_tells_guests_the_api(town: Street) -> None:
    become = town.gateway.command("setpriv", "--reuid=systemd-network", "--clear-groups", "true")
    if subprocess.run(become, capture_output=True).returncode:
        pytest.skip("networkd becomes another user, which cannot be done here")
    for kind, place in (("tmpfs", "/run"), ("sysfs", "/sys")):  # of this gateway, and without udev
        town.gateway.run("mount", "-t", kind, *(["-o", "ro"] if kind == "sysfs" else []), kind, place)
    files = {
        "a.network": "[Match]\nName=br-guest\n[Network]\nAddress=10.77.0.1/24\nDHCPServer=yes\n",
        "a.network.d/portald.conf": "\n".join(networkd.lines(SETTINGS)) + "\n",
    }
    for name, text in files.items():
        path = town.write(Path(name).name, text)
        town.gateway.run("install", "-m", "644", "-D", str(path), f"/run/systemd/network/{name}")
    owner = ["-o", "systemd-network", "-g", "systemd-network"]
    for name in ("", "/links", "/leases", "/lldp"):
        town.gateway.run("install", "-d", *owner, f"/run/systemd/netif{name}")
    town.gateway.run("ip", "-4", "address", "flush", "dev", "br-guest")  # it gives itself this address
    log = ["SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=notice"]
    town.serve(*log, "/lib/systemd/systemd-networkd")
    assert town.dhcp("br-guest") == URI.encode()
    assert "portald.conf" not in town.scratch.joinpath("log").read_text(), (
        "it complains of what was rendered"
    )


def test_radvd_tells_guests_the_api(town: Street) -> None:
    radvd_2_20 = newer("radvd")
    whole = town.write("radvd.conf", "\n".join(radvd.lines(SETTINGS)) + "\n")
    town.gateway.run(*radvd_2_20, "--configtest", "--config", str(whole))
    words = ["--nodaemon", "--logmethod", "stderr", "--pidfile", f"{town.scratch}/pid"]
    town.serve(*radvd_2_20, *words, "--config", str(whole))
    for network in ("br-guest", "br-camp"):
        (prefix,) = town.told(network, "ra", 3)
        assert prefix[0] == 64
        padded = -(len(URI) + 2) % 8 * b"\0"
        assert town.told(network, "ra", 37) == [URI.encode() + padded]
