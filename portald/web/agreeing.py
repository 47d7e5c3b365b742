"""The terms and the privacy notice: to be read at any time, and agreed to before anything else."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, abort, g, redirect, render_template, request

from portald.consent import Consent, names_of
from portald.errors import Refused
from portald.portal import Portal
from portald.web.common import refusal
from portald.web.visits import Visits

_OPEN = {"agreeing.read", "agreeing.agree", "guest.icon", "guest.open_link"}
"""What may be seen by who has not agreed."""


def agreeing_pages(portal: Portal, consent: Consent, visits: Visits) -> Blueprint:
    """Return the pages, and the gate that leads to them."""
    pages = Blueprint("agreeing", __name__)

    @pages.before_app_request
    def gate() -> Any:
        client = g.get("client")
        blueprint, _, _ = (request.endpoint or "").partition(".")
        if client is None or blueprint not in ("guest", "ways", "agreeing") or request.endpoint in _OPEN:
            return None
        if not consent.wanted(client) or portal.status(client):
            return None  # whoever is online already need not be stopped
        return redirect("/terms", 303)

    def page(which: str, refused: Refused | None = None) -> Any:
        found = consent.documents(visits.zone().name, g.language)
        if found is None:
            abort(404)
        agree = g.client is not None and consent.wanted(g.client)
        shown = [name for name in names_of(found) if agree or name == which]
        context = {
            "written": [(name, getattr(found, name)) for name in shown],
            "agree": agree,
            "version": found.version,
            "form": visits.form(g.client) if g.client else "",
        }
        if not context["written"]:
            abort(404)
        if refused:
            return refusal(refused, "guest/terms.html", **context)
        return render_template("guest/terms.html", **context)

    @pages.get("/<any(terms, privacy):which>")
    def read(which: str) -> Any:
        return page(which)

    @pages.post("/agree")
    def agree() -> Any:
        client = visits.sender()
        try:
            consent.agree(client, request.form.get("version", "")[:64])
        except Refused as error:
            return page("terms", error)
        return redirect("/", 303)

    @pages.get("/agree")
    def reloaded() -> Any:
        return redirect("/", 303)

    return pages
