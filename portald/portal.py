"""What the product does for a guest and for an operator, one method per use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from portald import access, limits, phone
from portald.config import Config, Zone
from portald.errors import FirewallError, Reason, Refused
from portald.exchange import Exchange
from portald.model import Challenge, Client, Conversion, End, Order, Session, Wish
from portald.ports import Clock, Firewall, Neighbours
from portald.sms.carriers import Carrier, offered
from portald.sms.routes import Routes
from portald.store import Store

log = logging.getLogger(__name__)


CARRIER_GROUP = "SMS"
"""While a group of this name exists, guests may have their code brought by their carrier's e-mail."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What the guest's request for a code says besides the number."""

    language: str = ""
    agent: str = ""
    carrier: str = ""


class Portal:
    """The whole product; ``turn`` is held while store and kernel change together."""

    def __init__(
        self,
        config: Config,
        store: Store,
        firewall: Firewall,
        routes: Routes,
        exchange: Exchange,
        neighbours: Neighbours,
        clock: Clock,
        turn: threading.Lock,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.config = config
        self._store = store
        self._firewall = firewall
        self._routes = routes
        self._exchange = exchange
        self._neighbours = neighbours
        self._clock = clock
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
        return self._exchange.pending(client.mac)

    def resend_in(self, challenge: Challenge) -> float:
        """Return the seconds until another text may be asked for."""
        return self._exchange.resend_in(challenge)

    def tracks(self, challenge: Challenge) -> bool:
        """Tell whether it will be known if the text cannot be delivered."""
        return self._routes.tracks(challenge.reference or "")

    def carriers(self) -> tuple[list[Carrier], list[Carrier]]:
        """Return the carriers to choose from, and those that have ended; empty if that is not offered.

        It is while there is a group called SMS and a provider of type email; carriers of countries
        whose numbers are not allowed are no help to anybody.
        """
        if not self._routes.carriers() or not self._store.has_group(CARRIER_GROUP):
            return [], []
        allowed = self.config.numbers.allowed
        report = [r for r in self.carrier_report() if not allowed or r["carrier"].country in allowed]
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        working, ended = offered([row["carrier"] for row in report], today)
        # The only proof there is: whose codes do not come back has in truth ended.  For a day only:
        # a stranger could bring it about.
        now = self._clock()
        today_seen = dict(self._store.conversions("carrier", now - 86_400, now))
        silent = {key for key, seen in today_seen.items() if _is_silent(seen)}
        return [c for c in working if c.key not in silent], ended + [c for c in working if c.key in silent]

    def sends(self) -> bool:
        """Tell whether texts go out without a carrier's e-mail."""
        return any(way.route.enabled and not way.by_carrier for way in self._routes.ways)

    def carrier(self, key: str) -> Carrier | None:
        return self._routes.carriers().get(key) if key else None

    def request_code(self, client: Client, typed: str, asking: Asking = Asking()) -> Challenge:
        """Send a code to the number typed; an earlier code of this client dies.

        The sending happens elsewhere: the challenge tells whether it is waiting, sent or failed.
        """
        number = phone.read(typed, self.config.numbers)
        if asking.carrier and asking.carrier not in {carrier.key for carrier in self.carriers()[0]}:
            raise Refused(Reason.CARRIER_CLOSED)
        order = Order(
            challenge=0,
            to=number,
            policy=self.config.otp.policy,
            language=asking.language,
            ip=client.ip,
            agent=asking.agent,
            carrier=asking.carrier,
        )
        return self._exchange.ask(Wish(order, client.mac, client.zone))

    def resend(self, client: Client, asking: Asking = Asking()) -> Challenge:
        """Send a new code to the number the client gave before, the same way."""
        challenge = self.pending(client)
        if challenge is None:
            raise Refused(Reason.NO_CHALLENGE)
        return self.request_code(client, challenge.number, replace(asking, carrier=challenge.carrier))

    def restart(self, client: Client) -> None:
        """Forget the client's pending challenge: it wants to type another number."""
        self._exchange.forget(client.mac)

    def confirm(self, client: Client, typed: str) -> Session:
        """Judge a code and let the client in.

        The session counts from here on even if the kernel cannot be told just now: the next
        round does, and ``granted_at`` says when it has.
        """
        challenge = self._exchange.judge(client.mac, typed)
        group = CARRIER_GROUP if challenge.carrier else self.zone(client).group
        with self._turn:
            now = self._clock()
            session, replaced = self._store.open_session(challenge, client, group, now)
            self._grant(session, replaced, now)
        return session

    def admit(self, client: Client, typed: str) -> Session:
        """Let the client in for a number that is only looked at (``otp.mode = "format_only"``)."""
        if self.config.otp.mode != "format_only":
            raise Refused(Reason.FORM_STALE)
        number = phone.read(typed, self.config.numbers)
        with self._turn:
            now = self._clock()
            group = self.zone(client).group
            allowances = limits.for_holder(self._exchange.limits_in_force(), client.mac)
            session, replaced = self._store.open_unverified(number, client, group, allowances, now)
            self._grant(session, replaced, now)
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

    def carrier_report(self) -> list[dict[str, Any]]:
        """Return every carrier with its state and how many codes came back by it, in 30 days."""
        now = self._clock()
        seen = dict(self._store.conversions("carrier", now - 30 * 86_400, now))
        return [
            {"carrier": carrier, "seen": seen.get(carrier.key, Conversion())}
            for carrier in self._routes.carriers().values()
        ]

    # Inside ------------------------------------------------------------------------------

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
        log.info(
            "event=session_opened session=%d number=%s mac=%s verified=%s",
            session.id, phone.mask(session.account.number), session.mac, session.verified,
        )  # fmt: skip

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


def _is_silent(seen: Conversion) -> bool:
    return seen.sent >= 20 and seen.verified * 10 < seen.sent
