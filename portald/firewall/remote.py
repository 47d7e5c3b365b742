"""The three verbs across a unix socket: the privilege boundary, both ends of it.

A frame is four bytes of length, then JSON.  A request is ``{"verb": …}`` with ``add`` and
``remove`` for apply; an answer is ``{"result": …}``, or ``{"error": …, "kind": …}``.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from portald.errors import FirewallError, RulesMissing
from portald.model import FIRST_SESSION, LAST_SESSION, Grant, Held, Usage
from portald.ports import Firewall

log = logging.getLogger(__name__)

MOST_BYTES = 16 * 2**20
MOST_ROWS = 65_536
MOST_ADDRESSES = 8
MOST_CONNECTIONS = 8
LONGEST = 604_800
READ_TIMEOUT = 40  # longer than the helper gives its own commands
WRITE_TIMEOUT = 8  # a guest waits for it, and the next round repairs what was not done
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


class RemoteFirewall:
    """The unprivileged end; reconnects by itself, raises ``FirewallError`` while it cannot.

    Reading has a connection of its own: with thousands online it takes a while, and a guest who
    has just typed the code must not wait for it.
    """

    def __init__(self, path: Path) -> None:
        self._reads = _Connection(path, READ_TIMEOUT)
        self._writes = _Connection(path, WRITE_TIMEOUT)

    def setup(self) -> None:
        self._writes.ask("setup")

    def read(self) -> Mapping[int, Held]:
        return {row[0]: _held(row) for row in self._reads.ask("read")}

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        rows = [[g.session, g.mac, sorted(g.addresses), g.seconds] for g in add]
        removed = list(remove)
        if rows or removed:
            self._writes.ask("apply", add=rows, remove=removed)

    def close(self) -> None:
        self._reads.close()
        self._writes.close()


class _Connection:
    """One request at a time, over a socket that is opened when it is needed."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def close(self) -> None:
        with self._lock:
            self._drop()

    def ask(self, verb: str, **arguments: Any) -> Any:
        request = {"verb": verb, **arguments}
        with self._lock:
            reused = self._socket is not None
            try:
                try:
                    answer = self._exchange(request)
                except (ConnectionError, EOFError):
                    if not reused:
                        raise
                    # The helper was restarted since the last request; every verb may be repeated.
                    self._drop()
                    answer = self._exchange(request)
            except (OSError, EOFError, ValueError) as error:
                self._drop()
                raise FirewallError(f"portald-firewall at {self._path}: {error}") from error
        if "error" in answer:
            kind = RulesMissing if answer.get("kind") == "rules" else FirewallError
            raise kind(answer["error"])
        return answer["result"]

    def _exchange(self, request: Any) -> dict[str, Any]:
        if self._socket is None:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.settimeout(self._timeout)
            try:
                connection.connect(str(self._path))
            except BaseException:
                connection.close()
                raise
            self._socket = connection
        send_frame(self._socket, request)
        answer = receive_frame(self._socket)
        if not isinstance(answer, dict):
            raise ValueError("not an answer")
        return answer

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Server:
    """The privileged end: answers allowed users, for addresses inside the guest networks."""

    def __init__(
        self, firewall: Firewall, networks: Sequence[IPv4Network], allowed: Callable[[int], bool]
    ) -> None:
        self._firewall = firewall
        self._networks = tuple(networks)
        self._allowed = allowed
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until the listener is closed; each has a thread of its own."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            uid = peer_uid(connection)
            if not self._allowed(uid):
                log.warning("event=peer_refused uid=%d", uid)
                _dismiss(connection, f"refused: uid {uid} is not firewall.user of the settings")
                continue
            if not self._room.acquire(blocking=False):
                log.warning("event=peer_refused reason=too_many_connections")
                _dismiss(connection, "refused: too many connections")
                continue
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        try:
            with connection:
                while True:
                    request = receive_frame(connection)
                    send_frame(connection, self.answer(request))
        except (OSError, EOFError):
            return
        except ValueError as error:
            log.warning("event=frame_refused error=%s", error)
        finally:
            self._room.release()

    def answer(self, request: Any) -> dict[str, Any]:
        """Return the answer to a request, however wrong the request is."""
        try:
            return {"result": self._do(request)}
        except RulesMissing as error:
            return {"error": str(error), "kind": "rules"}
        except FirewallError as error:
            log.warning("event=verb_failed error=%s", error)
            return {"error": str(error)}

    def _do(self, request: Any) -> Any:
        match request:
            case {"verb": "setup"}:
                return self._firewall.setup()
            case {"verb": "read"}:
                return [_row(held) for held in self._firewall.read().values()]
            case {"verb": "apply", "add": list(add), "remove": list(remove)}:
                if len(add) + len(remove) > MOST_ROWS:
                    raise FirewallError("refused: too much at once")
                grants = [self._grant(row) for row in add]
                return self._firewall.apply(grants, [_session(number) for number in remove])
            case _:
                # Nothing here takes the rules out: a broken web process must not open the gateway.
                raise FirewallError("refused: not a request this helper knows")

    def _grant(self, row: Any) -> Grant:
        match row:
            case [session, str(mac), list(addresses), int(seconds)] if (
                _MAC.fullmatch(mac)
                and not int(mac[:2], 16) & 1  # a group of devices is no device
                and seconds is not True
                and 0 < seconds <= LONGEST
                and len(addresses) <= MOST_ADDRESSES
            ):
                inside = frozenset(self._address(address) for address in addresses)
                return Grant(_session(session), mac, inside, seconds)
        raise FirewallError("refused: not a grant")

    def _address(self, text: Any) -> str:
        try:
            address = IPv4Address(text if isinstance(text, str) else "")
        except AddressValueError:
            raise FirewallError("refused: not an IPv4 address") from None
        if not any(address in network for network in self._networks):
            raise FirewallError(f"refused: {address} is outside the guest networks")
        return str(address)


def _session(number: Any) -> int:
    if type(number) is not int or not FIRST_SESSION <= number <= LAST_SESSION:
        raise FirewallError("refused: not a session number")
    return number


def _row(held: Held) -> list[Any]:
    usage = [held.usage.up, held.usage.down]
    return [held.session, held.mac, sorted(held.addresses), held.seconds, *usage, held.complete]


def _held(row: list[Any]) -> Held:
    session, mac, addresses, seconds, up, down, complete = row
    return Held(session, mac, frozenset(addresses), seconds, Usage(up, down), complete)


def _dismiss(connection: socket.socket, why: str) -> None:
    with connection, contextlib.suppress(OSError):
        send_frame(connection, {"error": why})


def peer_uid(connection: socket.socket) -> int:
    """Return the user at the other end, as the kernel vouches for it (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)


def send_frame(connection: socket.socket, message: Any) -> None:
    body = json.dumps(message, separators=(",", ":")).encode()
    connection.sendall(struct.pack("!I", len(body)) + body)


def receive_frame(connection: socket.socket) -> Any:
    """Return the next message; raise ``EOFError`` at the end, ``ValueError`` for rubbish."""
    (length,) = struct.unpack("!I", _receive(connection, 4))
    if length > MOST_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    try:
        return json.loads(_receive(connection, length))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _receive(connection: socket.socket, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = connection.recv(min(length - len(parts), 1 << 16))
        if not part:
            raise EOFError("the connection was closed")
        parts += part
    return bytes(parts)
