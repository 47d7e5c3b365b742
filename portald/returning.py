"""Coming back without another text: a device that is known, or the token that a new MAC brings."""

from __future__ import annotations

import hashlib
import hmac
import secrets

from portald.door import Door
from portald.errors import Reason, Refused
from portald.limits import HOUR, Allowance
from portald.model import Account, Client, End, Session, Sort
from portald.ports import Clock
from portald.store import Store

WELCOME = {End.IDLE, End.LEFT, End.EXPIRED, End.TIME_USED, End.VOLUME_USED, End.CLOSED, End.REPLACED}
"""Ends after which a device may come back; who was cut or blocked proves the number again."""

RETURNS = 60
"""Times in an hour that the devices of one account may come back, or stay longer, without a proof."""


def is_randomised(mac: str) -> bool:
    """Tell whether a device made its MAC up (IEEE 802c, the bit for locally administered)."""
    return bool(int(mac[:2], 16) & 2)


class Returning:
    """For as long as the plan says since the last proof, and only where that was one's own."""

    def __init__(self, store: Store, door: Door, clock: Clock, key: bytes) -> None:
        self._store = store
        self._door = door
        self._clock = clock
        self._key = key

    def known(self, client: Client, token: str = "") -> Account | None:
        """Return the account that a client may come back to, if it is remembered."""
        last = self._last(client)
        if last is not None:
            return last.account
        found = self._store.account_of_token(self._sealed(token), client.zone) if token else None
        if found is None or not is_randomised(client.mac):
            return None
        account = self._store.account(found[0])
        return account if account and self._remembers(account, found[1]) else None

    def resume(self, client: Client) -> Session | None:
        """Let a session go on that ended only because its device was away."""
        last = self._last(client)
        return self._door.reopen(last, client) if last and last.end is End.IDLE else None

    def come_back(self, client: Client, token: str = "") -> Session:
        """Let a client in that is remembered; raise ``Refused`` if it is not, or may not come in now."""
        last, account = self._last(client), self.known(client, token)
        if account is None:
            raise Refused(Reason.NO_CHALLENGE)
        self._count(account)
        if last is not None and last.end in (End.IDLE, End.LEFT):
            again = self._door.reopen(last, client)
            if again is not None:
                return again
        if last is not None:
            return self._door.let_in(lambda now: self._store.open_for(account.id, client, now))
        return self._door.let_in(
            lambda now: self._store.open_by_token(self._sealed(token), account.id, client, now)
        )

    def may_extend(self, session: Session) -> bool:
        """Tell whether a session's time may begin anew: its guest could as well leave and come back."""
        plan = self._store.plan_of_group(session.account.group)
        return (
            plan is not None
            and plan.session is not None
            and plan.again_after is None
            and session.verified
            and session.until is None
            and self._remembers(session.account, session.account.verified_at)
        )

    def extend(self, session: Session) -> None:
        """Let a session's time begin anew, once however often it is asked for; raise ``Refused``."""
        if not self.may_extend(session):
            raise Refused(Reason.WAY_CLOSED)
        self._count(session.account)
        self._door.prolong(session.id, int(self._clock() - session.started_at))

    def token(self, session: Session) -> str:
        """Return a token for the device's browser, by which it is known under another MAC.

        It is as old as the proof, so that no chain of tokens is good for ever; empty without one.
        """
        proven = session.account.verified_at
        if proven is None:
            return ""
        made = secrets.token_urlsafe(32)
        self._store.add_token(self._sealed(made), session.account.id, session.zone, proven, self._clock())
        return made

    def _count(self, account: Account) -> None:
        # Each time is a session, or a token, that is kept for months, or a round for everybody.
        allowance = Allowance(f"back:{account.id}", RETURNS, HOUR, Reason.BUSY)
        self._store.spend([allowance], self._clock())

    def _last(self, client: Client) -> Session | None:
        last = self._store.last_session_of(client.mac, client.zone)
        if last is None or last.end not in WELCOME or not last.verified or last.until is not None:
            return None
        return last if self._remembers(last.account, last.account.verified_at) else None

    def _remembers(self, account: Account, proven_at: float | None) -> bool:
        plan = self._store.plan_of_group(account.group)
        if plan is None or account.blocked or account.sort is Sort.DEVICE:
            return False
        return proven_at is not None and 0 <= self._clock() - proven_at < plan.remember

    def _sealed(self, token: str) -> str:
        return hmac.new(self._key, b"token\0" + token.encode(), hashlib.sha256).hexdigest()
