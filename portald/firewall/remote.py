"""The firewall across a unix socket, the unprivileged end: the privilege boundary is between the two.

A request is ``{"verb": …}`` with the verb's own keys; an answer is ``{"result": …}``, or
``{"error": …, "kind": …}``.  Grants and what is held are rows: lists with a fixed order.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from portald.errors import FirewallError, RulesMissing
from portald.firewall.frames import receive_answer, send_frame
from portald.model import Alarm, Grant, Held, Rate, Usage

READ_TIMEOUT = 40  # longer than the helper gives its own commands
WRITE_TIMEOUT = 8  # a guest waits for it, and the next round repairs what was not done


class RemoteFirewall:
    """Reconnects by itself, and raises ``FirewallError`` while it cannot.

    Reading has a connection of its own: with thousands online it takes a while, and a guest who
    has just typed the code must not wait for it.  So has waiting.
    """

    def __init__(self, path: Path) -> None:
        self._reads = _Connection(path)
        self._writes = _Connection(path)
        self._waits = _Connection(path)

    def setup(self) -> None:
        self._writes.ask(READ_TIMEOUT, "setup")  # iptables may take seconds for it; no guest waits here

    def read(self) -> Mapping[int, Held]:
        _, rows = self._reads.exchange(READ_TIMEOUT, "read")
        try:
            return {held.session: held for held in map(held_from, rows)}
        except (ValueError, TypeError) as error:
            raise FirewallError(f"portald-firewall answers rubbish: {error}") from error

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        rows, removed = [grant_row(grant) for grant in add], list(remove)
        if rows or removed:
            self._writes.ask(WRITE_TIMEOUT, "apply", add=rows, remove=removed)

    def settle(self, sessions: Iterable[int]) -> None:
        if settled := list(sessions):
            self._writes.ask(WRITE_TIMEOUT, "settle", sessions=settled)

    def wait(self, seconds: float) -> bool:
        return bool(self._waits.ask(seconds + WRITE_TIMEOUT, "wait", seconds=seconds))

    def survey(self) -> list[Alarm]:
        return [Alarm(text, cure) for text, cure in self._reads.ask(READ_TIMEOUT, "survey")]

    def close(self) -> None:
        """End all connections; who is waiting on one gets ``FirewallError``."""
        for connection in (self._reads, self._writes, self._waits):
            connection.close()


class _Connection:
    """One request at a time, over a socket that is opened when it is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._closed = False

    def close(self) -> None:
        self._closed = True
        if (used := self._socket) is not None:
            with contextlib.suppress(OSError):
                used.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._drop()

    def ask(self, timeout: float, verb: str, **arguments: Any) -> Any:
        result, _ = self.exchange(timeout, verb, **arguments)
        return result

    def exchange(self, timeout: float, verb: str, **arguments: Any) -> tuple[Any, Iterator[Any]]:
        """Return the result of a verb, and its rows."""
        request = {"verb": verb, **arguments}
        with self._lock:
            reused = self._socket is not None
            try:
                try:
                    answer, rows = self._exchange(timeout, request)
                except (ConnectionError, EOFError):
                    if not reused or self._closed:
                        raise
                    # The helper was restarted since the last request; every verb may be repeated.
                    self._drop()
                    answer, rows = self._exchange(timeout, request)
            except (OSError, EOFError, ValueError) as error:
                self._drop()
                raise FirewallError(f"portald-firewall at {self._path}: {error}") from error
        if "error" in answer:
            kind = RulesMissing if answer.get("kind") == "rules" else FirewallError
            raise kind(answer["error"])
        return answer["result"], rows

    def _exchange(self, timeout: float, request: Any) -> tuple[dict[str, Any], Iterator[Any]]:
        if self._closed:
            raise EOFError("closed")
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(timeout)
            try:
                connection.connect(str(self._path))
            except BaseException:
                connection.close()
                raise
            self._socket = connection
        self._socket.settimeout(timeout)
        send_frame(self._socket, request)
        answer, rows = receive_answer(self._socket)
        if not isinstance(answer, dict):
            raise ValueError("not an answer")
        return answer, rows

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def grant_row(grant: Grant) -> list[Any]:
    counted, rate = grant.counted, grant.rate
    return [
        grant.session, grant.zone, grant.mac, sorted(grant.addresses), grant.seconds,
        counted.up, counted.down, rate.up, rate.down, grant.left,
    ]  # fmt: skip


def held_row(held: Held) -> list[Any]:
    ipv6 = None if held.ipv6 is None else sorted(held.ipv6)
    return [
        held.session, held.zone, held.mac, sorted(held.addresses), held.seconds,
        held.usage.up, held.usage.down, held.rate.up, held.rate.down, held.left,
        ipv6, held.complete, held.open,
    ]  # fmt: skip


def held_from(row: list[Any]) -> Held:
    session, zone, mac, addresses, seconds, up, down, fast_up, fast_down, left, ipv6, complete, open = row
    return Held(
        session, zone, mac, frozenset(addresses), seconds, Usage(up, down), Rate(fast_up, fast_down), left,
        None if ipv6 is None else frozenset(ipv6), complete, open,
    )  # fmt: skip
