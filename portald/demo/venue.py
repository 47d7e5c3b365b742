"""A venue in a lab: a guest's phone, the gateway with portald, and the internet behind it.

::

    phone ──veth── br-guest [ gateway: portald, portald-firewall, dnsmasq ] wan ──veth── internet
    DHCP, SLAAC    10.77.0.1                                     203.0.113.2   web 203.0.113.10
                   2001:db8:77::1                                              texts 203.0.113.20
                                                                               DNS 203.0.113.53
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from portald.demo import internet, phone, views
from portald.demo.lab import Host, LabError, cable, end, opened, until
from portald.system import our_files

PORTAL = "10.77.0.1"
SITE = "captive.apple.com"
WEB = ("203.0.113.10", "2001:db8:1::10")
TYPED, NUMBER = "0151 23456789", "+4915123456789"
TEXTS = "203.0.113.20"
RESOLVER = "203.0.113.53"
NEEDED = {"nft": "nftables", "ip": "iproute2", "dnsmasq": "dnsmasq-base", "conntrack": "conntrack"}
NEEDED |= {"udhcpc": "udhcpc"}

SETTINGS = """
name = "Café Aurora"
state_dir = "{scratch}/state"
run_dir = "{scratch}/run"

[[zones]]
interface = "br-guest"
networks = ["10.77.0.0/24"]

[numbers]
country = "DE"

[limits]
texts_per_client_burst = 30
texts_per_client = 100
guesses_per_client = 100

[firewall]
user = "{user}"
round = 1.0
backend = "{backend}"

