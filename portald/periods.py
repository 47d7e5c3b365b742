"""Days, weeks from Monday and months, as the venue's own calendar has them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo


@dataclass(frozen=True, slots=True)
class Today:
    """The running day, week and month: their first days, when they began and when the next ones do."""

    day: str
    week: str
    month: str
    day_began: float
    week_began: float
    month_began: float
    next_day: float
    next_week: float
    next_month: float


@functools.lru_cache(16)
def today(now: float, tz: tzinfo | None) -> Today:
    """Return the periods that ``now`` is in; without ``tz`` those of this machine."""
    here = datetime.fromtimestamp(now, tz).date()
    monday = here - timedelta(days=here.weekday())
    first = here.replace(day=1)
    next_first = (first + timedelta(days=32)).replace(day=1)
    return Today(
        day=here.isoformat(),
        week=monday.isoformat(),
        month=first.isoformat(),
        day_began=_begins(here, tz),
        week_began=_begins(monday, tz),
        month_began=_begins(first, tz),
        next_day=_begins(here + timedelta(days=1), tz),
        next_week=_begins(monday + timedelta(days=7), tz),
        next_month=_begins(next_first, tz),
    )


def split(since: float, until: float, tz: tzinfo | None) -> Iterator[tuple[str, float]]:
    """Yield the days between two times with the seconds of each that are in between."""
    while since < until:
        here = datetime.fromtimestamp(since, tz).date()
        end = min(until, _begins(here + timedelta(days=1), tz))
        yield here.isoformat(), end - since
        since = max(end, since + 1)  # never the same day again, however odd the clock


def _begins(day: date, tz: tzinfo | None) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=tz).timestamp()
