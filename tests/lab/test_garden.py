"""The walled garden with a real dnsmasq: names open as guests look them up, and stay open after a flush."""

from __future__ import annotations

from functools import partial

import pytest

from portald.config import Config, build
from portald.demo.lab import until
from portald.demo.venue import SITE, WEB, Venue
from portald.rendering import dnsmasq
from tests.lab_fixtures import require_lab

pytestmark = pytest.mark.lab

SETTINGS = '\n[garden]\nnames = ["example.com"]\n'
CHECKED = build(
    Config,
    {
        "web": {"url": "https://portal.example.net"},
        "zones": [{"interface": "br-guest", "networks": ["10.77.0.0/24"]}],
        "garden": {"checks": ["example.com"]},
    },
)


def direct(venue: Venue, family: str) -> bool:
    """Tell whether the phone reaches the garden's site itself, by a name below the one of the settings."""
    answer = venue.fetch(venue.phone, "http://www.example.com/", family)
    return answer.get("status") == 200 and answer["peer"] == WEB[family == "6"]


def test_names_open_in_both_families_and_survive_a_flush() -> None:
    require_lab()
    with Venue(more=SETTINGS) as venue:
        venue.start()
        rendered = venue.scratch / "rendered.conf"
        rendered.write_text(venue.ctl("render", "dnsmasq"))
        venue.serve_guests(f"conf-file={rendered}")
        venue.lease(venue.phone)
        venue.wait_ipv6(venue.phone)
        for address in WEB:
            assert "error" in venue.do(venue.phone, "connect", address, "443"), "not before it is looked up"
        for family in "46":
            until(partial(direct, venue, family), "the garden does not open")
            assert "error" not in venue.do(venue.phone, "connect", "www.example.com", "443", family)
        assert venue.sessions() == [], "nobody has logged in"

        elements = venue.gateway.run("nft", "list", "set", "inet", "portald", "garden4")
        assert WEB[0] in elements
        until(lambda: "agreed" in venue.ctl("status", check=False), "no good round")
        venue.gateway.run("nft", "flush", "ruleset")
        venue.translate()
        # dnsmasq answers from its cache now, and names nothing again.
        until(lambda: all(direct(venue, family) for family in "46"), "the garden is lost", 15)


def test_names_of_checks_open_little_and_nothing_opens_without_a_lookup() -> None:
    require_lab()
    with Venue(more=SETTINGS) as venue:
        venue.start()
        rendered = venue.scratch / "rendered.conf"
        rendered.write_text("\n".join(dnsmasq.lines(CHECKED)))
        venue.serve_guests(f"conf-file={rendered}")
        venue.lease(venue.phone)
        venue.wait_ipv6(venue.phone)
        answer = venue.fetch(venue.phone, f"http://{SITE}/", "4")
        assert answer["status"] == 302
        for family in "46":
            until(partial(direct, venue, family), "the checks do not open")
            assert "error" in venue.do(venue.phone, "connect", "www.example.com", "443", family)
