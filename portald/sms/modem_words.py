"""What the programs of modems say, and which outcome that is."""

from __future__ import annotations

from collections.abc import Callable

from portald.errors import SmsError
from portald.model import Outcome, Text
from portald.sms import programs

Run = Callable[..., programs.Done]
"""Runs a program while there is time for one text: ``run(*command, stdin="")``."""


def refused(done: programs.Done, text: Text, outcome: Outcome) -> SmsError:
    return SmsError(outcome, done.words(text.body, text.code, text.to, text.to.removeprefix("+")))


def unsent(done: programs.Done) -> Outcome:
    """Return what a modem's refusal to send means: only some words are sure that nothing was sent."""
    said = f"{done.output} {done.complaint}".lower()
    for words, outcome in _SURE.items():
        if any(word in said for word in words):
            return outcome
    return Outcome.UNKNOWN


_SURE = {
    ("couldn't find", "no modem", "not found", "no such", "permission", "denied"): Outcome.CONFIGURATION,
    ("no network", "not registered", "not enabled", "busy"): Outcome.TEMPORARY,
}
