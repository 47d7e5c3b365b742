"""Leaves a provider in peace that cannot: a circuit breaker that goes by typed outcomes.

Libraries for this count exceptions; here throttling names its own time, a wrong password rests at
once, and a number that does not exist is no fault of the provider at all.
"""

from __future__ import annotations

import threading

from portald.model import Outcome
from portald.ports import Clock

FAILURES = 3
"""Failures in a row that may pass by themselves, before the provider rests."""
SHORTEST, LONGEST = 15.0, 600.0

AT_ONCE = {Outcome.AUTHENTICATION, Outcome.CONFIGURATION, Outcome.NO_CREDIT}
"""What does not pass by itself; but one odd number may look like it."""
_COUNTED = {Outcome.TEMPORARY, Outcome.UNKNOWN}
_TRIAL = 60.0


class Breaker:
    """Closed: texts pass.  Open: none until a time.  Then one is let through on trial."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._rests = 0
        self._until = 0.0
        self._on_trial = False
        self.outcome: Outcome | None = None
        """The outcome that it rests for."""

    def wait(self) -> float:
        """Return the seconds until a text may be tried, 0 for now."""
        return max(0.0, self._until - self._clock())

    def admit(self) -> bool:
        """Tell whether a text may be tried now; after a rest only one at a time may."""
        with self._lock:
            if self.wait() > 0:
                return False
            if self.outcome is not None:
                self._until, self._on_trial = self._clock() + _TRIAL, True
            return True

    def spare(self) -> None:
        """Learn nothing from a text: another one may have its trial."""
        with self._lock:
            if self._on_trial:
                self._until, self._on_trial = self._clock(), False

    def note(self, outcome: Outcome, retry_after: float = 0, vague: bool = False) -> None:
        """Learn from what became of a text; ``vague``: it may have been the number's fault."""
        with self._lock:
            if outcome is Outcome.THROTTLED:
                self._rest(outcome, min(max(retry_after, 5.0), LONGEST))
            elif outcome in AT_ONCE or outcome in _COUNTED:
                self._failures += 1
                at_once = outcome in AT_ONCE and not vague
                if at_once or self._failures >= FAILURES or self.outcome is not None:
                    self._rest(outcome, min(max(SHORTEST * 2**self._rests, retry_after), LONGEST))
                    self._rests = min(self._rests + 1, 10)
            else:
                self._failures = self._rests = 0
                self._until, self.outcome, self._on_trial = 0.0, None, False

    def _rest(self, outcome: Outcome, seconds: float) -> None:
        self._until, self.outcome, self._on_trial = self._clock() + seconds, outcome, False
