"""A real browser inside the guest's namespace: redirected, signed in, on the internet.

JavaScript is off, as the portal needs none. Screenshots go to tests/artefacts.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from portald.demo.venue import PORTAL, SITE, Venue
from tests.lab import browse

pytestmark = [pytest.mark.lab, pytest.mark.browser]
ARTEFACTS = Path(__file__).parent.parent / "artefacts"


@pytest.fixture(scope="module")
def walked(venue: Venue) -> dict[str, Any]:
    """Walk the portal once; everything that was seen."""
    ARTEFACTS.mkdir(exist_ok=True)
    latest = venue.scratch / "latest-texts"
    stop = threading.Event()

    def carry() -> None:
        """Be the guest's other hand: hold the telephone that the text arrives on."""
        while not stop.wait(0.3):
            new = latest.with_suffix(".new")
            new.write_text(json.dumps(venue.texts()))
            new.rename(latest)

    hand = threading.Thread(target=carry)
    hand.start()
    try:
        command = [sys.executable, browse.__file__, str(latest), str(ARTEFACTS)]
        printed = venue.phone.run(*command, timeout=150)
    finally:
        stop.set()
        hand.join()
    return json.loads(printed.splitlines()[-1])  # type: ignore[no-any-return]


def test_any_address_leads_to_the_splash_page(walked: dict[str, Any]) -> None:
    assert walked["first"]["url"] == f"http://{PORTAL}/"
    assert walked["first"]["title"] == "Sign in – Café Aurora Wi-Fi"


def test_a_wrong_number_is_told_and_kept(walked: dict[str, Any]) -> None:
    assert walked["bad number"]["alert"] == "This is not a complete telephone number. Please check it."
    assert walked["bad number"]["field"] == "12"


def test_a_wrong_code_is_told(walked: dict[str, Any]) -> None:
    assert "4 tries left" in walked["wrong code"]["alert"]


def test_coming_back_after_closing_lands_on_the_code_page(walked: dict[str, Any]) -> None:
    assert walked["came back"]["url"] == f"http://{PORTAL}/code"
    assert "+49…89" in walked["came back"]["text"]


def test_the_right_code_opens_the_internet(walked: dict[str, Any]) -> None:
    assert walked["online"]["url"] == f"http://{PORTAL}/status"
    assert "You are online" in walked["online"]["text"]
    assert walked["outside"]["url"] == f"http://{SITE}/hotspot-detect.html"
    assert walked["outside"]["text"] == "Success"


def test_logging_out_closes_it(walked: dict[str, Any]) -> None:
    assert "You are logged out" in walked["left"]["text"]
    assert walked["captive again"]["url"] == f"http://{PORTAL}/"


def test_nothing_overflows_at_320_pixels(walked: dict[str, Any]) -> None:
    for name, page in walked.items():
        assert page["overflow"] <= 0, f"{name} is {page['overflow']} px too wide"


def test_the_keyboard_is_where_the_guest_types(walked: dict[str, Any]) -> None:
    assert walked["first"]["focus"] == "number"
    assert walked["came back"]["focus"] == "code"
