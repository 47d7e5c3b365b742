"""Plans, groups, accounts, and the devices that operators trust or block."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from portald import plan as plans
from portald.errors import Conflict, Reason, Refused
from portald.model import Account, Client, Sort
from portald.plan import Plan
from portald.store.database import Database


@dataclass(frozen=True, slots=True)
class Group:
    """A set of accounts and the plan they have."""

    name: str
    plan: str
    note: str = ""
    accounts: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A device that needs no login (``trusted``) or gets none (``blocked``)."""

    mac: str
    verdict: str
    group: str | None
    zone: str
    note: str
    since: float


COLUMNS = """a.id, a.name, a.group_name, a.sort, a.number, a.email, a.password IS NOT NULL AS has_password,
    a.blocked, a.expires_at AS account_expires_at, a.note, a.created_at, a.verified_at, a.kept"""


class Accounts(Database):
    """What operators arrange; a name that something else refers to cannot be deleted."""

    def plans(self) -> dict[str, Plan]:
        return {row["name"]: plans.stored(row["name"], row["terms"])
                for row in self.connection.execute("SELECT * FROM plans ORDER BY name")}  # fmt: skip

    def set_plan(self, plan: Plan) -> None:
        self.connection.execute(
            "INSERT INTO plans (name, terms) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET terms = excluded.terms",
            (plan.name, json.dumps(plan.as_table())),
        )

    def delete_plan(self, name: str) -> bool:
        """Delete a plan; false if there is none, ``Conflict`` if a group has it."""
        return bool(self.connection.execute("DELETE FROM plans WHERE name = ?", (name,)).rowcount)

    def groups(self) -> list[Group]:
        rows = self.connection.execute(
            "SELECT g.*, (SELECT count(*) FROM accounts WHERE group_name = g.name) AS accounts"
            " FROM groups g ORDER BY name"
        )
        return [Group(row["name"], row["plan"], row["note"], row["accounts"]) for row in rows]

    def has_group(self, name: str) -> bool:
        query = "SELECT 1 FROM groups WHERE name = ?"
        return self.connection.execute(query, (name,)).fetchone() is not None

    def plan_of_group(self, name: str) -> Plan | None:
        row = self.connection.execute(
            "SELECT p.* FROM groups g JOIN plans p ON p.name = g.plan WHERE g.name = ?", (name,)
        ).fetchone()
        return plans.stored(row["name"], row["terms"]) if row else None

    def set_group(self, name: str, plan: str, note: str) -> None:
        self.connection.execute(
            "INSERT INTO groups (name, plan, note) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET plan = excluded.plan, note = excluded.note",
            (name, plan, note),
        )

    def delete_group(self, name: str) -> bool:
        return bool(self.connection.execute("DELETE FROM groups WHERE name = ?", (name,)).rowcount)

    def accounts(self, search: str = "", limit: int = 1000) -> list[Account]:
        """Return accounts whose name, number, address, group or note contains a text; newest first."""
        like = "%" + search.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_") + "%"
        rows = self.connection.execute(
            f"SELECT {COLUMNS} FROM accounts a WHERE a.name LIKE :like ESCAPE '\\'"
            " OR a.number LIKE :like ESCAPE '\\' OR a.email LIKE :like ESCAPE '\\'"
            " OR a.group_name LIKE :like ESCAPE '\\' OR a.note LIKE :like ESCAPE '\\'"
            " ORDER BY a.id DESC LIMIT :limit",
            {"like": like, "limit": limit},
        )
        return [as_account(row) for row in rows]

    def account(self, account_id: int) -> Account | None:
        row = self.connection.execute(
            f"SELECT {COLUMNS} FROM accounts a WHERE a.id = ?", (account_id,)
        ).fetchone()
        return as_account(row) if row else None

    def account_named(self, name: str) -> Account | None:
        """Return the account with this name, number or address."""
        row = self.connection.execute(
            f"SELECT {COLUMNS} FROM accounts a WHERE a.name = :name OR a.number = :name OR a.email = :name"
            " ORDER BY a.name = :name DESC LIMIT 1",
            {"name": name},
        ).fetchone()
        return as_account(row) if row else None

    def set_accounts(self, rows: Iterable[dict[str, Any]], now: float) -> None:
        """Make or change accounts, all or none.

        Each row has a ``name`` and any of group, sort, number, email, password (its hash, or
        ``None`` for none), blocked, expires_at, note.  Raises ``Conflict`` if a
        number or address is another account's, or there is no such group.
        """
        with self.transaction() as connection:
            for row in rows:
                values = {_FIELDS.get(key, key): value for key, value in row.items()}
                connection.execute(
                    "INSERT INTO accounts (name, group_name, sort, created_at, kept) VALUES (?, ?, ?, ?, 1)"
                    " ON CONFLICT (name) DO NOTHING",
                    (row["name"], row.get("group", "SMS"), row.get("sort", Sort.USER), now),
                )
                known = [key for key in values if key in _CHANGEABLE]
                sets = "".join(f", {key} = :{key}" for key in known)
                connection.execute(
                    f"UPDATE accounts SET kept = 1, failures = 0{sets} WHERE name = :name", values
                )
                if "password" in row:
                    # Who came by the old one is known no more; a number's or address's proof stays one.
                    connection.execute(
                        "DELETE FROM tokens WHERE account_id = (SELECT id FROM accounts WHERE name = ?)",
                        (row["name"],),
                    )
                    connection.execute(
                        "UPDATE accounts SET verified_at = NULL WHERE name = ? AND sort = 'user'",
                        (row["name"],),
                    )

    def delete_account(self, account_id: int) -> bool:
        """Delete an account with all that is known of it; its sessions must have ended.

        A voucher goes with it: unused again, it would be good for its whole time once more.
        """
        with self.transaction() as connection:
            live = "SELECT 1 FROM sessions WHERE account_id = ? AND ended_at IS NULL"
            if connection.execute(live, (account_id,)).fetchone():
                raise Conflict("it is online")
            of = "SELECT id FROM sessions WHERE account_id = ?"
            connection.execute(f"DELETE FROM addresses WHERE session_id IN ({of})", (account_id,))
            connection.execute(f"DELETE FROM usage WHERE session_id IN ({of})", (account_id,))
            connection.execute("DELETE FROM sessions WHERE account_id = ?", (account_id,))
            used = "SELECT hash FROM vouchers WHERE account_id = ?"
            connection.execute(f"DELETE FROM voucher_uses WHERE hash IN ({used})", (account_id,))
            connection.execute("DELETE FROM vouchers WHERE account_id = ?", (account_id,))
            # Its number may be given to another account; a code on its way must not be that one's.
            connection.execute(
                "UPDATE challenges SET state = 'replaced' WHERE account_id = ?"
                " AND state IN ('waiting', 'sent', 'failed')", (account_id,),
            )  # fmt: skip
            return bool(connection.execute("DELETE FROM accounts WHERE id = ?", (account_id,)).rowcount)

    # Passwords ------------------------------------------------------------------------------

    def password(self, account_id: int) -> tuple[str, int] | None:
        """Return the hash of an account's password, and how often a wrong one was typed since."""
        row = self.connection.execute(
            "SELECT password, failures FROM accounts WHERE id = ? AND password IS NOT NULL", (account_id,)
        ).fetchone()
        return (row["password"], row["failures"]) if row else None

    def set_password(self, account_id: int, hashed: str | None) -> None:
        query = "UPDATE accounts SET password = ?, failures = 0 WHERE id = ?"
        self.connection.execute(query, (hashed, account_id))

    def password_failed(self, account_id: int) -> None:
        self.connection.execute("UPDATE accounts SET failures = failures + 1 WHERE id = ?", (account_id,))

    def password_right(self, account_id: int) -> None:
        """Forget the wrong ones: those that count are in a row."""
        self.connection.execute("UPDATE accounts SET failures = 0 WHERE id = ?", (account_id,))

    # Devices --------------------------------------------------------------------------------

    def devices(self) -> list[Device]:
        rows = self.connection.execute("SELECT * FROM clients ORDER BY verdict DESC, mac")
        return [_device(row) for row in rows]

    def device(self, mac: str) -> Device | None:
        row = self.connection.execute("SELECT * FROM clients WHERE mac = ?", (mac,)).fetchone()
        return _device(row) if row else None

    def refuse_blocked(self, client: Client) -> None:
        """Raise ``Refused`` if a device is blocked: no text is paid for that could not let it in."""
        device = self.device(client.mac)
        if device is not None and device.verdict == "blocked":
            raise Refused(Reason.BLOCKED)

    def set_device(self, device: Device) -> None:
        self.connection.execute(
            "INSERT INTO clients (mac, verdict, group_name, zone, note, since) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (mac) DO UPDATE SET verdict = excluded.verdict, group_name = excluded.group_name,"
            " zone = excluded.zone, note = excluded.note, since = excluded.since",
            (device.mac, device.verdict, device.group, device.zone, device.note, device.since),
        )

    def delete_device(self, mac: str) -> bool:
        return bool(self.connection.execute("DELETE FROM clients WHERE mac = ?", (mac,)).rowcount)


