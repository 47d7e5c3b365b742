"""The whole store, in one SQLite file."""

from __future__ import annotations

from datetime import tzinfo
from pathlib import Path

from portald.store.callbacks import Callbacks
from portald.store.challenges import Challenges
from portald.store.consents import Consents
from portald.store.entries import Entries
from portald.store.ledger import Ledger
from portald.store.recovery import Recovery


class Store(Challenges, Callbacks, Consents, Entries, Ledger, Recovery):
    """Everything portald remembers.

    A race between two guests, or between a guest and itself, is settled by a single statement:
    ``UPDATE … WHERE … RETURNING``.  Times are epoch seconds and always passed in; days are those
    of ``tz``, or of this machine.
    """

    def __init__(self, path: Path, tz: tzinfo | None = None) -> None:
        self.tz = tz
        super().__init__(path)

    def forget(self, challenges_before: float, sessions_before: float) -> None:
        """Delete what nothing depends on any more, and sessions that ended long ago.

        A number none of whose sessions are left is deleted with them, unless an operator made or
        changed its account.
        """
        with self.transaction() as connection:
            connection.execute("DELETE FROM challenges WHERE expires_at < ?", (challenges_before,))
            connection.execute("DELETE FROM quotas WHERE ends_at < ?", (challenges_before,))
            connection.execute("DELETE FROM approvals WHERE asked_at < ?", (challenges_before,))
            connection.execute("DELETE FROM texts WHERE at < ?", (sessions_before,))
            connection.execute("DELETE FROM tokens WHERE used_at < ?", (sessions_before,))
            connection.execute(
                "DELETE FROM consents WHERE at < ? AND NOT EXISTS (SELECT 1 FROM sessions s WHERE"
                " s.mac = consents.mac AND s.zone = consents.zone"
                " AND (s.ended_at IS NULL OR s.ended_at >= ?))", (sessions_before, sessions_before),
            )  # fmt: skip
            connection.execute("DELETE FROM terms WHERE version NOT IN (SELECT version FROM consents)")
            # Which devices used a voucher matters for as long as it is good.
            connection.execute(
                "DELETE FROM voucher_uses WHERE at < :before AND hash IN (SELECT v.hash FROM vouchers v"
                " JOIN batches b ON b.id = v.batch_id LEFT JOIN accounts a ON a.id = v.account_id"
                " WHERE b.withdrawn OR a.expires_at < :before)", {"before": sessions_before},
            )  # fmt: skip
            old = "SELECT id FROM sessions WHERE ended_at < ?"
            connection.execute(f"DELETE FROM addresses WHERE session_id IN ({old})", (sessions_before,))
            connection.execute(f"DELETE FROM usage WHERE session_id IN ({old})", (sessions_before,))
            gone = connection.execute("DELETE FROM sessions WHERE ended_at < ?", (sessions_before,))
            if gone.rowcount:
                connection.execute(
                    "DELETE FROM accounts WHERE NOT kept AND id NOT IN (SELECT account_id FROM sessions)"
                    " AND id NOT IN (SELECT account_id FROM vouchers WHERE account_id IS NOT NULL)"
                )
