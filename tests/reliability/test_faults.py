"""The fault suite, on every backend: who is online is who the store says, and nobody notices more than told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab_fixtures import require_lab
from tests.reliability import faults
from tests.reliability.faults import FAULTS, NOTHING, Fault
from tests.reliability.hotel import Hotel

pytestmark = pytest.mark.lab

KILLS = {"nftables": 200, "iptables": 30}
"""``make reliability`` kills two hundred times on each; the code that differs is the helper's."""


@pytest.fixture(scope="module", params=list(KILLS))
def hotel(request: pytest.FixtureRequest) -> Iterator[Hotel]:
    """One hotel for all faults of a backend, as a gateway would have them one after the other."""
    require_lab()
    with Hotel(request.param) as built:
        yield built


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.run.__name__)
def test_nobody_notices_more_than_told(hotel: Hotel, fault: Fault) -> None:
    pause, _ = faults.watched(hotel, fault.run, fault.name)
    assert pause <= fault.pause


def test_kills_at_random_moments_are_not_noticed(hotel: Hotel) -> None:
    count = KILLS[hotel.backend]
    before = hotel.starts
    pause, _ = faults.watched(hotel, lambda venue: faults.kills(venue, count), "kills")
    assert hotel.starts - before > count / 2, "what was killed had been running"
    assert pause <= NOTHING