_FIELDS = {"group": "group_name"}
_CHANGEABLE = {"group_name", "number", "email", "password", "blocked", "expires_at", "note"}


def account_of(connection: sqlite3.Connection, sort: Sort, name: str, group: str, now: float) -> Account:
    """Return the account of a number, address or device, made in ``group`` if there is none.

    Raises ``Refused`` if there is no such group, or if the name that it would have is another's.
    """
    column = {Sort.NUMBER: "number", Sort.EMAIL: "email"}.get(sort, "name")
    query = f"SELECT {COLUMNS} FROM accounts a WHERE a.{column} = ?"
    row = connection.execute(query, (name,)).fetchone()
    taken = row is not None and column == "name" and row["sort"] != sort
    if row is None and column != "name":
        named = "SELECT 1 FROM accounts WHERE name = ?"
        taken = connection.execute(named, (name,)).fetchone() is not None
    if taken:
        # An operator's account that is called like somebody else's number, device or voucher.
        raise Refused(Reason.GROUP_CLOSED)
    if row is None:
        if not connection.execute("SELECT 1 FROM groups WHERE name = ?", (group,)).fetchone():
            raise Refused(Reason.GROUP_CLOSED)
        connection.execute(
            f"INSERT INTO accounts (name, {column}, group_name, sort, created_at) VALUES (?, ?, ?, ?, ?)"
            if column != "name"
            else "INSERT INTO accounts (name, group_name, sort, created_at) VALUES (?, ?, ?, ?)",
            (name, name, group, sort, now) if column != "name" else (name, group, sort, now),
        )
        row = connection.execute(query, (name,)).fetchone()
    return as_account(row)


def as_account(row: sqlite3.Row) -> Account:
    return Account(
        id=row["id"],
        name=row["name"],
        group=row["group_name"],
        sort=Sort(row["sort"]),
        number=row["number"] or "",
        email=row["email"] or "",
        has_password=bool(row["has_password"]),
        blocked=bool(row["blocked"]),
        expires_at=row["account_expires_at"],
        note=row["note"],
        created_at=row["created_at"],
        verified_at=row["verified_at"],
        kept=bool(row["kept"]),
    )


def _device(row: sqlite3.Row) -> Device:
    return Device(row["mac"], row["verdict"], row["group_name"], row["zone"], row["note"], row["since"])
