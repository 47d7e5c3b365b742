"""The texts as they were sent: what was asked of whom, what came of it, what it cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from portald.limits import prefix
from portald.model import Attempt, Conversion, Logged, Outcome, Report
from portald.store.database import Database

_SENT = "outcome IN ('accepted', 'unknown')"


class Ledger(Database):
    """Every attempt is a row; conversion, delivery and money are read from them."""

    def add_attempt(self, a: Attempt, now: float) -> None:
        """Keep what a provider made of a text."""
        self.connection.execute(
            """
            INSERT INTO texts (at, challenge_id, provider, number, prefix, country, carrier,
                               outcome, words, message, parts, cost)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            """,
            (
                now, a.challenge, a.provider, a.number, prefix(a.number), a.country, a.carrier,
                a.outcome, a.words, a.message, a.parts, a.cost,
            ),
        )  # fmt: skip

    def logged(self, limit: int) -> list[Logged]:
        """Return the latest attempts, newest first."""
        rows = self.connection.execute("SELECT * FROM texts ORDER BY id DESC LIMIT ?", (limit,))
        return [_logged(row) for row in rows]

    def cost(self, challenge_id: int) -> int:
        """Return what the texts of a challenge cost, in millionths of the currency."""
        query = "SELECT coalesce(sum(cost), 0) AS cost FROM texts WHERE challenge_id = ?"
        return int(self.connection.execute(query, (challenge_id,)).fetchone()["cost"])

    def parts(self, challenge_id: int) -> int:
        """Return how many parts the text of a challenge had."""
        query = "SELECT coalesce(max(parts), 1) AS parts FROM texts WHERE challenge_id = ?"
        return int(self.connection.execute(query, (challenge_id,)).fetchone()["parts"])

    # Delivery ----------------------------------------------------------------------------

    def undecided(self, since: float) -> list[tuple[str, str]]:
        """Return provider and message of texts whose delivery may still be asked for."""
        rows = self.connection.execute(
            "SELECT provider, message FROM texts WHERE at >= ? AND outcome = 'accepted'"
            " AND message != '' AND delivered IS NULL AND verified_at IS NULL",
            (since,),
        )
        return [(row["provider"], row["message"]) for row in rows]

    def set_delivery(self, provider: str, report: Report, since: float) -> bool:
        """Keep what a provider said later; false if it concerns no text of ours.

        What was delivered stays delivered, whatever comes after it.
        """
        changed = self.connection.execute(
            "UPDATE texts SET delivered = ?, delivery_words = ? WHERE provider = ? AND message = ?"
            " AND at >= ? AND coalesce(delivered, 0) = 0",
            (report.delivered, report.words, provider, report.message, since),
        )
        return bool(changed.rowcount)

    # Conversion --------------------------------------------------------------------------

    def conversion(self, by: str, value: str, after: float, before: float) -> Conversion:
        """Return the conversion of one country or prefix; numbers count, not repeated texts."""
        return dict(self.conversions(by, after, before, value)).get(value, Conversion())

    def conversions(
        self, by: str, after: float, before: float, value: str | None = None
    ) -> Iterator[tuple[str, Conversion]]:
        """Yield the conversions by ``country``, ``prefix``, ``provider`` or ``carrier``.

        An operator's trials belong to no challenge and do not count; nor do carriers' e-mails for
        places, where they would close the way that brings texts.
        """
        if by not in ("country", "prefix", "provider", "carrier"):
            raise ValueError(by)
        by_text = "AND carrier = ''" if by in ("country", "prefix") else ""
        rows = self.connection.execute(
            f"""
            SELECT {by} AS value, count(DISTINCT number) AS sent,
                   count(DISTINCT CASE WHEN verified_at IS NOT NULL THEN number END) AS verified
            FROM texts
            WHERE at >= ? AND at <= ? AND challenge_id != 0 AND {_SENT}
                  {by_text} AND ({by} = ? OR ? IS NULL)
            GROUP BY {by} ORDER BY sent DESC
            """,
            (after, before, value, value),
        )
        for row in rows:
            yield row["value"], Conversion(row["sent"], row["verified"])

    # What operators change ------------------------------------------------------------------

    def limits(self) -> dict[str, float]:
        """Return the limits that were changed since the settings were written."""
        return {row["name"]: row["most"] for row in self.connection.execute("SELECT * FROM limits")}

    def set_limit(self, name: str, most: float | None) -> None:
        """Change a limit; ``None`` goes back to the settings."""
        if most is None:
            self.connection.execute("DELETE FROM limits WHERE name = ?", (name,))
        else:
            self.connection.execute(
                "INSERT INTO limits (name, most) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET most = excluded.most",
                (name, most),
            )

    def gates(self) -> dict[str, tuple[bool, float]]:
        """Return the places that were opened or closed by hand: whether closed, and since when."""
        rows = self.connection.execute("SELECT * FROM gates")
        return {row["place"]: (bool(row["closed"]), row["since"]) for row in rows}

    def set_gate(self, place: str, closed: bool, now: float) -> None:
        self.connection.execute(
            "INSERT INTO gates (place, closed, since) VALUES (?, ?, ?)"
            " ON CONFLICT (place) DO UPDATE SET closed = excluded.closed, since = excluded.since",
            (place, closed, now),
        )


def _logged(row: sqlite3.Row) -> Logged:
    attempt = Attempt(
        row["challenge_id"], row["provider"], row["number"], row["country"], Outcome(row["outcome"]),
        row["words"], row["message"], row["carrier"], row["parts"], row["cost"],
    )  # fmt: skip
    delivered = None if row["delivered"] is None else bool(row["delivered"])
    return Logged(row["at"], attempt, delivered, row["delivery_words"], row["verified_at"] is not None)
