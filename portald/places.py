"""One MAC at two places: a device that walks moves once, two with the same MAC move for ever."""

from __future__ import annotations

import threading
from collections import deque

from portald.model import Alarm

WITHIN = 60.0
MOVES = 6
"""So many moves within ``WITHIN`` seconds are more than walking between access points."""
TOLD_FOR = 3_600.0
TOLD = 100
"""MACs that are told of: more are somebody making them up."""


class Places:
    """Remembers where each MAC was last seen, and which ones jump to and fro."""

    def __init__(self, most: int = 20_000) -> None:
        self._last: dict[str, str] = {}
        self._moves: dict[str, deque[float]] = {}
        self._doubtful: dict[str, tuple[float, str, str]] = {}
        self._most = most
        self._lock = threading.Lock()

    def seen(self, mac: str, place: str, now: float) -> bool:
        """Note where a MAC is; true if it now has to be at two places."""
        with self._lock:
            before = self._last.get(mac)
            if before == place:
                return False
            if before is None and len(self._last) >= self._most:
                self._last.clear()  # a flood of made-up MACs must not fill the memory
                self._moves.clear()
            self._last[mac] = place
            if before is None:
                return False
            moves = self._moves.setdefault(mac, deque(maxlen=MOVES))
            moves.append(now)
            if len(moves) < MOVES or not 0 <= now - moves[0] <= WITHIN:
                return False
            self._doubtful.pop(mac, None)
            self._doubtful[mac] = (now, before, place)
            if len(self._doubtful) > TOLD:
                del self._doubtful[next(iter(self._doubtful))]  # made-up MACs may be many here, too
            return True

    def alarms(self, now: float) -> list[Alarm]:
        """Return the MACs that were at two places in the last hour."""
        with self._lock:
            self._doubtful = {m: d for m, d in self._doubtful.items() if 0 <= now - d[0] <= TOLD_FOR}
            return [
                Alarm(
                    f"two devices use the MAC {mac}: at {one} and at {other}",
                    f"one copies the other; cut both: portalctl clients block {mac}",
                )
                for mac, (_, one, other) in sorted(self._doubtful.items())
            ]
