"""The whole store, in one SQLite file."""

from __future__ import annotations

from portald.store.callbacks import Callbacks
from portald.store.challenges import Challenges
from portald.store.ledger import Ledger
from portald.store.sessions import Sessions


class Store(Challenges, Callbacks, Sessions, Ledger):
    """Everything portald remembers.

    A race between two guests, or between a guest and itself, is settled by a single statement:
    ``UPDATE … WHERE … RETURNING``.  Times are epoch seconds and always passed in.
    """

    def forget(self, challenges_before: float, sessions_before: float) -> None:
        """Delete what nothing depends on any more, and sessions that ended long ago.

        A number none of whose sessions are left is deleted with them.
        """
        with self.transaction() as connection:
            connection.execute("DELETE FROM challenges WHERE expires_at < ?", (challenges_before,))
            connection.execute("DELETE FROM quotas WHERE ends_at < ?", (challenges_before,))
            connection.execute("DELETE FROM texts WHERE at < ?", (sessions_before,))
            old = "SELECT id FROM sessions WHERE ended_at < ?"
            connection.execute(f"DELETE FROM addresses WHERE session_id IN ({old})", (sessions_before,))
            gone = connection.execute("DELETE FROM sessions WHERE ended_at < ?", (sessions_before,))
            if gone.rowcount:
                connection.execute("DELETE FROM accounts WHERE id NOT IN (SELECT account_id FROM sessions)")
