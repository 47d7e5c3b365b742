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
    """
    ALTER TABLE quotas ADD COLUMN streak INTEGER NOT NULL DEFAULT 0;

    ALTER TABLE challenges RENAME COLUMN mac TO holder;
    ALTER TABLE challenges ADD COLUMN zone TEXT NOT NULL DEFAULT '';
    ALTER TABLE challenges ADD COLUMN kind TEXT NOT NULL DEFAULT 'numbers';
    ALTER TABLE challenges ADD COLUMN length INTEGER NOT NULL DEFAULT 6;
    ALTER TABLE challenges ADD COLUMN lifetime INTEGER NOT NULL DEFAULT 300;
    ALTER TABLE challenges ADD COLUMN most_attempts INTEGER NOT NULL DEFAULT 5;
    ALTER TABLE challenges ADD COLUMN carrier TEXT NOT NULL DEFAULT '';
    ALTER TABLE challenges ADD COLUMN price INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE challenges ADD COLUMN application TEXT NOT NULL DEFAULT '';
    ALTER TABLE challenges ADD COLUMN callback TEXT NOT NULL DEFAULT '';

    ALTER TABLE accounts ADD COLUMN verified_at REAL;
    ALTER TABLE sessions ADD COLUMN verified INTEGER NOT NULL DEFAULT 1;
    UPDATE accounts SET verified_at = created_at;

    CREATE TABLE texts (
        id INTEGER PRIMARY KEY,
        at REAL NOT NULL,
        challenge_id INTEGER NOT NULL,
        provider TEXT NOT NULL,
        number TEXT NOT NULL,
        prefix TEXT NOT NULL,
        country TEXT NOT NULL,
        carrier TEXT NOT NULL,
        outcome TEXT NOT NULL,
        words TEXT NOT NULL,
        message TEXT NOT NULL,
        parts INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        delivered INTEGER,
        delivery_words TEXT NOT NULL DEFAULT '',
        verified_at REAL
    );
    CREATE INDEX texts_of_challenge ON texts (challenge_id);
    CREATE INDEX texts_by_time ON texts (at);

    CREATE TABLE limits (
        name TEXT PRIMARY KEY,
        most REAL NOT NULL
    );

    CREATE TABLE gates (
        place TEXT PRIMARY KEY,
        closed INTEGER NOT NULL,
        since REAL NOT NULL
    );

    CREATE TABLE callbacks (
        id INTEGER PRIMARY KEY,
        application TEXT NOT NULL,
        url TEXT NOT NULL,
        body TEXT NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        next_at REAL NOT NULL
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
