"""Codes asked for, sent and judged: what guests and the venue's own programs have in common."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from portald import limits, otp, phone
from portald.config import Config, Limits
from portald.errors import Reason, Refused, SmsError
from portald.model import Challenge, Outcome, Purpose, Sent, Wish
from portald.ports import Clock, Later
from portald.purse import Purse
from portald.sms.routes import Routes
from portald.store import Store

log = logging.getLogger(__name__)


DECOY = "decoy"
"""The reference of a code that was never made."""
ELSEWHERE = 4
"""Guesses that providers judge at a time."""


class Exchange:
    """Sending happens elsewhere and later: a challenge tells how far it has come."""

    def __init__(
        self,
        config: Config,
        store: Store,
        routes: Routes,
        purse: Purse,
        clock: Clock,
        later: Later,
    ) -> None:
        self._config = config
        self._store = store
        self._routes = routes
        self._purse = purse
        self._clock = clock
        self._later = later
        self._asking = threading.BoundedSemaphore(ELSEWHERE)
        self.changed: Callable[[Challenge], None] = lambda challenge: None
        """Told when a challenge has got further, for those who asked to be told."""

    def pending(self, holder: str) -> Challenge | None:
        """Return the holder's challenge, found again after its page was closed."""
        return self._store.challenge_of(holder, self._clock())

    def unsure(self, purpose: Purpose, zone: str) -> bool:
        """Tell whether who asks must not learn if there is such an account, and so if a text was sent."""
        known_only = {each.name for each in self._config.zones if each.known_only}
        return purpose is Purpose.RESET or zone in known_only

    def resend_in(self, challenge: Challenge) -> float:
        """Return the seconds until another text may be asked for."""
        return self._store.wait_for(limits.number_pause(challenge.number), self._clock())

    def ask(self, wish: Wish, most: Callable[[Limits], Limits] = lambda settings: settings) -> Challenge:
        """Send a code; an earlier one of the same holder dies.

        Raises ``Refused`` if a limit is reached or the country is closed; then nothing is counted.
        """
        order = wish.order
        price = self._routes.price(order)
        replaces = self._store.code_before(wish.holder, order.to, self._clock())
        ask = self._purse.ask(order.to, wish.holder, wish.zone, price, order.carrier)
        settings = most(self._purse.limits())
        allowances = limits.for_text(settings, self._config.otp.resend_after, ask)
        challenge = self._store.open_challenge(wish, price, allowances, self._clock())
        if not self._later(lambda: self._send(challenge, wish, ask, replaces)):
            self._store.text_failed(challenge.id, Outcome.TEMPORARY, "too many texts at once")
            self._store.give_back(allowances, challenge.created_at)
            raise Refused(Reason.BUSY, retry_after=5)
        return challenge

    def judge(self, holder: str, typed: str, zone: str | None = None) -> Challenge:
        """Return the holder's challenge if this is its code; it is still to be spent.

        Raises ``Refused`` otherwise, also if a zone is named and it was asked for in another.
        However many ask at once, no more than the policy's attempts are compared.
        """
        pending = self.pending(holder)
        if pending is not None and zone is not None and pending.zone != zone:
            raise Refused(Reason.NO_CHALLENGE)
        policy = pending.policy if pending else self._config.otp.policy
        code = otp.read_code(typed, policy.kind)
        if len(code) != policy.length:
            raise Refused(Reason.CODE_INCOMPLETE)
        number, reference = (pending.number, pending.reference) if pending else ("", None)
        allowances = limits.for_guess(self._purse.limits(), holder, number)
        with self._room_to_ask(reference or ""):
            now = self._clock()
            early = pending is not None and self.unsure(pending.purpose, pending.zone)
            challenge = self._store.take_guess(holder, allowances, now, early)
            if zone is not None and challenge.zone != zone:  # asked for anew, elsewhere, just now
                raise Refused(Reason.NO_CHALLENGE)
            right = self._compare(challenge, code, allowances, now)
        if not right:
            last = challenge.attempts >= challenge.policy.attempts
            if last:
                self.changed(challenge)
            raise Refused(Reason.TOO_MANY_GUESSES if last else Reason.CODE_WRONG)
        return challenge

    @contextmanager
    def _room_to_ask(self, reference: str) -> Iterator[None]:
        """Hold one of few places while a provider is asked: it holds a thread, and not all may be held."""
        if not self._routes.asks_elsewhere(reference):
            yield
        elif self._asking.acquire(blocking=False):
            try:
                yield
            finally:
                self._asking.release()
        else:
            raise Refused(Reason.BUSY, retry_after=2)

    def _compare(
        self, challenge: Challenge, code: str, allowances: list[limits.Allowance], counted_at: float
    ) -> bool:
        if challenge.reference in (DECOY, None):
            return False
        try:
            return self._routes.check(challenge.reference or "", challenge.number, code)
        except SmsError as error:
            log.warning("event=code_not_judged outcome=%s words=%r", error.outcome, error.words)
            if error.outcome is not Outcome.UNKNOWN:
                self._store.give_guess_back(challenge.id, allowances, counted_at)
            elif challenge.attempts >= challenge.policy.attempts:
                self.changed(challenge)
            raise Refused(Reason.BUSY, retry_after=5) from None
        except Refused:
            # Its provider has declared the code dead.
            self._store.kill_challenge(challenge.id)
            self.changed(challenge)
            raise

    def forget(self, holder: str) -> bool:
        """Drop the holder's pending challenge; false if there is none."""
        return self._store.cancel_challenge(holder)

    def fail_interrupted(self) -> None:
        """Tell of the texts that were on their way when portald stopped."""
        for challenge in self._store.fail_interrupted():
            self.changed(challenge)

    def limits_in_force(self) -> Limits:
        """Return the settings' limits as the operator has changed them since."""
        return self._purse.limits()

    def _send(self, challenge: Challenge, wish: Wish, ask: limits.Ask, replaces: str) -> None:
        masked = phone.mask(challenge.number)
        if wish.decoy:
            log.info("event=text_not_sent number=%s reason=no_such_account", masked)
            self._store.text_sent(challenge.id, Sent(DECOY, challenge.policy), self._clock())
            self._purse.settle(challenge)
            return
        if not self._store.is_waiting(challenge.id):
            self._not_sent(challenge, ask, SmsError(Outcome.TEMPORARY, "nobody waits for it any more"))
            return
        try:
            sent = self._routes.start(replace(wish.order, challenge=challenge.id, replaces=replaces))
        except SmsError as error:
            log.warning(
                "event=text_failed number=%s outcome=%s words=%r", masked, error.outcome, error.words
            )
            self._not_sent(challenge, ask, error)
        except Exception:
            log.exception("event=text_failed number=%s outcome=unknown", masked)
            # It may be missing in the ledger, so all that was set aside for it stays spent.
            self._store.text_failed(challenge.id, Outcome.UNKNOWN, "the provider failed; see the log")
        else:
            log.info("event=text_sent number=%s holder=%s", masked, challenge.holder)
            self._store.text_sent(challenge.id, sent, self._clock())
            self._purse.settle(challenge)
        self.changed(challenge)

    def _not_sent(self, challenge: Challenge, ask: limits.Ask, error: SmsError) -> None:
        certain = error.outcome is not Outcome.UNKNOWN or not error.reference
        if certain and self.unsure(challenge.purpose, challenge.zone):
            # Where there is no account nothing fails, and no pause is given back either.
            sent = Sent(DECOY, challenge.policy)
            self._store.text_sent(challenge.id, sent, self._clock(), error.outcome, error.words)
            self._purse.settle(challenge)
            return
        if error.outcome is Outcome.UNKNOWN and error.reference:
            # It may arrive yet: then the guest shall be able to type it.
            sent = Sent(error.reference, challenge.policy)
            self._store.text_sent(challenge.id, sent, self._clock(), error.outcome, error.words)
        else:
            self._store.text_failed(challenge.id, error.outcome, error.words)
        if error.outcome is Outcome.UNKNOWN:
            self._purse.settle(challenge)
        else:
            # Certainly not sent, so nobody pays for it and nobody need wait.
            unsent = limits.for_unsent(self._purse.limits(), self._config.otp.resend_after, ask)
            self._store.give_back(unsent, challenge.created_at)
