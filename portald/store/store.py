"""Every SQL statement of the product.

A race between two guests, or between a guest and itself, is settled by a single statement here:
``UPDATE … WHERE … RETURNING``.  Times are epoch seconds and always passed in.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from portald import access
from portald.errors import ConfigError, Reason, Refused
from portald.limits import Allowance
from portald.model import (
    Account,
    Challenge,
    Client,
    End,
    Held,
    Outcome,
    Plan,
    Session,
    State,
    Usage,
)
from portald.store.migrations import migrate

_SESSIONS = """
    SELECT s.*, a.number, a.group_name, p.name AS plan, p.minutes,
           (SELECT group_concat(address) FROM addresses WHERE session_id = s.id AND until IS NULL)
           AS addresses
    FROM sessions s
    JOIN accounts a ON a.id = s.account_id
    JOIN groups g ON g.name = a.group_name
    JOIN plans p ON p.name = g.plan
"""
_OPEN_STATES = "('waiting', 'sent', 'failed')"


class Store:
    """Groups, accounts, sessions, challenges and quotas in one SQLite file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        try:
            # Numbers of guests are in it: for its owner's eyes only, from the first byte.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            migrate(self._connection)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"{path} cannot be used as the database: {error}") from error

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            # What is deleted is overwritten: a number must not stay readable in the file.
            connection.execute("PRAGMA secure_delete = ON")
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    # Quotas ------------------------------------------------------------------------------

    @staticmethod
    def _spend(connection: sqlite3.Connection, allowances: Iterable[Allowance], now: float) -> None:
        for a in allowances:
            counted = connection.execute(
                """
                INSERT INTO quotas (name, ends_at, used) VALUES (:name, :now + :seconds, 1)
                ON CONFLICT (name) DO UPDATE SET
                    used = CASE WHEN quotas.ends_at <= :now THEN 1 ELSE quotas.used + 1 END,
                    ends_at = CASE WHEN quotas.ends_at <= :now
                              THEN :now + :seconds ELSE quotas.ends_at END
                WHERE quotas.ends_at <= :now OR quotas.used < :most
                RETURNING used
                """,
                {"name": a.name, "now": now, "seconds": a.seconds, "most": a.most},
            ).fetchone()
            if counted is None:
                row = connection.execute("SELECT ends_at FROM quotas WHERE name = ?", (a.name,))
                raise Refused(a.reason, retry_after=max(1.0, row.fetchone()["ends_at"] - now))

    def give_back(self, allowances: Iterable[Allowance]) -> None:
        """Undo the counting of something that did not happen."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE quotas SET used = used - 1 WHERE name = ? AND used > 0",
                [(allowance.name,) for allowance in allowances],
            )

    def wait_for(self, name: str, now: float) -> float:
        """Return the seconds until a quota is fresh again, 0 if it is."""
        query = "SELECT ends_at FROM quotas WHERE name = ? AND used > 0"
        row = self._connection.execute(query, (name,)).fetchone()
        return max(0.0, row["ends_at"] - now) if row else 0.0

    # Challenges --------------------------------------------------------------------------

    def open_challenge(
        self,
        client: Client,
        number: str,
        allowances: Iterable[Allowance],
        lifetime: float,
        now: float,
    ) -> Challenge:
        """Count a text and open its challenge; the client's earlier codes die.

        Raises ``Refused`` and changes nothing if an allowance is used up.
        """
        with self._transaction() as connection:
            self._spend(connection, allowances, now)
            connection.execute(
                f"UPDATE challenges SET state = 'replaced' WHERE mac = ? AND state IN {_OPEN_STATES}",
                (client.mac,),
            )
            row = connection.execute(
                """
                INSERT INTO challenges (number, mac, state, created_at, expires_at)
                VALUES (?, ?, 'waiting', ?, ?) RETURNING *
                """,
                (number, client.mac, now, now + lifetime),
            ).fetchone()
        return _challenge(row)

    def challenge_of(self, mac: str, now: float) -> Challenge | None:
        """Return the client's pending challenge, whether or not it came with a cookie."""
        row = self._connection.execute(
            f"""
            SELECT * FROM challenges WHERE mac = ? AND state IN {_OPEN_STATES} AND expires_at > ?
            ORDER BY id DESC LIMIT 1
            """,
            (mac, now),
        ).fetchone()
        return _challenge(row) if row else None

    def text_sent(
        self,
        challenge_id: int,
        reference: str,
        expires_at: float,
        outcome: Outcome = Outcome.ACCEPTED,
        words: str | None = None,
    ) -> None:
        """Record that a code is, or with ``UNKNOWN`` may be, on its way."""
        self._connection.execute(
            "UPDATE challenges SET state = 'sent', reference = ?, outcome = ?, words = ?, expires_at = ?"
            " WHERE id = ? AND state = 'waiting'",
            (reference, outcome, words, expires_at, challenge_id),
        )

    def text_failed(self, challenge_id: int, outcome: Outcome, words: str) -> None:
        self._connection.execute(
            "UPDATE challenges SET state = 'failed', outcome = ?, words = ?"
            " WHERE id = ? AND state = 'waiting'",
            (outcome, words, challenge_id),
        )

    def fail_interrupted(self) -> None:
        """Mark texts that were on their way when portald stopped: nobody will finish them."""
        self._connection.execute(
            "UPDATE challenges SET state = 'failed', outcome = 'unknown',"
            " words = 'portald was restarted while sending' WHERE state = 'waiting'"
        )

    def cancel_challenge(self, mac: str) -> None:
        """Drop the client's pending challenge, for example to type another number."""
        self._connection.execute(
            f"UPDATE challenges SET state = 'replaced' WHERE mac = ? AND state IN {_OPEN_STATES}",
            (mac,),
        )

    def take_guess(self, mac: str, attempts: int, allowances: Iterable[Allowance], now: float) -> Challenge:
        """Use up one guess at the client's code and return the challenge to compare with.

        Raises ``Refused`` if there is no code, it is too old, or guesses are used up.  However
        many requests come at once, no more than ``attempts`` return.
        """
        with self._transaction() as connection:
            self._spend(connection, allowances, now)
            row = connection.execute(
                """
                UPDATE challenges SET attempts = attempts + 1
                WHERE mac = ? AND state = 'sent' AND attempts < ? AND expires_at > ? RETURNING *
                """,
                (mac, attempts, now),
            ).fetchone()
            if row is None:
                raise Refused(self._why_no_guess(connection, mac, now))
        return _challenge(row)

    @staticmethod
    def _why_no_guess(connection: sqlite3.Connection, mac: str, now: float) -> Reason:
        query = "SELECT * FROM challenges WHERE mac = ? ORDER BY id DESC LIMIT 1"
        row = connection.execute(query, (mac,)).fetchone()
        if row is None or row["state"] != State.SENT:
            return Reason.NO_CHALLENGE
        return Reason.CODE_EXPIRED if row["expires_at"] <= now else Reason.TOO_MANY_GUESSES

    def challenges(self, limit: int) -> list[Challenge]:
        """Return the latest challenges, newest first, for the operator."""
        rows = self._connection.execute("SELECT * FROM challenges ORDER BY id DESC LIMIT ?", (limit,))
        return [_challenge(row) for row in rows]

    # Accounts and sessions -----------------------------------------------------------------

    def open_session(
        self, challenge: Challenge, client: Client, group: str, now: float
    ) -> tuple[Session, list[int]]:
        """Spend a challenge for a session of the number's account, made on first use.

        Returns the session and those it replaces.  Raises ``Refused`` if the challenge was spent
        meanwhile or the group is gone; then nothing has changed.
        """
        with self._transaction() as connection:
            spent = connection.execute(
                "UPDATE challenges SET state = 'used' WHERE id = ? AND state = 'sent' RETURNING id",
                (challenge.id,),
            ).fetchone()
            if spent is None:
                raise Refused(Reason.NO_CHALLENGE)
            account, plan = self._account(connection, challenge.number, group, now)
            replaced = connection.execute(
                "UPDATE sessions SET ended_at = ?, end_reason = 'replaced'"
                " WHERE mac = ? AND ended_at IS NULL RETURNING id",
                (now, client.mac),
            ).fetchall()
            (session_id,) = connection.execute(
                """
                INSERT INTO sessions (account_id, zone, mac, started_at, expires_at)
                VALUES (?, ?, ?, ?, ?) RETURNING id
                """,
                (account.id, client.zone, client.mac, now, access.deadline(plan, now)),
            ).fetchone()
            if ":" not in client.ip:
                connection.execute(
                    "INSERT INTO addresses (session_id, address, since) VALUES (?, ?, ?)",
                    (session_id, client.ip, now),
                )
            row = connection.execute(f"{_SESSIONS} WHERE s.id = ?", (session_id,)).fetchone()
        return _session(row), [row["id"] for row in replaced]

    @staticmethod
    def _account(
        connection: sqlite3.Connection, number: str, group: str, now: float
    ) -> tuple[Account, Plan]:
        if not connection.execute("SELECT 1 FROM groups WHERE name = ?", (group,)).fetchone():
            raise Refused(Reason.GROUP_CLOSED)
        connection.execute(
            "INSERT INTO accounts (number, group_name, created_at) VALUES (?, ?, ?)"
            " ON CONFLICT (number) DO NOTHING",
            (number, group, now),
        )
        row = connection.execute(
            """
            SELECT a.id, a.number, a.group_name, p.name AS plan, p.minutes
            FROM accounts a JOIN groups g ON g.name = a.group_name JOIN plans p ON p.name = g.plan
            WHERE a.number = ?
            """,
            (number,),
        ).fetchone()
        return _account(row, row["id"]), Plan(row["plan"], row["minutes"])

    def session(self, session_id: int) -> Session | None:
        row = self._connection.execute(f"{_SESSIONS} WHERE s.id = ?", (session_id,)).fetchone()
        return _session(row) if row else None

    def session_of(self, mac: str) -> Session | None:
        """Return the client's live session."""
        query = f"{_SESSIONS} WHERE s.mac = ? AND s.ended_at IS NULL"
        row = self._connection.execute(query, (mac,)).fetchone()
        return _session(row) if row else None

    def live_sessions(self) -> Iterator[Session]:
        """Yield the live sessions one by one: a round needs none of them twice."""
        rows = self._connection.execute(f"{_SESSIONS} WHERE s.ended_at IS NULL ORDER BY s.id")
        return (_session(row) for row in rows)

    def live_among(self, session_ids: Iterable[int]) -> set[int]:
        """Return which of these sessions are live."""
        query = "SELECT id FROM sessions WHERE id = ? AND ended_at IS NULL"
        found = (self._connection.execute(query, (number,)).fetchone() for number in session_ids)
        return {row["id"] for row in found if row}

    def ended_sessions(self, limit: int) -> list[Session]:
        """Return the latest ended sessions, newest first."""
        rows = self._connection.execute(
            f"{_SESSIONS} WHERE s.ended_at IS NOT NULL ORDER BY s.ended_at DESC LIMIT ?", (limit,)
        )
        return [_session(row) for row in rows]

    def next_deadline(self) -> float | None:
        query = "SELECT min(expires_at) AS at FROM sessions WHERE ended_at IS NULL"
        at: float | None = self._connection.execute(query).fetchone()["at"]
        return at

    def end_session(self, session_id: int, reason: End, now: float) -> bool:
        """End a session; false if it had ended already."""
        row = self._connection.execute(
            "UPDATE sessions SET ended_at = ?, end_reason = ?"
            " WHERE id = ? AND ended_at IS NULL RETURNING id",
            (now, reason, session_id),
        ).fetchone()
        return row is not None

    def end_due(self, now: float) -> list[int]:
        """End every session whose time is up by ``now``."""
        rows = self._connection.execute(
            "UPDATE sessions SET ended_at = ?, end_reason = 'expired'"
            " WHERE ended_at IS NULL AND expires_at <= ? RETURNING id",
            (now, now),
        ).fetchall()
        return [row["id"] for row in rows]

    # What the rounds write -------------------------------------------------------------------

    def add_reading(self, held: Mapping[int, Held], now: float) -> None:
        """Add what the kernel's counters grew by since they were last read.

        A grant that is seen whole for the first time is recorded too: portald may have been
        killed between giving it to the kernel and writing that down.
        """
        if not held:
            return
        with self._transaction() as connection:
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
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE sessions SET granted_at = coalesce(granted_at, ?), read_up = 0, read_down = 0"
                " WHERE id = ?",
                [(now, session_id) for session_id in session_ids],
            )

    def set_addresses(self, moved: Mapping[int, frozenset[str]], now: float) -> None:
        """Record the IPv4 addresses that sessions' clients have from now on."""
        if not moved:
            return
        with self._transaction() as connection:
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

    def forget(self, challenges_before: float, sessions_before: float) -> None:
        """Delete what nothing depends on any more, and sessions that ended long ago.

        A number none of whose sessions are left is deleted with them.
        """
        with self._transaction() as connection:
            connection.execute("DELETE FROM challenges WHERE expires_at < ?", (challenges_before,))
            connection.execute("DELETE FROM quotas WHERE ends_at < ?", (challenges_before,))
            old = "SELECT id FROM sessions WHERE ended_at < ?"
            connection.execute(f"DELETE FROM addresses WHERE session_id IN ({old})", (sessions_before,))
            gone = connection.execute("DELETE FROM sessions WHERE ended_at < ?", (sessions_before,))
            if gone.rowcount:
                connection.execute("DELETE FROM accounts WHERE id NOT IN (SELECT account_id FROM sessions)")


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
    )


def _challenge(row: sqlite3.Row) -> Challenge:
    return Challenge(
        id=row["id"],
        number=row["number"],
        mac=row["mac"],
        state=State(row["state"]),
        reference=row["reference"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        words=row["words"],
        attempts=row["attempts"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
