"""A firewall that only remembers: nothing is enforced."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace

from portald.errors import RulesMissing
from portald.model import Grant, Held, Usage
from portald.ports import Clock


class MemoryFirewall:
    """Keeps grants and lets them expire as the kernel would; ``count`` plays the traffic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[int, tuple[Held, float]] = {}
        self._installed = False
        self._lock = threading.Lock()

    def setup(self) -> None:
        self._installed = True

    def read(self) -> Mapping[int, Held]:
        if not self._installed:
            raise RulesMissing("setup was not called")
        now = self._clock()
        return {
            session: replace(held, seconds=int(until - now))
            for session, (held, until) in self._copy().items()
            if until > now
        }

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        if not self._installed:
            raise RulesMissing("setup was not called")
        with self._lock:
            for session in remove:
                self._held.pop(session, None)
            for grant in add:
                held = Held(grant.session, grant.mac, grant.addresses, grant.seconds, Usage())
                self._held[grant.session] = (held, self._clock() + grant.seconds)

    def _copy(self) -> dict[int, tuple[Held, float]]:
        with self._lock:
            return dict(self._held)

    def lose_rules(self) -> None:
        """Be as after a foreign flush."""
        self._held.clear()
        self._installed = False

    def count(self, session: int, up: int, down: int) -> None:
        """Add bytes to a session's counters."""
        held, until = self._held[session]
        usage = Usage(held.usage.up + up, held.usage.down + down)
        self._held[session] = (replace(held, usage=usage), until)
