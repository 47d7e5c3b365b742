"""What every program is told of the portal: its API's address for each interface, and its name."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from textwrap import wrap

from portald.config import Config

WITHOUT_HTTPS = (
    "There is no captive-portal API to announce: phones ask for it by https only (RFC 8908)."
    ' Set url = "https://NAME" in [web], with a certificate for that name, and render again.'
)


def interfaces(settings: Config) -> Iterator[tuple[str, str]]:
    """Yield each interface of guests with the API's URI there; nothing without https."""
    for zone in settings.zones:
        if uri := settings.captive_api(zone):
            yield from ((name, uri) for name in zone.interfaces)


def host(settings: Config) -> str | None:
    """Return the name in the portal's address, if it has one."""
    name = settings.web.host.rstrip(".")
    try:
        ip_address(name)
    except ValueError:
        return name or None
    return None


def comment(text: str, sign: str = "#") -> Iterator[str]:
    """Yield a text as comment lines."""
    return (f"{sign} {line}" for line in wrap(text, 96))
