"""How often something may happen: allowances that the store counts in one statement each."""

from __future__ import annotations

from dataclasses import dataclass

from portald.config import Limits, Otp
from portald.errors import Reason

DAY = 86_400
HOUR = 3_600


@dataclass(frozen=True, slots=True)
class Allowance:
    """``most`` uses of ``name`` within ``seconds`` of the first; beyond it, ``reason``."""

    name: str
    most: int
    seconds: float
    reason: Reason


def number_pause(number: str) -> str:
    """Return the name under which the pause between two texts to a number is counted."""
    return f"pause:{number}"


def for_text(otp: Otp, limits: Limits, mac: str, number: str) -> list[Allowance]:
    """Return what one more text to ``number``, asked for by ``mac``, uses up.

    A device may correct a mistyped number at once: the pause is the number's, not the device's.
    """
    return [
        Allowance(number_pause(number), 1, otp.resend_after, Reason.TOO_SOON),
        Allowance(f"burst:{mac}", limits.texts_per_client_burst, 600, Reason.SEVERAL_TEXTS),
        Allowance(f"texts:{number}", limits.texts_per_number, DAY, Reason.TOO_MANY_TEXTS),
        Allowance(f"texts:{mac}", limits.texts_per_client, DAY, Reason.TOO_MANY_TEXTS),
        Allowance("texts-hour", limits.texts_per_hour, HOUR, Reason.BUSY),
        Allowance("texts", limits.texts, DAY, Reason.BUSY),
    ]


def for_unsent(otp: Otp, limits: Limits, mac: str, number: str) -> list[Allowance]:
    """Return what is given back for a text that was certainly not sent.

    What the device asked for stays counted: numbers that cannot be sent to cost work as well.
    """
    used = for_text(otp, limits, mac, number)
    return [allowance for allowance in used if not allowance.name.endswith(mac)]


def for_guess(limits: Limits, mac: str, number: str) -> list[Allowance]:
    """Return what one guess uses up, over all codes: a resend must not renew the guesses."""
    return [
        Allowance(f"guess:{number}", limits.guesses_per_number, HOUR, Reason.GUESSES_USED_UP),
        Allowance(f"guess:{mac}", limits.guesses_per_client, HOUR, Reason.GUESSES_USED_UP),
    ]
