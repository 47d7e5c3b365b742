"""Placeholders of a request: filled in after parsing, so that whatever a text holds stays inside its value.

``{{body}}``, ``${body}`` and ``@@body@@`` are the same; older WSO2 products write ``$ctx.msg`` and
``$ctx.num``.  A value that is ``{{from?}}`` is left out where there is nothing to fill in.
``portald.sms.written`` parses.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from portald.errors import ConfigError, SmsError
from portald.model import Outcome, Text

NAMES = {
    "body": "body",
    "message": "body",
    "text": "body",
    "msg": "body",
    "mobile": "mobile",
    "to": "mobile",
    "recipient": "mobile",
    "number": "mobile",
    "num": "mobile",
    "mobile_digits": "mobile_digits",
    "from": "sender",
    "sender": "sender",
    "pin": "code",
    "code": "code",
    "password": "code",
    "ref": "reference",
    "reference": "reference",
    "ip": "ip",
    "user_agent": "agent",
    "lang": "language",
    "language": "language",
    "ttl_minutes": "minutes",
    "ttl_seconds": "seconds",
    "account": "account",
    "key": "key",
}
"""Every spelling of a placeholder, and what it stands for."""

PLACEHOLDER = re.compile(r"\{\{\s*([\w.]+\??)\s*\}\}|\$\{([\w.]+)\}|@@([\w.]+)@@|\$ctx\.(\w+)")


def values(text: Text, sender: str, account: str, key: str) -> dict[str, str]:
    """Return what each placeholder stands for."""
    return {
        "body": text.body,
        "mobile": text.to,
        "mobile_digits": text.to.removeprefix("+"),
        "sender": text.sender or sender,
        "code": text.code,
        "reference": text.reference,
        "ip": text.ip,
        "agent": text.agent,
        "language": text.language,
        "minutes": str(max(1, math.ceil(text.lifetime / 60))),
        "seconds": str(text.lifetime),
        "account": account,
        "key": key,
    }


def used(template: Any, where: str) -> set[str]:
    """Return what the placeholders of a parsed template stand for; refuse one that nobody knows.

    One that may be left out is returned with its question mark.
    """
    found = set()
    for leaf in leaves(template):
        for match in PLACEHOLDER.finditer(leaf) if isinstance(leaf, str) else ():
            name, optional = _name(match)
            if name not in NAMES:
                near = difflib.get_close_matches(name, NAMES, 1)
                hint = f"did you mean {{{{{near[0]}}}}}?" if near else f"known: {', '.join(NAMES)}"
                raise ConfigError(f"{where}: {match[0]} is not known; {hint}")
            if optional and match[0] != leaf:
                raise ConfigError(f"{where}: {match[0]} has to be all of its value, to be left out with it")
            found.add(NAMES[name] + optional)
    return found


def _name(match: re.Match[str]) -> tuple[str, str]:
    name: str = next(filter(None, match.groups()))
    return name.removesuffix("?"), "?" * name.endswith("?")


def used_in_url(url: str) -> set[str]:
    """Return what is used in a URL; placeholders may stand in its path and query only."""
    parts = urlsplit(url)
    if PLACEHOLDER.search(parts.scheme + parts.netloc + parts.fragment):
        raise ConfigError("url: placeholders are for its path and query, not for its host")
    if any(_name(match)[1] for match in PLACEHOLDER.finditer(url)):
        raise ConfigError("url: nothing of it can be left out; write its placeholders without ?")
    return used([parts.path, parts.query], "url")


def leaves(value: Any) -> Iterator[Any]:
    """Yield what is inside tables and lists; names of tables are not values."""
    match value:
        case dict():
            for inner in value.values():
                yield from leaves(inner)
        case list():
            for inner in value:
                yield from leaves(inner)
        case _:
            yield value


def fill(value: Any, known: Mapping[str, str], encode: Callable[[str], str] = str) -> Any:
    """Return a parsed template with its placeholders filled in.

    In one pass: a placeholder inside a text stays as it is.
    """
    match value:
        case dict():
            return {
                name: fill(inner, known, encode) for name, inner in value.items() if _is_there(inner, known)
            }
        case list():
            return [fill(inner, known, encode) for inner in value if _is_there(inner, known)]
        case str():
            return PLACEHOLDER.sub(lambda match: encode(known[NAMES[_name(match)[0]]]), value)
        case _:
            return value


def _is_there(value: Any, known: Mapping[str, str]) -> bool:
    match = PLACEHOLDER.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return True
    name, optional = _name(match)
    return not optional or bool(known[NAMES[name]])


def fill_url(url: str, known: Mapping[str, str]) -> str:
    """Return a URL with the same host and as many path segments, whatever is filled in."""
    parts = urlsplit(url)
    path = fill(parts.path, known, lambda value: quote(value, safe=""))
    # Servers and libraries take "." and ".." out of paths, even if they are encoded.
    if path != parts.path and {".", ".."} & set(path.split("/")):
        raise SmsError(Outcome.CONFIGURATION, "url: a placeholder became a dot", of_number=True)
    return parts._replace(
        path=path, query=fill(parts.query, known, lambda value: quote(value, safe=""))
    ).geturl()


def fill_headers(headers: dict[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Return headers that are one line each, whatever is filled in."""
    filled = {name: value.strip() for name, value in fill(headers, known).items()}
    for name, value in filled.items():
        if not value.isprintable():
            words = f"headers.{name}: would not be one line of text"
            raise SmsError(Outcome.CONFIGURATION, words, of_number=True)
    return filled
