"""Bytes and seconds: of each session, in each day.  They never go back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import tzinfo
from typing import Any

from portald.model import Held, Spent, Tally
from portald.periods import split, today
from portald.store.database import Database


class Usage(Database):
    """The kernel counts a session's bytes from its beginning on; the store keeps the most it has seen."""

    tz: tzinfo | None = None
    """Where the venue is: its days are counted."""

    def add_reading(self, held: Mapping[int, Held], now: float) -> None:
        """Keep what the kernel's counters say, of sessions that have ended too.

        A grant that is seen whole for the first time is recorded as well: portald may have been
        killed between giving it to the kernel and writing that down.
        """
        if not held:
            return
        query = "SELECT id, up, down, granted_at, counted_at, ended_at FROM sessions WHERE "
        ended = [found.session for found in held.values() if not found.open]
        with self.transaction() as connection:
            rows = connection.execute(query + "ended_at IS NULL").fetchall()
            for session in ended:
                rows += connection.execute(query + "ended_at IS NOT NULL AND id = ?", (session,)).fetchall()
            for row in rows:
                if (found := held.get(row["id"])) is not None:
                    self._keep(connection, row, found, now)

    def _keep(self, connection: sqlite3.Connection, row: sqlite3.Row, found: Held, now: float) -> None:
        up, down = max(row["up"], found.usage.up), max(row["down"], found.usage.down)
        first = row["granted_at"] is None and found.complete
        if (up, down) == (row["up"], row["down"]) and not first:
            return
        if row["ended_at"] is None:
            count_seconds(connection, row, now, self.tz)
        # What flowed since the last reading belongs to the day that it was read in.
        add(connection, row["id"], today(now, self.tz).day, 0, up - row["up"], down - row["down"])
        connection.execute(
            "UPDATE sessions SET up = ?, down = ?, counted_at = max(counted_at, ?),"
            " granted_at = coalesce(granted_at, ?), active_at = CASE WHEN ? THEN ? ELSE active_at END"
            " WHERE id = ?",
            (up, down, now, now if first else None, up > row["up"], now, row["id"]),
        )

    def count_running(self, now: float) -> None:
        """Count the time that live sessions have been online up to now."""
        with self.transaction() as connection:
            live = "ended_at IS NULL AND granted_at IS NOT NULL"
            for row in connection.execute(f"SELECT * FROM sessions WHERE {live}").fetchall():
                count_seconds(connection, row, now, self.tz)
            connection.execute(f"UPDATE sessions SET counted_at = max(counted_at, ?) WHERE {live}", (now,))

    def spent(self, accounts: Iterable[int], now: float) -> dict[int, Spent]:
        """Return what accounts have used in the running day, week and month."""
        return {account: spent(self.connection, account, now, self.tz) for account in accounts}

    def history(self, by: str, since: str, until: str, search: str = "") -> list[dict[str, Any]]:
        """Return seconds and bytes between two days (inclusive) by account, client, zone or day."""
        column = {"account": "a.name", "client": "s.mac", "zone": "s.zone", "day": "u.day"}[by]
        order = "what" if by == "day" else "sum(u.up + u.down)"
        rows = self.connection.execute(
            f"SELECT {column} AS what, sum(u.seconds) AS seconds, sum(u.up) AS up, sum(u.down) AS down,"
            " count(DISTINCT s.id) AS sessions, count(DISTINCT s.mac) AS clients"
            " FROM usage u JOIN sessions s ON s.id = u.session_id JOIN accounts a ON a.id = s.account_id"
            " WHERE u.day BETWEEN ? AND ? AND (? = '' OR a.name = ? OR a.number = ? OR s.mac = ?)"
            f" GROUP BY {column} ORDER BY {order} DESC LIMIT 10000",
            (since, until, search, search, search, search),
        )
        return [dict(row) for row in rows]


def count_seconds(connection: sqlite3.Connection, row: sqlite3.Row, now: float, tz: tzinfo | None) -> None:
    """Count the time that a session has been online since it was last counted."""
    if row["granted_at"] is None:
        return
    for day, seconds in split(max(row["counted_at"], row["granted_at"]), now, tz):
        add(connection, row["id"], day, seconds, 0, 0)


def add(connection: sqlite3.Connection, session: int, day: str, seconds: float, up: int, down: int) -> None:
    connection.execute(
        "INSERT INTO usage (session_id, day, seconds, up, down) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (session_id, day) DO UPDATE SET seconds = seconds + excluded.seconds,"
        " up = up + excluded.up, down = down + excluded.down",
        (session, day, seconds, up, down),
    )


def spent(connection: sqlite3.Connection, account: int, now: float, tz: tzinfo | None) -> Spent:
    """Return what an account has used in the running day, week and month, up to this second."""
    here = today(now, tz)
    row = connection.execute(
        """
        SELECT total(CASE WHEN u.day >= :day THEN u.seconds END) AS day_seconds,
               total(CASE WHEN u.day >= :week THEN u.seconds END) AS week_seconds,
               total(CASE WHEN u.day >= :month THEN u.seconds END) AS month_seconds,
               total(CASE WHEN u.day >= :day THEN u.up + u.down END) AS day_bytes,
               total(CASE WHEN u.day >= :week THEN u.up + u.down END) AS week_bytes,
               total(CASE WHEN u.day >= :month THEN u.up + u.down END) AS month_bytes
        FROM sessions s JOIN usage u ON u.session_id = s.id
        WHERE s.account_id = :account AND u.day >= min(:week, :month)
        """,
        {"day": here.day, "week": here.week, "month": here.month, "account": account},
    ).fetchone()
    running = connection.execute(
        "SELECT max(counted_at, granted_at) AS since FROM sessions"
        " WHERE account_id = ? AND ended_at IS NULL AND granted_at IS NOT NULL",
        (account,),
    ).fetchall()

    def tally(name: str, began: float) -> Tally:
        live = sum(max(0.0, now - max(each["since"], began)) for each in running)
        return Tally(row[f"{name}_seconds"] + live, int(row[f"{name}_bytes"]))

    return Spent(
        tally("day", here.day_began), tally("week", here.week_began), tally("month", here.month_began)
    )
