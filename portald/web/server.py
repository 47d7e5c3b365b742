"""waitress, with what guests' connections need besides: where they come from, and a deadline."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import waitress.server
from waitress.channel import HTTPChannel
from waitress.task import WSGITask

log = logging.getLogger(__name__)

MAC = "portald.mac"
"""The WSGI environment's name for the MAC that opened the connection, if the kernel told."""
REQUEST_TIME = 15
"""Seconds for a whole request to arrive: one that drips would hold its place for ever."""

# linux/tcp.h.  With 2 the kernel keeps the link layer's header of the SYN too (Linux 5.10).
_TCP_SAVE_SYN, _TCP_SAVED_SYN, _WITH_LINK_LAYER = 27, 28, 2


class Server:
    """A waitress server with a thread and a table of connections of its own."""

    def __init__(self, app: Any, listeners: Sequence[socket.socket], threads: int) -> None:
        self._table: dict[int, Any] = {}
        self._server = waitress.server.create_server(
            app,
            map=self._table,
            sockets=list(listeners),
            threads=threads,
            connection_limit=4000,
            channel_timeout=20,
            cleanup_interval=5,
            asyncore_use_poll=True,
            max_request_body_size=65_536,
            max_request_header_size=16_384,
            ident=None,
        )
        for entry in self._table.values():
            entry.channel_class = _Channel
        self._thread = threading.Thread(target=self.run, name="server", daemon=True)

    def run(self) -> None:
        self._server.run()

    def start(self) -> None:
        self._thread.start()

    def close_unused(self, mac: str) -> None:
        """Close what a device has opened and said nothing on: a browser's spare connections.

        They were meant for a site that was redirected, and would lead to the portal once more
        although the device is online.
        """
        for entry in list(self._table.values()):
            if isinstance(entry, _Channel) and entry.mac == mac and not entry.used:
                entry.will_close = True
                entry.server.pull_trigger()

    def stop(self) -> None:
        self._server.close()
        self._server.task_dispatcher.shutdown(cancel_pending=True, timeout=5)


def _without_path(record: logging.LogRecord) -> bool:
    """Leave out what a request asked for: it has codes in it, or lines for the log that a guest made up."""
    if "while serving" in str(record.msg):
        record.msg, record.args = "event=request_failed", ()
    return True


# What is less than an error is said once for each request, as often as guests like.
logging.getLogger("waitress").setLevel(logging.ERROR)
logging.getLogger("waitress").addFilter(_without_path)


def remember_macs(listeners: Sequence[socket.socket]) -> None:
    """Ask the kernel to keep the first frame of each connection to TCP listeners."""
    try:
        for listener in listeners:
            listener.setsockopt(socket.IPPROTO_TCP, _TCP_SAVE_SYN, _WITH_LINK_LAYER)
    except OSError as error:
        log.warning("event=macs_not_remembered error=%s", error)


def _mac(connection: socket.socket) -> str | None:
    try:
        frame = connection.getsockopt(socket.IPPROTO_TCP, _TCP_SAVED_SYN, 256)
    except OSError:
        return None
    # An Ethernet header is destination, source, type; what follows is IPv4 or IPv6.
    return frame[6:12].hex(":") if len(frame) > 14 and frame[12:14] in (b"\x08\x00", b"\x86\xdd") else None


def _with_interface(ip: str, _port: int, _flow: int, scope: int) -> str:
    """Return a link-local address with its interface, without which it says nothing."""
    try:
        return f"{ip}%{socket.if_indextoname(scope)}"
    except OSError:
        return ip  # the interface has just gone; nobody is found without it


class _Task(WSGITask):
    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[MAC] = getattr(self.channel, "mac", None)
        return environ


class _Channel(HTTPChannel):
    task_class = _Task

    def __init__(
        self, server: Any, connection: socket.socket, address: Any, *rest: Any, **more: Any
    ) -> None:
        self.mac = _mac(connection)
        self.used = False
        self._began = 0.0
        if len(address) == 4 and address[3]:
            address = (_with_interface(*address), *address[1:])
        super().__init__(server, connection, address, *rest, **more)

    def received(self, data: bytes) -> bool:
        self.used, now = True, time.monotonic()
        if self.request is None:
            self._began = now
        elif now - self._began > REQUEST_TIME:
            self.handle_close()
            return False
        return bool(super().received(data))
