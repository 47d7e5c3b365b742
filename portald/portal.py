"""What the product does for a guest and for an operator, one method per use."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from portald import access, limits, phone
from portald.config import Config, Zone
from portald.door import Door
from portald.errors import Reason, Refused
from portald.exchange import Exchange
from portald.limits import DAY, HOUR, Allowance
from portald.model import (
    Account,
    Challenge,
    Client,
    Conversion,
    End,
    Order,
    Outcome,
    Purpose,
    Session,
    Sort,
    State,
    Wish,
)
from portald.plan import Plan, Proof
from portald.ports import Clock, Neighbours
from portald.sms.carriers import Carrier, offered
from portald.sms.routes import Routes
from portald.store import Store

log = logging.getLogger(__name__)


CARRIER_GROUP = "SMS"
"""While a group of this name exists, guests may have their code brought by their carrier's e-mail."""
WINDOWS = 60
"""Windows for fetching an e-mail that are opened in an hour, for all devices together."""
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}")


@dataclass(frozen=True, slots=True)
class Asking:
    """What the guest's request for a code says besides the number."""

    language: str = ""
    agent: str = ""
    carrier: str = ""
    country: str = ""


class Portal:
    """What a guest's page and an operator's list ask for."""

    def __init__(
        self,
        config: Config,
        store: Store,
        door: Door,
        routes: Routes,
        exchange: Exchange,
        neighbours: Neighbours,
        clock: Clock,
    ) -> None:
        self.config = config
        self._store = store
        self._door = door
        self._routes = routes
        self._exchange = exchange
        self._neighbours = neighbours
        self._clock = clock

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

    def portal_address(self) -> str:
        """Return the portal's address for guests of the first zone."""
        return self.config.portal_url(self.config.zones[0])

    def zone(self, client: Client) -> Zone:
        return next(zone for zone in self.config.zones if zone.name == client.zone)

    def plan(self, client: Client) -> Plan | None:
        """Return the plan of guests who are new in the client's zone; ``None`` if the group is gone."""
        return self._store.plan_of_group(self.zone(client).group)

    def status(self, client: Client) -> Session | None:
        """Return the client's live session; a window for fetching a code is none."""
        session = self._store.session_of(client.mac, client.zone)
        return None if session is None or session.until is not None else session

    def window(self, client: Client) -> Session | None:
        """Return the client's window for fetching a code from a mailbox, while it is open."""
        session = self._store.session_of(client.mac, client.zone)
        return session if session is not None and session.until is not None else None

    def pending(self, client: Client) -> Challenge | None:
        """Return the client's challenge, found again after its page was closed.

        One of another zone is none: who may ask there, and what for, is not what this one allows.
        """
        found = self._exchange.pending(client.mac)
        if found is None or found.zone != client.zone:
            return None
        if self.unsure(found):
            # A code that was never made is sent at once, and nothing is ever heard of it.
            state = State.SENT if found.state is State.WAITING else found.state
            found = replace(found, state=state, outcome=Outcome.ACCEPTED, delivered=None)
        return found

    def resend_in(self, challenge: Challenge) -> float:
        """Return the seconds until another text may be asked for."""
        return self._exchange.resend_in(challenge)

    def tracks(self, challenge: Challenge) -> bool:
        """Tell whether it will be known if the text cannot be delivered."""
        return not self.unsure(challenge) and self._routes.tracks(challenge.reference or "")

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
        return any(w.route.enabled and not w.by_carrier and not w.by_mail for w in self._routes.ways)

    def mails(self) -> bool:
        """Tell whether codes can be sent to mail addresses."""
        return self._routes.mails()

    def carrier(self, key: str) -> Carrier | None:
        return self._routes.carriers().get(key) if key else None

    def contact(self, typed: str, country: str = "") -> str:
        """Return a typed number as E.164, or a mail address; raise ``Refused`` if it is neither.

        ``country`` is the one that the guest chose, for numbers without their country code.
        """
        if "@" not in typed:
            return phone.read(typed, self.config.numbers, country)
        address = typed.strip()
        if not _ADDRESS.fullmatch(address):
            raise Refused(Reason.EMAIL_INVALID)
        return address.lower()

    def account(self, typed: str) -> Account | None:
        """Return the account that somebody names, by its name, number or address as people type them."""
        # Any number: an operator may have made an account of one that gets no texts.
        anywhere = replace(self.config.numbers, allowed=(), types=tuple(phone.TYPES))
        try:
            contact = self.contact(typed) if "@" in typed else phone.read(typed, anywhere)
            found = self._store.account_named(contact)
        except Refused:
            found = None
        return found or self._store.account_named(typed.strip())

    def unsure(self, challenge: Challenge) -> bool:
        """Tell whether its page must not say that a text was sent: not every number has an account."""
        return self._exchange.unsure(challenge.purpose, challenge.zone)

    def window_offered(self, client: Client) -> int:
        """Return the seconds of a window that the client may still open, 0 if there is none."""
        plan = self.plan(client)
        if plan is None or plan.window is None or self.window(client):
            return 0
        return int(plan.window) if not self._store.wait_for(f"window:{client.mac}", self._clock()) else 0

    def volume_left(self, session: Session) -> int | None:
        """Return the bytes that a session's account still has, ``None`` if nobody counts."""
        return self._door.grant(session, self._store.plans(), self._clock())[1].left

    def request_code(self, client: Client, typed: str, asking: Asking = Asking()) -> Challenge:
        """Send a code to the number or address typed; an earlier code of this client dies.

        The sending happens elsewhere: the challenge tells whether it is waiting, sent or failed.
        """
        self._store.refuse_blocked(client)
        zone, plan = self.zone(client), self.plan(client)
        contact = self.contact(typed, asking.country)
        if asking.carrier and asking.carrier not in {carrier.key for carrier in self.carriers()[0]}:
            raise Refused(Reason.CARRIER_CLOSED)
        if plan is None:
            raise Refused(Reason.GROUP_CLOSED)
        if plan.proof not in (Proof.EITHER, Proof.EMAIL if "@" in contact else Proof.SMS):
            raise Refused(Reason.WAY_CLOSED)
        account = self._store.account_named(contact)
        if account is not None:
            plan = self._store.plan_of_group(account.group) or plan
        # No text is paid for whom its code would not let in.  Where only known numbers get one, all
        # are answered alike: another group's hours would tell.
        if not zone.known_only:
            access.check_hours(plan, self._clock(), self._store.tz)
        return self._exchange.ask(
            Wish(
                self.order(client, contact, asking, plan.providers), client.mac, client.zone,
                decoy=zone.known_only and account is None,
            )
        )  # fmt: skip

    def order(self, client: Client, to: str, asking: Asking, providers: tuple[str, ...] = ()) -> Order:
        """Return the order of a code for a client."""
        return Order(
            challenge=0,
            to=to,
            policy=self.config.otp.policy,
            language=asking.language,
            ip=client.ip,
            agent=asking.agent,
            carrier=asking.carrier,
            providers=() if asking.carrier else providers,
        )

    def open_window(self, client: Client) -> Session:
        """Let a client online for the minutes that it takes to fetch a code from a mailbox."""
        plan, challenge = self.plan(client), self.pending(client)
        if plan is None or plan.window is None or challenge is None or "@" not in challenge.number:
            raise Refused(Reason.WAY_CLOSED)
        seconds = int(plan.window)
        allowances = [
            Allowance(f"window:{client.mac}", 1, DAY, Reason.TIME_USED),
            Allowance(f"window:{challenge.number}", 2, DAY, Reason.TIME_USED),
            Allowance("windows", WINDOWS, HOUR, Reason.BUSY),
        ]
        group = self.zone(client).group
        return self._door.let_in(
            lambda now: self._store.open_window(client, group, allowances, seconds, now)
        )

    def resend(self, client: Client, asking: Asking = Asking()) -> Challenge:
        """Send a new code to the number the client gave before, the same way."""
        challenge = self.pending(client)
        if challenge is None:
            raise Refused(Reason.NO_CHALLENGE)
        if challenge.purpose is Purpose.ENTER:
            return self.request_code(client, challenge.number, replace(asking, carrier=challenge.carrier))
        providers: tuple[str, ...] = ()
        account = self._store.account(challenge.account) if challenge.account else None
        if challenge.purpose is Purpose.RESET:
            providers = self.zone(client).reset_providers
        elif account is not None and (plan := self._store.plan_of_group(account.group)) is not None:
            providers = plan.providers
        return self._exchange.ask(
            Wish(
                self.order(client, challenge.number, asking, providers), client.mac, client.zone,
                purpose=challenge.purpose, account=challenge.account, decoy=challenge.account is None,
            )
        )  # fmt: skip

    def restart(self, client: Client) -> None:
        """Forget the client's pending challenge: it wants to type another number."""
        self._exchange.forget(client.mac)

    def confirm(self, client: Client, typed: str) -> Session:
        """Judge a code and let the client in."""
        challenge = self._exchange.judge(client.mac, typed, client.zone)
        if challenge.purpose is Purpose.SECOND:
            return self._door.let_in(lambda now: self._store.open_second(challenge, client, now))
        if challenge.purpose is Purpose.RESET:
            raise Refused(Reason.NO_CHALLENGE)
        group = CARRIER_GROUP if challenge.carrier else self.zone(client).group
        sort = Sort.EMAIL if "@" in challenge.number else Sort.NUMBER
        return self._door.let_in(lambda now: self._store.open_proven(challenge, sort, client, group, now))

    def admit(self, client: Client, typed: str, country: str = "") -> Session:
        """Let the client in without a code: ``format_only``, or a plan that asks for no proof."""
        plan, group = self.plan(client), self.zone(client).group
        sort, name = Sort.DEVICE, client.mac
        if plan is None or plan.proof is not Proof.NONE:
            if self.config.otp.mode != "format_only":
                raise Refused(Reason.FORM_STALE)
            sort, name = Sort.NUMBER, phone.read(typed, self.config.numbers, country)
        allowances = limits.for_holder(self._exchange.limits_in_force(), client.mac)
        return self._door.let_in(
            lambda now: self._store.open_unproven(sort, name, client, group, allowances, now)
        )

    def time_left(self, session: Session) -> float | None:
        """Return the seconds a session still has, ``None`` if it has no end."""
        at = session.expires_at
        return None if at is None else max(0.0, at - self._clock())

    def leave(self, client: Client) -> None:
        """Log the client out at its own wish."""
        session = self.status(client)
        if session is not None:
            self._door.end({session.id: End.LEFT})

    def now(self) -> float:
        return self._clock()

    # Operators ---------------------------------------------------------------------------

    def sessions(self) -> list[Session]:
        return list(self._store.live_sessions())

    def ended(self, limit: int = 50) -> list[Session]:
        return self._store.ended_sessions(limit)

    def challenges(self, limit: int = 50) -> list[Challenge]:
        return self._store.challenges(limit)

    def online(self) -> int:
        return self._store.count_live()

    def revoke(self, session_id: int) -> bool:
        """Cut a session; false if there is no live one of that number."""
        return bool(self._door.end({session_id: End.REVOKED}))

    def carrier_report(self) -> list[dict[str, Any]]:
        """Return every carrier with its state and how many codes came back by it, in 30 days."""
        now = self._clock()
        seen = dict(self._store.conversions("carrier", now - 30 * 86_400, now))
        return [
            {"carrier": carrier, "seen": seen.get(carrier.key, Conversion())}
            for carrier in self._routes.carriers().values()
        ]


def _is_silent(seen: Conversion) -> bool:
    return seen.sent >= 20 and seen.verified * 10 < seen.sent
