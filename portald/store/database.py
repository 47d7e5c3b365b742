"""The SQLite file: one connection for each thread, transactions, and nothing readable left behind."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from portald.errors import ConfigError, Conflict, StoreError
from portald.store.migrations import migrate

PATIENCE = 5.0
"""Seconds that a statement waits for somebody else's lock; guests and rounds wait with it."""


class Connection(sqlite3.Connection):
    """Raises ``StoreError`` for what is wrong with the file, not with the statement."""

    def execute(self, *statement: Any) -> sqlite3.Cursor:
        with told():
            return super().execute(*statement)

    def executemany(self, *statement: Any) -> sqlite3.Cursor:
        with told():
            return super().executemany(*statement)


@contextmanager
def told() -> Iterator[None]:
    """Turn the errors of a full, read-only, locked or damaged file into ``StoreError``."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise Conflict(str(error)) from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreError(f"the database is damaged: {error}", damaged=True) from error
        if code in _REFUSALS:
            raise StoreError(f"the database cannot be used: {error}") from error
        raise


_REFUSALS = {
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM,
}  # fmt: skip


class Database:
    """Opens the file and brings its schema up to date; raises ``ConfigError`` if it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        try:
            # Numbers of guests are in it: for its owner's eyes only, from the first byte.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            migrate(self.connection)
        except (sqlite3.Error, StoreError, OSError) as error:
            self.close()
            raise ConfigError(f"{path} cannot be used as the database: {error}") from error

    @property
    def connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False,
                factory=Connection,
            )  # fmt: skip
            self._opened.append(connection)  # at once: what fails now is closed as well
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            # What is deleted is overwritten: a number must not stay readable in the file.
            connection.execute("PRAGMA secure_delete = ON")
            self._local.connection = connection
        return connection

    def close(self) -> None:
        for connection in self._opened:
            connection.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have ended it already
                connection.execute("ROLLBACK")
            raise

    # What portald itself must not forget ----------------------------------------------------

    def fact(self, name: str) -> str | None:
        row = self.connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return row["value"] if row else None

    def set_fact(self, name: str, value: str | None) -> None:
        if value is None:
            self.connection.execute("DELETE FROM facts WHERE name = ?", (name,))
        else:
            self.connection.execute(
                "INSERT INTO facts (name, value) VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (name, value),
            )
