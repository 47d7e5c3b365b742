"""Sessions: who is online, since when, with which addresses, and why it ended."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from portald import access
from portald import plan as plans
from portald.errors import Reason, Refused
from portald.limits import Allowance
from portald.model import Account, Challenge, Client, End, Session, Sort
from portald.model import Usage as Bytes
from portald.plan import Full, Plan
from portald.store.accounts import COLUMNS, Accounts, account_of, as_account
from portald.store.challenges import use
from portald.store.quotas import spend
from portald.store.usage import Usage, count_seconds, spent

_SESSIONS = f"""
    SELECT {COLUMNS}, s.id AS session_id, s.zone, s.mac, s.started_at, s.expires_at, s.granted_at,
           s.ended_at, s.end_reason, s.up, s.down, s.verified, s.active_at, s.extra, s.until,
           g.plan,
           (SELECT group_concat(address) FROM addresses WHERE session_id = s.id AND until IS NULL)
           AS addresses
    FROM sessions s
    JOIN accounts a ON a.id = s.account_id
    JOIN groups g ON g.name = a.group_name
"""

Opened = tuple[Session, list[int]]
"""A session, and those it replaces."""


class Sessions(Accounts, Usage):
    """The truth about access; the kernel is a cache of it.

    Whatever opens a session raises ``Refused`` if the account's plan does not allow one now;
    then nothing has changed, and a code is still good.
    """

    # Opening --------------------------------------------------------------------------------

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
            row = connection.execute(f"{_SESSIONS} WHERE s.id = ?", (session_id,)).fetchone()
            session = as_session(row) if row else None
            if session is None or session.end not in (End.IDLE, End.LEFT):
                return None
            if (session.mac, session.zone) != (client.mac, client.zone):
                return None
            self._may_open(connection, session.account, client, now, None)
            plan = _plan(connection, session.account.group)
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
            f"{_SESSIONS} WHERE s.account_id = ? AND s.end_reason = 'expired'"
            " ORDER BY s.ended_at DESC LIMIT 1",
            (account.id,),
        ).fetchone()
        whole = as_session(ended) if ended else None
        plan = _plan(connection, account.group)
        if plan.again_after is None or plan.session is None:
            return whole, 0
        row = connection.execute(
            f"{_SESSIONS} WHERE s.account_id = ? AND s.until IS NULL ORDER BY s.id DESC LIMIT 1",
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
        plan = _plan(connection, account.group)
        access.check(plan, account, spent(connection, account.id, now, self.tz), ended, now, self.tz)

    def _make_room(
        self, connection: sqlite3.Connection, account: Account, client: Client, now: float
    ) -> list[int]:
        """End what the new session replaces: the device's own, and the oldest of too many."""
        query = "SELECT id FROM sessions WHERE ended_at IS NULL AND "
        rows = connection.execute(query + "mac = ? AND zone = ?", (client.mac, client.zone)).fetchall()
        gone = [row["id"] for row in rows]
        plan = _plan(connection, account.group)
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
        plan = _plan(connection, session.account.group)
        used = spent(connection, session.account.id, now, self.tz)
        expires_at = access.terms(plan, session, used, now, self.tz).expires_at
        connection.execute("UPDATE sessions SET expires_at = ? WHERE id = ?", (expires_at, session_id))

    # Looking --------------------------------------------------------------------------------

    def session(self, session_id: int) -> Session | None:
        row = self.connection.execute(f"{_SESSIONS} WHERE s.id = ?", (session_id,)).fetchone()
        return as_session(row) if row else None

    def session_of(self, mac: str, zone: str) -> Session | None:
        """Return the client's live session."""
        query = f"{_SESSIONS} WHERE s.mac = ? AND s.zone = ? AND s.ended_at IS NULL"
        row = self.connection.execute(query, (mac, zone)).fetchone()
        return as_session(row) if row else None

    def last_session_of(self, mac: str, zone: str) -> Session | None:
        """Return the client's latest session, live or not."""
        query = f"{_SESSIONS} WHERE s.mac = ? AND s.zone = ? ORDER BY s.id DESC LIMIT 1"
        row = self.connection.execute(query, (mac, zone)).fetchone()
        return as_session(row) if row else None

    def live_sessions(self) -> Iterator[Session]:
        """Yield the live sessions one by one: a round needs none of them twice."""
        rows = self.connection.execute(f"{_SESSIONS} WHERE s.ended_at IS NULL ORDER BY s.id")
        return (as_session(row) for row in rows)

    def live_among(self, session_ids: Iterable[int]) -> set[int]:
        """Return which of these sessions are live."""
        query = "SELECT id FROM sessions WHERE id = ? AND ended_at IS NULL"
        found = (self.connection.execute(query, (number,)).fetchone() for number in session_ids)
        return {row["id"] for row in found if row}

    def count_live(self) -> int:
        query = "SELECT count(*) AS n FROM sessions WHERE ended_at IS NULL"
        return int(self.connection.execute(query).fetchone()["n"])

    def ended_sessions(self, limit: int) -> list[Session]:
        """Return the latest ended sessions, newest first."""
        rows = self.connection.execute(
            f"{_SESSIONS} WHERE s.ended_at IS NOT NULL ORDER BY s.ended_at DESC LIMIT ?", (limit,)
        )
        return [as_session(row) for row in rows]

    def had_address(self, address: str, at: float) -> list[Session]:
        """Return the sessions that had an address at a time."""
        rows = self.connection.execute(
            f"{_SESSIONS} WHERE s.id IN (SELECT d.session_id FROM addresses d"
            " JOIN sessions e ON e.id = d.session_id"
            " WHERE d.address = ? AND d.since <= ? AND coalesce(d.until, e.ended_at, ?) >= ?)",
            (address, at, at, at),
        )
        return [as_session(row) for row in rows]

    def next_deadline(self) -> float | None:
        query = "SELECT min(expires_at) AS at FROM sessions WHERE ended_at IS NULL"
        at: float | None = self.connection.execute(query).fetchone()["at"]
        return at

    # Changing and ending --------------------------------------------------------------------

    def end_session(self, session_id: int, reason: End, now: float) -> bool:
        """End a session; false if it had ended already."""
        return bool(self.end_sessions({session_id: reason}, now))

    def end_sessions(self, reasons: Mapping[int, End], now: float) -> list[int]:
        """End sessions that are still live, and count their last seconds; return which."""
        if not reasons:
            return []
        with self.transaction() as connection:
            return self._end(connection, reasons, now)

    def end_unverified(self, now: float) -> int:
        """End the sessions of numbers that nobody has proven; return how many there were."""
        rows = self.connection.execute(
            "SELECT s.id FROM sessions s JOIN accounts a ON a.id = s.account_id"
            " WHERE s.ended_at IS NULL AND NOT s.verified AND a.sort = 'number'"
        ).fetchall()
        return len(self.end_sessions({row["id"]: End.REVOKED for row in rows}, now))

    def _end(self, connection: sqlite3.Connection, reasons: Mapping[int, End], now: float) -> list[int]:
        ended = []
        for session_id, reason in reasons.items():
            row = connection.execute(
                "SELECT * FROM sessions WHERE id = ? AND ended_at IS NULL", (session_id,)
            ).fetchone()
            if row is None:
                continue
            count_seconds(connection, row, now, self.tz)
            connection.execute(
                "UPDATE sessions SET ended_at = ?, end_reason = ?, counted_at = ? WHERE id = ?",
                (now, reason, now, session_id),
            )
            ended.append(session_id)
        return ended

    def set_deadlines(self, deadlines: Mapping[int, float | None]) -> None:
        """Record until when sessions may last, as their plans now say."""
        if deadlines:
            with self.transaction() as connection:
                connection.executemany(
                    "UPDATE sessions SET expires_at = ? WHERE id = ? AND ended_at IS NULL",
                    [(at, session) for session, at in deadlines.items()],
                )

    def extend(self, session_id: int, seconds: int) -> bool:
        """Add to (or take from) the time that the plan gives a live session; false if there is none."""
        changed = self.connection.execute(
            "UPDATE sessions SET extra = extra + ? WHERE id = ? AND ended_at IS NULL", (seconds, session_id)
        )
        return bool(changed.rowcount)

    def set_granted(self, session_ids: Iterable[int], now: float) -> None:
        """Record that the kernel has just been given these sessions."""
        with self.transaction() as connection:
            connection.executemany(
                "UPDATE sessions SET granted_at = ?, counted_at = max(counted_at, ?)"
                " WHERE id = ? AND granted_at IS NULL",
                [(now, now, session_id) for session_id in session_ids],
            )

    def set_addresses(self, moved: Mapping[int, frozenset[str]], now: float) -> None:
        """Record the addresses that sessions' clients have from now on."""
        if not moved:
            return
        with self.transaction() as connection:
            for session_id, addresses in moved.items():
                set_addresses(connection, session_id, addresses, now)

    def shift(self, seconds: float, clock: str | None = None) -> None:
        """Move everything that runs by as much as the clock was put on: what is left stays left.

        ``clock`` is what the timekeeper remembers from then on.
        """
        with self.transaction() as connection:
            by = {"by": seconds}
            connection.execute(
                "UPDATE sessions SET started_at = started_at + :by, expires_at = expires_at + :by,"
                " granted_at = granted_at + :by, active_at = active_at + :by,"
                " counted_at = counted_at + :by, until = until + :by WHERE ended_at IS NULL", by,
            )  # fmt: skip
            # A voucher lasts from its first use on, and no longer than its batch.
            connection.execute(
                "UPDATE accounts SET expires_at = ("
                " SELECT min(accounts.expires_at + :by, coalesce(b.expires_at, accounts.expires_at + :by))"
                " FROM vouchers v JOIN batches b ON b.id = v.batch_id WHERE v.account_id = accounts.id)"
                " WHERE id IN (SELECT v.account_id FROM vouchers v JOIN batches b ON b.id = v.batch_id"
                "  JOIN accounts a ON a.id = v.account_id"
                "  WHERE b.lasts IS NOT NULL AND a.expires_at IS NOT b.expires_at)", by,
            )  # fmt: skip
            connection.execute("UPDATE quotas SET ends_at = ends_at + :by", by)
            connection.execute(
                "UPDATE challenges SET created_at = created_at + :by, expires_at = expires_at + :by"
                " WHERE state IN ('waiting', 'sent')", by,
            )  # fmt: skip
            if clock is not None:
                connection.execute(
                    "INSERT OR REPLACE INTO facts (name, value) VALUES ('clock', ?)", (clock,)
                )

    def _session(self, connection: sqlite3.Connection, session_id: int) -> Session:
        row = connection.execute(f"{_SESSIONS} WHERE s.id = ?", (session_id,)).fetchone()
        return as_session(row)


