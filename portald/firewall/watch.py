"""Watches for foreign hands in the rules, so that they are put back at once and not by the next round.

The kernel tells of every change of nftables and of the ip rules (rtnetlink(7), NFNLGRP_NFTABLES).
What changes elements only, as dnsmasq and we do all day, is nobody's news.
"""

from __future__ import annotations

import errno
import logging
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

from portald.firewall.guard import PREFERENCE

log = logging.getLogger(__name__)

_NETFILTER = 12  # NETLINK_NETFILTER, which the socket module does not name
_SOL_NETLINK, _ADD_MEMBERSHIP = 270, 1
_GROUP_NFTABLES = 7
_GROUPS_OF_RULES = 1 << (8 - 1) | 1 << (19 - 1)  # RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
# NFT_MSG_: tables, chains, rules and sets, new or deleted, but no elements, objects or generations.
_OF_RULES = frozenset({0, 2, 3, 5, 6, 8, 9, 11})
_TABLE = b"portald\0"
_PREFERENCE = struct.pack("=HHI", 8, 6, PREFERENCE)  # FRA_PRIORITY

MOST_LOOKS = 10
"""A second: a program that changes rules all the time must not keep us busy."""
MOST_REPAIRS = 5
"""In ten seconds: of two programs that undo each other's work, one has to stop."""


class Watch:
    """A thread that calls ``mend`` when the rules may have changed; it tells whether they had."""

    def __init__(self, mend: Callable[[], bool]) -> None:
        self._mend = mend
        self._mended = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._looks = Allowance(MOST_LOOKS, 1)
        self._repairs = Allowance(MOST_REPAIRS, 10)
        self._owed = False

    def wait(self, seconds: float) -> bool:
        """Wait until something was mended; the first call starts the watching."""
        with self._starting:
            if self._thread is None:
                # The sockets belong to the network of whoever asks first.
                sockets = _nftables(), _ip_rules()
                self._thread = threading.Thread(
                    target=self._run, args=(sockets,), name="watch", daemon=True
                )
                self._thread.start()
        mended = self._mended.wait(seconds)
        self._mended.clear()
        return mended

    def _run(self, sockets: tuple[socket.socket, ...]) -> None:
        ready = select.poll()
        known = {one.fileno(): one for one in sockets}
        for number in known:
            ready.register(number, select.POLLIN)
        while True:
            changed = self._owed
            for number, _ in ready.poll(1000 if self._owed else None):
                changed |= drained(known[number])
            if changed:
                self._look()

    def _look(self) -> None:
        if not self._looks.take():
            time.sleep(1 / MOST_LOOKS)  # what happens meanwhile is seen by this look
        self._owed = not self._repairs.left()
        if self._owed:
            return  # unless a round has done it, it is done when the rest is over
        try:
            mended = self._mend()
        except Exception as error:
            log.warning("event=not_mended error=%s", error)
            mended = True  # whoever waits makes a round, and that says what is wrong
        if mended:
            self._repairs.take()
            self._mended.set()
            if not self._repairs.left():
                log.warning("event=watch_resting reason=rules_changed_too_often")


class Allowance:
    """So many times in so many seconds."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._taken: list[float] = []

    def left(self) -> bool:
        since = time.monotonic() - self._seconds
        self._taken = [at for at in self._taken if at > since]
        return len(self._taken) < self._most

    def take(self) -> bool:
        """Use one; false if none was left."""
        if not self.left():
            return False
        self._taken.append(time.monotonic())
        return True


def drained(source: socket.socket) -> bool:
    """Read what there is; true if rules may have changed."""
    changed = False
    while True:
        try:
            data = source.recv(1 << 18)
        except BlockingIOError:
            return changed
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            changed = True  # more was told than there was room for: anything may have happened
            continue
        changed = changed or any(_concerns_us(kind, body) for kind, body in messages(data))


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Return type and body of each netlink message."""
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        if length < 16:
            return
        yield kind, data[at + 16 : at + length]
        at += (length + 3) & ~3


def _concerns_us(kind: int, body: bytes) -> bool:
    if kind in (32, 33):  # RTM_NEWRULE, RTM_DELRULE; others change theirs as they like
        return _PREFERENCE in body[12:]
    # The name of the table is the first attribute of all of these.
    return kind >> 8 == _SUBSYSTEM and kind & 0xFF in _OF_RULES and body[8:16] == _TABLE


def _nftables() -> socket.socket:
    source = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETFILTER)
    source.bind((0, 0))
    source.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
    return source


def _ip_rules() -> socket.socket:
    source = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
    source.bind((0, _GROUPS_OF_RULES))
    return source
