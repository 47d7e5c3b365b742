"""The SQLite file: one connection for each thread, transactions, and nothing readable left behind."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portald.errors import ConfigError
from portald.store.migrations import migrate


class Database:
    """Opens the file and brings its schema up to date; raises ``ConfigError`` if it cannot be used."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        try:
            # Numbers of guests are in it: for its owner's eyes only, from the first byte.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            migrate(self.connection)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise ConfigError(f"{path} cannot be used as the database: {error}") from error

    @property
    def connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
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
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
