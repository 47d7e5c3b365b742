"""The round: makes the kernel agree with the store, every few seconds and whenever asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from portald import access
from portald.config import Config
from portald.errors import FirewallError, RulesMissing
from portald.model import Grant, Held
from portald.ports import Clock, Firewall, Neighbours
from portald.store import Store

log = logging.getLogger(__name__)

EARLY = 1.25
"""Seconds before its deadline at which a session is ended: its last bytes are then still read,
where the kernel, ending it by itself, would lose them.  The kernel counts in whole seconds."""
DAY = 86_400
FORGET_AFTER = 2 * DAY


class Rounds:
    """Runs rounds in a thread of its own; a round never raises."""

    def __init__(
        self,
        config: Config,
        store: Store,
        firewall: Firewall,
        neighbours: Neighbours,
        clock: Clock,
        turn: threading.Lock,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._store = store
        self._firewall = firewall
        self._neighbours = neighbours
        self._clock = clock
        self._turn = turn
        self._after = after
        self._bell = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)
        self.last_good: float | None = None
        self.last_error: str | None = None

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Make the next round come now."""
        self._bell.set()

    def stop(self) -> None:
        self._stopping = True
        self._bell.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=5)

    def round(self) -> bool:
        """Make one round; false, with the reason logged, if it could not be completed."""
        try:
            self._round()
            self.last_good, self.last_error = self._clock(), None
            self._after()
        except Exception as error:
            # Whatever it was, the loop goes on: it is what repairs everything else.
            self.last_error = f"{type(error).__name__}: {error}"
            expected = isinstance(error, FirewallError)
            log.error("event=round_failed error=%s", self.last_error, exc_info=not expected)
            return False
        return True

    def _round(self) -> None:
        held = self._read()
        now = self._clock()
        self._store.add_reading(held, now)
        present = self._neighbours.addresses()
        for session in self._store.end_due(now + EARLY):
            log.info("event=session_ended session=%d reason=expired", session)
        self._store.set_addresses(access.moved(self._store.live_sessions(), present), now)
        longest = self._config.firewall.longest
        wanted = (access.grant(session, longest, now) for session in self._store.live_sessions())
        add, remove = access.difference(wanted, held)
        if add or remove:
            self._apply(add, remove, now)
        self._store.forget(now - FORGET_AFTER, now - self._config.keep_days * DAY)

    def _apply(self, add: Sequence[Grant], remove: Sequence[int], now: float) -> None:
        """Make the changes that are still right: guests came and went while they were worked out.

        Working them out takes long when thousands are online, and no guest waits for it.
        """
        with self._turn:
            live = self._store.live_among([*remove, *(grant.session for grant in add)])
            add = [grant for grant in add if grant.session in live]
            remove = [session for session in remove if session not in live]
            self._firewall.apply(add, remove)
            self._store.set_granted([grant.session for grant in add], now)
        log.info("event=kernel_changed added=%d removed=%d", len(add), len(remove))

    def _read(self) -> Mapping[int, Held]:
        try:
            return self._firewall.read()
        except RulesMissing as error:
            log.warning("event=rules_missing error=%s", error)
            self._firewall.setup()
            return self._firewall.read()

    def _run(self) -> None:
        while not self._stopping:
            self.round()
            self._bell.wait(self._pause())
            self._bell.clear()

    def _pause(self) -> float:
        """Return how long to wait: a round's time, or less if a session ends before that."""
        pause = self._config.firewall.round
        try:
            deadline = self._store.next_deadline()
        except Exception as error:
            log.error("event=deadline_unknown error=%s", error)
            return pause
        if deadline is None:
            return pause
        return max(0.05, min(pause, deadline - EARLY - self._clock()))
