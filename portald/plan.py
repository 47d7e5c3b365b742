"""What a group's members may use: time, volume, rate, devices, hours, and how they prove who they are."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from portald.errors import ConfigError
from portald.hours import Hours
from portald.schema import build, setting
from portald.units import Bytes, Count, Kilobits, Seconds

SLOWEST, FASTEST = Kilobits(32), Kilobits(10_000_000)


class Proof(StrEnum):
    """How a guest proves who it is before it gets an account."""

    NONE = "none"
    SMS = "sms"
    EMAIL = "email"
    EITHER = "either"


class Full(StrEnum):
    """What happens to one device more than an account may have online."""

    REPLACE = "replace"
    REFUSE = "refuse"


class Second(StrEnum):
    """What is asked for after a password."""

    NONE = "none"
    SMS = "sms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Limits of a group's members; what is not set is unlimited.

    Days, weeks (from Monday) and months are the venue's own; time and volume are counted for the
    account, all of its devices together.
    """

    name: str
    session: Seconds | None = setting("time online from login on", None, Seconds(60))
    idle: Seconds | None = setting(
        "time without a byte sent after which a device has left", None, Seconds(60)
    )
    day_time: Seconds | None = setting("time online in a day", None, Seconds(60))
    week_time: Seconds | None = setting("time online in a week", None, Seconds(60))
    month_time: Seconds | None = setting("time online in a month", None, Seconds(60))
    day_volume: Bytes | None = setting("bytes in a day, both directions together", None, Bytes(100_000))
    week_volume: Bytes | None = setting("bytes in a week", None, Bytes(100_000))
    month_volume: Bytes | None = setting("bytes in a month", None, Bytes(100_000))
    up: Kilobits | None = setting("bits per second that one device may send", None, SLOWEST, FASTEST)
    down: Kilobits | None = setting("bits per second that one device may receive", None, SLOWEST, FASTEST)
    fair_volume: Bytes | None = setting("bytes in a day after which it gets slower", None, Bytes(100_000))
    fair_up: Kilobits | None = setting("bits per second sent from then on", None, SLOWEST, FASTEST)
    fair_down: Kilobits | None = setting("bits per second received from then on", None, SLOWEST, FASTEST)
    devices: Count | None = setting("devices of one account online at a time", None, Count(1), Count(1000))
    when_full: Full = setting("with one device more: replace the oldest, or refuse", Full.REPLACE)
    hours: Hours = setting("hours of the week, such as Mo-Fr 08:00-18:00, Sa 10:00-14:00", Hours(""))
    again_after: Seconds | None = setting("time after a whole session until the next", None, Seconds(60))
    remember: Seconds = setting(
        "time after a proof in which a device or a password needs no other; 0 is not at all",
        Seconds(86_400),
    )
    proof: Proof = setting("what proves who a new guest is: none, sms, email or either", Proof.SMS)
    window: Seconds | None = setting(
        "time online, once a day, to fetch a code that was sent by e-mail", None, Seconds(60), Seconds(900)
    )
    second: Second = setting("what is asked for after a password: none or sms", Second.NONE)
    providers: tuple[str, ...] = setting("providers for its texts, by name; none named is all", ())

    def __post_init__(self) -> None:
        if self.fair_volume is not None and self.fair_up is None and self.fair_down is None:
            raise ConfigError("fair_volume: says when it gets slower; set fair_up or fair_down as well")
        if self.fair_volume is None and (self.fair_up is not None or self.fair_down is not None):
            raise ConfigError("fair_up, fair_down: from which fair_volume on?")

    @property
    def counts(self) -> bool:
        """Whether it matters what the account has used before."""
        return any(getattr(self, name) is not None for name in _COUNTED)

    def as_table(self) -> dict[str, Any]:
        """Return what is set, as it was written."""
        return {
            f.name: list(value) if isinstance(value, tuple) else str(value)
            for f in fields(self)
            if f.name != "name" and (value := getattr(self, f.name)) is not None and value != f.default
        }


_COUNTED = (
    "day_time", "week_time", "month_time", "day_volume", "week_volume", "month_volume", "fair_volume",
)  # fmt: skip
HELP: dict[str, str] = {f.name: f.metadata["help"] for f in fields(Plan) if f.name != "name"}


def read(name: str, table: Mapping[str, Any]) -> Plan:
    """Return a plan from texts; an empty one is unlimited.  Raises ``ConfigError`` naming the key."""
    given: dict[str, Any] = {"name": name}
    for key, value in table.items():
        if key == "providers":
            names = value.split(",") if isinstance(value, str) else value
            given[key] = [each for each in (str(n).strip() for n in names) if each]
        elif value not in ("", None):
            given[key] = value if isinstance(value, str) else str(value)
    return build(Plan, given)


@functools.lru_cache(256)
def stored(name: str, terms: str) -> Plan:
    """Return a plan as it is kept: its table as JSON."""
    return read(name, json.loads(terms))