[[sms]]
type = "sandbox"
url = "http://{texts}"
"""


def missing() -> dict[str, str]:
    """Return the commands a venue needs and this machine lacks, with their packages."""
    return {command: package for command, package in NEEDED.items() if not shutil.which(command)}


class Venue:
    """Three hosts with everything running on them; leaving the context takes all of it away."""

    def __init__(self, backend: str = "nftables", more: str = "") -> None:
        self._backend = backend
        self._more = more
        self.environment: list[str] = []  # of the daemon, besides
        self.scratch = Path(tempfile.mkdtemp(prefix="portald-"))
        self.hosts: list[Host] = []
        self.config = self.scratch / "portald.toml"
        self.separated = False
        self.dnsmasq: subprocess.Popen[Any] | None = None
        self.daemon: subprocess.Popen[Any] | None = None
        self.helper: subprocess.Popen[Any] | None = None

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for host in reversed(self.hosts):
            host.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    # Building -----------------------------------------------------------------------------

    def _build(self) -> None:
        self.scratch.chmod(0o755)
        self.gateway, self.internet = self.host("gateway"), self.host("internet")
        cable(self.gateway, "wan", self.internet, "eth0")
        self._build_internet()
        self._build_gateway()
        self.phone = self.guest("phone")
        self.separated = self._separate()
        self._write_settings()

    def host(self, name: str) -> Host:
        host = Host(name)
        self.hosts.append(host)
        return host

    def guest(self, name: str, mac: str = "") -> Host:
        """Add a device to the guest network; it has no address until it asks for one."""
        guest = self.host(name)
        port = f"p{len(self.hosts)}"
        cable(self.gateway, port, guest, "wlan0")
        # Nobody waits for the lab's own duplicate address detection.
        guest.sysctl(net__ipv6__conf__wlan0__accept_dad=0)
        if mac:
            guest.run("ip", "link", "set", "wlan0", "address", mac)
        self.gateway.run("ip", "link", "set", port, "master", "br-guest")
        return guest

    def _build_internet(self) -> None:
        host = self.internet
        for address in (f"{WEB[0]}/24", f"{TEXTS}/24", f"{RESOLVER}/24", "203.0.113.1/24"):
            host.run("ip", "address", "add", address, "dev", "eth0")
        for address in (f"{WEB[1]}/64", "2001:db8:1::1/64"):
            host.run("ip", "address", "add", address, "dev", "eth0", "nodad")
        host.run("ip", "route", "add", "2001:db8:77::/64", "via", "2001:db8:1::2")
        host.start(sys.executable, "-I", internet.__file__, *WEB)
        self._dnsmasq(
            host,
            f"listen-address={RESOLVER}",
            "bind-interfaces",
            "no-resolv",
            *(f"host-record={name},{','.join(WEB)}" for name in sorted(internet.NAMES)),
            "host-record=dns.msftncsi.com,131.107.255.255",  # Windows looks it up, and no more
            f"host-record=www.example.com,{','.join(WEB)}",
        )
        host.start(sys.executable, "-m", "portald", "sandbox", "--listen", f"{TEXTS}:80")

    def _build_gateway(self) -> None:
        host = self.gateway
        host.run("ip", "link", "add", "br-guest", "type", "bridge", "forward_delay", "0")
        host.run("ip", "link", "set", "br-guest", "address", "02:77:00:00:00:01", "up")
        host.run("ip", "address", "add", f"{PORTAL}/24", "dev", "br-guest")
        host.run("ip", "address", "add", "2001:db8:77::1/64", "dev", "br-guest", "nodad")
        host.run("ip", "address", "add", "203.0.113.2/24", "dev", "wan")
        host.run("ip", "address", "add", "2001:db8:1::2/64", "dev", "wan", "nodad")
        host.run("ip", "route", "add", "default", "via", "203.0.113.1")
        host.run("ip", "route", "add", "default", "via", "2001:db8:1::1")
        host.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        if self._backend == "iptables":
            # iptables keeps a lock for the whole machine; this gateway is one of its own.
            lock = self.scratch / "xtables.lock"
            lock.touch(0o600)
            host.run("sh", "-c", f"touch /run/xtables.lock; mount --bind {lock} /run/xtables.lock")
        self.translate()
        self.serve_guests()

    def translate(self) -> None:
        """Put in the venue's own ruleset: portald brings no address translation."""
        self.gateway.run("nft", "add table ip venue")
        self.gateway.run("nft", "add chain ip venue out { type nat hook postrouting priority srcnat; }")
        self.gateway.run("nft", "add rule ip venue out oifname wan masquerade")

    def serve_guests(self, *more: str) -> None:
        """Start the gateway's DHCP, DNS and router advertisements anew; ``more`` goes to dnsmasq."""
        if self.dnsmasq:
            end(self.dnsmasq)
        self.dnsmasq = self._dnsmasq(
            self.gateway,
            "interface=br-guest",
            "bind-interfaces",
            "no-resolv",
            f"server={RESOLVER}",
            "dhcp-range=10.77.0.50,10.77.0.200,10m",
            "dhcp-range=2001:db8:77::,ra-only,64",
            "enable-ra",
            "ra-param=br-guest,4",
            "dhcp-authoritative",
            f"dhcp-leasefile={self.scratch}/leases",
            "dhcp-no-override",
            "no-ping",
            *more,
        )

    def _dnsmasq(self, host: Host, *options: str) -> subprocess.Popen[Any]:
        # --no-daemon stays the user it is: in a user namespace it could become no other.
        common = ["--no-daemon", "--conf-file=/dev/null", "--pid-file"]
        with (self.scratch / f"{host.name}-dnsmasq.log").open("wb") as log:
            return host.start("dnsmasq", *common, *(f"--{option}" for option in options), output=log)

    def _separate(self) -> bool:
        """Make portald runnable by nobody on the gateway; false if we cannot become nobody."""
        needed = [Path(sys.base_prefix), Path(sys.prefix), our_files("nftables").parent]
        if os.getuid() == 0:
            self.gateway.run("sh", "-ec", opened(needed, self.scratch))
        trial = [*self._as_nobody(), "env", sys.executable, "-c", "import portald.daemon"]
        return subprocess.run(self.gateway.command(*trial), capture_output=True, cwd="/").returncode == 0

    def _write_settings(self) -> None:
        user = "nobody" if self.separated else pwd.getpwuid(os.getuid()).pw_name
        text = SETTINGS.format(scratch=self.scratch, user=user, texts=TEXTS, backend=self._backend)
        self.config.write_text(text + self._more)
        for folder in ("state", "run"):
            path = self.scratch / folder
            path.mkdir()
            if self.separated:
                os.chown(path, _NOBODY.pw_uid, _NOBODY.pw_gid)
                path.chmod(0o770)

    # Running ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start both halves of portald and wait until they serve."""
        self.start_helper()
        self.start_daemon()

    def start_helper(self) -> None:
        listener = self.scratch / "run" / "firewall.sock"
        self.helper = self._service("portald-firewall", self.half("helper"), listener)

    def start_daemon(self) -> None:
        self.daemon = self._service("portald", self.half("daemon"), self.scratch / "run" / "admin.sock")

    def half(self, which: str) -> list[str]:
        """Return what runs one half, with the rights that it has on a gateway."""
        if which == "daemon":
            return self._limited("--inh-caps=-all", "--bounding-set=-all") + self.program("portald")
        more = ["+net_raw", "+dac_read_search"] if self._backend == "iptables" else []
        rights = ",".join(["-all", "+net_admin", *more])
        limited = [f"--{kind}={rights}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
        return self._limited(*limited) + self.program("portald.helper")

    def _service(self, name: str, command: Sequence[str], listener: Path) -> subprocess.Popen[Any]:
        with (self.scratch / f"{name}.log").open("ab") as log:
            process = self.gateway.start(*command, output=log)
        until(
            lambda: process.poll() is not None or _accepts(listener),
            f"{name} does not start:\n{self.log(name)}",
            20,
        )
        if process.poll() is not None:
            raise LabError(f"{name} ended at once:\n{self.log(name)}")
        return process

    def _limited(self, *rights: str) -> list[str]:
        return self._as_nobody(*rights) if self.separated else []

    def _as_nobody(self, *rights: str) -> list[str]:
        ids = [f"--reuid={_NOBODY.pw_uid}", f"--regid={_NOBODY.pw_gid}", "--clear-groups"]
        # Changing the user forgets the parent-death signal, so it is set once more.
        return ["setpriv", *ids, "--no-new-privs", *rights, "--pdeathsig", "KILL", "--"]

    def program(self, module: str) -> list[str]:
        # The environment is that of the systemd units.
        return [
            "env",
            "MALLOC_ARENA_MAX=1",
            "MALLOC_TRIM_THRESHOLD_=65536",
            *(self.environment if module == "portald" else ()),
            sys.executable,
            "-m",
            module,
            "--config",
            str(self.config),
        ]

    def log(self, name: str) -> str:
        path = self.scratch / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def ctl(self, *arguments: str, check: bool = True) -> str:
        """Run portalctl on the gateway and return what it printed."""
        command, *rest = arguments
        program = [sys.executable, "-m", "portald.ctl", command, "--config", str(self.config)]
        return self.gateway.run(*program, *rest, check=check)

    def sessions(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.ctl("sessions", "--json"))
        return rows

    # What a phone does --------------------------------------------------------------------

    def lease(self, guest: Host) -> str:
        """Let a guest ask for an address by DHCP, and use what it is told; return the lease."""
        script = self.scratch / "udhcpc.sh"
        if not script.exists():
            script.write_text(_UDHCPC)
            script.chmod(0o755)
        resolv = self.scratch / f"{guest.name}.resolv"
        resolv.write_text("")
        guest.run("mount", "--bind", str(resolv), os.path.realpath("/etc/resolv.conf"))
        options = ["-i", "wlan0", "-s", str(script), "-n", "-q", "-f", "-t", "10", "-T", "1"]
        guest.run("udhcpc", *options)
        found = re.search(r"inet (10\.77\.0\.\d+)", guest.run("ip", "-4", "address", "show", "wlan0"))
        if not found:
            raise LabError(f"{guest.name} got no address")
        return found[1]

    def wait_ipv6(self, guest: Host) -> str:
        """Wait until a guest has made itself an address from the gateway's announcement."""
        show = ["ip", "-6", "address", "show", "dev", "wlan0", "scope", "global"]
        until(lambda: "2001:db8:77:" in guest.run(*show), f"{guest.name} got no IPv6 address", 20)
        found = re.search(r"inet6 (2001:db8:77:[0-9a-f:]+)", guest.run(*show))
        assert found
        return found[1]

    def mac(self, guest: Host) -> str:
        mac: str = json.loads(guest.run("ip", "-j", "link", "show", "wlan0"))[0]["address"]
        return mac

    def do(self, guest: Host, *action: str) -> dict[str, Any]:
        """Let a guest's phone do something; return what it saw (``portald.demo.phone``)."""
        result: dict[str, Any] = json.loads(guest.run(sys.executable, "-I", "-S", phone.__file__, *action))
        return result

    def fetch(self, guest: Host, url: str, family: str = "", form: str = "") -> dict[str, Any]:
        return self.do(guest, "fetch", "POST" if form else "GET", url, family, form)

    def stream(self, guest: Host, url: str) -> subprocess.Popen[Any]:
        """Start a download that goes on until it is cut; return once it has begun."""
        command = guest.command(sys.executable, "-I", "-S", phone.__file__, "stream", url)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        process.stdout.readline()
        return process

    def texts(self) -> list[dict[str, Any]]:
        """Return the texts in the sandbox, newest first."""
        rows: list[dict[str, Any]] = json.loads(self.fetch(self.internet, f"http://{TEXTS}/texts")["body"])
        return rows

    def wait_for_text(self, number: str, before: int = 0) -> str:
        """Wait for a text to a number; return the code in it."""
        give_up = time.monotonic() + 15
        while time.monotonic() < give_up:
            texts = [text for text in self.texts() if text["to"] == number]
            if len(texts) > before and (code := re.search(r"\d{6}", texts[0]["body"])):
                return code[0]
            time.sleep(0.1)
        raise LabError(f"no text for {number}")

    def log_in(self, guest: Host, number: str = "+4915123456789") -> dict[str, Any]:
        """Take a guest from the splash page to being online; return the last page."""
        before = len([text for text in self.texts() if text["to"] == number])
        token = form_token(self.fetch(guest, f"http://{PORTAL}/")["body"])
        typed = number.replace("+", "%2B")
        self.fetch(guest, f"http://{PORTAL}/number", form=f"form={token}&number={typed}")
        code = self.wait_for_text(number, before)
        until(
            lambda: 'name="code"' in self.fetch(guest, f"http://{PORTAL}/code")["body"],
            "the code page does not come",
        )
        return self.fetch(guest, f"http://{PORTAL}/code", form=f"form={token}&code={code}")

    def view(self, host: Host | None, fd: int, target: str) -> None:
        """Open a window: forward a listener of this machine into the lab."""
        (host or self.gateway).start(sys.executable, "-I", views.__file__, str(fd), target, fds=[fd])

    def flows(self, session: int) -> str:
        """Return the kernel's connections of a session, of both families."""
        return "".join(
            self.gateway.run("conntrack", "-L", "-f", family, "-m", str(session), check=False)
            for family in ("ipv4", "ipv6")
        )

    def elements(self) -> str:
        """Return the kernel's elements for sessions, as nft prints them."""
        shown = []
        for kind, name in (("map", "sess4"), ("map", "sess6"), ("set", "acct_up"), ("set", "acct_dn")):
            listing = self.gateway.run("nft", "list", kind, "inet", "portald", name)
            found = re.search(r"elements = \{(.*?)\}", listing, re.S)
            for element in (found[1] if found else "").split(","):
                if element.strip():
                    shown.append(f"{name:<8}{' '.join(element.split())}")
        return "\n".join(shown)


def form_token(page: str) -> str:
    found = re.search(r'name="form" value="([0-9a-f]+)"', page)
    if not found:
        raise LabError(f"no form in this page:\n{page[:500]}")
    return found[1]


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


_NOBODY = pwd.getpwnam("nobody")
_UDHCPC = """#!/bin/sh
case "$1" in
bound|renew)
    ip address flush dev "$interface" scope global
    ip -4 address add "$ip/$mask" dev "$interface"
    ip route replace default via "$router"
    echo "nameserver $dns" > /etc/resolv.conf ;;
esac
"""
