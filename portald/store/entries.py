"""Vouchers, requests to the staff, and the tokens by which a device is known again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from portald.config import Zone
from portald.errors import Reason, Refused
from portald.model import Client, Sort
from portald.store.accounts import account_of
from portald.store.opening import Opened, Opening

MOST_TOKENS = 50
"""Tokens kept of one account: it has fewer devices, and each of them uses one."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Vouchers made together: the group they lead to, how many devices each is good for, how long."""

    id: int
    group: str
    count: int
    uses: int
    lasts: int | None
    """Seconds from the first use on."""
    expires_at: float | None
    note: str
    created_at: float
    withdrawn: bool
    used: int = 0
    """How many of them have been used."""


@dataclass(frozen=True, slots=True)
class Approval:
    """A guest who asks the staff to be let in."""

    id: int
    mac: str
    zone: str
    ip: str
    name: str
    asked_at: float


class Entries(Opening):
    """Each use of a voucher, and each decision, is settled in one transaction."""

    # Vouchers -------------------------------------------------------------------------------

    def add_batch(
        self, group: str, uses: int, lasts: int | None, expires_at: float | None, note: str, now: float
    ) -> int:
        """Make an empty batch; its number is needed to make its codes."""
        (made,) = self.connection.execute(
            "INSERT INTO batches (group_name, count, uses, lasts, expires_at, note, created_at, withdrawn)"
            " VALUES (?, 0, ?, ?, ?, ?, ?, 1) RETURNING id",
            (group, uses, lasts, expires_at, note, now),
        ).fetchone()
        return int(made)

    def fill_batch(self, batch: int, hashes: Sequence[str]) -> None:
        """Add its vouchers' codes, hashed, in the order of their serial numbers; now they are good."""
        with self.transaction() as connection:
            connection.executemany(
                "INSERT INTO vouchers (hash, batch_id, serial) VALUES (?, ?, ?)",
                [(hashed, batch, serial) for serial, hashed in enumerate(hashes, start=1)],
            )
            connection.execute(
                "UPDATE batches SET count = ?, withdrawn = 0 WHERE id = ?", (len(hashes), batch)
            )

    def batches(self) -> list[Batch]:
        rows = self.connection.execute(
            "SELECT b.*, (SELECT count(*) FROM vouchers WHERE batch_id = b.id AND account_id IS NOT NULL)"
            " AS used FROM batches b WHERE b.count > 0 ORDER BY b.id DESC"
        )
        return [_batch(row) for row in rows]

    def withdraw_batch(self, batch: int) -> bool:
        """Let nobody use a batch any more, those who have used it included; false if there is none."""
        with self.transaction() as connection:
            found = connection.execute(
                "UPDATE batches SET withdrawn = 1 WHERE id = ? AND count > 0", (batch,)
            )
            connection.execute(
                "UPDATE accounts SET blocked = 1 WHERE id IN"
                " (SELECT account_id FROM vouchers WHERE batch_id = ?)", (batch,),
            )  # fmt: skip
        return bool(found.rowcount)

    def redeem(self, hashed: str, client: Client, now: float) -> Opened:
        """Open a session by a voucher; a device that has used it before uses up nothing more."""
        with self.transaction() as connection:
            row = connection.execute(
                "SELECT v.serial, v.account_id, b.* FROM vouchers v JOIN batches b ON b.id = v.batch_id"
                " WHERE v.hash = ?", (hashed,),
            ).fetchone()  # fmt: skip
            if row is None or row["withdrawn"]:
                raise Refused(Reason.VOUCHER_WRONG)
            if row["account_id"] is None:
                if row["expires_at"] is not None and row["expires_at"] <= now:
                    raise Refused(Reason.ACCOUNT_EXPIRED)
                name = f"voucher {row['id']}-{row['serial']}"
                account = account_of(connection, Sort.VOUCHER, name, row["group_name"], now)
                ends = [
                    at for at in (row["expires_at"], now + row["lasts"] if row["lasts"] else None) if at
                ]
                connection.execute(
                    "UPDATE accounts SET expires_at = ?, verified_at = ?, note = ? WHERE id = ?",
                    (min(ends, default=None), now, row["note"], account.id),
                )
                connection.execute(
                    "UPDATE vouchers SET account_id = ? WHERE hash = ?", (account.id, hashed)
                )
                account_id = account.id
            else:
                account_id = row["account_id"]
            used = connection.execute("SELECT mac FROM voucher_uses WHERE hash = ?", (hashed,)).fetchall()
            if client.mac not in {use["mac"] for use in used}:
                if len(used) >= row["uses"]:
                    raise Refused(Reason.VOUCHER_USED)
                connection.execute(
                    "INSERT INTO voucher_uses (hash, mac, at) VALUES (?, ?, ?)", (hashed, client.mac, now)
                )
            return self._open(connection, account_id, client, now, verified=True)

    # Approvals ------------------------------------------------------------------------------

    def ask_staff(self, client: Client, name: str, now: float) -> Approval:
        """Note that a client asks to be let in; asking again changes the name.

        Its number is no earlier guest's: their accounts are kept longer than their requests.
        """
        row = self.connection.execute(
            "INSERT INTO approvals (id, mac, zone, ip, name, asked_at) VALUES ((SELECT 1 + max("
            " coalesce((SELECT max(id) FROM approvals), 0),"
            " coalesce((SELECT max(CAST(substr(name, 7) AS INTEGER)) FROM accounts"
            " WHERE sort = 'guest'), 0))), ?, ?, ?, ?, ?)"
            " ON CONFLICT (mac, zone) WHERE decided_at IS NULL"
            " DO UPDATE SET name = excluded.name, ip = excluded.ip RETURNING *",
            (client.mac, client.zone, client.ip, name, now),
        ).fetchone()
        return _approval(row)

    def approvals(self, since: float) -> list[Approval]:
        """Return who is waiting, longest first; who has not asked since then has gone."""
        rows = self.connection.execute(
            "SELECT * FROM approvals WHERE decided_at IS NULL AND asked_at >= ? ORDER BY id", (since,)
        )
        return [_approval(row) for row in rows]

    def approval_of(self, client: Client, since: float) -> tuple[Approval, bool | None] | None:
        """Return the client's latest request, and whether it was granted."""
        row = self.connection.execute(
            "SELECT * FROM approvals WHERE mac = ? AND zone = ? AND asked_at >= ? ORDER BY id DESC LIMIT 1",
            (client.mac, client.zone, since),
        ).fetchone()
        granted = None if row is None or row["granted"] is None else bool(row["granted"])
        return (_approval(row), granted) if row else None

    def refuse(self, approval_id: int, now: float) -> bool:
        done = self.connection.execute(
            "UPDATE approvals SET decided_at = ?, granted = 0 WHERE id = ? AND decided_at IS NULL",
            (now, approval_id),
        )
        return bool(done.rowcount)

    def approve(self, approval_id: int, group: str, now: float) -> Opened:
        """Let the guest in who asked; raises ``Refused`` if that was decided already."""
        with self.transaction() as connection:
            row = connection.execute(
                "UPDATE approvals SET decided_at = ?, granted = 1 WHERE id = ? AND decided_at IS NULL"
                " RETURNING *", (now, approval_id),
            ).fetchone()  # fmt: skip
            if row is None:
                raise Refused(Reason.FORM_STALE)
            account = account_of(connection, Sort.GUEST, f"guest {approval_id}", group, now)
            connection.execute(
                "UPDATE accounts SET verified_at = ?, note = ? WHERE id = ?", (now, row["name"], account.id)
            )
            client = Client(row["mac"], row["ip"], row["zone"])
            return self._open(connection, account.id, client, now, verified=True)

    # Devices that need no login -------------------------------------------------------------

    def open_trusted(self, zones: Iterable[Zone], now: float) -> None:
        """Open a session for every trusted device that has none, in its zone or the first."""
        by_name = {zone.name: zone for zone in zones}
        first = next(iter(by_name.values()))
        for device in self.devices():
            zone = by_name.get(device.zone, first)
            if device.verdict != "trusted" or self.session_of(device.mac, zone.name):
                continue
            try:
                with self.transaction() as connection:
                    group = device.group or zone.group
                    account = account_of(connection, Sort.DEVICE, device.mac, group, now)
                    if account.group != group:
                        connection.execute(
                            "UPDATE accounts SET group_name = ? WHERE id = ?", (group, account.id)
                        )
                    self._open(
                        connection, account.id, Client(device.mac, "", zone.name), now, verified=True
                    )
            except Refused:
                continue  # its plan does not allow it now

    # Tokens ---------------------------------------------------------------------------------

    def add_token(self, hashed: str, account_id: int, zone: str, proven_at: float, now: float) -> None:
        """Keep a token of an account; the oldest of too many is good no more."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO tokens (hash, account_id, zone, proven_at, used_at) VALUES (?, ?, ?, ?, ?)",
                (hashed, account_id, zone, proven_at, now),
            )
            connection.execute(
                "DELETE FROM tokens WHERE account_id = ? AND rowid NOT IN"
                " (SELECT rowid FROM tokens WHERE account_id = ? ORDER BY rowid DESC LIMIT ?)",
                (account_id, account_id, MOST_TOKENS),
            )

    def open_by_token(self, hashed: str, account_id: int, client: Client, now: float) -> Opened:
        """Use up a token for a session; however many ask at once, one gets it.

        Raises ``Refused`` too if its account may not come in now: then the token is still good.
        """
        with self.transaction() as connection:
            used = connection.execute(
                "DELETE FROM tokens WHERE hash = ? AND zone = ? AND account_id = ? RETURNING hash",
                (hashed, client.zone, account_id),
            ).fetchone()
            if used is None:
                raise Refused(Reason.NO_CHALLENGE)
            return self._open(connection, account_id, client, now, verified=True)

    def account_of_token(self, hashed: str, zone: str) -> tuple[int, float] | None:
        row = self.connection.execute(
            "SELECT account_id, proven_at FROM tokens WHERE hash = ? AND zone = ?", (hashed, zone)
        ).fetchone()
        return (row["account_id"], row["proven_at"]) if row else None


def _batch(row: sqlite3.Row) -> Batch:
    return Batch(
        row["id"], row["group_name"], row["count"], row["uses"], row["lasts"], row["expires_at"],
        row["note"], row["created_at"], bool(row["withdrawn"]), row["used"],
    )  # fmt: skip


def _approval(row: sqlite3.Row) -> Approval:
    return Approval(row["id"], row["mac"], row["zone"], row["ip"], row["name"], row["asked_at"])
