"""How often something may happen: allowances that the store counts in one statement each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from portald.config import Limits
from portald.errors import Reason

DAY = 86_400
HOUR = 3_600
MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Allowance:
    """``most`` of ``name`` within ``seconds`` of the first use; beyond it, ``reason``.

    With ``growth`` each window that follows within a day is twice as long, up to that many times.
    """

    name: str
    most: int
    seconds: float
    reason: Reason
    amount: int = 1
    growth: int = 0


@dataclass(frozen=True, slots=True)
class Ask:
    """A text that somebody asks for: what limits it depends on all of this."""

    number: str
    country: str
    home: bool
    holder: str
    """The device, or the application, that asks."""
    zone: str
    price: int
    """What it may cost at most, in millionths of the currency."""


COUNTED = {
    "texts_per_number": "texts:+",
    "texts_per_client": "texts:",
    "texts_per_client_burst": "burst:",
    "texts_per_prefix": "prefix:",
    "texts_per_country": "country:",
    "texts_per_zone": "zone:",
    "texts_per_hour": "texts-hour",
    "texts": "texts",
    "guesses_per_number": "guess:+",
    "guesses_per_client": "guess:",
}
"""How the names begin under which a limit is counted; a device's never begins with +."""


def fullest(used: Mapping[str, int], limit: str) -> int:
    """Return how much of a limit is used by whoever has used the most of it."""
    begins = COUNTED.get(limit)
    if begins is None:
        return 0
    if not begins.endswith((":", "+")):
        return used.get(begins, 0)
    others = [f"{begins}+"] if f"{begins}+" in COUNTED.values() else []
    others.append("zone:application:")  # an application has a limit of its own
    found = [
        n for name, n in used.items() if name.startswith(begins) and not name.startswith(tuple(others))
    ]
    return max(found, default=0)


def prefix(number: str) -> str:
    """Return what a number shares with the ten thousand that are next to it."""
    return number[:-4]


def number_pause(number: str) -> str:
    """Return the name under which the pause between two texts to a number is counted."""
    return f"pause:{number}"


def for_text(limits: Limits, resend_after: float, ask: Ask) -> list[Allowance]:
    """Return what one more text uses up.

    A device may correct a mistyped number at once: the pause is the number's, not the device's.
    """
    allowances = [
        Allowance(number_pause(ask.number), 1, resend_after, Reason.TOO_SOON, growth=5),
        *for_holder(limits, ask.holder),
        Allowance(f"texts:{ask.number}", limits.texts_per_number, DAY, Reason.TOO_MANY_TEXTS),
        Allowance(f"prefix:{prefix(ask.number)}", limits.texts_per_prefix, DAY, Reason.BUSY),
        Allowance(f"zone:{ask.zone}", limits.texts_per_zone, DAY, Reason.BUSY),
        Allowance("texts-hour", limits.texts_per_hour, HOUR, Reason.BUSY),
        Allowance("texts", limits.texts, DAY, Reason.BUSY),
    ]
    if not ask.home:
        allowances.append(
            Allowance(f"country:{ask.country}", limits.texts_per_country, DAY, Reason.COUNTRY_BUSY)
        )
    if limits.money and ask.price:
        allowances.append(money(limits, ask.price))
    return allowances


def money(limits: Limits, amount: int) -> Allowance:
    """Return the budget in millionths of the currency."""
    return Allowance("money", round(limits.money * MILLION), DAY, Reason.BUSY, amount)


def for_holder(limits: Limits, holder: str) -> list[Allowance]:
    """Return what naming a number uses up of whoever does, text or no text."""
    return [
        Allowance(f"burst:{holder}", limits.texts_per_client_burst, 600, Reason.SEVERAL_TEXTS),
        Allowance(f"texts:{holder}", limits.texts_per_client, DAY, Reason.TOO_MANY_TEXTS),
    ]


def for_unsent(limits: Limits, resend_after: float, ask: Ask) -> list[Allowance]:
    """Return what is given back for a text that was certainly not sent.

    What the device asked for stays counted: numbers that cannot be sent to cost work as well.
    """
    kept = {allowance.name for allowance in for_holder(limits, ask.holder)}
    return [a for a in for_text(limits, resend_after, ask) if a.name not in kept]


def for_guess(limits: Limits, holder: str, number: str) -> list[Allowance]:
    """Return what one guess uses up, over all codes: a resend must not renew the guesses."""
    counted = [(f"guess:{number}", limits.guesses_per_number)] if number else []
    if holder not in limits.guesses_free:
        counted.append((f"guess:{holder}", limits.guesses_per_client))
    return [Allowance(name, most, HOUR, Reason.GUESSES_USED_UP) for name, most in counted if most]
