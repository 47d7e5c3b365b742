"""Consent: a zone's terms and privacy notice, shown before anything else, and who agreed to them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from portald.config import Config, Zone
from portald.errors import ConfigError, Reason, Refused
from portald.languages import NAMES, closest
from portald.limits import HOUR, Allowance
from portald.model import Client
from portald.ports import Clock
from portald.store import Store

log = logging.getLogger(__name__)

MOST = 100_000
"""Characters of one document: more is a mistake, and no guest's to read."""


@dataclass(frozen=True, slots=True)
class Documents:
    """What a guest reads in one language; empty is not asked for."""

    terms: str = ""
    privacy: str = ""

    @property
    def version(self) -> str:
        return hashlib.sha256(f"{self.terms}\0{self.privacy}".encode()).hexdigest()[:16]


class Consent:
    """Any language's words will do: who agreed in one is not asked again in another."""

    def __init__(self, config: Config, store: Store, clock: Clock) -> None:
        self._zones = {zone.name: dict(documents(zone)) for zone in config.zones}
        self._store = store
        self._clock = clock

    def documents(self, zone: str, language: str) -> Documents | None:
        """Return what guests of a zone read, ``None`` if there is nothing."""
        known = self._zones[zone]
        if not known:
            return None
        return known[
            closest(language, [tag for tag in known if tag]) or ("" if "" in known else next(iter(known)))
        ]

    def wanted(self, client: Client) -> bool:
        """Tell whether a client has still to agree to something."""
        known = self._zones[client.zone]
        versions = frozenset(each.version for each in known.values())
        return bool(known) and not self._store.has_agreed(client, versions)

    def agree(self, client: Client, version: str) -> None:
        """Note that a client agreed; raise ``Refused`` if those are not the words any more."""
        for each in self._zones[client.zone].values():
            if each.version == version:
                self._store.spend([Allowance(f"agree:{client.mac}", 20, HOUR, Reason.BUSY)], self._clock())
                words = "\n\n".join(filter(None, (each.terms, each.privacy)))
                self._store.agree(client, version, words, self._clock())
                log.info("event=agreed mac=%s zone=%s version=%s", client.mac, client.zone, version)
                return
        raise Refused(Reason.NOT_AGREED)


def names_of(found: Documents | None) -> list[str]:
    """Return which of its documents a zone has."""
    return [name for name in ("terms", "privacy") if found is not None and getattr(found, name)]


def documents(zone: Zone) -> Iterator[tuple[str, Documents]]:
    """Yield a zone's documents by language, the plain file's first as ``""``; raise ``ConfigError``."""
    terms, privacy = _by_language("terms", zone.terms), _by_language("privacy", zone.privacy)
    for language in sorted(terms.keys() | privacy.keys()):
        yield (
            language,
            Documents(terms.get(language, terms.get("", "")), privacy.get(language, privacy.get("", ""))),
        )


def _by_language(key: str, path: Path | None) -> Mapping[str, str]:
    if path is None:
        return {}
    found = {"": _read(key, path)} if path.is_file() else {}
    for language in NAMES:
        other = path.with_suffix(f".{language}{path.suffix}")
        if other.is_file():
            found[language] = _read(key, other)
    if not found:
        raise ConfigError(f"zones: {key}: {path} does not exist")
    return found


def _read(key: str, path: Path) -> str:
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"zones: {key}: {path} cannot be read: {error}") from error
    if not text or len(text) > MOST:
        raise ConfigError(f"zones: {key}: {path} is empty, or longer than {MOST} characters")
    return text
