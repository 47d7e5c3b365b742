"""Runs nft, ip, tc and conntrack: the one place that starts other programs as the kernel's administrator.

The helper talks to the kernel through these rather than through a netlink library because the
library alone would double its memory (``make bench`` measures that).
"""

from __future__ import annotations

import select
import subprocess
import time
from collections.abc import Generator, Iterator
from io import BufferedReader
from typing import cast

from portald.errors import FirewallError

# A command that hangs must not hang the helper: its one client would wait with it.
TIMEOUT = 30


def run(*command: str, input: str | None = None) -> str:
    """Run a command and return what it printed; raise ``FirewallError`` with what it complained."""
    try:
        done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=TIMEOUT)
    except FileNotFoundError:
        raise _missing(command) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FirewallError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise _complaint(command, done.stderr or done.stdout)
    return done.stdout


def lines(*command: str) -> Generator[str]:
    """Run a command and yield what it prints, line by line: a listing of thousands is never held whole.

    Raises ``FirewallError`` at its end if it failed, so what was read is good only after the last line.
    """
    try:
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except FileNotFoundError:
        raise _missing(command) from None
    except OSError as error:
        raise FirewallError(f"{command[0]}: {error}") from error
    output, errors = cast(BufferedReader, running.stdout), cast(BufferedReader, running.stderr)
    with running:
        try:
            yield from _lines(output, command[0])
            complaint = errors.read().decode("utf-8", "replace")
            if running.wait(TIMEOUT):
                raise _complaint(command, complaint)
        finally:
            if running.poll() is None:
                running.kill()


def _lines(output: BufferedReader, name: str) -> Iterator[str]:
    ready = select.poll()
    ready.register(output, select.POLLIN)
    end = time.monotonic() + TIMEOUT
    rest = b""
    while True:
        if not ready.poll(max(0, end - time.monotonic()) * 1000):
            raise FirewallError(f"{name}: no answer within {TIMEOUT} seconds")
        part = output.read1(65_536)
        if not part:
            break
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")


def nft(text: str) -> None:
    """Load plain nft commands, all or none."""
    run("nft", "-f", "-", input=text)


def _missing(command: tuple[str, ...]) -> FirewallError:
    return FirewallError(f"the command {command[0]} is missing; install its package")


def _complaint(command: tuple[str, ...], text: str) -> FirewallError:
    complaint = text.strip()
    if "Operation not permitted" in complaint or "must be root" in complaint:
        complaint = f"not permitted: CAP_NET_ADMIN is needed ({complaint.splitlines()[0]})"
    return FirewallError(f"{' '.join(command[:4])}: {complaint[:2000]}")
