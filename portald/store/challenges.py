"""Challenges: opened, sent, guessed at, used or replaced, each step by one statement."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from portald.errors import Reason, Refused
from portald.limits import Allowance
from portald.model import Challenge, Kind, Outcome, Policy, Purpose, Sent, State, Wish
from portald.store.quotas import Quotas, spend

_OPEN_STATES = "('waiting', 'sent', 'failed')"
# Texts are kept longer than challenges, and must not become those of another one.
_NEXT = """(SELECT 1 + max(coalesce((SELECT max(id) FROM challenges), 0),
                       coalesce((SELECT max(challenge_id) FROM texts), 0)))"""
COLUMNS = """*,
    (SELECT delivered FROM texts WHERE challenge_id = challenges.id ORDER BY id DESC LIMIT 1)
    AS delivered"""


class Challenges(Quotas):
    """A challenge belongs to its holder: a device's MAC, or the id an application was given."""

    def open_challenge(
        self, wish: Wish, price: int, allowances: Iterable[Allowance], now: float
    ) -> Challenge:
        """Count a text and open its challenge; the holder's earlier codes die.

        Raises ``Refused`` and changes nothing if an allowance is used up.
        """
        order, policy = wish.order, wish.order.policy
        with self.transaction() as connection:
            spend(connection, allowances, now)
            _replace(connection, wish.holder)
            # One whose text nobody was ever asked to send leaves nothing: it did not count either.
            connection.execute(
                "DELETE FROM challenges WHERE holder = ? AND outcome = 'temporary'"
                " AND NOT EXISTS (SELECT 1 FROM texts WHERE challenge_id = challenges.id)",
                (wish.holder,),
            )
            row = connection.execute(
                f"""
                INSERT INTO challenges (
                    id, number, holder, zone, state, kind, length, lifetime, most_attempts,
                    carrier, price, application, callback, created_at, expires_at, purpose, account_id
                )
                VALUES ({_NEXT}, ?, ?, ?, 'waiting', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                RETURNING {COLUMNS}
                """,
                (
                    order.to, wish.holder, wish.zone,
                    policy.kind, policy.length, policy.lifetime, policy.attempts,
                    order.carrier, price, wish.application, wish.callback,
                    now, now + policy.lifetime, wish.purpose, wish.account,
                ),
            ).fetchone()  # fmt: skip
        return as_challenge(row)

    def challenge_of(self, holder: str, now: float) -> Challenge | None:
        """Return the holder's pending challenge, whether or not it came with a cookie."""
        row = self.connection.execute(
            f"""
            SELECT {COLUMNS} FROM challenges WHERE holder = ? AND state IN {_OPEN_STATES} AND expires_at > ?
            ORDER BY id DESC LIMIT 1
            """,
            (holder, now),
        ).fetchone()
        return as_challenge(row) if row else None

    def code_before(self, holder: str, number: str, now: float) -> str:
        """Return the handle of the holder's latest code for a number that may still be good elsewhere."""
        row = self.connection.execute(
            "SELECT reference FROM challenges WHERE holder = ? AND number = ? AND expires_at > ?"
            " AND state IN ('sent', 'replaced') AND reference IS NOT NULL ORDER BY id DESC LIMIT 1",
            (holder, number, now),
        ).fetchone()
        return row["reference"] if row else ""

    def latest_challenge(self, holder: str) -> Challenge | None:
        """Return the holder's latest challenge, in whatever state."""
        query = f"SELECT {COLUMNS} FROM challenges WHERE holder = ? ORDER BY id DESC LIMIT 1"
        row = self.connection.execute(query, (holder,)).fetchone()
        return as_challenge(row) if row else None

    def text_sent(
        self,
        challenge_id: int,
        sent: Sent,
        now: float,
        outcome: Outcome = Outcome.ACCEPTED,
        words: str | None = None,
    ) -> bool:
        """Record that a code is, or with ``UNKNOWN`` may be, on its way; it lives from now on."""
        policy = sent.policy
        changed = self.connection.execute(
            "UPDATE challenges SET state = 'sent', reference = ?, outcome = ?, words = ?, expires_at = ?,"
            " kind = ?, length = ?, lifetime = ?, most_attempts = ? WHERE id = ? AND state = 'waiting'",
            (
                sent.reference, outcome, words, now + policy.lifetime,
                policy.kind, policy.length, policy.lifetime, policy.attempts, challenge_id,
            ),
        )  # fmt: skip
        return bool(changed.rowcount)

    def text_failed(self, challenge_id: int, outcome: Outcome, words: str) -> None:
        self.connection.execute(
            "UPDATE challenges SET state = 'failed', outcome = ?, words = ?"
            " WHERE id = ? AND state = 'waiting'",
            (outcome, words, challenge_id),
        )

    def fail_interrupted(self) -> list[Challenge]:
        """Mark texts that were on their way when portald stopped; return them."""
        rows = self.connection.execute(
            "UPDATE challenges SET state = 'failed', outcome = 'unknown',"
            f" words = 'portald was restarted while sending' WHERE state = 'waiting' RETURNING {COLUMNS}"
        ).fetchall()
        return [as_challenge(row) for row in rows]

    def is_waiting(self, challenge_id: int) -> bool:
        """Tell whether a text is still to be sent: its challenge may have been replaced meanwhile."""
        query = "SELECT 1 FROM challenges WHERE id = ? AND state = 'waiting'"
        return self.connection.execute(query, (challenge_id,)).fetchone() is not None

    def cancel_challenge(self, holder: str) -> bool:
        """Drop the holder's pending challenge; false if there is none."""
        with self.transaction() as connection:
            return _replace(connection, holder)

    def take_guess(
        self, holder: str, allowances: Iterable[Allowance], now: float, early: bool = False
    ) -> Challenge:
        """Use up one guess at the holder's code and return the challenge to compare with.

        ``early`` counts one at a code that is still on its way, which cannot be right, as well.

        Raises ``Refused`` if there is no code, it is too old, or guesses are used up.  However
        many requests come at once, no more than its policy's attempts return.
        """
        with self.transaction() as connection:
            spend(connection, allowances, now)
            row = connection.execute(
                f"""
                UPDATE challenges SET attempts = attempts + 1
                WHERE holder = ? AND (state = 'sent' OR state = 'waiting' AND ?)
                    AND attempts < most_attempts AND expires_at > ?
                RETURNING {COLUMNS}
                """,
                (holder, early, now),
            ).fetchone()
            if row is None:
                raise Refused(self._why_no_guess(connection, holder, now))
        return as_challenge(row)

    def use_challenge(self, challenge_id: int, now: float) -> bool:
        """Spend a code that was right; false if it was spent or replaced meanwhile."""
        with self.transaction() as connection:
            return use(connection, challenge_id, now)

    def give_guess_back(
        self, challenge_id: int, allowances: Iterable[Allowance], counted_at: float
    ) -> None:
        """Undo the counting of a guess that nobody judged."""
        self.give_back(allowances, counted_at)
        query = "UPDATE challenges SET attempts = max(0, attempts - 1) WHERE id = ? AND state = 'sent'"
        self.connection.execute(query, (challenge_id,))

    def kill_challenge(self, challenge_id: int) -> None:
        """Leave no guess at a code that its provider has declared dead."""
        query = "UPDATE challenges SET attempts = most_attempts WHERE id = ?"
        self.connection.execute(query, (challenge_id,))

    @staticmethod
    def _why_no_guess(connection: sqlite3.Connection, holder: str, now: float) -> Reason:
        query = "SELECT * FROM challenges WHERE holder = ? ORDER BY id DESC LIMIT 1"
        row = connection.execute(query, (holder,)).fetchone()
        if row is None or row["state"] not in (State.SENT, State.EXPIRED):
            return Reason.NO_CHALLENGE
        return Reason.CODE_EXPIRED if row["expires_at"] <= now else Reason.TOO_MANY_GUESSES

    def challenges(self, limit: int) -> list[Challenge]:
        """Return the latest challenges, newest first, for the operator."""
        rows = self.connection.execute(
            f"SELECT {COLUMNS} FROM challenges ORDER BY id DESC LIMIT ?", (limit,)
        )
        return [as_challenge(row) for row in rows]


