"""The door: lets clients in and out, the one place where store and kernel change together."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping

from portald import access, phone
from portald.config import Config
from portald.errors import FirewallError
from portald.model import Client, End, Grant, Session, Spent
from portald.plan import Plan
from portald.ports import Clock, Firewall
from portald.store import Store
from portald.store.opening import Opened

log = logging.getLogger(__name__)


class Door:
    """``turn`` is held while store and kernel change together; rounds repair what the kernel missed."""

    def __init__(
        self,
        config: Config,
        store: Store,
        firewall: Firewall,
        clock: Clock,
        turn: threading.Lock,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._config = config
        self._store = store
        self._firewall = firewall
        self._clock = clock
        self._turn = turn
        self._wake = wake
        self.opened: Callable[[str], None] = lambda mac: None
        """Called with the MAC of whoever has come in."""

    def let_in(self, open: Callable[[float], Opened]) -> Session:
        """Open a session by a method of the store, and give it to the kernel.

        The session counts from here on even if the kernel cannot be told just now: the next
        round does, and ``granted_at`` says when it has.
        """
        with self._turn:
            now = self._clock()
            session, replaced = open(now)
            self._grant(session, replaced, now)
        log.info(
            "event=session_opened session=%d account=%s mac=%s verified=%s",
            session.id, phone.mask_name(session.account.name), session.mac, session.verified,
        )  # fmt: skip
        self.opened(session.mac)
        return session

    def reopen(self, session: Session, client: Client) -> Session | None:
        """Let a session go on; ``None`` if another has begun meanwhile, or its time is over."""
        with self._turn:
            now = self._clock()
            opened = self._store.reopen(session.id, client, now)
            if opened is None:
                return None
            again, replaced = opened
            self._grant(again, replaced, now)
        log.info("event=session_reopened session=%d mac=%s", again.id, again.mac)
        self.opened(again.mac)
        return again

    def prolong(self, session: int, extra: int) -> None:
        """Give a live session more time than its plan does; the next round tells the kernel."""
        with self._turn:
            changed = self._store.last_until(session, extra)
        if changed:
            log.info("event=session_prolonged session=%d extra=%d", session, extra)
            self._wake()

    def end(self, reasons: Mapping[int, End]) -> list[int]:
        """End sessions at once; return those that were live."""
        with self._turn:
            ended = self._store.end_sessions(reasons, self._clock())
            if ended:
                try:
                    self._firewall.apply([], ended)
                except FirewallError as error:
                    log.error("event=revoke_failed sessions=%d error=%s", len(ended), error)
        for session in ended:
            log.info("event=session_ended session=%d reason=%s", session, reasons[session])
        if ended:
            self._wake()  # for their last bytes
        return ended

    def follow(self, seen: Mapping[tuple[str, str], frozenset[str]]) -> int:
        """Let clients' sessions go where their devices are seen now; return how many have moved."""
        with self._turn:
            now = self._clock()
            found = [self._store.session_of(mac, zone) for mac, zone in seen]
            moved = access.moved((session for session in found if session is not None), seen)
            if not moved:
                return 0
            self._store.set_addresses(moved, now)
            plans = self._store.plans()
            live = [session for number in moved if (session := self._store.session(number)) is not None]
            try:
                self._firewall.apply([self.grant(session, plans, now)[0] for session in live], [])
            except FirewallError as error:
                log.error("event=move_failed sessions=%d error=%s", len(live), error)
                self._wake()
        log.info("event=sessions_moved sessions=%d", len(moved))
        return len(moved)

    def grant(self, session: Session, plans: Mapping[str, Plan], now: float) -> tuple[Grant, access.Terms]:
        """Return what the kernel shall hold for a session, and the terms behind it."""
        plan = plans[session.plan]
        spent = self._store.spent([session.account.id], now)[session.account.id] if plan.counts else Spent()
        terms = access.terms(plan, session, spent, now, self._store.tz)
        return access.grant(session, terms, self._config.firewall.longest, now), terms

    def _grant(self, session: Session, replaced: list[int], now: float) -> None:
        grant, _ = self.grant(session, self._store.plans(), now)
        try:
            self._firewall.apply([grant], replaced)
        except FirewallError as error:
            log.error("event=grant_failed session=%d error=%s", session.id, error)
            self._wake()
        else:
            self._store.set_granted([session.id], now)
        if not access.families(session.addresses)[0]:
            self._wake()  # it came over IPv6: a round finds its IPv4 address
