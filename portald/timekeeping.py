"""The clock on the wall may be put on or back; what guests have left must not change by it."""

from __future__ import annotations

import json
import logging

from portald.ports import Clock
from portald.store import Store

log = logging.getLogger(__name__)

STEP = 2.0
"""Seconds: less is the clock being disciplined, more is somebody setting it."""
SAVED_EVERY = 600.0
CALM = 86_400.0
"""Seconds without a step after which dates are believed enough to delete what is old."""


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
        self._calm_since = steady()

    def look(self) -> float:
        """Move what runs if the clock was set since the last look; return by how many seconds."""
        wall, steady = self._wall(), self._steady()
        step = self._first_step(wall, steady) if self._offset is None else wall - steady - self._offset
        self._offset = wall - steady
        if abs(step) < STEP:
            step = 0.0
        else:
            log.warning("event=clock_set seconds=%.0f", step)
            self._calm_since = steady
            self._store.shift(step)
        if step or steady - self._saved_at > SAVED_EVERY or not self._saved_at:
            self._saved_at = steady or 1.0
            fact = {"boot": self._boot, "offset": self._offset, "wall": wall}
            self._store.set_fact("clock", json.dumps(fact))
        return step

    @property
    def calm(self) -> bool:
        """Whether the date can be believed: what is deleted by it never comes back."""
        return self._steady() - self._calm_since >= CALM

    def _first_step(self, wall: float, steady: float) -> float:
        saved = json.loads(self._store.fact("clock") or "null")
        if saved is None:
            return 0.0
        if saved["boot"] == self._boot:
            return float(wall - steady - saved["offset"])
        return float(min(0.0, wall - saved["wall"]))