def _plan(connection: sqlite3.Connection, group: str) -> Plan:
    row = connection.execute(
        "SELECT p.* FROM groups g JOIN plans p ON p.name = g.plan WHERE g.name = ?", (group,)
    ).fetchone()
    return plans.stored(row["name"], row["terms"])


def set_addresses(
    connection: sqlite3.Connection, session_id: int, addresses: frozenset[str], now: float
) -> None:
    """Note which addresses a session has from now on; each time that it had one is kept apart."""
    rows = connection.execute(
        "SELECT address FROM addresses WHERE session_id = ? AND until IS NULL", (session_id,)
    )
    had = {row["address"] for row in rows}
    connection.executemany(
        "UPDATE addresses SET until = ? WHERE session_id = ? AND address = ? AND until IS NULL",
        [(now, session_id, address) for address in had - addresses],
    )
    connection.executemany(
        "INSERT INTO addresses (session_id, address, since) VALUES (?, ?, ?)"
        " ON CONFLICT (session_id, address, since) DO UPDATE SET until = NULL",
        [(session_id, address, now) for address in addresses - had],
    )


def as_session(row: sqlite3.Row) -> Session:
    return Session(
        id=row["session_id"],
        account=as_account(row),
        plan=row["plan"],
        zone=row["zone"],
        mac=row["mac"],
        addresses=frozenset(row["addresses"].split(",")) if row["addresses"] else frozenset(),
        started_at=row["started_at"],
        expires_at=row["expires_at"],
        granted_at=row["granted_at"],
        ended_at=row["ended_at"],
        end=End(row["end_reason"]) if row["end_reason"] else None,
        usage=Bytes(row["up"], row["down"]),
        verified=bool(row["verified"]),
        active_at=row["active_at"],
        extra=row["extra"],
        until=row["until"],
    )
