"""Requests for other sites: a small answer that leads to the portal, and to nowhere else."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest
from werkzeug.test import Client as Browser

from portald.config import Config, Web, Zone
from portald.web.capture import Capture


def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the portal"]


def ask(config: Config, host: str | None, ip: str = "10.77.0.11", method: str = "GET") -> Any:
    environ = {"REMOTE_ADDR": ip, "HTTP_HOST": host or ""}
    return Browser(Capture(app, config)).open("/x?y=z", method=method, environ_overrides=environ)


@pytest.fixture
def two_zones(config: Config) -> Config:
    zones = (
        Zone(name="lobby", interface="br-lobby", networks=(IPv4Network("10.77.0.0/24"),)),
        Zone(name="pool", interface="br-pool", networks=(IPv4Network("10.88.0.0/24"),)),
    )
    return Config(zones=zones)


@pytest.mark.parametrize("host", ["10.77.0.1", "10.77.0.1:80", "10.77.0.1:8080"])
def test_the_portals_own_name_passes(config: Config, host: str) -> None:
    assert ask(config, host).text == "the portal"


@pytest.mark.parametrize(
    "host",
    [
        "captive.apple.com",
        "",
        None,
        "10.77.0.2",
        "10.77.0.1.evil.example",
        "evil.example@10.77.0.9",
        "[",
        "[::1]",
        "a" * 4000,
        "10.77.0.1/@evil",
        "evil@10.77.0.1",
        "10.77.0.1:80:80",
        "ev\til",
        "\xff",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
def test_any_other_is_led_to_the_portal(config: Config, host: str | None, method: str) -> None:
    answer = ask(config, host, method=method)
    if answer.status_code == 200:
        pytest.fail(f"{host!r} was taken for the portal")
    assert (answer.status_code, answer.location) == (302, "http://10.77.0.1/")
    assert "evil" not in answer.text
    assert len(answer.data) < 200
    assert answer.headers["Cache-Control"] == "no-store"


def test_each_zone_is_led_to_its_own_gateway(two_zones: Config) -> None:
    assert ask(two_zones, "x", "10.77.0.5").location == "http://10.77.0.1/"
    assert ask(two_zones, "x", "10.88.0.5").location == "http://10.88.0.1/"
    assert ask(two_zones, "10.88.0.1", "10.77.0.5").text == "the portal"


@pytest.mark.parametrize("ip", ["2001:db8::5", "fe80::1%br-guest", "", "rubbish"])
def test_a_client_that_tells_no_zone_is_led_to_a_gateway(two_zones: Config, ip: str) -> None:
    assert ask(two_zones, "x", ip).location == "http://10.77.0.1/"


def test_a_configured_name_is_used(config: Config) -> None:
    named = Config(zones=config.zones, web=Web(url="https://wifi.example.net"))
    assert ask(named, "x").location == "https://wifi.example.net/"
    assert ask(named, "wifi.example.net").text == "the portal"
    assert ask(named, "10.77.0.1").text == "the portal"
