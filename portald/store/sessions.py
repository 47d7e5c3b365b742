"""Accounts and sessions: who is online, since when, with which addresses and how many bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping

from portald import access
from portald.errors import Reason, Refused
from portald.limits import Allowance
from portald.model import Account, Challenge, Client, End, Held, Plan, Session, Usage
from portald.store.challenges import use
from portald.store.database import Database
from portald.store.quotas import spend

_SESSIONS = """
    SELECT s.*, a.number, a.group_name, p.name AS plan, p.minutes,
           (SELECT group_concat(address) FROM addresses WHERE session_id = s.id AND until IS NULL)
           AS addresses
    FROM sessions s
    JOIN accounts a ON a.id = s.account_id
    JOIN groups g ON g.name = a.group_name
    JOIN plans p ON p.name = g.plan
"""


class Sessions(Database):
    """The truth about access; the kernel is a cache of it."""

    def open_session(
        self, challenge: Challenge, client: Client, group: str, now: float
    ) -> tuple[Session, list[int]]:
        """Spend a challenge for a session of the number's account, made on first use.

        Returns the session and those it replaces.  Raises ``Refused`` if the challenge was spent
        meanwhile or the group is gone; then nothing has changed.
        """
        with self.transaction() as connection:
            if not use(connection, challenge.id, now):
                raise Refused(Reason.NO_CHALLENGE)
            account = _account_of(connection, challenge.number, group, now)
            connection.execute("UPDATE accounts SET verified_at = ? WHERE id = ?", (now, account))
            if challenge.carrier:
                # Whoever comes by way of a carrier is in this group, as promised where it is offered.
                connection.execute("UPDATE accounts SET group_name = ? WHERE id = ?", (group, account))
            return _open(connection, account, client, now, verified=True)

    def open_unverified(
        self, number: str, client: Client, group: str, allowances: Iterable[Allowance], now: float
    ) -> tuple[Session, list[int]]:
        """Open a session for a number that nobody has proven.

        Raises ``Refused`` if an allowance is used up, or if the number's account is in another
        group: what that may do is for those who prove the number.
        """
        with self.transaction() as connection:
            spend(connection, allowances, now)
            account = _account_of(connection, number, group, now)
            row = connection.execute("SELECT group_name FROM accounts WHERE id = ?", (account,)).fetchone()
            if row["group_name"] != group:
                raise Refused(Reason.GROUP_CLOSED)
            return _open(connection, account, client, now, verified=False)

    def has_group(self, name: str) -> bool:
        query = "SELECT 1 FROM groups WHERE name = ?"
        return self.connection.execute(query, (name,)).fetchone() is not None

    def session(self, session_id: int) -> Session | None:
        row = self.connection.execute(f"{_SESSIONS} WHERE s.id = ?", (session_id,)).fetchone()
        return _session(row) if row else None

    def session_of(self, mac: str) -> Session | None:
        """Return the client's live session."""
        query = f"{_SESSIONS} WHERE s.mac = ? AND s.ended_at IS NULL"
        row = self.connection.execute(query, (mac,)).fetchone()
        return _session(row) if row else None

    def live_sessions(self) -> Iterator[Session]:
        """Yield the live sessions one by one: a round needs none of them twice."""
        rows = self.connection.execute(f"{_SESSIONS} WHERE s.ended_at IS NULL ORDER BY s.id")
        return (_session(row) for row in rows)

    def live_among(self, session_ids: Iterable[int]) -> set[int]:
        """Return which of these sessions are live."""
        query = "SELECT id FROM sessions WHERE id = ? AND ended_at IS NULL"
        found = (self.connection.execute(query, (number,)).fetchone() for number in session_ids)
        return {row["id"] for row in found if row}

    def ended_sessions(self, limit: int) -> list[Session]:
        """Return the latest ended sessions, newest first."""
        rows = self.connection.execute(
            f"{_SESSIONS} WHERE s.ended_at IS NOT NULL ORDER BY s.ended_at DESC LIMIT ?", (limit,)
        )
        return [_session(row) for row in rows]

    def next_deadline(self) -> float | None:
        query = "SELECT min(expires_at) AS at FROM sessions WHERE ended_at IS NULL"
        at: float | None = self.connection.execute(query).fetchone()["at"]
        return at

    def end_session(self, session_id: int, reason: End, now: float) -> bool:
        """End a session; false if it had ended already."""
        row = self.connection.execute(
            "UPDATE sessions SET ended_at = ?, end_reason = ?"
            " WHERE id = ? AND ended_at IS NULL RETURNING id",
            (now, reason, session_id),
        ).fetchone()
        return row is not None

    def end_due(self, now: float) -> list[int]:
        """End every session whose time is up by ``now``."""
        rows = self.connection.execute(
            "UPDATE sessions SET ended_at = ?, end_reason = 'expired'"
            " WHERE ended_at IS NULL AND expires_at <= ? RETURNING id",
            (now, now),
        ).fetchall()
        return [row["id"] for row in rows]

    def end_unverified(self, now: float) -> int:
        """End the sessions of numbers that nobody has proven; return how many there were."""
        return self.connection.execute(
            "UPDATE sessions SET ended_at = ?, end_reason = 'revoked'"
            " WHERE ended_at IS NULL AND NOT verified",
            (now,),
        ).rowcount

    def add_reading(self, held: Mapping[int, Held], now: float) -> None:
        """Add what the kernel's counters grew by since they were last read.

        A grant that is seen whole for the first time is recorded too: portald may have been
        killed between giving it to the kernel and writing that down.
        """
        if not held:
            return
        with self.transaction() as connection:
            live = "SELECT id, read_up, read_down, granted_at FROM sessions WHERE ended_at IS NULL"
            changes = []
            for row in connection.execute(live):
                found = held.get(row["id"])
                if found is None:
                    continue
                before, reading = Usage(row["read_up"], row["read_down"]), found.usage
                first = now if row["granted_at"] is None and found.complete else None
                if reading != before or first is not None:
                    grown = access.growth(before, reading)
                    changes.append((grown.up, grown.down, reading.up, reading.down, first, row["id"]))
            connection.executemany(
                "UPDATE sessions SET up = up + ?, down = down + ?, read_up = ?, read_down = ?,"
                " granted_at = coalesce(granted_at, ?) WHERE id = ?",
                changes,
            )

    def set_granted(self, session_ids: Iterable[int], now: float) -> None:
        """Record that the kernel has just been given these sessions, with counters at zero."""
        with self.transaction() as connection:
            connection.executemany(
                "UPDATE sessions SET granted_at = coalesce(granted_at, ?), read_up = 0, read_down = 0"
                " WHERE id = ?",
                [(now, session_id) for session_id in session_ids],
            )

    def set_addresses(self, moved: Mapping[int, frozenset[str]], now: float) -> None:
        """Record the IPv4 addresses that sessions' clients have from now on."""
        if not moved:
            return
        with self.transaction() as connection:
            for session_id, addresses in moved.items():
                connection.execute(
                    "UPDATE addresses SET until = ? WHERE session_id = ? AND until IS NULL",
                    (now, session_id),
                )
                connection.executemany(
                    "INSERT INTO addresses (session_id, address, since) VALUES (?, ?, ?)"
                    " ON CONFLICT (session_id, address) DO UPDATE SET until = NULL",
                    [(session_id, address, now) for address in addresses],
                )


