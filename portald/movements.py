"""Devices that show another address: noted as fast as they come, followed all together."""

from __future__ import annotations

import threading

from portald.door import Door

Seen = dict[tuple[str, str], frozenset[str]]


class Movements:
    """One thread notes what the kernel says, another has the door follow; a crowd is one change."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._pending: Seen = {}
        self._bell = threading.Condition()

    def note(self, mac: str, zone: str, addresses: frozenset[str]) -> None:
        with self._bell:
            self._pending[mac, zone] = addresses
            self._bell.notify()

    def follow(self) -> None:
        """Follow what has been noted, for ever."""
        while True:
            self.follow_once()

    def follow_once(self) -> int:
        """Wait for somebody to move, and follow all who have; return how many had a session."""
        with self._bell:
            self._bell.wait_for(lambda: self._pending)
            pending, self._pending = self._pending, {}
        return self._door.follow(pending)
