"""Hosts made of network namespaces, and the cables between them.

A host is a process that holds a namespace and dies with this one, so nothing can be left behind:
no name is ever registered, and when the process is gone the kernel takes its interfaces away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from portald.errors import PortaldError

PROGRAMS = ("unshare", "nsenter", "setpriv", "ip")


class LabError(PortaldError):
    """The lab cannot be built or one of its programs failed."""


def impossible() -> str | None:
    """Return why namespaces cannot be made here, ``None`` if they can."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        return f"missing: {', '.join(missing)} (packages util-linux and iproute2)"
    trial = subprocess.run(
        ["unshare", "--net", "--mount", "ip", "link", "set", "lo", "up"], capture_output=True, text=True
    )
    return trial.stderr.strip() or "refused by the kernel" if trial.returncode else None


class Host:
    """A network namespace with its own view of /etc."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._processes: list[subprocess.Popen[Any]] = []
        self._holder = subprocess.Popen(
            [*_MORTAL, "unshare", "--net", "--mount", "sleep", "infinity"], stdin=subprocess.DEVNULL
        )
        self._enter = [f"--{kind}=/proc/{self._holder.pid}/ns/{file}" for kind, file in _KINDS]
        ours = os.readlink("/proc/self/ns/mnt")
        until(
            lambda: os.readlink(f"/proc/{self._holder.pid}/ns/mnt") != ours,
            f"the namespace of {name} does not come up",
        )
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *command: str) -> list[str]:
        """Return what runs a command on this host."""
        return [*_MORTAL, "nsenter", *self._enter, *command]

    def run(self, *command: str, check: bool = True, timeout: float = 60) -> str:
        """Run a command to its end and return what it printed."""
        done = subprocess.run(self.command(*command), capture_output=True, text=True, timeout=timeout)
        if check and done.returncode:
            complaint = (done.stderr or done.stdout).strip()
            raise LabError(f"{self.name}: {' '.join(command)}: {complaint}")
        return done.stdout

    def start(
        self, *command: str, output: IO[bytes] | int = subprocess.DEVNULL, fds: Sequence[int] = ()
    ) -> subprocess.Popen[Any]:
        """Start a command that goes on; it ends with the lab."""
        process = subprocess.Popen(
            self.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
        )
        self._processes.append(process)
        return process

    def sysctl(self, **settings: int) -> None:
        """Set kernel parameters of this host; dots are written as double underscores."""
        for name, value in settings.items():
            path = "/proc/sys/" + name.replace("__", "/")
            self.run("sh", "-c", f"echo {value} > {path}")

    def close(self) -> None:
        for process in reversed(self._processes):
            end(process)
        end(self._holder)


def opened(paths: Sequence[Path], scratch: Path) -> str:
    """Return shell that lets everybody see files even where their folder is closed to others.

    It mounts an open folder over the closed one, so run it in a mount namespace of its own:
    on a ``Host``, or after ``unshare --mount``.
    """
    script = ""
    for top in {Path("/", *path.parts[1:2]) for path in paths}:
        inside = [path for path in paths if path.is_relative_to(top)]
        if all(folder.stat().st_mode & 1 for path in inside for folder in (path, *path.parents)):
            continue
        aside = scratch / f"aside-{top.name}"
        script += f"mkdir {aside}; mount --rbind {top} {aside}; "
        script += f"mount -t tmpfs -o mode=755 tmpfs {top}; "
        for path in inside:
            script += f"mkdir -p {path}; mount --rbind {aside / path.relative_to(top)} {path}; "
    return script


def cable(a: Host, a_name: str, b: Host, b_name: str) -> None:
    """Connect two hosts by a virtual Ethernet cable."""
    a.run("ip", "link", "add", a_name, "type", "veth", "peer", "name", b_name, "netns", str(b._holder.pid))
    a.run("ip", "link", "set", a_name, "up")
    b.run("ip", "link", "set", b_name, "up")


def end(process: subprocess.Popen[Any]) -> None:
    """End a process we started: politely, then not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stdin):
        if stream is not None:
            stream.close()


def until(true: Any, complaint: str, seconds: float = 10) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        if time.monotonic() > give_up:
            raise LabError(complaint)
        time.sleep(0.01)


_MORTAL = ["setpriv", "--pdeathsig", "KILL", "--"]
_KINDS = (("net", "net"), ("mount", "mnt"))