def _open(
    connection: sqlite3.Connection, account: int, client: Client, now: float, verified: bool
) -> tuple[Session, list[int]]:
    row = connection.execute(
        "SELECT p.name, p.minutes FROM accounts a JOIN groups g ON g.name = a.group_name"
        " JOIN plans p ON p.name = g.plan WHERE a.id = ?",
        (account,),
    ).fetchone()
    expires_at = access.deadline(Plan(row["name"], row["minutes"]), now)
    replaced = connection.execute(
        "UPDATE sessions SET ended_at = ?, end_reason = 'replaced'"
        " WHERE mac = ? AND ended_at IS NULL RETURNING id",
        (now, client.mac),
    ).fetchall()
    (session_id,) = connection.execute(
        """
        INSERT INTO sessions (account_id, zone, mac, started_at, expires_at, verified)
        VALUES (?, ?, ?, ?, ?, ?) RETURNING id
        """,
        (account, client.zone, client.mac, now, expires_at, verified),
    ).fetchone()
    if ":" not in client.ip:
        connection.execute(
            "INSERT INTO addresses (session_id, address, since) VALUES (?, ?, ?)",
            (session_id, client.ip, now),
        )
    row = connection.execute(f"{_SESSIONS} WHERE s.id = ?", (session_id,)).fetchone()
    return _session(row), [row["id"] for row in replaced]


def _account_of(connection: sqlite3.Connection, number: str, group: str, now: float) -> int:
    """Return the id of the number's account, made if there is none."""
    if not connection.execute("SELECT 1 FROM groups WHERE name = ?", (group,)).fetchone():
        raise Refused(Reason.GROUP_CLOSED)
    connection.execute(
        "INSERT INTO accounts (number, group_name, created_at) VALUES (?, ?, ?)"
        " ON CONFLICT (number) DO NOTHING",
        (number, group, now),
    )
    row = connection.execute("SELECT id FROM accounts WHERE number = ?", (number,)).fetchone()
    return int(row["id"])


def _account(row: sqlite3.Row, account_id: int) -> Account:
    return Account(account_id, row["number"], row["group_name"])


def _session(row: sqlite3.Row) -> Session:
    return Session(
        id=row["id"],
        account=_account(row, row["account_id"]),
        plan=Plan(row["plan"], row["minutes"]),
        zone=row["zone"],
        mac=row["mac"],
        addresses=frozenset(row["addresses"].split(",")) if row["addresses"] else frozenset(),
        started_at=row["started_at"],
        expires_at=row["expires_at"],
        granted_at=row["granted_at"],
        ended_at=row["ended_at"],
        end=End(row["end_reason"]) if row["end_reason"] else None,
        usage=Usage(row["up"], row["down"]),
        verified=bool(row["verified"]),
    )
