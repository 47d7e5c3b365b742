"""Amounts and times read at a glance."""

from __future__ import annotations

import pytest

from portald.display import ago, amount, wait


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (42, "42 seconds"),
        (90, "90 seconds"),
        (300, "5 minutes"),
        (5400, "90 minutes"),
        (5460, "1 hour 31 minutes"),
        (7200, "2 hours"),
        (16_200, "4 hours 30 minutes"),
        (7260, "2 hours 1 minute"),
        (12 * 3600 + 1500, "12 hours"),
        (86_400, "24 hours"),
        (400_000, "5 days"),
    ],
)
def test_times_read_at_a_glance(seconds: float, words: str) -> None:
    assert wait(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_999, "1.0 MB"),
        (1_500_000, "1.5 MB"),
        (2_000_000_000, "2.0 GB"),
        (3e15, "3000.0 TB"),
    ],
)
def test_amounts_are_powers_of_a_thousand(count: float, words: str) -> None:
    assert amount(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s ago"),
        (0, "0 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7200, "2 h ago"),
        (1e6, "11 d ago"),
    ],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert ago(seconds) == words
