"""What comes after a text: its delivery is asked for, and applications are told how codes fare."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from collections.abc import Callable

from portald.applications import Applications
from portald.config import Config
from portald.errors import SmsError
from portald.model import Outcome
from portald.ports import Clock
from portald.sms import http
from portald.sms.routes import Routes
from portald.store import Store
from portald.store.callbacks import Callback

log = logging.getLogger(__name__)

EVERY = 4.0
"""Seconds between two looks."""
WATCHED = 60.0
"""Seconds that a guest waits for a text: after that nobody asks for its delivery."""
RETRIES = (10, 60, 300, 1800, 7200, 21600)
"""Seconds before a callback that was not taken is tried again."""


class Followups:
    """A thread of its own: providers and applications may be slow."""

    def __init__(
        self, config: Config, store: Store, routes: Routes, applications: Applications, clock: Clock
    ) -> None:
        self._secrets = {a.id: a.secret for a in config.applications}
        self._store = store
        self._routes = routes
        self._applications = applications
        self._clock = clock
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="followups", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=35)

    def look(self) -> None:
        """Do once what is to be done."""
        deaf = set()
        for provider, message in self._store.undecided(self._clock() - WATCHED):
            if provider not in deaf and not self._ask(provider, message):
                deaf.add(provider)
        for challenge in self._store.expire_told(self._clock()):
            self._applications.tell(challenge)
        silent = set()
        for callback in self._store.due_callbacks(self._clock()):
            # One that does not answer has its turn again at the next look, after all others.
            if callback.application not in silent and not self._call(callback):
                silent.add(callback.application)

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self._guard(self.look)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception:
            log.exception("event=followup_failed")

    def _ask(self, provider: str, message: str) -> bool:
        """Ask what became of a text; false if the provider had better be left alone until the next look."""
        try:
            report = self._routes.delivery(provider, message)
        except SmsError as error:
            log.info(
                "event=delivery_unknown provider=%s outcome=%s words=%r",
                provider, error.outcome, error.words,
            )  # fmt: skip
            return error.outcome not in (Outcome.UNKNOWN, Outcome.TEMPORARY, Outcome.THROTTLED)
        except Exception:
            # A provider from elsewhere may raise anything, and callbacks are waiting behind it.
            log.exception("event=delivery_unknown provider=%s", provider)
            return False
        if report is not None and report.delivered is not None:
            self._store.set_delivery(provider, report, self._clock() - WATCHED * 2)
        return True

    def _call(self, callback: Callback) -> bool:
        """Make a callback; false if there was no answer."""
        secret = self._secrets.get(callback.application)
        if secret is None:
            self._store.drop_callback(callback.id)
            return True
        body = callback.body.encode()
        stamp = str(int(self._clock()))
        signed = hmac.new(secret.reveal().encode(), f"{stamp}.".encode() + body, hashlib.sha256)
        headers = {
            "Content-Type": "application/json",
            "X-Portald-Timestamp": stamp,
            "X-Portald-Signature": f"sha256={signed.hexdigest()}",
        }
        try:
            answer = http.ask("POST", callback.url, data=body, headers=headers, timeout=10)
            answered, taken, why = True, 200 <= answer.status < 300, f"HTTP {answer.status}"
        except SmsError as error:
            answered, taken, why = False, False, error.words
        if taken:
            self._store.drop_callback(callback.id)
        elif callback.tries >= len(RETRIES):
            log.warning("event=callback_given_up application=%s why=%s", callback.application, why)
            self._store.drop_callback(callback.id)
        else:
            log.info("event=callback_failed application=%s why=%s", callback.application, why)
            self._store.retry_callback(callback.id, self._clock() + RETRIES[callback.tries])
        return answered
