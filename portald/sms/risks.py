"""What works and is a risk: for the operator to know, and to decide."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit


def near(host: str | None) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"


def in_clear(url: str) -> bool:
    """Tell whether others can read what goes to a URL."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not near(parts.hostname)


def of_request(url: str, headers: Mapping[str, str], known: bool, verified: bool) -> Iterator[str]:
    """Yield what is risky about requests; ``known``: something else than headers says who we are."""
    if in_clear(url):
        yield "url: http:// shows numbers and codes to everybody on the way; use https:// if it is offered"
    if not verified:
        yield "verify_tls: false; whoever is on the way can read the texts and change them"
    if not (headers or known or urlsplit(url).query):
        yield "url: nothing in the request says who sends it; make sure that not everybody can"
    if any(name.lower() == "authorisation" for name in headers):
        yield "headers: HTTP's own header is Authorization, with a z; is that the one that is meant?"
