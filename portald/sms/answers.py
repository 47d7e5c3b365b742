"""What an answer of an operator's own provider means: taken, with which id, or why not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from portald.errors import ConfigError, SmsError
from portald.model import Outcome
from portald.sms.http import Answer

_POINTER = re.compile(r"(/([^~]|~[01])*)?")
_STATUS = re.compile(r"HTTP [1-5]\d\d")
FAILURES = [outcome.value for outcome in Outcome if outcome is not Outcome.ACCEPTED]


def document(answer: Answer) -> Any:
    """Return the answer's JSON, of whatever kind; ``None`` if it is none."""
    try:
        return json.loads(answer.text)
    except (ValueError, RecursionError):
        return None


def point(value: Any, pointer: str) -> str | None:
    """Return what a JSON pointer (RFC 6901) leads to, as text; ``None`` if nothing, or no single value."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and re.fullmatch(r"0|[1-9]\d{0,5}", name):
            value = value[int(name)] if int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return _text(value)


def _text(value: Any) -> str | None:
    """Return a value as JSON writes it, so that 100 and "100" are the same."""
    if isinstance(value, (dict, list)) or value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value)


def check_pointer(pointer: str | None, where: str) -> None:
    if pointer is not None and not _POINTER.fullmatch(pointer):
        raise ConfigError(f"{where}: expected a JSON pointer such as /messages/0/id, got {pointer!r}")


def check_outcomes(outcomes: Mapping[str, Any]) -> None:
    for code, outcome in outcomes.items():
        if outcome not in FAILURES:
            raise ConfigError(f"outcomes.{code}: expected one of {', '.join(FAILURES)}, got {outcome!r}")


def check_success_json(tests: Mapping[str, Any]) -> None:
    for pointer, wanted in tests.items():
        check_pointer(pointer, "success_json")
        if not _wanted(wanted) or None in _wanted(wanted):
            raise ConfigError(f"success_json.{pointer}: expected a value or a list of values")


def _wanted(value: Any) -> list[str | None]:
    return [_text(inner) for inner in value] if isinstance(value, list) else [_text(value)]


def judge(
    answer: Answer,
    *,
    codes: tuple[int, ...] = (),
    contains: str | None = None,
    tests: Mapping[str, Any],
    message_id: str | None = None,
    error: str | None = None,
    outcomes: Mapping[str, str],
) -> str:
    """Return the provider's id for a text it took, or ``""``; raise ``SmsError`` if it did not.

    An error code that is listed decides.  Without one, a status that is no success says what it
    says everywhere; and where the status is fine but a test fails, the text may have been sent.
    """
    body = document(answer)
    code = point(body, error) if error is not None else None
    outcome = outcomes.get(code) if code is not None else None
    fine = answer.status in codes if codes else 200 <= answer.status < 300
    if outcome is None and not fine:
        outcome = outcomes.get(f"HTTP {answer.status}")
    if outcome is not None:
        raise SmsError(Outcome(outcome), answer.words, answer.retry_after)
    if not fine and answer.status < 400:
        raise SmsError(Outcome.CONFIGURATION, f"not a success code: {answer.words}")
    if not fine:
        raise answer.error()
    for failed in _failed(answer, body, contains, tests):
        raise SmsError(Outcome.UNKNOWN, f"without {failed}: {answer.words}")
    found = point(body, message_id) if message_id is not None else None
    return found if found and found.isprintable() and len(found) <= 200 else ""


def _failed(answer: Answer, body: Any, contains: str | None, tests: Mapping[str, Any]) -> Iterator[str]:
    if contains is not None and contains not in answer.text:
        yield repr(contains)
    for pointer, wanted in tests.items():
        if point(body, pointer) not in _wanted(wanted):
            yield f"{pointer} = {wanted!r}"
