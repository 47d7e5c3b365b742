"""Runs the programs that carry texts or build requests: no shell, in bounded time, with bounded output."""

from __future__ import annotations

import contextlib
import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from portald.errors import SmsError
from portald.model import Outcome
from portald.phone import mask_all

MOST_BYTES = 65_536
_WORDS = 300

Limits = Mapping[int, int]
"""Resource limits by their number in ``resource``; see getrlimit(2)."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended; a negative ``code`` is the signal that ended it."""

    code: int
    output: str
    complaint: str

    def words(self, *private: str) -> str:
        """What it said as one masked line for the operator; ``private`` is what it was told."""
        text = " ".join(f"{self.complaint} {self.output}".split())
        for word in sorted(filter(None, private), key=len, reverse=True):
            text = text.replace(" ".join(word.split()), "…")
        return f"exit status {self.code}: {mask_all(text)[-_WORDS:]}"


class TooMuch(SmsError):
    """A program that wrote more than anybody reads."""


def run(
    command: Sequence[str],
    timeout: float,
    *,
    stdin: bytes = b"",
    limits: Limits | None = None,
    bare: bool = False,
) -> Done:
    """Run a program to its end; raise ``SmsError`` if it is missing, too slow or talks too much.

    ``bare`` gives it no environment.  A program with limits says ``+`` once it has been loaded, which
    may need more than they allow, and gets its input only after they are in force.
    """
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={} if bare else None,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise SmsError(Outcome.CONFIGURATION, f"the program {command[0]} is missing") from None
    except (OSError, ValueError) as error:
        raise SmsError(
            Outcome.CONFIGURATION, f"{command[0]} cannot be started: {type(error).__name__}"
        ) from None
    with child:
        try:
            give_up = time.monotonic() + timeout
            if limits:
                _await(child, give_up, command[0])
                for limit, value in limits.items():
                    resource.prlimit(child.pid, limit, (value, value))
            output, complaint = _talk(child, stdin, give_up, command[0])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
    return Done(child.returncode, _text(output), _text(complaint))


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")


def _await(child: subprocess.Popen[bytes], give_up: float, name: str) -> None:
    assert child.stdout  # noqa: S101
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        if not selector.select(max(0.0, give_up - time.monotonic())):
            raise _slow(name)
    if os.read(child.stdout.fileno(), 1) != b"+":
        raise SmsError(Outcome.CONFIGURATION, f"{name}: does not start")


def _slow(name: str) -> SmsError:
    return SmsError(Outcome.UNKNOWN, f"{name}: no end in time")


def _talk(child: subprocess.Popen[bytes], stdin: bytes, give_up: float, name: str) -> tuple[bytes, bytes]:
    """Write the input, read both outputs and wait for the end, none of them blocking the others."""
    assert child.stdin  # noqa: S101
    assert child.stdout  # noqa: S101
    assert child.stderr  # noqa: S101
    output, complaint = bytearray(), bytearray()
    said = {child.stdout.fileno(): output, child.stderr.fileno(): complaint}
    left = memoryview(stdin)
    with selectors.DefaultSelector() as selector:
        for pipe in said:
            selector.register(pipe, selectors.EVENT_READ)
        os.set_blocking(child.stdin.fileno(), False)
        selector.register(child.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            ready = selector.select(max(0.0, give_up - time.monotonic()))
            if not ready:
                raise _slow(name)
            for key, _ in ready:
                if key.fileobj is child.stdin:
                    left = _write(child.stdin, left)
                    if not left:
                        selector.unregister(child.stdin)
                        child.stdin.close()
                    continue
                chunk = os.read(key.fd, 8192)
                said[key.fd] += chunk
                if not chunk:
                    selector.unregister(key.fd)
                if len(output) + len(complaint) > MOST_BYTES:
                    raise TooMuch(Outcome.UNKNOWN, f"{name}: too much output")
    try:
        child.wait(max(0.1, give_up - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise _slow(name) from None
    return bytes(output), bytes(complaint)


def _write(pipe: IO[bytes], left: memoryview) -> memoryview:
    try:
        return left[os.write(pipe.fileno(), left[:8192]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:  # it does not want to hear more
        return left[:0]
