"""Sends every request for somebody else's web site to the portal; no Flask, no database.

A hundred phones probing at once cost a few lines each.  The answer closes the connection: a
browser that kept it would ask the portal for the real site after login.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from portald.config import Config

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Capture:
    """Passes requests for the portal's own names on, and redirects all others to it.

    Where nginx has the portal's certificate, the pages are not here, and every request is redirected.

    Nothing of the request gets into the answer, so that a forged Host leads nowhere.
    """

    def __init__(self, app: WSGIApplication, config: Config) -> None:
        self._app = app
        self._config = config
        self._names: set[str | None] = set()
        if config.web.certificate is None:
            self._names = {urlsplit(config.portal_url(zone)).hostname for zone in config.zones}
            self._names |= {str(zone.gateway) for zone in config.zones}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if hostname(environ.get("HTTP_HOST", "")) in self._names:
            return self._app(environ, start_response)
        url = self._url(environ.get("REMOTE_ADDR", ""))
        body = f'<!doctype html><title>Sign in</title><a href="{url}">Sign in to the Wi-Fi</a>\n'.encode()
        headers = [
            ("Location", url),
            ("Content-Type", "text/html; charset=utf-8"),
            ("Cache-Control", "no-store"),
        ]
        start_response("302 Found", headers)
        # Without a length, and as an iterator, so that waitress closes the connection after it.
        return iter([b"" if environ["REQUEST_METHOD"] == "HEAD" else body])

    def _url(self, peer: str) -> str:
        # Any of the gateway's addresses leads to the portal, so a guess is good enough for IPv6.
        try:
            address = ip_address(peer.partition("%")[0])
        except ValueError:
            address = None
        zone = self._config.zone_of(address) if isinstance(address, IPv4Address) else None
        return self._config.portal_url(zone or self._config.zones[0])


_HOST = re.compile(r"(?:([A-Za-z0-9.-]+)|\[([0-9A-Fa-f:.]+)\])(?::\d{1,5})?")


def hostname(host: str) -> str | None:
    """Return the name or address in a Host header without its port, ``None`` if it has no such form."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else None
