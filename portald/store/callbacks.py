"""Callbacks of applications that are still to be made, kept until they were."""

from __future__ import annotations

from dataclasses import dataclass

from portald.model import Challenge
from portald.store.challenges import COLUMNS, as_challenge
from portald.store.database import Database


@dataclass(frozen=True, slots=True)
class Callback:
    """One request to make."""

    id: int
    application: str
    url: str
    body: str
    tries: int


class Callbacks(Database):
    """A queue in the file: a restart forgets none."""

    def add_callback(self, application: str, url: str, body: str, now: float) -> None:
        self.connection.execute(
            "INSERT INTO callbacks (application, url, body, next_at) VALUES (?, ?, ?, ?)",
            (application, url, body, now),
        )

    def due_callbacks(self, now: float) -> list[Callback]:
        """Return the oldest of each application: none waits for another's many."""
        rows = self.connection.execute(
            """
            SELECT id, application, url, body, tries FROM (
                SELECT *, row_number() OVER (PARTITION BY application ORDER BY id) AS place
                FROM callbacks WHERE next_at <= ?
            ) WHERE place <= 20 ORDER BY place, id
            """,
            (now,),
        )
        return [Callback(*row) for row in rows]

    def retry_callback(self, callback_id: int, at: float) -> None:
        query = "UPDATE callbacks SET tries = tries + 1, next_at = ? WHERE id = ?"
        self.connection.execute(query, (at, callback_id))

    def drop_callback(self, callback_id: int) -> None:
        self.connection.execute("DELETE FROM callbacks WHERE id = ?", (callback_id,))

    def expire_told(self, now: float) -> list[Challenge]:
        """Mark codes as expired whose application wants to be told; return them, each once."""
        rows = self.connection.execute(
            f"""
            UPDATE challenges SET state = 'expired'
            WHERE state = 'sent' AND callback != '' AND expires_at <= ? AND attempts < most_attempts
            RETURNING {COLUMNS}
            """,
            (now,),
        ).fetchall()
        return [as_challenge(row) for row in rows]
