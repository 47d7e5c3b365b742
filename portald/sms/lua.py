"""An operator's Lua script: it builds a request and judges an answer, and can do nothing else.

The script defines one or both of

    build(message)    returns { method =, url =, headers =, body = }; what it leaves out is as in
                      the settings; a body that is a table is sent as JSON
    check(response)   returns true and the provider's id for the text, or false, nil and what is
                      wrong: an outcome ("no_credit"), words, or both ("no_credit: top up")

``message`` has what the placeholders have, by the same names; ``response`` has ``status``,
``body``, and ``json`` if the body is that.  ``json(value)`` returns a value as JSON.

portald sends the request itself.  The script runs in a process of its own: two seconds of
processor, 64 MB, no files, no programs, no network library, no environment.
"""

from __future__ import annotations

import json
import re
import resource
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from portald.errors import ConfigError, SmsError
from portald.model import Outcome
from portald.sms import programs

PROGRAMS = ("lua5.4", "lua5.3", "lua5.1", "lua", "luajit")
_START = 'io.write("+") io.flush() assert((loadstring or load)(io.read("*a")))()'
_SECONDS = 3.0
_DEEP = 30
_LIMITS = {
    resource.RLIMIT_CPU: 2,
    resource.RLIMIT_AS: 64 << 20,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NOFILE: 3,
    resource.RLIMIT_NPROC: 0,
}
_MOST_SCRIPT = 200_000


class Failed(Exception):
    """The script did not do its part; the text is the interpreter's, and may quote the message."""

    def line(self) -> str:
        """Return where, without a word of what."""
        found = re.search(r"script:(\d+):", str(self))
        return f" in line {found[1]}" if found else ""


@dataclass(frozen=True, slots=True)
class Script:
    """A script as it was read, and the interpreter for it."""

    program: str
    text: str

    def call(self, function: str, argument: Mapping[str, Any]) -> list[Any] | None:
        """Return the three first results of a function; ``None`` if the script has none of that name.

        Raises ``Failed``.
        """
        prelude = resources.files("portald.sms").joinpath("prelude.lua").read_bytes()
        call = f"\nrun({_literal(self.text)}, {_literal(function)}, {_literal(dict(argument))})\n"
        try:
            done = programs.run(
                [self.program, "-e", _START],
                _SECONDS,
                stdin=prelude + call.encode(),
                limits=_LIMITS,
                bare=True,
            )
        except programs.TooMuch:
            raise Failed("too much output") from None
        except SmsError as error:
            raise Failed("no end in time" if error.outcome is Outcome.UNKNOWN else error.words) from None
        try:
            said = json.loads(done.output)
        except (ValueError, RecursionError):
            reason = (
                "too much memory" if "not enough memory" in done.complaint else "too much time or memory"
            )
            raise Failed(f"{reason} (exit status {done.code})") from None
        if "failed" in said:
            raise Failed(said["failed"])
        results: list[Any] | None = said.get("results")
        return results

    def build(self, message: Mapping[str, str]) -> dict[str, Any] | None:
        """Return what the script says of the request; ``None`` if it leaves that to the settings."""
        results = self.call("build", message)
        if results is None:
            return None
        request = results[0]
        if not isinstance(request, dict):
            raise Failed("build: expected a table")
        kinds: dict[str, Any] = {"method": str, "url": str, "headers": dict, "body": (str, dict, list)}
        for name, value in request.items():
            if name not in kinds:
                raise Failed(f"build: {name}: expected one of {', '.join(kinds)}")
            if value != [] and not isinstance(value, kinds[name]):  # an empty table is either
                raise Failed(f"build: {name}: of a kind that cannot be sent")
        headers = request.get("headers") or {}
        if not all(isinstance(value, str) for value in headers.values()):
            raise Failed("build: headers: expected texts")
        return {**request, "headers": headers}

    def check(self, status: int, body: str, document: Any) -> tuple[bool, str, str] | None:
        """Return whether the text was taken, its id, and what is wrong; ``None`` if it has no opinion."""
        results = self.call("check", {"status": status, "body": body, "json": document})
        if results is None:
            return None
        good, message, problem = results
        if not isinstance(good, bool):
            raise Failed("check: expected true or false")
        texts = [value if isinstance(value, str) else "" for value in (message, problem)]
        return good, texts[0], texts[1]


def load(path: str) -> Script:
    """Return a script that has been read; raise ``ConfigError`` if that or an interpreter is missing."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise ConfigError("script: there is no Lua on this machine; apt install lua5.4")
    try:
        content = Path(path).read_bytes()
        text = content[: _MOST_SCRIPT + 1].decode()
    except (OSError, ValueError) as error:
        raise ConfigError(f"script: cannot be read: {error}") from None
    if len(content) > _MOST_SCRIPT or "\0" in text or text.startswith("\x1b"):
        raise ConfigError("script: not a Lua script as text, or too long for one")
    return Script(program, text)


def _literal(value: Any, depth: int = 0) -> str:
    """Return a value as Lua writes it; of a text, only letters, digits and blanks stand as they are."""
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value) if abs(value) < 1e15 else _literal(str(value))
        case str():
            return '"' + re.sub(rb"[^A-Za-z0-9 ]", _escape, value.encode("utf-8", "replace")).decode() + '"'
        case _ if depth > _DEEP:
            return "nil"
        case list():
            return "{" + ",".join(_literal(inner, depth + 1) for inner in value) + "}"
        case _:
            pairs = (f"[{_literal(str(k))}]={_literal(v, depth + 1)}" for k, v in value.items())
            return "{" + ",".join(pairs) + "}"


def _escape(found: re.Match[bytes]) -> bytes:
    return b"\\%03d" % found[0][0]
