"""Where providers tell what became of texts: a listener of its own, behind the operator's https."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, abort, request

from portald.errors import Forged
from portald.ports import Clock
from portald.sms.routes import Routes
from portald.store import Store
from portald.web.common import make_app

log = logging.getLogger(__name__)

_WEEK = 604_800


def reports_app(routes: Routes, store: Store, public_url: str, clock: Clock) -> Flask:
    """Return the application; ``public_url`` is what leads here, as the provider signed it."""
    app = make_app("portald.reports")

    @app.route("/<name>", methods=["GET", "POST"])
    def report(name: str) -> Any:
        way = routes.way(name)
        if way is None or not hasattr(way.provider, "reports"):
            abort(404)
        # The signature is over the address that the provider called, not over the one behind a proxy.
        query = request.query_string.decode("latin-1")
        url = f"{public_url.rstrip('/')}/{name}" + (f"?{query}" if query else "")
        try:
            found = way.provider.reports(url, dict(request.headers.items()), request.get_data())
        except Forged as error:
            log.warning("event=report_forged provider=%s why=%s from=%s", name, error, request.remote_addr)
            abort(403)
        for one in found:
            if one.delivered is not None:
                store.set_delivery(name, one, clock() - _WEEK)
        return "", 204

    return app
