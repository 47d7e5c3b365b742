"""Plans as operators write them: amounts, hours, limits; and what is said of those that cannot be."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portald import plan
from portald.errors import ConfigError
from portald.hours import Hours, closes_at, opens_at
from portald.periods import split, today
from portald.plan import Full, Plan, Proof
from portald.units import Amount, Bytes, Count, Kilobits, Seconds

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, tz: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=tz).timestamp()


# Amounts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Seconds, "90", None), (Seconds, "0", 0), (Seconds, "90s", 90), (Seconds, "1h30m", 5400), (Seconds, "1 h 30 m", 5400),
        (Seconds, "2D", 172_800), (Seconds, "1.5h", 5400), (Seconds, "", None), (Seconds, "-1h", None),
        (Seconds, "1h x", None), (Seconds, "h", None), (Seconds, "1.0001s", None),
        (Bytes, "500MB", 5 * 10**8), (Bytes, "2gb", 2 * 10**9), (Bytes, "2.5 GB", 25 * 10**8),
        (Bytes, "5", None), (Bytes, "9999999TB", None),
        (Kilobits, "512k", 512), (Kilobits, "10M", 10_000), (Kilobits, "1.5Mbit/s", 1500),
        (Kilobits, "1G", 1_000_000), (Kilobits, "10MB", None),
        (Count, "3", 3), (Count, "3x", None), (Count, "1.5", None),
    ],
)  # fmt: skip
def test_amounts_are_read_as_people_write_them(kind: type[Amount], text: str, value: int | None) -> None:
    if value is None:
        with pytest.raises(ValueError, match="expected"):
            kind(text)
    else:
        assert kind(text) == value


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Seconds(5400), "1h30m"), (Seconds(86_400), "1d"), (Seconds(0), "0s"), (Seconds(604_800), "1w"),
        (Bytes(2 * 10**9), "2GB"), (Bytes(25 * 10**8), "2.5GB"), (Bytes(1_234_567), "1234.567kB"),
        (Kilobits(1500), "1.5M"), (Kilobits(512), "512k"), (Kilobits(1234), "1234k"), (Count(3), "3"),
    ],
)  # fmt: skip
def test_amounts_say_themselves(amount: Amount, text: str) -> None:
    assert str(amount) == text


@given(st.sampled_from([Seconds, Bytes, Kilobits, Count]), st.integers(0, 10**13))
def test_what_an_amount_says_reads_as_the_same(kind: type[Amount], value: int) -> None:
    assert kind(str(kind(value))) == value


# Hours -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "now", "closes"),
    [
        ("Mo-Fr 08:00-18:00", "2023-11-15 10:00", "2023-11-15 18:00"),
        ("Mo-Fr 08:00-18:00", "2023-11-15 18:00", "closed"),
        ("Mo-Fr 08:00-18:00", "2023-11-18 10:00", "closed"),
        ("Sa+Su 10:00-12:00", "2023-11-19 11:59", "2023-11-19 12:00"),
        ("Fr-Mo 10:00-12:00", "2023-11-20 11:00", "2023-11-20 12:00"),
        ("Sa 22:00-02:00", "2023-11-19 01:00", "2023-11-19 02:00"),
        ("Su 22:00-02:00", "2023-11-20 01:00", "2023-11-20 02:00"),
        ("08:00-12:00, 12:00-20:00", "2023-11-15 09:00", "2023-11-15 20:00"),
        ("00:00-24:00", "2023-11-15 09:00", "never"),
        ("", "2023-11-15 09:00", "never"),
        # The night in which the clock is put back has an hour more; 08:00 is 08:00 all the same.
        ("Su 00:00-08:00", "2023-10-29 01:00", "2023-10-29 08:00"),
    ],
)
def test_hours_of_the_week(hours: str, now: str, closes: str) -> None:
    found = closes_at(Hours(hours), at(now), BERLIN)
    assert found == {"closed": at(now), "never": None}.get(
        closes, closes not in ("closed", "never") and at(closes)
    )


def test_when_it_opens_again() -> None:
    hours = Hours("Mo-Fr 08:00-18:00")
    assert opens_at(hours, at("2023-11-17 19:00"), BERLIN) == at("2023-11-20 08:00")
    assert opens_at(hours, at("2023-11-17 09:00"), BERLIN) == at("2023-11-17 09:00")
    assert opens_at(hours, at("2023-11-17 07:00"), BERLIN) == at("2023-11-17 08:00")


@pytest.mark.parametrize(
    "text", ["Mo", "8-18", "Mo 08:00", "Xx 08:00-09:00", "Mo 08:60-09:00", "Mo 23:00-25:00"]
)
def test_what_are_no_hours(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no such"):
        Hours(text)


# Days --------------------------------------------------------------------------------------


def test_the_running_periods() -> None:
    found = today(at("2024-02-29 23:30"), BERLIN)
    assert (found.day, found.week, found.month) == ("2024-02-29", "2024-02-26", "2024-02-01")
    assert found.next_day == found.next_month == at("2024-03-01 00:00")
    assert found.next_week == at("2024-03-04 00:00")
    assert today(at("2023-12-31 12:00"), BERLIN).next_month == at("2024-01-01 00:00")


@given(st.integers(0, 4 * 10**9), st.integers(0, 10 * 86_400), st.sampled_from([BERLIN, UTC, None]))
def test_days_share_the_time_between_them(since: int, length: int, tz: ZoneInfo | None) -> None:
    parts = list(split(since, since + length, tz))
    assert sum(seconds for _, seconds in parts) == length
    days = [day for day, _ in parts]
    assert days == sorted(set(days))


# Plans -------------------------------------------------------------------------------------


def test_a_plan_is_unlimited_unless_it_says_otherwise() -> None:
    found = plan.read("x", {})
    assert found == Plan(name="x")
    assert found.as_table() == {}
    assert not found.counts
    assert (found.proof, found.when_full) == (Proof.SMS, Full.REPLACE)


def test_a_plan_is_kept_as_it_was_written() -> None:
    table = {
        "session": "2h", "idle": "15m", "day_volume": "500MB", "up": "2M", "devices": "3",
        "when_full": "refuse", "hours": "Mo-Fr 08:00-18:00", "proof": "either", "providers": ["a", "b"],
    }  # fmt: skip
    found = plan.read("x", table)
    assert found.as_table() == table
    assert plan.stored("x", json.dumps(found.as_table())) == found
    assert found.counts
    assert plan.read("x", {**found.as_table(), "day_volume": "", "up": None}).as_table().keys() == table.keys() - {
        "day_volume", "up"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({"sesion": "1h"}, "did you mean 'session'?"),
        ({"session": "5"}, "session: expected a time such as 90m"),
        ({"session": "5s"}, "session: at least 1m"),
        ({"up": "1k"}, "up: at least 32k"),
        ({"up": "99G"}, "up: at most 10000M"),
        ({"day_volume": "1kB"}, "day_volume: at least 100kB"),
        ({"devices": "0"}, "devices: at least 1"),
        ({"when_full": "panic"}, "when_full: expected replace or refuse"),
        ({"proof": "blood"}, "proof: expected none or sms or email or either"),
        ({"fair_volume": "1GB"}, "set fair_up or fair_down as well"),
        ({"fair_up": "1M"}, "from which fair_volume on?"),
        ({"hours": "at night"}, "expected hours such as"),
    ],
)
def test_a_plan_that_cannot_be_says_why(table: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        plan.read("x", table)
    assert problem in str(raised.value)
