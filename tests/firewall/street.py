"""A street of network namespaces: two guests on a bridge, this thread as their gateway, the internet.

The gateway is the thread's own network, so that a firewall under test is set up in it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portald.demo.lab import Host, end, until
from portald.firewall import commands
from tests.firewall import traffic
from tests.lab import wire

GATEWAY = ("10.0.0.1", "2001:db8:77::1")
WEB = ("203.0.113.10", "2001:db8:1::10")
MACS = {"phone": "02:cc:00:00:00:0b", "other": "02:cc:00:00:00:0c"}
ADDRESSES = {"phone": ("10.0.0.11", "2001:db8:77::b"), "other": ("10.0.0.12", "2001:db8:77::c")}
GATEWAY_MAC = "02:77:00:00:00:01"


class Street:
    """Who is on it, and what they can do."""

    def __init__(self, scratch: Path) -> None:
        self.phone, self.other, self.internet = Host("phone"), Host("other"), Host("internet")
        self._gateway = []
        self._sink = scratch / "sink"

    def build(self) -> None:
        # Nobody waits for the street's own duplicate address detection.
        _set("net/ipv6/conf/default/accept_dad", "0")
        for host in (self.phone, self.other, self.internet):
            host.sysctl(net__ipv6__conf__default__accept_dad=0)
        _ip("link set lo up")
        _ip(f"link add br-guest address {GATEWAY_MAC} type bridge forward_delay 0")
        _ip("link set br-guest up")
        for address in ("10.0.0.1/16", "2001:db8:77::1/64"):
            _ip(f"address add {address} dev br-guest nodad")
        for guest in (self.phone, self.other):
            self._plug(guest)
        pid = self.internet._holder.pid
        _ip(f"link add wan type veth peer name eth0 netns {pid}")
        _ip("link set wan up")
        self.internet.run("ip", "link", "set", "eth0", "up")
        for own, far in (("203.0.113.1/24", f"{WEB[0]}/24"), ("2001:db8:1::1/64", f"{WEB[1]}/64")):
            _ip(f"address add {own} dev wan nodad")
            self.internet.run("ip", "address", "add", far, "dev", "eth0", "nodad")
        self.internet.run("ip", "route", "add", "default", "via", "203.0.113.1")
        self.internet.run("ip", "-6", "route", "add", "default", "via", "2001:db8:1::1")
        for path in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
            _set(path, "1")
        for key in ("iptables", "ip6tables"):
            if Path(f"/proc/sys/net/bridge/bridge-nf-call-{key}").exists():
                _set(f"net/bridge/bridge-nf-call-{key}", "0")
        self._serve()

    def _plug(self, guest: Host) -> None:
        pid = guest._holder.pid
        _ip(f"link add p-{guest.name} type veth peer name wlan0 netns {pid}")
        _ip(f"link set p-{guest.name} master br-guest up")
        guest.run("ip", "link", "set", "wlan0", "address", MACS[guest.name], "up")
        for address, length, via in zip(ADDRESSES[guest.name], (16, 64), GATEWAY, strict=True):
            guest.run("ip", "address", "add", f"{address}/{length}", "dev", "wlan0", "nodad")
            guest.run("ip", "route", "add", "default", "via", via)

    def _serve(self) -> None:
        for port in ("80", "443"):
            self.internet.start(*_traffic("serve", port))
        self.internet.start(sys.executable, "-I", wire.__file__, "sink", "9999", str(self._sink))
        self.at_home("serve", "8080", "PORTAL")
        self.at_home("name", "53")
        until(self._sink.exists, "the sink does not start")
        until(lambda: self.ask(self.internet, "127.0.0.1", 443, "GET 1") == "1", "no internet")
        until(lambda: "8080" in commands.run("ss", "-Hltn"), "no portal")

    def at_home(self, *words: str) -> None:
        """Start a program on the gateway."""
        import subprocess

        self._gateway.append(subprocess.Popen(_traffic(*words)))

    def close(self) -> None:
        for process in self._gateway:
            end(process)
        for host in (self.phone, self.other, self.internet):
            host.close()

    def ask(self, host: Host, address: str, port: int, line: str = "GET 10") -> str:
        return host.run(*_traffic("ask", address, str(port), line)).strip()

    def hold(self, host: Host, address: str, port: int, number: int) -> int:
        return int(host.run(*_traffic("hold", address, str(port), str(number))))

    def tick(self, host: Host, path: Path) -> None:
        """Start a download that never ends; its ticks are lines of a file."""
        with path.open("wb") as output:
            host.start(*_traffic("tick", WEB[0], "443"), output=output)

    def online(self, host: Host, family: int = 4) -> bool:
        return self.ask(host, WEB[family == 6], 443) == "10"

    def send(self, host: Host, source: str, payload: str, count: int) -> None:
        """Send datagrams to the internet, each of which is answered by ``echo `` and itself."""
        host.run(*_traffic("talk", source, WEB[":" in source], "9999", payload, str(count)))

    def flood(self, host: Host, source: str, target: str, port: int, size: int, count: int) -> int:
        """Send so many datagrams at once; return how many answers came (``traffic.clock``)."""
        return int(host.run(*_traffic("flood", source, target, str(port), str(size), str(count))))

    def serve(self, *words: str) -> None:
        """Start one more program on the internet."""
        self.internet.start(*_traffic(*words))

    def do(self, host: Host, *action: str) -> str:
        return host.run(sys.executable, "-I", wire.__file__, *action)

    def arrived(self, payload: str) -> int:
        return self._sink.read_text().split().count(payload)


@contextmanager
def street(scratch: Path) -> Iterator[Street]:
    """Build the street around this thread's network; leaving takes it away."""
    built = Street(scratch)
    try:
        built.build()
        yield built
    finally:
        built.close()


def _traffic(*words: str) -> list[str]:
    return [sys.executable, "-I", traffic.__file__, *words]


def _ip(words: str) -> None:
    commands.run("ip", *words.split())


def _set(path: str, value: str) -> None:
    # Through a program: it sees this thread's network, where /proc/sys of a thread would be another's.
    commands.run("sh", "-c", f"echo {value} > /proc/sys/{path}")
