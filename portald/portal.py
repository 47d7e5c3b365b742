"""What the product does for a guest and for an operator, one method per use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from portald import access, limits, otp, phone
from portald.config import Config, Zone
from portald.errors import FirewallError, Reason, Refused, SmsError
from portald.model import Challenge, Client, End, Outcome, Session
from portald.ports import Clock, Firewall, Later, Neighbours, Verifier
from portald.store import Store

log = logging.getLogger(__name__)


class Portal:
    """The whole product; ``turn`` is held while store and kernel change together."""

    def __init__(
        self,
        config: Config,
        store: Store,
        firewall: Firewall,
        verifier: Verifier,
        neighbours: Neighbours,
        clock: Clock,
        later: Later,
        turn: threading.Lock,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self._store = store
        self._firewall = firewall
        self._verifier = verifier
        self._neighbours = neighbours
        self._clock = clock
        self._later = later
        self._turn = turn
        self._wake = wake

    # Guests ------------------------------------------------------------------------------

    def who(self, ip: str, mac: str | None = None) -> Client:
        """Return the device behind a connection, by the kernel's word alone.

        ``ip`` is the connection's address, with its %interface if it is link-local; ``mac`` is
        who opened it.  A neighbour table can be lied to by ARP; then the two differ.
        """
        client = self._neighbours.client(ip)
        if client is None:
            raise Refused(Reason.CLIENT_UNKNOWN)
        if mac is not None and mac != client.mac:
            log.warning("event=mac_conflict ip=%s opened_by=%s neighbour=%s", ip, mac, client.mac)
            raise Refused(Reason.CLIENT_UNKNOWN)
        return client

    def zone(self, client: Client) -> Zone:
        return next(zone for zone in self.config.zones if zone.name == client.zone)

    def status(self, client: Client) -> Session | None:
        """Return the client's live session."""
        return self._store.session_of(client.mac)

    def pending(self, client: Client) -> Challenge | None:
        """Return the client's challenge, found again after its page was closed."""
        return self._store.challenge_of(client.mac, self._clock())

    def resend_in(self, challenge: Challenge) -> float:
        """Return the seconds until another text may be asked for."""
        return self._store.wait_for(limits.number_pause(challenge.number), self._clock())

    def request_code(self, client: Client, typed: str) -> Challenge:
        """Send a code to the number typed; an earlier code of this client dies.

        The sending happens elsewhere: the challenge tells whether it is waiting, sent or failed.
        """
        number = phone.read(typed, self.config.numbers)
        now = self._clock()
        allowances = limits.for_text(self.config.otp, self.config.limits, client.mac, number)
        challenge = self._store.open_challenge(client, number, allowances, self.config.otp.lifetime, now)
        if not self._later(lambda: self._send(challenge)):
            self._store.text_failed(challenge.id, Outcome.TEMPORARY, "too many texts at once")
            self._store.give_back(allowances)
            raise Refused(Reason.BUSY, retry_after=5)
        return challenge

    def resend(self, client: Client) -> Challenge:
        """Send a new code to the number the client gave before."""
        challenge = self.pending(client)
        if challenge is None:
            raise Refused(Reason.NO_CHALLENGE)
        return self.request_code(client, challenge.number)

    def restart(self, client: Client) -> None:
        """Forget the client's pending challenge: it wants to type another number."""
        self._store.cancel_challenge(client.mac)

    def confirm(self, client: Client, typed: str) -> Session:
        """Judge a code and let the client in.

        The session counts from here on even if the kernel cannot be told just now: the next
        round does, and ``granted_at`` says when it has.
        """
        code = otp.read_code(typed)
        if len(code) != self.config.otp.digits:
            raise Refused(Reason.CODE_INCOMPLETE)
        challenge = self._take_guess(client)
        try:
            right = self._verifier.check(challenge.reference or "", challenge.number, code)
        except SmsError as error:
            log.warning("event=code_not_judged outcome=%s words=%s", error.outcome, error.words)
            raise Refused(Reason.BUSY, retry_after=5) from None
        if not right:
            last = challenge.attempts >= self.config.otp.attempts
            raise Refused(Reason.TOO_MANY_GUESSES if last else Reason.CODE_WRONG)
        with self._turn:
            now = self._clock()
            group = self.zone(client).group
            session, replaced = self._store.open_session(challenge, client, group, now)
            self._grant(session, replaced, now)
        log.info(
            "event=session_opened session=%d number=%s mac=%s ip=%s",
            session.id, phone.mask(challenge.number), client.mac, client.ip,
        )  # fmt: skip
        return session

    def time_left(self, session: Session) -> float | None:
        """Return the seconds a session still has, ``None`` if it has no end."""
        at = session.expires_at
        return None if at is None else max(0.0, at - self._clock())

    def leave(self, client: Client) -> None:
        """Log the client out at its own wish."""
        session = self.status(client)
        if session is not None:
            self._end(session.id, End.LEFT)

    def now(self) -> float:
        return self._clock()

    # Operators ---------------------------------------------------------------------------

    def sessions(self) -> list[Session]:
        return list(self._store.live_sessions())

    def ended(self, limit: int = 50) -> list[Session]:
        return self._store.ended_sessions(limit)

    def challenges(self, limit: int = 50) -> list[Challenge]:
        return self._store.challenges(limit)

    def revoke(self, session_id: int) -> bool:
        """Cut a session; false if there is no live one of that number."""
        return self._end(session_id, End.REVOKED)

    # Inside ------------------------------------------------------------------------------

    def _take_guess(self, client: Client) -> Challenge:
        pending = self.pending(client)
        number = pending.number if pending else ""
        allowances = limits.for_guess(self.config.limits, client.mac, number)
        return self._store.take_guess(client.mac, self.config.otp.attempts, allowances, self._clock())

    def _grant(self, session: Session, replaced: list[int], now: float) -> None:
        grant = access.grant(session, self.config.firewall.longest, now)
        try:
            self._firewall.apply([grant], replaced)
        except FirewallError as error:
            log.error("event=grant_failed session=%d error=%s", session.id, error)
        else:
            self._store.set_granted([session.id], now)
        if not session.addresses:
            self._wake()  # it came over IPv6: a round finds its IPv4 address

    def _end(self, session_id: int, reason: End) -> bool:
        with self._turn:
            if not self._store.end_session(session_id, reason, self._clock()):
                return False
            try:
                self._firewall.apply([], [session_id])
            except FirewallError as error:
                log.error("event=revoke_failed session=%d error=%s", session_id, error)
                self._wake()
        log.info("event=session_ended session=%d reason=%s", session_id, reason)
        return True

    def _send(self, challenge: Challenge) -> None:
        masked = phone.mask(challenge.number)
        try:
            reference = self._verifier.start(challenge.number)
        except SmsError as error:
            log.warning(
                "event=text_failed number=%s outcome=%s words=%s", masked, error.outcome, error.words
            )
            self._not_sent(challenge, error)
        except Exception:
            # A verifier from elsewhere may raise anything; the guest must not wait for ever.
            log.exception("event=text_failed number=%s outcome=unknown", masked)
            self._store.text_failed(challenge.id, Outcome.UNKNOWN, "the provider failed; see the log")
        else:
            log.info("event=text_sent number=%s mac=%s", masked, challenge.mac)
            self._store.text_sent(challenge.id, reference, self._code_expires())

    def _not_sent(self, challenge: Challenge, error: SmsError) -> None:
        if error.outcome is Outcome.UNKNOWN and error.reference:
            # It may arrive yet: then the guest shall be able to type it.
            self._store.text_sent(
                challenge.id, error.reference, self._code_expires(), error.outcome, error.words
            )
            return
        self._store.text_failed(challenge.id, error.outcome, error.words)
        if error.outcome is not Outcome.UNKNOWN:
            # Certainly not sent, so nobody pays for it and nobody need wait.
            self._store.give_back(
                limits.for_unsent(self.config.otp, self.config.limits, challenge.mac, challenge.number)
            )

    def _code_expires(self) -> float:
        return self._clock() + self.config.otp.lifetime
