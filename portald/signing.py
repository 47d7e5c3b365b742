"""Passwords and PINs: signing in with one, choosing one, and a new one after a code."""

from __future__ import annotations

import logging

from portald import limits, passwords
from portald.config import Config, Zone
from portald.door import Door
from portald.errors import Reason, Refused
from portald.exchange import Exchange
from portald.model import Account, Challenge, Client, Order, Purpose, Session, Sort, Wish
from portald.plan import Second
from portald.ports import Clock
from portald.store import Store

log = logging.getLogger(__name__)

PINS = 5
"""PINs that the holder of an account may choose in an hour."""


class Signing:
    """What a stranger types is answered alike whether or not there is such an account."""

    def __init__(self, config: Config, store: Store, door: Door, exchange: Exchange, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._door = door
        self._exchange = exchange
        self._clock = clock

    def enter(
        self, client: Client, account: Account | None, typed: str, password: str, order: Order
    ) -> Session | Challenge:
        """Let a client in by a password, or send the code that its plan asks for besides.

        ``order`` says in which language; a guest's own PIN is good for as long as the plan
        remembers the proof of the number, an operator's account always.
        """
        in_force = self._exchange.limits_in_force()
        allowances = limits.for_guess(in_force, client.mac, "")
        if in_force.guesses_per_number:
            # Not those of its codes: who knows a number must not shut its owner out by wrong PINs.
            name = f"password:{account.name if account else typed[:64].lower()}"
            most = in_force.guesses_per_number
            allowances.append(limits.Allowance(name, most, limits.HOUR, Reason.GUESSES_USED_UP))
        with passwords.room():
            self._store.spend(allowances, self._clock())
            kept = self._store.password(account.id) if account else None
            sealed, failures = kept or (passwords.NOBODY, 0)
            right = passwords.opens(sealed, password)
        if account is None or kept is None or not right:
            if account and kept:
                self._store.password_failed(account.id)
            raise Refused(Reason.PASSWORD_WRONG)
        # Where no code can be sent there is no way back, and ten guesses would be a way to lock it.
        if failures >= passwords.WRONG and (account.number or account.email):
            raise Refused(Reason.PASSWORD_OLD)
        if failures:
            self._store.password_right(account.id)
        plan = self._store.plan_of_group(account.group)
        if account.sort is not Sort.USER and not account.kept:
            proven = account.verified_at
            if plan is None or proven is None or self._clock() - proven >= plan.remember:
                raise Refused(Reason.PASSWORD_OLD)
        if plan is not None and plan.second is Second.SMS:
            if not account.number:
                log.warning("event=second_step_impossible account=%d reason=no_number", account.id)
                raise Refused(Reason.GROUP_CLOSED)
            return self._code(client, account.number, Purpose.SECOND, account, order, plan.providers)
        proven = account.sort is Sort.USER or account.kept  # else it is the number that was, earlier
        return self._door.let_in(lambda now: self._store.open_for(account.id, client, now, proven))

    def may_choose(self, session: Session) -> bool:
        """Tell whether a guest may set the PIN of the account that it is online with.

        Only with the code's own session: who came by a token, another's PIN or a copied MAC must
        not make a key of it.  A name with a password may be many guests'.
        """
        zone = next((zone for zone in self._config.zones if zone.name == session.zone), None)
        proven = session.account.verified_at
        return (
            zone is not None
            and "password" in zone.ways
            and session.verified
            and session.account.sort in (Sort.NUMBER, Sort.EMAIL)
            and proven is not None
            and abs(proven - session.started_at) < 1
        )

    def choose(self, session: Session, password: str) -> None:
        """Set the personal PIN or password of the account that a guest is online with."""
        if not self.may_choose(session):
            raise Refused(Reason.WAY_CLOSED)
        passwords.check(password)
        allowance = limits.Allowance(f"pin:{session.account.id}", PINS, limits.HOUR, Reason.BUSY)
        with passwords.room():
            self._store.spend([allowance], self._clock())
            self._store.set_password(session.account.id, passwords.seal(password))
        log.info("event=password_set account=%d", session.account.id)

    def forgotten(self, client: Client, zone: Zone, contact: str, order: Order) -> Challenge:
        """Send a code for a new password to a number or address, if it is an account's.

        The answer is the same if it is none: then nothing is sent.
        """
        by = "email" if "@" in contact else "sms"
        if zone.reset not in (by, "both"):
            raise Refused(Reason.WAY_CLOSED)
        account = self._store.account_named(contact)
        if account is not None and (contact not in (account.number, account.email) or account.blocked):
            account = None
        return self._code(client, contact, Purpose.RESET, account, order, zone.reset_providers)

    def reset(self, client: Client, code: str, password: str) -> None:
        """Set a new password with the code that was sent for it."""
        passwords.check(password)
        challenge = self._exchange.judge(client.mac, code, client.zone)
        if challenge.purpose is not Purpose.RESET or challenge.account is None:
            raise Refused(Reason.NO_CHALLENGE)
        if not self._store.reset_password(challenge, passwords.seal(password), self._clock()):
            raise Refused(Reason.NO_CHALLENGE)
        log.info("event=password_reset account=%d", challenge.account)

    def _code(
        self, client: Client, to: str, purpose: Purpose, account: Account | None, order: Order,
        providers: tuple[str, ...],
    ) -> Challenge:  # fmt: skip
        self._store.refuse_blocked(client)
        made = Order(
            challenge=0, to=to, policy=self._config.otp.policy, language=order.language, ip=client.ip,
            agent=order.agent, providers=providers,
        )  # fmt: skip
        return self._exchange.ask(
            Wish(
                made, client.mac, client.zone, purpose=purpose, account=account.id if account else None,
                decoy=account is None,
            )
        )  # fmt: skip
