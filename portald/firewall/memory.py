"""A firewall that only remembers: nothing is enforced."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from portald.errors import RulesMissing
from portald.model import Alarm, Grant, Held, Usage
from portald.ports import Clock


class MemoryFirewall:
    """Keeps grants and lets them expire as the kernel would; ``count`` plays the traffic."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._grants: dict[int, tuple[Grant, float]] = {}
        self._counters: dict[int, Usage] = {}
        self._left: dict[int, int | None] = {}
        self._installed = False
        self._lock = threading.Lock()
        self._changed = threading.Event()

    def check(self) -> None:
        """Works everywhere."""

    def setup(self) -> None:
        self._installed = True

    def teardown(self) -> None:
        self._installed = False

    def read(self) -> Mapping[int, Held]:
        self._must_be_installed()
        now = self._clock()
        with self._lock:
            self._grants = {n: (g, until) for n, (g, until) in self._grants.items() if until > now}
            return {session: self._held(session, now) for session in self._counters}

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        self._must_be_installed()
        with self._lock:
            for session in remove:
                self._grants.pop(session, None)
            for grant in add:
                self._grants[grant.session] = (grant, self._clock() + grant.seconds)
                self._counters.setdefault(grant.session, grant.counted)
                self._left[grant.session] = grant.left

    def settle(self, sessions: Iterable[int]) -> None:
        self._must_be_installed()
        with self._lock:
            for session in sessions:
                if session not in self._grants:
                    self._counters.pop(session, None)
                    self._left.pop(session, None)

    def wait(self, seconds: float) -> bool:
        changed = self._changed.wait(seconds)
        self._changed.clear()
        return changed

    def survey(self) -> list[Alarm]:
        return []

    def lose_rules(self) -> None:
        """Be as after a foreign flush."""
        self._grants.clear()
        self._counters.clear()
        self._installed = False
        self._changed.set()

    def count(self, session: int, up: int, down: int) -> None:
        """Add bytes to a session's counters."""
        before, left = self._counters[session], self._left[session]
        self._counters[session] = Usage(before.up + up, before.down + down)
        if left is not None:
            self._left[session] = max(0, left - up - down)

    def _held(self, session: int, now: float) -> Held:
        usage = self._counters[session]
        if session not in self._grants:
            return Held(session, "", "", frozenset(), 0, usage, complete=False, open=False)
        grant, until = self._grants[session]
        ipv4 = frozenset(address for address in grant.addresses if ":" not in address)
        return Held(
            session, grant.zone, grant.mac, ipv4, int(until - now), usage, grant.rate, self._left[session]
        )

    def _must_be_installed(self) -> None:
        if not self._installed:
            raise RulesMissing("setup was not called")
