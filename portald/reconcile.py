"""The round: makes the kernel agree with the store, every few seconds and whenever asked."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from portald import access
from portald.access import EARLY
from portald.config import Config
from portald.door import Door
from portald.errors import PortaldError, RulesMissing, StoreError
from portald.model import End, Grant, Held
from portald.ports import Clock, Firewall, Neighbours
from portald.store import Store
from portald.timekeeping import Timekeeper

log = logging.getLogger(__name__)

DAY = 86_400
FORGET_AFTER = 2 * DAY
TIDY_EVERY = 600.0
"""Seconds between two times of deleting what is old."""


class Rounds:
    """Runs rounds in a thread of its own; a round never raises."""

    def __init__(
        self,
        config: Config,
        store: Store,
        firewall: Firewall,
        neighbours: Neighbours,
        door: Door,
        timekeeper: Timekeeper,
        clock: Clock,
        turn: threading.Lock,
        after: Callable[[], None] = lambda: None,
        damaged: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._store = store
        self._firewall = firewall
        self._neighbours = neighbours
        self._door = door
        self._timekeeper = timekeeper
        self._clock = clock
        self._turn = turn
        self._after = after
        self._damaged = damaged
        self._bell = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)
        self._tidied_at = 0.0
        self.last_good: float | None = None
        self.last_error: str | None = None
        self.store_error: str | None = None
        """Why the store cannot be written; guests stay online, and nobody new comes in."""

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
            expected = isinstance(error, PortaldError)
            log.error("event=round_failed error=%s", self.last_error, exc_info=not expected)
            if isinstance(error, StoreError) and error.damaged:
                self._damaged()
            return False
        return True

    def _round(self) -> None:
        """Account, end, follow, and give the kernel what is right now.

        What is right is worked out from what the store says even where it cannot be written
        (a full disk, somebody's lock): no deadline is missed by that, and no grant runs out.
        """
        held = self._read()
        self.store_error = None
        self._write(self._timekeeper.look)
        self._write(lambda: self._store.finish_recovery(held, self._config.zones, self._clock()))
        now = self._clock()
        self._write(lambda: self._store.add_reading(held, now))
        self._write(lambda: self._store.open_trusted(self._config.zones, now))
        present = self._neighbours.addresses()
        moved = access.moved(self._store.live_sessions(), present)
        self._write(lambda: self._store.set_addresses(moved, now))
        wanted, due = self._judge(now)
        self._write(lambda: self._end(due, now))
        add, remove, settle = access.difference(wanted, held)
        if add or remove:
            self._apply(add, remove, now)
        if settle and self.store_error is None:  # else their last bytes are still only there
            self._firewall.settle(settle)
        if now - self._tidied_at >= TIDY_EVERY or now < self._tidied_at:
            self._tidied_at = now
            self._write(lambda: self._tidy(now))

    def _judge(self, now: float) -> tuple[Sequence[Grant], Mapping[int, End]]:
        """Return the grants of all who may stay, and who may not any more."""
        plans = self._store.plans()
        wanted, due, deadlines = [], {}, {}
        for session in self._store.live_sessions():
            grant, terms = self._door.grant(session, plans, now)
            if terms.expires_at is not None and terms.expires_at <= now + EARLY:
                due[session.id] = terms.end
                continue
            wanted.append(grant)
            if _differ(session.expires_at, terms.expires_at):
                deadlines[session.id] = terms.expires_at
        self._write(lambda: self._store.set_deadlines(deadlines))
        return wanted, due

    def _end(self, due: Mapping[int, End], now: float) -> None:
        for session in self._store.end_sessions(due, now):
            log.info("event=session_ended session=%d reason=%s", session, due[session])

    def _apply(self, add: Sequence[Grant], remove: Sequence[int], now: float) -> None:
        """Make the changes that are still right: guests came and went while they were worked out.

        Working them out takes long when thousands are online, and no guest waits for it.
        """
        with self._turn:
            live = self._store.live_among([*remove, *(grant.session for grant in add)])
            add = [grant for grant in add if grant.session in live]
            if self.store_error is None:  # else what is due could not be ended there
                remove = [session for session in remove if session not in live]
            self._firewall.apply(add, remove)
            self._write(lambda: self._store.set_granted([grant.session for grant in add], now))
        log.info("event=kernel_changed added=%d removed=%d", len(add), len(remove))

    def _tidy(self, now: float) -> None:
        if self._timekeeper.calm:
            self._store.forget(now - FORGET_AFTER, now - self._config.keep_days * DAY)
        self._store.keep_backup(now)

    def _write(self, write: Callable[[], object]) -> None:
        try:
            write()
        except StoreError as error:
            if error.damaged:
                raise
            self.store_error = str(error)
            log.error("event=store_not_written error=%s", error)

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


def _differ(a: float | None, b: float | None) -> bool:
    return a != b and (a is None or b is None or abs(a - b) > 1)