def use(connection: sqlite3.Connection, challenge_id: int, now: float) -> bool:
    """Spend a challenge and note that its text was worth its money; false if it was not open."""
    spent = connection.execute(
        "UPDATE challenges SET state = 'used' WHERE id = ? AND state = 'sent' RETURNING id", (challenge_id,)
    ).fetchone()
    if spent is not None:
        connection.execute("UPDATE texts SET verified_at = ? WHERE challenge_id = ?", (now, challenge_id))
    return spent is not None


def _replace(connection: sqlite3.Connection, holder: str) -> bool:
    replaced = connection.execute(
        f"UPDATE challenges SET state = 'replaced' WHERE holder = ? AND state IN {_OPEN_STATES}", (holder,)
    )
    return bool(replaced.rowcount)


def as_challenge(row: sqlite3.Row) -> Challenge:
    return Challenge(
        id=row["id"],
        number=row["number"],
        holder=row["holder"],
        zone=row["zone"],
        state=State(row["state"]),
        policy=Policy(Kind(row["kind"]), row["length"], row["lifetime"], row["most_attempts"]),
        reference=row["reference"],
        outcome=Outcome(row["outcome"]) if row["outcome"] else None,
        words=row["words"],
        attempts=row["attempts"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        carrier=row["carrier"],
        price=row["price"],
        application=row["application"],
        callback=row["callback"],
        delivered=None if row["delivered"] is None else bool(row["delivered"]),
        purpose=Purpose(row["purpose"]),
        account=row["account_id"],
    )
