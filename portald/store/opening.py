"""Opening sessions: who may come in now, what it replaces, and how long it lasts.

Whatever opens a session raises ``Refused`` if the account's plan does not allow one now; then
nothing has changed, and a code is still good.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from dataclasses import replace

from portald import access
from portald.errors import Reason, Refused
from portald.limits import Allowance
from portald.model import Account, Challenge, Client, End, Session, Sort
from portald.plan import Full
from portald.store.accounts import COLUMNS, account_of, as_account
from portald.store.challenges import use
from portald.store.quotas import spend
from portald.store.sessions import SESSIONS, Sessions, as_session, plan_of, set_addresses
from portald.store.usage import spent

Opened = tuple[Session, list[int]]
"""A session, and those it replaces."""


class Opening(Sessions):
    """Each way in is one transaction."""

    def open_proven(
        self, challenge: Challenge, sort: Sort, client: Client, group: str, now: float
    ) -> Opened:
        """Spend a challenge for a session of the account of its number or address, made on first use."""
        with self.transaction() as connection:
            if not use(connection, challenge.id, now):
                raise Refused(Reason.NO_CHALLENGE)
            account = account_of(connection, sort, challenge.number, group, now)
            connection.execute(
                "UPDATE accounts SET verified_at = ?, failures = 0 WHERE id = ?", (now, account.id)
            )
            if challenge.carrier:
                # Whoever comes by way of a carrier is in this group, as promised where it is offered.
                connection.execute("UPDATE accounts SET group_name = ? WHERE id = ?", (group, account.id))
            return self._open(connection, account.id, client, now, verified=True)

    def open_unproven(
        self, sort: Sort, name: str, client: Client, group: str, allowances: Iterable[Allowance], now: float
    ) -> Opened:
        """Open a session for a number, address or device that nobody has proven.

        Raises ``Refused`` too if an allowance is used up, or if the account is in another group or
        has a password: what that may do is for those who prove that it is theirs.
        """
        with self.transaction() as connection:
            spend(connection, allowances, now)
            account = account_of(connection, sort, name, group, now)
            if account.group != group or account.has_password or account.kept:
                raise Refused(Reason.GROUP_CLOSED)
            return self._open(connection, account.id, client, now, verified=False)

    def open_second(self, challenge: Challenge, client: Client, now: float) -> Opened:
        """Spend the challenge that came after a password for a session of its account."""
        with self.transaction() as connection:
            if challenge.account is None or not use(connection, challenge.id, now):
                raise Refused(Reason.NO_CHALLENGE)
            connection.execute("UPDATE accounts SET verified_at = ? WHERE id = ?", (now, challenge.account))
            return self._open(connection, challenge.account, client, now, verified=True)

    def reset_password(self, challenge: Challenge, sealed: str, now: float) -> bool:
        """Spend a challenge for a new password; false if it was spent meanwhile."""
        with self.transaction() as connection:
            if challenge.account is None or not use(connection, challenge.id, now):
                return False
            connection.execute(
                "UPDATE accounts SET password = ?, failures = 0, verified_at = ? WHERE id = ?",
                (sealed, now, challenge.account),
            )
            # Whoever had the old one may still have these.
            connection.execute("DELETE FROM tokens WHERE account_id = ?", (challenge.account,))
        return True

    def open_window(
        self, client: Client, group: str, allowances: Iterable[Allowance], seconds: int, now: float
    ) -> Opened:
        """Open a session for as long as it takes to fetch a code from a mailbox."""
        with self.transaction() as connection:
            spend(connection, allowances, now)
            account = account_of(connection, Sort.DEVICE, client.mac, group, now)
            session, replaced = self._open(connection, account.id, client, now, verified=False)
            connection.execute("UPDATE sessions SET until = ? WHERE id = ?", (now + seconds, session.id))
            self._set_deadline(connection, session.id, now)
            return self._session(connection, session.id), replaced

    def open_for(self, account_id: int, client: Client, now: float, proven: bool = False) -> Opened:
        """Open a session of an account whose holder has proven it in some other way; ``proven`` is now."""
        with self.transaction() as connection:
            if proven:
                connection.execute("UPDATE accounts SET verified_at = ? WHERE id = ?", (now, account_id))
            return self._open(connection, account_id, client, now, verified=True)

    def reopen(self, session_id: int, client: Client, now: float) -> Opened | None:
        """Let a session go on that ended because its device was away or left; ``None`` if it cannot.

        It keeps its time and its bytes, so there must be some left.  Raises ``Refused`` if its
        account may not come in now.
        """
        with self.transaction() as connection:
            row = connection.execute(f"{SESSIONS} WHERE s.id = ?", (session_id,)).fetchone()
            session = as_session(row) if row else None
            if session is None or session.end not in (End.IDLE, End.LEFT):
                return None
            if (session.mac, session.zone) != (client.mac, client.zone):
                return None
            self._may_open(connection, session.account, client, now, None)
            plan = plan_of(connection, session.account.group)
            used = spent(connection, session.account.id, now, self.tz)
            # Without ``granted_at`` nobody asks how long ago it was active.
            over = access.terms(plan, replace(session, granted_at=None), used, now, self.tz).expires_at
            if over is not None and over <= now + access.EARLY:
                return None
            replaced = self._make_room(connection, session.account, client, now)
            # What it had while it was away was perhaps somebody else's.
            connection.execute(
                "UPDATE addresses SET until = ? WHERE session_id = ? AND until IS NULL",
                (session.ended_at, session_id),
            )
            connection.execute(
                "UPDATE sessions SET ended_at = NULL, end_reason = NULL, granted_at = NULL,"
                " active_at = ?, counted_at = ? WHERE id = ?",
                (now, now, session_id),
            )
            self._set_deadline(connection, session_id, now)
            if access.is_routed(client.ip):
                set_addresses(connection, session_id, frozenset({client.ip}), now)
            return self._session(connection, session_id), replaced

    def _open(
        self, connection: sqlite3.Connection, account_id: int, client: Client, now: float, verified: bool
    ) -> Opened:
        row = connection.execute(
            f"SELECT {COLUMNS} FROM accounts a WHERE a.id = ?", (account_id,)
        ).fetchone()
        if row is None:
            raise Refused(Reason.GROUP_CLOSED)
        account = as_account(row)
        whole, begun = self._before(connection, account, now)
        self._may_open(connection, account, client, now, whole)
        replaced = self._make_room(connection, account, client, now)
        (session_id,) = connection.execute(
            """
            INSERT INTO sessions (account_id, zone, mac, started_at, verified, active_at, counted_at, extra)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
            """,
            (account.id, client.zone, client.mac, now, verified, now, now, begun),
        ).fetchone()
        if client.ip and access.is_routed(client.ip):
            set_addresses(connection, session_id, frozenset({client.ip}), now)
        self._set_deadline(connection, session_id, now)
        return self._session(connection, session_id), replaced

    def _before(
        self, connection: sqlite3.Connection, account: Account, now: float
    ) -> tuple[Session | None, int]:
        """Return the account's last whole session, and the seconds by which a new one is longer (or less).

        Where the next whole session has to wait (``again_after``), nobody begins one by logging out
        and in again, as another device, or by typing the voucher once more: the time that has begun
        goes on, and it is over when it is over, whoever was online then.
        """
        ended = connection.execute(
            f"{SESSIONS} WHERE s.account_id = ? AND s.end_reason = 'expired'"
            " ORDER BY s.ended_at DESC LIMIT 1",
            (account.id,),
        ).fetchone()
        whole = as_session(ended) if ended else None
        plan = plan_of(connection, account.group)
        if plan.again_after is None or plan.session is None:
            return whole, 0
        row = connection.execute(
            f"{SESSIONS} WHERE s.account_id = ? AND s.until IS NULL ORDER BY s.id DESC LIMIT 1",
            (account.id,),
        ).fetchone()
        if row is None:
            return whole, 0
        last = as_session(row)
        begun = last.started_at + last.extra
        if now + access.EARLY < begun + plan.session:
            # It ended before its time, by whatever; one that was whole has nothing left to go on with.
            return (whole, 0) if last.end is End.EXPIRED else (whole, math.floor(begun - now))
        if last.ended_at is None:
            last = replace(last, ended_at=begun + plan.session)
        if whole is None or (whole.ended_at or 0) < (last.ended_at or 0):
            whole = last
        return whole, 0

    def _may_open(
        self,
        connection: sqlite3.Connection,
        account: Account,
        client: Client,
        now: float,
        ended: Session | None,
    ) -> None:
        blocked = "SELECT 1 FROM clients WHERE mac = ? AND verdict = 'blocked'"
        if connection.execute(blocked, (client.mac,)).fetchone():
            raise Refused(Reason.BLOCKED)
        plan = plan_of(connection, account.group)
        access.check(plan, account, spent(connection, account.id, now, self.tz), ended, now, self.tz)

    def _make_room(
        self, connection: sqlite3.Connection, account: Account, client: Client, now: float
    ) -> list[int]:
        """End what the new session replaces: the device's own, and the oldest of too many."""
        query = "SELECT id FROM sessions WHERE ended_at IS NULL AND "
        rows = connection.execute(query + "mac = ? AND zone = ?", (client.mac, client.zone)).fetchall()
        gone = [row["id"] for row in rows]
        plan = plan_of(connection, account.group)
        if plan.devices is not None:
            rows = connection.execute(
                query + "account_id = ? ORDER BY started_at, id", (account.id,)
            ).fetchall()
            others = [row["id"] for row in rows if row["id"] not in gone]
            too_many = max(0, len(others) - plan.devices + 1)
            if too_many and plan.when_full is Full.REFUSE:
                raise Refused(Reason.DEVICES_FULL)
            gone += others[:too_many]
        if account.sort is Sort.VOUCHER:
            # A token takes it to another MAC, and must not make one voucher good for many devices.
            batch = account.name.removeprefix("voucher ").partition("-")[0]
            (uses,) = connection.execute("SELECT uses FROM batches WHERE id = ?", (batch,)).fetchone()
            rows = connection.execute(
                query + "account_id = ? ORDER BY started_at, id", (account.id,)
            ).fetchall()
            others = [row["id"] for row in rows if row["id"] not in gone]
            gone += others[: max(0, len(others) - uses + 1)]
        self._end(connection, dict.fromkeys(gone, End.REPLACED), now)
        return gone

    def _set_deadline(self, connection: sqlite3.Connection, session_id: int, now: float) -> None:
        session = self._session(connection, session_id)
        plan = plan_of(connection, session.account.group)
        used = spent(connection, session.account.id, now, self.tz)
        expires_at = access.terms(plan, session, used, now, self.tz).expires_at
        connection.execute("UPDATE sessions SET expires_at = ? WHERE id = ?", (expires_at, session_id))
