"""Amounts of data and spans of time, as people read them at a glance."""

from __future__ import annotations

from gettext import NullTranslations

_ENGLISH = NullTranslations()


def wait(seconds: float, language: NullTranslations = _ENGLISH) -> str:
    """Return a span of time in words."""
    ngettext = language.ngettext
    whole = int(seconds + 0.999)
    if whole <= 90:
        return ngettext("%(num)s second", "%(num)s seconds", whole) % {"num": whole}
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    if minutes <= 90:
        hours, rest = 0, minutes
    elif minutes >= 12 * 60 or not rest:  # rounded to hours, 91 minutes would be 2 hours
        hours, rest = round(minutes / 60), 0
    if hours >= 48:
        days = round(hours / 24)
        return ngettext("%(num)s day", "%(num)s days", days) % {"num": days}
    words = []
    if hours:
        words.append(ngettext("%(num)s hour", "%(num)s hours", hours) % {"num": hours})
    if rest:
        words.append(ngettext("%(num)s minute", "%(num)s minutes", rest) % {"num": rest})
    return " ".join(words)


def amount(count: float, language: NullTranslations = _ENGLISH) -> str:
    """Return an amount of data with its unit, in powers of 1000 as tariffs have it."""
    shown, unit = f"{count:.0f}", "B"
    for bigger in ("kB", "MB", "GB", "TB"):
        if round(count, 1) < 1000:
            break
        count /= 1000
        shown, unit = f"{count:.1f}", bigger
    separator = language.pgettext("decimal separator", ".")
    return f"{shown.replace('.', separator)} {unit}"


def ago(seconds: float) -> str:
    """Return how long something has been, for operators: short, and never in the future."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if whole >= 2 * size:
            return f"{whole // size} {unit} ago"
    return f"{whole} s ago"


def summary(words: str) -> str:
    """Return what portald says of a failure, without the provider's own words behind it."""
    return words.partition(" - ")[0]
