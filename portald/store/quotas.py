"""Quotas: how much of an allowance is used, counted by one statement each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from portald.errors import Refused
from portald.limits import DAY, Allowance
from portald.store.database import Database


class Quotas(Database):
    """A quota is a row with a name, an end and a count; its window opens with the first use."""

    def give_back(self, allowances: Iterable[Allowance], counted_at: float) -> None:
        """Undo the counting of something that did not happen; a window opened since then is others'."""
        with self.transaction() as connection:
            connection.executemany(
                "UPDATE quotas SET used = max(0, used - ?), streak = max(-1, streak - 1)"
                " WHERE name = ? AND ends_at <= ? + ? * (1 << max(0, streak))",
                [(a.amount, a.name, counted_at, a.seconds) for a in allowances],
            )

    def spend(self, allowances: Iterable[Allowance], now: float) -> None:
        """Use up all of the allowances, or none; raise ``Refused`` at the first that is too small."""
        with self.transaction() as connection:
            spend(connection, allowances, now)

    def wait_for(self, name: str, now: float) -> float:
        """Return the seconds until a quota is fresh again, 0 if it is."""
        query = "SELECT ends_at FROM quotas WHERE name = ? AND used > 0"
        row = self.connection.execute(query, (name,)).fetchone()
        return max(0.0, row["ends_at"] - now) if row else 0.0

    def used(self, now: float) -> dict[str, int]:
        """Return what is used of every quota whose window is open, by name."""
        query = "SELECT name, used FROM quotas WHERE ends_at > ? AND used > 0"
        return {row["name"]: row["used"] for row in self.connection.execute(query, (now,))}

    def forget_quotas(self, ending: str) -> int:
        """Start all quotas afresh whose names end so: a number's, or a device's."""
        query = "DELETE FROM quotas WHERE substr(name, -length(:ending)) = :ending"
        return self.connection.execute(query, {"ending": ending}).rowcount


# In an upsert, "quotas." is the row that is there; what was given back in full is opened anew.  A
# window that follows another within a day carries the streak on; "1 << streak" windows make up one
# that has grown.
_SPEND = """
    INSERT INTO quotas (name, ends_at, used, streak) VALUES (:name, :now + :seconds, :amount, 0)
    ON CONFLICT (name) DO UPDATE SET
        streak = CASE
            WHEN quotas.ends_at > :now AND quotas.used > 0 THEN quotas.streak
            WHEN quotas.ends_at + :day < :now THEN 0
            ELSE min(quotas.streak + 1, :growth) END,
        ends_at = CASE
            WHEN quotas.ends_at > :now AND quotas.used > 0 THEN quotas.ends_at
            WHEN quotas.ends_at + :day < :now THEN :now + :seconds
            ELSE :now + :seconds * (1 << min(quotas.streak + 1, :growth)) END,
        used = CASE WHEN quotas.ends_at > :now THEN quotas.used ELSE 0 END + :amount
    WHERE quotas.ends_at <= :now OR quotas.used + :amount <= :most
    RETURNING used
"""


def spend(connection: sqlite3.Connection, allowances: Iterable[Allowance], now: float) -> None:
    """Use up all of the allowances; raise ``Refused`` at the first that is too small."""
    for a in allowances:
        if a.amount > a.most:
            raise Refused(a.reason)
        values = {
            "name": a.name, "now": now, "seconds": a.seconds, "most": a.most,
            "amount": a.amount, "growth": a.growth, "day": DAY,
        }  # fmt: skip
        if connection.execute(_SPEND, values).fetchone() is None:
            row = connection.execute("SELECT ends_at FROM quotas WHERE name = ?", (a.name,))
            raise Refused(a.reason, retry_after=max(1.0, row.fetchone()["ends_at"] - now))
