"""What operators type for a command: key=value pairs, days, times, devices."""

from __future__ import annotations

import argparse
import getpass
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from portald.errors import ConfigError
from portald.units import Seconds


def pairs(words: Iterable[str]) -> dict[str, str]:
    """Return ``key=value`` words as a table; an empty value takes away what was set."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"expected KEY=VALUE, got {word!r}")
        found[key.strip()] = value.strip()
    return found


def secret(value: str) -> str:
    """Return a password; ``-`` asks for it, so that it is in no list of processes."""
    if value != "-":
        return value
    return getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def moment(text: str) -> float:
    """Return a local date, or date and time, as epoch seconds."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise ConfigError(
            f"expected a time such as 2026-05-31 or '2026-05-31 18:00', got {text!r}"
        ) from None


def span(text: str) -> int:
    """Return a time such as ``2h`` in seconds; with a minus sign it is less."""
    text = text.strip()
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    try:
        return sign * int(Seconds(rest))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def last_moment(text: str) -> float:
    """Return when a date, or date and time, is over: a day counts to its end."""
    at = moment(text)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        at = (datetime.fromtimestamp(at) + timedelta(days=1)).timestamp()
    return at


def last_day(at: float) -> str:
    """Return what ``last_moment`` reads as that moment: a day, if it is the end of one."""
    then = datetime.fromtimestamp(at)
    if then.time() == datetime.min.time():
        return (then - timedelta(days=1)).date().isoformat()
    return then.isoformat(" ", "seconds")


def minus_times(words: Sequence[str]) -> list[str]:
    """Return a command line in which a time such as ``-30m`` is not taken for an option."""
    return [f" {word}" if re.match(r"-\d", word) else word for word in words]


def subcommands(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser]:
    """Return where a command's own commands go; without one, the command lists."""
    return parser.add_subparsers(title="commands", metavar="COMMAND")
