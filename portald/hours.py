"""Hours of the week, as a shop writes them on its door: ``Mo-Fr 08:00-18:00, Sa 22:00-02:00``."""

from __future__ import annotations

import functools
import re
from datetime import datetime, timedelta, tzinfo

DAYS = ("mo", "tu", "we", "th", "fr", "sa", "su")
_ENTRY = re.compile(r"(?:([A-Za-z]{2}(?:-[A-Za-z]{2})?(?:\+[A-Za-z]{2})*) )?(\d\d):(\d\d)-(\d\d):(\d\d)")


class Hours(str):
    """Text that is known to be hours; raises ``ValueError`` otherwise.  Empty is always."""

    __slots__ = ()

    def __new__(cls, text: str) -> Hours:
        made = super().__new__(cls, " ".join(text.split()))
        made.spans()
        return made

    def spans(self) -> list[tuple[int, int]]:
        """Return beginnings and ends in minutes from Monday's midnight; an end may be in the next week."""
        found = []
        for entry in filter(None, (part.strip() for part in re.split("[,;]", self))):
            read = _ENTRY.fullmatch(entry)
            if read is None:
                raise ValueError(
                    f"expected hours such as 'Mo-Fr 08:00-18:00, Sa 10:00-14:00', got {entry!r}"
                )
            days, *clock = read.groups()
            from_hour, from_minute, to_hour, to_minute = map(int, clock)
            begins, ends = from_hour * 60 + from_minute, to_hour * 60 + to_minute
            if max(from_minute, to_minute) > 59 or max(begins, ends) > 24 * 60:
                raise ValueError(f"there is no such time of day: {entry!r}")
            if ends <= begins:
                ends += 24 * 60
            found += [(day * 1440 + begins, day * 1440 + ends) for day in _days(days)]
        return found


def _days(text: str | None) -> list[int]:
    if text is None:
        return list(range(7))
    found = []
    for part in text.lower().split("+"):
        first, _, last = part.partition("-")
        if first not in DAYS or (last and last not in DAYS):
            raise ValueError(f"expected days such as Mo-Fr or Sa+Su, got {text!r}")
        a, b = DAYS.index(first), DAYS.index(last or first)
        found += [(a + n) % 7 for n in range((b - a) % 7 + 1)]
    return found


@functools.lru_cache(64)  # a round asks it of every session
def closes_at(hours: Hours, now: float, tz: tzinfo | None) -> float | None:
    """Return when the hours that it is now end: ``now`` itself while it is closed, ``None`` for never."""
    spans = hours.spans()
    if not spans:
        return None
    local = datetime.fromtimestamp(now, tz)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    monday = midnight - timedelta(days=local.weekday())
    # Of last week too, whose Sunday may reach into Monday, and of the next, which may go on without a gap.
    found = [(_at(monday, week * 10_080 + a), _at(monday, week * 10_080 + b))
             for week in (-1, 0, 1) for a, b in spans]  # fmt: skip
    end = now
    for begins, ends in sorted(found):
        if begins <= end < ends:
            end = ends
    return None if end - now >= 7 * 86_400 else end


def opens_at(hours: Hours, now: float, tz: tzinfo | None) -> float:
    """Return when it opens next, ``now`` if it is open."""
    if closes_at(hours, now, tz) != now:
        return now
    local = datetime.fromtimestamp(now, tz)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    monday = midnight - timedelta(days=local.weekday())
    return min(
        at for week in (0, 1) for a, _ in hours.spans() if (at := _at(monday, week * 10_080 + a)) > now
    )


def _at(monday: datetime, minutes: int) -> float:
    # By the wall clock, so that 08:00 is 08:00 on the days when the clock is changed.
    days, rest = divmod(minutes, 1440)
    day = monday + timedelta(days=days)
    return day.replace(hour=rest // 60, minute=rest % 60).timestamp()
