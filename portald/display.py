"""Amounts of data and spans of time, as people read them at a glance."""

from __future__ import annotations


def wait(seconds: float) -> str:
    """Return a span of time in words."""
    whole = int(seconds + 0.999)
    if whole <= 90:
        return f"{whole} second" + ("s" if whole != 1 else "")
    minutes = round(seconds / 60)
    if minutes <= 90:
        return f"{minutes} minutes"
    if minutes < 12 * 60 and minutes % 60:  # rounded to hours, 91 minutes would be 2 hours
        hours, rest = divmod(minutes, 60)
        return f"{hours} hour{'s' if hours > 1 else ''} {rest} minute{'s' if rest > 1 else ''}"
    hours = round(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{round(hours / 24)} days"


def amount(count: float) -> str:
    """Return an amount of data with its unit, in powers of 1000 as tariffs have it."""
    for unit in ("B", "kB", "MB", "GB"):
        if round(count, 1) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


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
