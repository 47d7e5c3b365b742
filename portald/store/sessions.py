"""Sessions: who is online, since when, with which addresses, and why it ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping

from portald import plan as plans
from portald.model import End, Session
from portald.model import Usage as Bytes
from portald.plan import Plan
from portald.store.accounts import COLUMNS, Accounts, as_account
from portald.store.usage import Usage, count_seconds

SESSIONS = f"""
    SELECT {COLUMNS}, s.id AS session_id, s.zone, s.mac, s.started_at, s.expires_at, s.granted_at,
           s.ended_at, s.end_reason, s.up, s.down, s.verified, s.active_at, s.extra, s.until,
           g.plan,
           (SELECT group_concat(address) FROM addresses WHERE session_id = s.id AND until IS NULL)
           AS addresses
    FROM sessions s
    JOIN accounts a ON a.id = s.account_id
    JOIN groups g ON g.name = a.group_name
"""


class Sessions(Accounts, Usage):
    """The truth about access; the kernel is a cache of it."""

    # Looking --------------------------------------------------------------------------------

    def session(self, session_id: int) -> Session | None:
        row = self.connection.execute(f"{SESSIONS} WHERE s.id = ?", (session_id,)).fetchone()
        return as_session(row) if row else None

    def session_of(self, mac: str, zone: str) -> Session | None:
        """Return the client's live session."""
        query = f"{SESSIONS} WHERE s.mac = ? AND s.zone = ? AND s.ended_at IS NULL"
        row = self.connection.execute(query, (mac, zone)).fetchone()
        return as_session(row) if row else None

    def last_session_of(self, mac: str, zone: str) -> Session | None:
        """Return the client's latest session, live or not."""
        query = f"{SESSIONS} WHERE s.mac = ? AND s.zone = ? ORDER BY s.id DESC LIMIT 1"
        row = self.connection.execute(query, (mac, zone)).fetchone()
        return as_session(row) if row else None

    def live_sessions(self) -> Iterator[Session]:
        """Yield the live sessions one by one: a round needs none of them twice."""
        rows = self.connection.execute(f"{SESSIONS} WHERE s.ended_at IS NULL ORDER BY s.id")
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
            f"{SESSIONS} WHERE s.ended_at IS NOT NULL ORDER BY s.ended_at DESC LIMIT ?", (limit,)
        )
        return [as_session(row) for row in rows]

    def had_address(self, address: str, at: float) -> list[Session]:
        """Return the sessions that had an address at a time."""
        rows = self.connection.execute(
            f"{SESSIONS} WHERE s.id IN (SELECT d.session_id FROM addresses d"
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

    def last_until(self, session_id: int, extra: int) -> bool:
        """Give a live session so much more than its plan, if it has less; false if it has not."""
        changed = self.connection.execute(
            "UPDATE sessions SET extra = ? WHERE id = ? AND ended_at IS NULL AND extra < ?",
            (extra, session_id, extra),
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
        row = connection.execute(f"{SESSIONS} WHERE s.id = ?", (session_id,)).fetchone()
        return as_session(row)


def plan_of(connection: sqlite3.Connection, group: str) -> Plan:
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
