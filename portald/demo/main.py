"""``portald demo``: builds the lab, walks one guest through it, then stays open to look at."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

from portald.demo.lab import LabError, impossible
from portald.demo.pretend import Pretend
from portald.demo.venue import PORTAL, SITE, TEXTS, Venue, missing
from portald.demo.walk import Report, walk
from portald.system import fail

_LISTENERS = "PORTALD_DEMO_LISTENERS"
PORTS = (8081, 8082, 8083)


def demo(once: bool) -> int:
    """Run the demo; return 0 only if every step of the walk was observed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Scripts start background jobs deaf to Ctrl-C; and users' paths often lack sbin.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    listeners = _listeners()
    lacking = missing()
    why_not = "programs are missing" if lacking else impossible()
    if why_not and not lacking and _LISTENERS not in os.environ and _user_namespaces():
        _again_in_user_namespace(listeners, once)
    try:
        if why_not:
            for command, package in lacking.items():
                print(f"missing: {command} (package {package})")
            return _pretend(why_not, listeners, once)
        return _real(listeners, once)
    except LabError as error:
        return fail("portald demo", error)


def _real(listeners: Sequence[socket.socket], once: bool) -> int:
    report = Report()
    report.say("Building a lab: a phone, a gateway with portald, an internet. This takes a few seconds.")
    with Venue() as venue:
        venue.start()
        if venue.separated:
            report.say("portald runs without any capability, portald-firewall with CAP_NET_ADMIN only.")
        try:
            walk(venue, report)
        except LabError:
            for name in ("portald", "portald-firewall"):
                report.say(f"--- log of {name}\n{venue.log(name)}")
            raise
        if once:
            return 0
        targets = (
            (venue.phone, f"phone:{PORTAL}:80"),
            (venue.internet, f"tcp:{TEXTS}:80"),
            (None, f"unix:{venue.scratch}/run/admin.sock"),
        )
        for listener, (host, target) in zip(listeners, targets, strict=True):
            venue.view(host, listener.fileno(), target)
        urls = [_url(listener) for listener in listeners]
        _stay(report, [
            ("the guest's phone", urls[0]),
            (f"  its way to {SITE}", urls[0] + "internet"),
            ("the texts", urls[1]),
            ("the operator", urls[2]),
        ])  # fmt: skip
    return 0


def _pretend(why: str, listeners: Sequence[socket.socket], once: bool) -> int:
    report = Report()
    report.say(f"The lab cannot be built: {why}")
    report.say("NOTHING IS ENFORCED in what follows: the firewall only remembers.")
    with Pretend() as venue:
        venue.walk(report)
        if once:
            return 0
        venue.view(listeners[2].fileno())
        _stay(report, [
            ("the guest's phone", f"http://127.0.0.1:{venue.port}/"),
            ("the texts", f"http://127.0.0.1:{venue.texts}/"),
            ("the operator", _url(listeners[2])),
        ])  # fmt: skip
    return 0


def _stay(report: Report, views: Sequence[tuple[str, str]]) -> None:
    report.say("\nIt stays up; look around. Ctrl-C ends it and takes everything away.\n")
    for what, url in views:
        report.say(f"  {what:<32}{url}")
    try:
        signal.pause()
    except KeyboardInterrupt:
        report.say("\nTaking the lab down.")


def _listeners() -> list[socket.socket]:
    """Return listeners of this machine for the views; they stay what they are inside namespaces."""
    inherited = os.environ.get(_LISTENERS)
    if inherited:
        return [socket.socket(fileno=int(fd)) for fd in inherited.split(",")]
    return [_listener(port) for port in PORTS]


def _listener(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/"


_UNSHARE = ["unshare", "--user", "--map-root-user", "--net", "--mount"]


def _user_namespaces() -> bool:
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _again_in_user_namespace(listeners: Sequence[socket.socket], once: bool) -> None:
    for listener in listeners:
        os.set_inheritable(listener.fileno(), True)
    os.environ[_LISTENERS] = ",".join(str(listener.fileno()) for listener in listeners)
    arguments = [sys.executable, "-m", "portald", "demo", *(["--once"] if once else [])]
    os.execvp(_UNSHARE[0], [*_UNSHARE, *arguments])
