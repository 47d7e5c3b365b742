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
    """
    ALTER TABLE plans ADD COLUMN terms TEXT NOT NULL DEFAULT '{}';
    UPDATE plans SET terms = '{"session": "' || minutes || 'm"}' WHERE minutes IS NOT NULL;
    ALTER TABLE plans DROP COLUMN minutes;
    ALTER TABLE groups ADD COLUMN note TEXT NOT NULL DEFAULT '';

    ALTER TABLE accounts RENAME COLUMN number TO name;
    ALTER TABLE accounts ADD COLUMN sort TEXT NOT NULL DEFAULT 'number';
    ALTER TABLE accounts ADD COLUMN number TEXT;
    ALTER TABLE accounts ADD COLUMN email TEXT;
    ALTER TABLE accounts ADD COLUMN password TEXT;
    ALTER TABLE accounts ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE accounts ADD COLUMN blocked INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE accounts ADD COLUMN expires_at REAL;
    ALTER TABLE accounts ADD COLUMN note TEXT NOT NULL DEFAULT '';
    ALTER TABLE accounts ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
    UPDATE accounts SET number = name;
    CREATE UNIQUE INDEX accounts_by_number ON accounts (number);
    CREATE UNIQUE INDEX accounts_by_email ON accounts (email);

    DROP INDEX one_session_per_client;
    CREATE UNIQUE INDEX one_session_per_client ON sessions (mac, zone) WHERE ended_at IS NULL;
    CREATE INDEX sessions_of_client ON sessions (mac, id);
    CREATE INDEX sessions_of_account ON sessions (account_id, id);
    CREATE INDEX sessions_by_end ON sessions (ended_at);
    ALTER TABLE sessions DROP COLUMN read_up;
    ALTER TABLE sessions DROP COLUMN read_down;
    ALTER TABLE sessions ADD COLUMN active_at REAL NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN counted_at REAL NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN extra INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE sessions ADD COLUMN until REAL;
    ALTER TABLE challenges ADD COLUMN purpose TEXT NOT NULL DEFAULT 'enter';
    ALTER TABLE challenges ADD COLUMN account_id INTEGER;
    UPDATE sessions SET counted_at = started_at, active_at = started_at;

    CREATE TABLE usage (
        session_id INTEGER NOT NULL REFERENCES sessions (id),
        day TEXT NOT NULL,
        seconds REAL NOT NULL DEFAULT 0,
        up INTEGER NOT NULL DEFAULT 0,
        down INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (session_id, day)
    ) WITHOUT ROWID;
    CREATE INDEX usage_by_day ON usage (day);
    INSERT INTO usage (session_id, day, seconds, up, down)
        SELECT id, date(started_at, 'unixepoch'), coalesce(ended_at, started_at) - started_at, up, down
        FROM sessions;

    CREATE TABLE clients (
        mac TEXT PRIMARY KEY,
        verdict TEXT NOT NULL CHECK (verdict IN ('trusted', 'blocked')),
        group_name TEXT REFERENCES groups (name),
        zone TEXT NOT NULL DEFAULT '',
        note TEXT NOT NULL DEFAULT '',
        since REAL NOT NULL
    );

    CREATE TABLE batches (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        group_name TEXT NOT NULL REFERENCES groups (name),
        count INTEGER NOT NULL,
        uses INTEGER NOT NULL,
        lasts INTEGER,
        expires_at REAL,
        note TEXT NOT NULL DEFAULT '',
        created_at REAL NOT NULL,
        withdrawn INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE vouchers (
        hash TEXT PRIMARY KEY,
        batch_id INTEGER NOT NULL REFERENCES batches (id),
        serial INTEGER NOT NULL,
        account_id INTEGER REFERENCES accounts (id)
    );
    CREATE INDEX vouchers_of_batch ON vouchers (batch_id, serial);
    CREATE TABLE voucher_uses (
        hash TEXT NOT NULL REFERENCES vouchers (hash),
        mac TEXT NOT NULL,
        at REAL NOT NULL,
        PRIMARY KEY (hash, mac)
    );

    CREATE TABLE approvals (
        id INTEGER PRIMARY KEY,
        mac TEXT NOT NULL,
        zone TEXT NOT NULL,
        ip TEXT NOT NULL,
        name TEXT NOT NULL,
        asked_at REAL NOT NULL,
        decided_at REAL,
        granted INTEGER
    );
    CREATE UNIQUE INDEX one_approval_per_client ON approvals (mac, zone) WHERE decided_at IS NULL;

    CREATE TABLE tokens (
        hash TEXT PRIMARY KEY,
        account_id INTEGER NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
        zone TEXT NOT NULL,
        proven_at REAL NOT NULL,
        used_at REAL NOT NULL
    );

    CREATE TABLE facts (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    );
    """,
    """
    CREATE TABLE spans (
        session_id INTEGER NOT NULL REFERENCES sessions (id),
        address TEXT NOT NULL,
        since REAL NOT NULL,
        until REAL,
        PRIMARY KEY (session_id, address, since)
    ) WITHOUT ROWID;
    INSERT INTO spans SELECT session_id, address, since, until FROM addresses;
    DROP TABLE addresses;
    ALTER TABLE spans RENAME TO addresses;
    CREATE INDEX addresses_by_address ON addresses (address, since);
    CREATE INDEX vouchers_of_account ON vouchers (account_id);
    CREATE INDEX tokens_of_account ON tokens (account_id);
    UPDATE usage SET seconds = 0 WHERE seconds < 0;
    """,
    """
    CREATE TABLE terms (
        version TEXT PRIMARY KEY,
        words TEXT NOT NULL
    );
    CREATE TABLE consents (
        mac TEXT NOT NULL,
        zone TEXT NOT NULL,
        version TEXT NOT NULL REFERENCES terms (version),
        at REAL NOT NULL,
        PRIMARY KEY (mac, zone, version)
    ) WITHOUT ROWID;
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
