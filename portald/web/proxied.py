"""Requests that nginx brings from https: the address it saw takes the place of the connection's own."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING

from portald.rendering.nginx import HEADER

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_NAME = "HTTP_" + HEADER.upper().replace("-", "_")


class Proxied:
    """Believes the header, and so belongs behind the socket that nginx alone may open, and nowhere else."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            # Sent twice it would be two addresses with a comma, which is none.
            environ["REMOTE_ADDR"] = str(ip_address(environ.pop(_NAME, "")))
        except ValueError:
            body = f"Send {HEADER}; see: portalctl render nginx\n".encode()
            start_response(
                "400 Bad Request", [("Content-Type", "text/plain"), ("Cache-Control", "no-store")]
            )
            return iter([body])
        environ["wsgi.url_scheme"] = "https"
        return self._app(environ, start_response)
