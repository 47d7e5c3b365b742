"""The clock on the wall may be put on or back; what guests have left must not change by it."""

from __future__ import annotations

import json
import logging
from typing import Any

from portald.ports import Clock
from portald.store import Store

log = logging.getLogger(__name__)

STEP = 2.0
"""Seconds: less is the clock being disciplined, more is somebody setting it."""
SAVED_EVERY = 600.0
CALM = 86_400.0
"""Seconds without a step after which dates are believed enough to delete what is old."""
LEAP = 7 * 86_400.0
"""Seconds that a gateway may be switched off, or so it says, without its date being doubted for it."""


class Timekeeper:
    """Compares the wall clock with one that nobody can set, which starts anew with each boot.

    A step moves everything that runs (``Store.shift``).  After a boot with a clock that is behind
    what was last seen (a box without a battery), sessions go on where they were.
    """

    def __init__(self, store: Store, wall: Clock, steady: Clock, boot: str) -> None:
        self._store = store
        self._wall = wall
        self._steady = steady
        self._boot = boot
        self._offset: float | None = None
        self._saved_at = 0.0
        self._calm_since: float | None = None
        """In the steady clock, also where that began only later: a calm before a restart counts."""

    def look(self) -> float:
        """Move what runs if the clock was set since the last look; return by how many seconds."""
        wall, steady = self._wall(), self._steady()
        saved = json.loads(self._store.fact("clock") or "null") if self._offset is None else None
        step = (
            self._first_step(saved, wall, steady) if self._offset is None else wall - steady - self._offset
        )
        if self._calm_since is None:
            self._calm_since = steady
            if saved is not None and 0 <= wall - saved["wall"] <= LEAP:
                self._calm_since -= saved.get("calm", 0.0)
        if abs(step) < STEP:
            step = 0.0
        else:
            log.warning("event=clock_set seconds=%.0f", step)
            self._calm_since = steady
        # What is remembered of the clock is changed together with what is moved by it: a step is
        # neither lost where the database refuses, nor made twice.
        offset, calm = wall - steady, min(CALM, steady - self._calm_since)
        fact = json.dumps({"boot": self._boot, "offset": offset, "wall": wall, "calm": calm})
        if step:
            self._store.shift(step, fact)
        elif steady - self._saved_at > SAVED_EVERY or not self._saved_at:
            self._store.set_fact("clock", fact)
        else:
            self._offset = offset
            return step
        self._offset, self._saved_at = offset, steady or 1.0
        return step

    @property
    def calm(self) -> bool:
        """Whether the date can be believed: what is deleted by it never comes back.

        Counted over restarts: a shop that switches its gateway off each night keeps its promise
        to delete as well.
        """
        return self._calm_since is not None and self._steady() - self._calm_since >= CALM

    def _first_step(self, saved: dict[str, Any] | None, wall: float, steady: float) -> float:
        if saved is None:
            return 0.0
        if saved["boot"] == self._boot:
            return float(wall - steady - saved["offset"])
        return float(min(0.0, wall - saved["wall"]))
