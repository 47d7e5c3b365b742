"""A damaged database: set aside, the last backup in its place, and the kernel asked for the rest."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from portald import plan as plans
from portald.access import families
from portald.config import Zone
from portald.errors import ConfigError, StoreError
from portald.model import LAST_SESSION, End, Held, Sort
from portald.store.accounts import account_of
from portald.store.database import Database, told
from portald.store.migrations import migrate
from portald.store.sessions import Sessions, set_addresses

log = logging.getLogger(__name__)

BACKUP = "portald.backup.db"
REBUILT = "portald.rebuilt.db"
BACKUP_EVERY = 3_600.0
LEAP = 10_000
"""Session numbers left out after a loss: some may have been given that nothing remembers."""


def prepare(path: Path, now: float) -> None:
    """Make sure that a sound database is at ``path``, or none where there never was one.

    A damaged one is kept beside it for whoever wants to look; a missing one is a loss too if there
    is a backup.  Raises ``ConfigError`` if the folder cannot be written.
    """
    backup, rebuilt = path.with_name(BACKUP), path.with_name(REBUILT)
    why = fault(path) if path.exists() else ("it is gone" if backup.exists() or rebuilt.exists() else None)
    if why is None:
        return
    try:
        aside = f"{path.name}.damaged-{int(now)}"
        # Rebuilt beside it, and in its place by one rename: whoever is killed in between begins anew,
        # and no backup is ever taken for what portald knew last.
        _remove(rebuilt)
        usable = backup.exists() and fault(backup) is None
        if usable:
            copy(backup, rebuilt)
        mark_recovering(rebuilt, {"at": now, "why": why, "aside": aside, "backup": usable})
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(path.with_name(aside + suffix))
        rebuilt.replace(path)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"{path} is damaged ({why}) and cannot be rebuilt: {error}") from error
    log.error("event=database_lost why=%r aside=%s backup=%s", why, aside, usable)


def mark_recovering(path: Path, lost: dict[str, object] | None = None) -> None:
    """Have the first round believe the kernel: this database may be older than what goes on there.

    Raises ``ConfigError`` if it cannot be brought up to date.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            migrate(connection)
            facts = [("recovering", "1")] + ([("lost", json.dumps(lost))] if lost else [])
            connection.executemany("INSERT OR REPLACE INTO facts (name, value) VALUES (?, ?)", facts)
            connection.commit()
            # In one file, which one rename puts in place.
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be brought up to date: {error}") from error


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def fault(path: Path) -> str | None:
    """Return what is wrong with a database, ``None`` if nothing is."""
    try:
        with closing(sqlite3.connect(path, timeout=5)) as connection:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            connection.execute("SELECT count(*) FROM migrations").fetchone()
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        empty = path.stat().st_size == 0
        damaged = code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in str(error)
        return str(error) if damaged and not empty else None
    return None if answer == "ok" else str(answer)


def copy(source: Path, target: Path) -> None:
    """Copy a database that may be in use, in one transaction; what the target held is overwritten."""
    os.close(os.open(target, os.O_CREAT | os.O_RDWR, 0o600))
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=5)) as one,
        closing(sqlite3.connect(target, timeout=5)) as other,
    ):
        other.execute("PRAGMA secure_delete = ON")
        one.backup(other)


class Recovery(Sessions, Database):
    """Backups by the hour, and the first round after a loss."""

    def keep_backup(self, now: float) -> None:
        """Write the backup if the last one is an hour old.

        A damaged page may not have been read for months: it must not take the place of a sound one.
        """
        last = float(self.fact("backup_at") or 0)
        if 0 <= now - last < BACKUP_EVERY:
            return
        backup = self.path.with_name(BACKUP)
        fresh = backup.with_name(f"{BACKUP}.new")
        try:
            _remove(fresh)
            with told():
                copy(self.path, fresh)
            if (why := fault(fresh)) is not None:
                raise StoreError(f"the database is damaged: {why}", damaged=True)
            fresh.replace(backup)
        except OSError as error:
            raise StoreError(f"the backup cannot be written: {error.strerror}") from error
        self.set_fact("backup_at", str(now))

    def lost(self) -> dict[str, object] | None:
        """Return what is known of the last loss of the database, until the operator has seen it."""
        fact: dict[str, object] | None = json.loads(self.fact("lost") or "null")
        return fact

    def finish_recovery(self, held: Mapping[int, Held], zones: Sequence[Zone], now: float) -> None:
        """After a loss, believe the kernel: it knows who was let in and who was cut since the backup.

        Whoever it holds stays until the time it gives, under an account of the device, if the
        backup does not know better.  If it holds nothing (it was started anew as well), the
        backup is all there is, and whoever is online there stays.
        """
        if self.fact("recovering") is None:
            return
        inside = {session: found for session, found in held.items() if found.open and found.complete}
        with self.transaction() as connection:
            known = {row["id"] for row in connection.execute("SELECT id FROM sessions")}
            if inside:
                live = connection.execute("SELECT id FROM sessions WHERE ended_at IS NULL").fetchall()
                cut = [row["id"] for row in live if row["id"] not in inside]
                self._end(connection, dict.fromkeys(cut, End.LOST), now)
                for row in live:
                    if (found := inside.get(row["id"])) is not None:
                        self._believe(connection, found, now)
            groups = {zone.name: zone.group for zone in zones}
            for found in inside.values():
                if found.session not in known and found.zone in groups:
                    self._adopt(connection, found, groups[found.zone], now)
            highest = max([*held, *known, 0]) + LEAP
            connection.execute(
                "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'sessions'",
                (min(highest, LAST_SESSION - LEAP),),
            )
            connection.execute("DELETE FROM facts WHERE name = 'recovering'")
        log.warning("event=database_rebuilt from_kernel=%d", len(inside.keys() - known))

    def _believe(self, connection: sqlite3.Connection, found: Held, now: float) -> None:
        """Take over where a session's device is: it may have moved since the backup."""
        had = connection.execute(
            "SELECT address FROM addresses WHERE session_id = ? AND until IS NULL", (found.session,)
        ).fetchall()
        ipv6 = found.ipv6 if found.ipv6 is not None else families(row["address"] for row in had)[1]
        set_addresses(connection, found.session, found.addresses | ipv6, now)

    def _adopt(self, connection: sqlite3.Connection, found: Held, group: str, now: float) -> None:
        row = connection.execute(
            "SELECT p.* FROM groups g JOIN plans p ON p.name = g.plan WHERE g.name = ?", (group,)
        ).fetchone()
        if row is None:
            return
        plan = plans.stored(row["name"], row["terms"])
        account = account_of(connection, Sort.DEVICE, found.mac, group, now)
        # Its beginning is forgotten: such that the plan gives it what the kernel still does.
        started = now if plan.session is None else min(now, now + found.seconds - plan.session)
        connection.execute(
            "UPDATE sessions SET ended_at = ?, end_reason = 'lost' WHERE mac = ? AND zone = ?"
            " AND ended_at IS NULL", (now, found.mac, found.zone),
        )  # fmt: skip
        connection.execute(
            "INSERT INTO sessions (id, account_id, zone, mac, started_at, granted_at, active_at,"
            " counted_at, up, down, verified) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            (
                found.session, account.id, found.zone, found.mac, started, now, now, now,
                found.usage.up, found.usage.down,
            ),
        )  # fmt: skip
        set_addresses(connection, found.session, found.addresses | (found.ipv6 or frozenset()), now)
