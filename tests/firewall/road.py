"""A guest's device and a server with a gateway between them: the network the test itself is in."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from portald.demo.lab import Host, until
from portald.firewall import commands
from portald.model import Usage
from tests.firewall import load

SERVER = {"4": "203.0.113.10", "6": "2001:db8:1::10"}
MAC = "02:00:00:00:01:00"
ADDRESS = "10.0.0.5"

# Behind portald's own chains: what comes here has passed them.
WITNESS = """
table inet witness {
	counter up { }
	counter down { }
	chain forward {
		type filter hook forward priority filter + 10; policy accept;
		iifname "br-guest" counter name up
		oifname "br-guest" counter name down
	}
}
"""


class Road:
    def __init__(self) -> None:
        self.device, self.server = Host("device"), Host("server")
        self._started: list[subprocess.Popen[str]] = []
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    def _build(self) -> None:
        self._connect(
            "br-guest",
            self.device,
            "10.0.0.1/16",
            f"{ADDRESS}/16",
            "2001:db8:77::1/64",
            "2001:db8:77::5/64",
        )
        self._connect(
            "wan", self.server, "203.0.113.1/24", "203.0.113.10/24", "2001:db8:1::1/64", "2001:db8:1::10/64"
        )
        for name in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
            commands.run("sh", "-c", f"echo 1 > /proc/sys/{name.replace('.', '/')}")
        commands.nft(WITNESS)
        self.server.start(sys.executable, "-I", load.__file__, "serve")
        listening = ["grep", "-c", f":{load.PORT:04X} 0", "/proc/net/tcp6"]
        until(lambda: self.server.run(*listening, check=False) != "0\n", "the server does not start")

    def _connect(self, name: str, host: Host, ours4: str, theirs4: str, ours6: str, theirs6: str) -> None:
        peer = ["peer", "name", "eth0", "netns", str(host._holder.pid)]
        commands.run("ip", "link", "add", name, "type", "veth", *peer)
        if host is self.device:
            host.run("ip", "link", "set", "eth0", "address", MAC)
        # Nobody waits for the lab's own duplicate address detection.
        commands.run("sh", "-c", f"echo 0 > /proc/sys/net/ipv6/conf/{name}/accept_dad")
        host.sysctl(net__ipv6__conf__eth0__accept_dad=0)
        commands.run("ip", "link", "set", name, "up")
        host.run("ip", "link", "set", "eth0", "up")
        for ours, theirs, more in ((ours4, theirs4, []), (ours6, theirs6, ["nodad"])):
            commands.run("ip", "address", "add", ours, "dev", name, *more)
            host.run("ip", "address", "add", theirs, "dev", "eth0", *more)
            host.run("ip", "route", "add", "default", "via", ours.split("/")[0])

    def start(self, *action: str) -> subprocess.Popen[str]:
        """Let the device do something (``load``)."""
        command = self.device.command(sys.executable, "-I", load.__file__, *action)
        started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._started.append(started)
        return started

    def do(self, *action: str) -> float:
        """Let the device do something to its end; return what it printed, 0 if it could not."""
        printed, _ = self.start(*action).communicate(timeout=60)
        return float(printed or 0)

    def passed(self) -> Usage:
        """Return what has been forwarded from and to the device, as a witness counted it."""
        listing = commands.run("nft", "list", "table", "inet", "witness")
        up, down = (int(n) for n in re.findall(r"packets \d+ bytes (\d+)\n", listing))
        return Usage(up, down)

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.communicate()
        self.device.close()
        self.server.close()


@contextmanager
def built() -> Iterator[Road]:
    road = Road()
    try:
        yield road
    finally:
        road.close()


def lines(process: subprocess.Popen[str], count: int) -> list[int]:
    """Return the next lines of a program, as numbers."""
    assert process.stdout
    stream: Any = process.stdout
    return [int(stream.readline()) for _ in range(count)]
