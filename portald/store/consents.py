"""Consents: which device agreed to which words, and when."""

from __future__ import annotations

from dataclasses import dataclass

from portald.model import Client
from portald.store.database import Database


@dataclass(frozen=True, slots=True)
class Agreed:
    """One device's consent; ``version`` names the words, which are kept as they were shown."""

    mac: str
    zone: str
    version: str
    at: float
    words: str


class Consents(Database):
    """Kept for as long as the sessions that they allowed."""

    def agree(self, client: Client, version: str, words: str, now: float) -> None:
        """Note that a client agreed to words; the first time counts."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO terms (version, words) VALUES (?, ?) ON CONFLICT DO NOTHING", (version, words)
            )
            connection.execute(
                "INSERT INTO consents (mac, zone, version, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (client.mac, client.zone, version, now),
            )

    def has_agreed(self, client: Client, versions: frozenset[str]) -> bool:
        """Tell whether a client has agreed to one of these words."""
        rows = self.connection.execute(
            "SELECT version FROM consents WHERE mac = ? AND zone = ?", (client.mac, client.zone)
        )
        return any(row["version"] in versions for row in rows)

    def consents(self, limit: int, mac: str = "") -> list[Agreed]:
        """Return the latest consents, newest first; of one device if it is named."""
        rows = self.connection.execute(
            "SELECT c.*, t.words FROM consents c JOIN terms t ON t.version = c.version"
            " WHERE ? IN ('', c.mac) ORDER BY c.at DESC LIMIT ?", (mac, limit),
        )  # fmt: skip
        return [Agreed(row["mac"], row["zone"], row["version"], row["at"], row["words"]) for row in rows]
