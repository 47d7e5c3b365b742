"""A TOML table to a frozen dataclass: types, bounds and secrets; a wrong key names itself."""

from __future__ import annotations

import dataclasses
import math
import os
import types
import typing
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, Union
from urllib.parse import SplitResult, urlsplit

from portald.errors import ConfigError

T = TypeVar("T")


class Secret:
    """A value that never shows itself: ``reveal`` it only to whom it is meant for."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def setting(
    help: str, default: Any = dataclasses.MISSING, low: float | None = None, high: float | None = None
) -> Any:
    """Return a dataclass field for one setting, with its help text and bounds."""
    metadata = {"help": help, "low": low, "high": high}
    if isinstance(default, (list, dict, set)):
        raise TypeError("settings are immutable")
    return field(default=default, metadata=metadata)


def table(help: str) -> Any:
    """Return a dataclass field for names and texts that the operator chooses."""
    return field(default_factory=dict, metadata={"help": help})


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ``ConfigError`` unless ``value`` is one of the choices."""
    if value not in choices:
        raise ConfigError(f"{name}: expected {' or '.join(choices)}, got {value!r}")


def split_url(url: str) -> SplitResult | None:
    """Return the parts of an http(s) URL with a host and, if any, a possible port; else ``None``."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    host = parts.hostname or ""
    good = all(0 < len(label) < 64 for label in host.removesuffix(".").split("."))
    return parts if parts.scheme in {"http", "https"} and good else None


def build(kind: type[T], table: Mapping[str, Any], where: str = "") -> T:
    """Make a dataclass from a TOML table, checking names, types and bounds.

    Every ``Secret`` field ``x`` may come as ``x_file`` instead, the path of a file that holds it.
    """
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given, problems = _with_secret_files(table, hints, where)
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in fields:
            import difflib  # only to be helpful: the helper can do without its memory

            near = difflib.get_close_matches(key, fields, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(fields)}"
            problems.append(f"{where}{key}: unknown key{hint}")
            continue
        try:
            values[key] = _convert(hints[key], value, f"{where}{key}")
            _check_bounds(fields[key], values[key], f"{where}{key}")
        except ConfigError as error:
            problems += error.problems
    for name, f in fields.items():
        optional = f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
        if name not in given and not optional:
            problems.append(f"{where}{name}: missing ({f.metadata.get('help', 'required')})")
    if problems:
        raise ConfigError(problems)
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError([f"{where}{problem}" for problem in error.problems]) from error


def _with_secret_files(
    table: Mapping[str, Any], hints: Mapping[str, Any], where: str
) -> tuple[dict[str, Any], list[str]]:
    given, problems = dict(table), []
    for name, hint in hints.items():
        path = given.pop(f"{name}_file", None) if Secret in (hint, *typing.get_args(hint)) else None
        if path is None:
            continue
        if name in given:
            problems.append(f"{where}{name}: given twice, as {name} and {name}_file")
        try:
            given[name] = Path(os.path.expandvars(path)).read_text("utf-8").strip()
            if not given[name]:
                problems.append(f"{where}{name}_file: empty, so everybody would know it")
        except (OSError, TypeError, ValueError) as error:
            problems.append(f"{where}{name}_file: cannot be read: {error}")
            given[name] = ""
    return given, problems


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            hint = f"; write [[{where}]]" if isinstance(value, dict) else ""
            raise ConfigError(f"{where}: expected a list, got {_name(value)}{hint}")
        return tuple(_convert(args[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict or dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise ConfigError(f"{where}: expected a table, got {_name(value)}")
        if origin is dict:
            return {key: _convert(args[1], v, f"{where}.{key}") for key, v in value.items()}
        return build(hint, value, f"{where}.")
    if hint is Any:
        return value
    if hint is float and type(value) is int:
        return float(value)
    if hint in (str, int, float, bool):
        if type(value) is not hint:
            raise ConfigError(f"{where}: expected {_KIND[hint]}, got {_name(value)}")
        return value
    if not isinstance(value, str):
        # A secret of digits, its quotation marks forgotten, is not shown either.
        got = "something else" if hint is Secret else _name(value)
        raise ConfigError(f"{where}: expected text, got {got}")
    if issubclass(hint, StrEnum):
        one_of(where, value, tuple(hint))
    try:
        return hint(value)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


_KIND: dict[type, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _name(value: Any) -> str:
    kinds: dict[type, str] = {dict: "a table", list: "a list", str: "text"}
    return kinds.get(type(value)) or repr(value)


def _check_bounds(f: dataclasses.Field[Any], value: Any, where: str) -> None:
    low, high = f.metadata.get("low"), f.metadata.get("high")
    if isinstance(value, float) and math.isnan(value):
        raise ConfigError(f"{where}: expected a number, got {value}")
    if low is not None and value < low:
        raise ConfigError(f"{where}: at least {low}, got {value}")
    if high is not None and value > high:
        raise ConfigError(f"{where}: at most {high}, got {value}")
