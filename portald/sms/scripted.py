"""What an operator's script has to say about a gateway's request and about the answer to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from portald.errors import ConfigError, SmsError
from portald.model import Outcome
from portald.phone import mask_all
from portald.sms import answers, http, lua, payload, written

_METHODS = ("POST", "PUT", "GET")


def _message(known: Mapping[str, str]) -> dict[str, str]:
    return {name: known[value] for name, value in payload.NAMES.items()}


def try_out(script: lua.Script, known: Mapping[str, str]) -> bool:
    """Run a script with samples; return whether it builds requests.  Raises ``ConfigError``."""
    try:
        builds = script.build(_message(known)) is not None
    except lua.Failed as error:
        raise ConfigError(f"script: {mask_all(str(error))[:300]}") from None
    try:
        checks = script.check(200, "", None) is not None
    except lua.Failed as error:
        words = f"script: {mask_all(str(error))[:300]}; check has to stand an empty answer, without json"
        raise ConfigError(words) from None
    if not (builds or checks):
        raise ConfigError("script: defines neither build nor check; it needs one of them")
    return builds


def load(path: str) -> lua.Script:
    """Return the script as it is now; raise ``SmsError`` if it has gone since we started."""
    try:
        return lua.load(path)
    except ConfigError as error:
        raise SmsError(Outcome.CONFIGURATION, mask_all(str(error))) from None


def build(script: lua.Script, known: Mapping[str, str], request: dict[str, Any]) -> dict[str, Any]:
    """Return a request as the script wants it; if it fails, nothing has been sent."""
    try:
        built = script.build(_message(known))
        headers = written.headers(built["headers"]) if built else {}
    except lua.Failed as error:
        raise SmsError(Outcome.CONFIGURATION, f"script: build failed{error.line()}") from None
    except ConfigError:
        raise SmsError(Outcome.CONFIGURATION, "script: build: a header is not one line of text") from None
    if built is None:
        return request
    if "body" in built:
        request = {name: request[name] for name in ("method", "url", "headers")}
        body = built["body"]
        request |= {"data": body.encode()} if isinstance(body, str) else {"json_body": body}
    chosen: dict[str, Any] = {name: built[name] for name in ("method", "url") if name in built}
    if chosen.get("method", "POST") not in _METHODS:
        raise SmsError(Outcome.CONFIGURATION, "script: build: method: expected POST, PUT or GET")
    return {**request, **chosen, "headers": {**request["headers"], **headers}}


def check(script: lua.Script, answer: http.Answer) -> str | None:
    """Return the script's id for a text that was taken; ``None`` if it leaves that to the settings."""
    try:
        opinion = script.check(answer.status, answer.text, answers.document(answer))
    except lua.Failed as error:
        raise SmsError(Outcome.UNKNOWN, f"script: check failed{error.line()}; {answer.words}") from None
    if opinion is None:
        return None
    good, message, problem = opinion
    if good:
        return message if message.isprintable() and len(message) <= 200 else ""
    outcome = _outcome(problem, answer)
    raise SmsError(outcome, dataclasses.replace(answer, text=problem).words, answer.retry_after)


def _outcome(problem: str, answer: http.Answer) -> Outcome:
    """Return the outcome that the script's words begin with, or else what the status tells."""
    word = problem.partition(":")[0].strip()
    if word in answers.FAILURES:
        return Outcome(word)
    return answer.error().outcome if answer.status >= 400 else Outcome.UNKNOWN
