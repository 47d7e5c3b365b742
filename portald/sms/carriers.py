"""Carriers that take texts by e-mail: what is known of each, and which may still be offered."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from portald.errors import ConfigError

FORMATS = ("national", "e164", "e164_plus", "zero_national")
STATES = ("working", "unknown", "ending", "ended")


@dataclass(frozen=True, slots=True)
class Carrier:
    """A carrier's e-mail gateway as of the day it was looked at."""

    key: str
    name: str
    country: str
    """ISO 3166."""
    domain: str
    number_format: str
    """How it wants the number before the @."""
    state: str
    evidence: str
    checked: date
    ends: date | None = None
    """The last day."""


def load(override: Path | None = None) -> dict[str, Carrier]:
    """Return the known carriers by key, as the operator's own file changes them.

    Raises ``ConfigError`` that names the key.
    """
    known = tomllib.loads(resources.files("portald.sms").joinpath("carriers.toml").read_text("utf-8"))
    tables: dict[str, Any] = known
    for key, changes in _read(override).items() if override else ():
        if not isinstance(changes, dict):
            raise ConfigError(f"carriers_file: {key}: expected a table, [{key}]")
        if not isinstance(changes.get("enabled", True), bool):
            raise ConfigError(f"carriers_file: {key}.enabled: expected true or false")
        tables[key] = {**tables.get(key, {}), **changes}
    return {key: _carrier(key, table) for key, table in tables.items() if table.pop("enabled", True)}


def offered(carriers: Iterable[Carrier], today: date) -> tuple[list[Carrier], list[Carrier]]:
    """Return the carriers that may work, and those that have ended, by country and name."""
    ordered = sorted(carriers, key=lambda carrier: (carrier.country, carrier.name.casefold()))
    ended = [c for c in ordered if c.state == "ended" or (c.ends is not None and c.ends < today)]
    return [c for c in ordered if c not in ended], ended


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"carriers_file: cannot be read: {error}") from None


def _carrier(key: str, table: Mapping[str, Any]) -> Carrier:
    where = f"carriers_file: {key}"
    if not re.fullmatch(r"[a-z0-9_]{1,40}", key):
        raise ConfigError(f"{where}: expected small letters, digits and _ as a key")
    names = [field.name for field in dataclasses.fields(Carrier) if field.name != "key"]
    for name in table:
        if name not in names:
            raise ConfigError(f"{where}.{name}: unknown; known: {', '.join(names)}, enabled")
    for name, (good, expected) in _EXPECTED.items():
        value = table.get(name)
        if value is None and name == "ends":
            continue
        if not good(value):
            raise ConfigError(f"{where}.{name}: expected {expected}, got {value!r}")
    return Carrier(key=key, **table)


def _text(pattern: str) -> Any:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value)


_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_EXPECTED: dict[str, tuple[Any, str]] = {
    "name": (_text(r"[^\x00-\x1f\x7f]{1,60}"), "one line of text"),
    "country": (_text(r"[A-Z]{2}"), "a country code such as US"),
    "domain": (_text(rf"(?=.{{4,253}}$)({_LABEL}\.)+{_LABEL}"), "a domain such as txt.example.net"),
    "number_format": (FORMATS.__contains__, f"one of {', '.join(FORMATS)}"),
    "state": (STATES.__contains__, f"one of {', '.join(STATES)}"),
    "evidence": (_text(r"[^\x00-\x1f\x7f]{1,300}"), "one line of text: how you know"),
    "checked": (lambda value: type(value) is date, "a date such as 2026-11-20"),
    "ends": (lambda value: type(value) is date, "a date such as 2027-03-31"),
}
