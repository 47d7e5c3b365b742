"""The firewall across a unix socket, the privileged end: answers allowed users, and believes nothing."""

from __future__ import annotations

import contextlib
import logging
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address
from typing import Any

from portald.errors import FirewallError, RulesMissing
from portald.firewall.frames import receive_frame, send_frame
from portald.firewall.remote import held_row
from portald.model import FIRST_SESSION, LAST_SESSION, Grant, Rate, Usage
from portald.ports import Firewall

log = logging.getLogger(__name__)

MOST_ROWS = 65_536
MOST_ADDRESSES = 8
MOST_IPV6 = 16
MOST_KILOBITS = 10_000_000
MOST_COUNT = 2**53
MOST_CONNECTIONS = 8
LONGEST = 604_800
LONGEST_WAIT = 3600
GLANCE = 1.0
"""Seconds after which a waiting thread looks whether anybody is still there to be told."""
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")


class Server:
    """Takes grants for known zones only, with addresses inside the networks of the zone."""

    def __init__(
        self,
        firewall: Firewall,
        networks: Mapping[str, Sequence[IPv4Network]],
        allowed: Callable[[int], bool],
    ) -> None:
        self._firewall = firewall
        self._networks = {zone: tuple(inside) for zone, inside in networks.items()}
        self._allowed = allowed
        self._stopping = False
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def serve(self, listener: socket.socket) -> None:
        """Accept connections until ``stop``, or the listener is shut down; each has a thread of its own."""
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if self._stopping:
                connection.close()
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

    def stop(self, listener: socket.socket) -> None:
        """Make ``serve`` return, by a connection of our own: systemd has this listener as well.

        To shut it down would end it for the next helper too.
        """
        self._stopping = True
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as bell, contextlib.suppress(OSError):
            bell.settimeout(5)
            bell.connect(listener.getsockname())

    def _converse(self, connection: socket.socket) -> None:
        try:
            with connection:
                while True:
                    request = receive_frame(connection)
                    answer = self.answer(request, lambda: _gone(connection))
                    send_frame(connection, answer, answer.pop("rows", ()))
        except (OSError, EOFError):
            return
        except ValueError as error:
            log.warning("event=frame_refused error=%s", error)
        finally:
            self._room.release()

    def answer(self, request: Any, gone: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """Return the answer to a request, however wrong the request is; its rows may be made later."""
        try:
            if request == {"verb": "read"}:
                return {"result": None, "rows": map(held_row, self._firewall.read().values())}
            return {"result": self._do(request, gone)}
        except RulesMissing as error:
            return {"error": str(error), "kind": "rules"}
        except FirewallError as error:
            log.warning("event=verb_failed error=%s", error)
            return {"error": str(error)}

    def _do(self, request: Any, gone: Callable[[], bool]) -> Any:
        match request:
            case {"verb": "setup"}:
                return self._firewall.setup()
            case {"verb": "apply", "add": list(add), "remove": list(remove)}:
                _limited(len(add) + len(remove))
                grants = [self._grant(row) for row in add]
                return self._firewall.apply(grants, [_session(number) for number in remove])
            case {"verb": "settle", "sessions": list(sessions)}:
                _limited(len(sessions))
                return self._firewall.settle([_session(number) for number in sessions])
            case {"verb": "wait", "seconds": int() | float() as seconds} if 0 <= seconds <= LONGEST_WAIT:
                return self._wait(seconds, gone)
            case {"verb": "survey"}:
                return [[alarm.text, alarm.cure] for alarm in self._firewall.survey()]
            case _:
                # Nothing here takes the rules out: a broken web process must not open the gateway.
                raise FirewallError("refused: not a request this helper knows")

    def _wait(self, seconds: float, gone: Callable[[], bool]) -> bool:
        """Wait in small steps: nobody else would notice that who asked has been killed."""
        end = time.monotonic() + seconds
        while not self._firewall.wait(min(GLANCE, max(0.0, end - time.monotonic()))):
            if time.monotonic() >= end or gone():
                return False
        return True

    def _grant(self, row: Any) -> Grant:
        match row:
            case [session, str(zone), str(mac), list(addresses), seconds, up, down, *rates, left] if (
                zone in self._networks
                and _MAC.fullmatch(mac)
                and not int(mac[:2], 16) & 1  # a group of devices is no device
                and _whole(seconds, 1, LONGEST)
                and _whole(up, 0, MOST_COUNT)
                and _whole(down, 0, MOST_COUNT)
                and len(rates) == 2
                and len(addresses) <= MOST_ADDRESSES + MOST_IPV6
                and all(rate is None or _whole(rate, 1, MOST_KILOBITS) for rate in rates)
                and (left is None or _whole(left, 0, MOST_COUNT))
            ):
                inside = frozenset(self._address(zone, address) for address in addresses)
                if len(addresses) - _six(addresses) <= MOST_ADDRESSES and _six(addresses) <= MOST_IPV6:
                    usage, rate = Usage(up, down), Rate(*rates)
                    return Grant(_session(session), zone, mac, inside, seconds, usage, rate, left)
        raise FirewallError("refused: not a grant")

    def _address(self, zone: str, text: Any) -> str:
        if not isinstance(text, str):
            raise FirewallError("refused: not an address")
        try:
            address = IPv6Address(text) if ":" in text else IPv4Address(text)
        except AddressValueError:
            raise FirewallError("refused: not an address") from None
        if isinstance(address, IPv4Address):
            if not any(address in network for network in self._networks[zone]):
                raise FirewallError(f"refused: {address} is outside the guest networks")
        elif address.scope_id or address.is_multicast or address.is_loopback or address.is_unspecified:
            raise FirewallError(f"refused: {address} is no device's address")
        return str(address)


def _six(addresses: Sequence[str]) -> int:
    return sum(":" in address for address in addresses)


def _whole(number: Any, low: int, high: int) -> bool:
    return type(number) is int and low <= number <= high


def _session(number: Any) -> int:
    if not _whole(number, FIRST_SESSION, LAST_SESSION):
        raise FirewallError("refused: not a session number")
    return int(number)


def _limited(rows: int) -> None:
    if rows > MOST_ROWS:
        raise FirewallError("refused: too much at once")


def _gone(connection: socket.socket) -> bool:
    """Tell whether the other end has hung up."""
    look = select.poll()
    look.register(connection, select.POLLRDHUP)
    return bool(look.poll(0))


def _dismiss(connection: socket.socket, why: str) -> None:
    with connection, contextlib.suppress(OSError):
        send_frame(connection, {"error": why})


def peer_uid(connection: socket.socket) -> int:
    """Return the user at the other end, as the kernel vouches for it (unix(7), SO_PEERCRED)."""
    size = struct.calcsize("3i")
    _, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    return int(uid)
