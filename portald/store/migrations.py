"""The schema as an ordered list of steps; old steps never change, new ones go at the end."""

from __future__ import annotations

import sqlite3

from portald.model import FIRST_SESSION

STEPS = (
    """
    CREATE TABLE plans (
        name TEXT PRIMARY KEY,
        minutes INTEGER CHECK (minutes > 0)
    );
    CREATE TABLE groups (
        name TEXT PRIMARY KEY,
        plan TEXT NOT NULL REFERENCES plans (name)
    );
    INSERT INTO plans (name) VALUES ('unlimited');
    INSERT INTO groups (name, plan) VALUES ('SMS', 'unlimited');

    CREATE TABLE accounts (
        id INTEGER PRIMARY KEY,
        number TEXT NOT NULL UNIQUE,
        group_name TEXT NOT NULL REFERENCES groups (name),
        created_at REAL NOT NULL
    );

    CREATE TABLE sessions (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account_id INTEGER NOT NULL REFERENCES accounts (id),
        zone TEXT NOT NULL,
        mac TEXT NOT NULL,
        started_at REAL NOT NULL,
        expires_at REAL,
        granted_at REAL,
        ended_at REAL,
        end_reason TEXT,
        up INTEGER NOT NULL DEFAULT 0,
        down INTEGER NOT NULL DEFAULT 0,
        read_up INTEGER NOT NULL DEFAULT 0,
        read_down INTEGER NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX one_session_per_client ON sessions (mac) WHERE ended_at IS NULL;

    CREATE TABLE addresses (
        session_id INTEGER NOT NULL REFERENCES sessions (id),
        address TEXT NOT NULL,
        since REAL NOT NULL,
        until REAL,
        PRIMARY KEY (session_id, address)
    );

    CREATE TABLE challenges (
        id INTEGER PRIMARY KEY,
        number TEXT NOT NULL,
        mac TEXT NOT NULL,
        state TEXT NOT NULL,
        reference TEXT,
        outcome TEXT,
        words TEXT,
        attempts INTEGER NOT NULL DEFAULT 0,
        created_at REAL NOT NULL,
        expires_at REAL NOT NULL
    );
    CREATE INDEX challenges_of_client ON challenges (mac, id);

    CREATE TABLE quotas (
        name TEXT PRIMARY KEY,
        ends_at REAL NOT NULL,
        used INTEGER NOT NULL
    );
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date; each step and its record share one transaction."""
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (step INTEGER PRIMARY KEY)")
    for step, script in enumerate(STEPS, start=1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not connection.execute("SELECT 1 FROM migrations WHERE step = ?", (step,)).fetchone():
                for statement in script.split(";"):
                    connection.execute(statement)
                if step == 1:
                    # Session numbers are kernel marks and never start at 1.
                    connection.execute(
                        "INSERT INTO sqlite_sequence (name, seq) VALUES ('sessions', ?)",
                        (FIRST_SESSION - 1,),
                    )
                connection.execute("INSERT INTO migrations (step) VALUES (?)", (step,))
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
