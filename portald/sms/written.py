"""Payloads and headers as operators write them, read into trees before anything is filled in.

A payload is a table, or a text: JSON, where ``{{body}}`` may stand bare or inside quotation marks,
or a form, ``to={{mobile}}&text={{body}}``.  WSO2's own example has typographic quotation marks and
a brace too many: such mistakes are named, with their place.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any
from urllib.parse import parse_qsl

from portald.errors import ConfigError
from portald.sms.payload import PLACEHOLDER, leaves

_STRING_OR_PLACEHOLDER = re.compile(rf'"(?:[^"\\]|\\.)*"|{PLACEHOLDER.pattern}', re.S)
_CURLY = re.compile("[“”„‟«»]")
_PAIR = re.compile(r",\s*(?=[A-Za-z][!#$%&'*+.^_`|~0-9A-Za-z-]*\s*:(?!//))")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def payload(given: Any, flat: bool) -> Any:
    """Return a payload as a tree of values; ``flat`` is one for a form or a query."""
    _check_kind(given, "payload")
    parse = _form if flat else _json
    tree = parse(given) if isinstance(given, str) else given
    if not all(_can_be_sent(leaf) for leaf in leaves(tree)):
        raise ConfigError("payload: only text, finite numbers, true and false can be sent")
    if flat and not all(isinstance(value, str) for value in tree.values()):
        raise ConfigError(
            "payload: only text values can be sent as a form or query; or use content_type json"
        )
    return tree


def _check_kind(given: Any, where: str) -> None:
    if not isinstance(given, (str, dict)):
        raise ConfigError(f"{where}: expected a table or text, got {type(given).__name__}")


def _can_be_sent(leaf: Any) -> bool:
    return leaf is None or isinstance(leaf, (str, int)) or (isinstance(leaf, float) and math.isfinite(leaf))


def _form(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text.strip(), keep_blank_values=True, strict_parsing=True)
    except ValueError:
        json_hint = "; this looks like JSON: set content_type to json" if text.lstrip()[:1] in "{[" else ""
        raise ConfigError(f"payload: expected to={{{{mobile}}}}&text={{{{body}}}}{json_hint}") from None
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ConfigError("payload: a name occurs twice; each can be sent once")
    return table


def _json(text: str) -> Any:
    """Parse JSON in which placeholders may stand bare; an error names the place in what was written."""
    added: list[int] = []

    def quoted(match: re.Match[str]) -> str:
        if match[0].startswith('"'):
            return match[0]
        start = match.start() + len(added)
        added.extend((start, start + len(match[0]) + 1))
        return f'"{match[0]}"'

    strict = _STRING_OR_PLACEHOLDER.sub(quoted, text)
    try:
        return json.loads(strict, parse_constant=lambda name: math.nan)
    except json.JSONDecodeError as error:
        place = error.pos - sum(position < error.pos for position in added)
        line, column = text.count("\n", 0, place) + 1, place - text.rfind("\n", 0, place)
        raise ConfigError(
            f"payload: not JSON, line {line}, column {column}: {error.msg}{_hint(text, place, error)}"
        ) from None
    except (RecursionError, ValueError):
        raise ConfigError("payload: JSON too deep, or a number too long") from None


def _hint(text: str, place: int, error: json.JSONDecodeError) -> str:
    if _CURLY.search(text):
        return '; replace typographic quotation marks (“ ”) by straight ones (")'
    if error.msg == "Extra data" and text[place] in "}]":
        return f"; there is one {text[place]} too many"
    if not text[place:].strip():
        return "; is a } or ] missing at the end?"
    if "=" in text and "{" not in text.replace("{{", ""):
        return "; this looks like a form: set content_type to form"
    return ""


def headers(given: Any) -> dict[str, str]:
    """Return headers from a table, or from one line, ``x-csrf: true, x-abc: some, value``.

    A comma separates only where a name and a colon follow, so values may contain commas.
    """
    _check_kind(given, "headers")
    if isinstance(given, str):
        split = [pair.partition(":") for pair in _PAIR.split(given.strip()) if pair]
        if not all(colon for _, colon, _ in split):
            raise ConfigError("headers: expected name: value, name: value")
        table: dict[str, Any] = {name.strip(): value.strip() for name, _, value in split}
    else:
        table = given
    for name, value in table.items():
        text = name + value if isinstance(value, str) else "\n"
        if (
            not (text.isascii() and text.isprintable() and _HEADER.fullmatch(name))
            or value != value.strip()
        ):
            raise ConfigError(f"headers.{name}: expected one line of text")
    return dict(table)
