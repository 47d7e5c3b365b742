"""The pages of who is online: what is left, longer, a PIN for next time, and logging out."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request

from portald import phone
from portald.errors import Refused
from portald.model import Client, Session
from portald.portal import Portal
from portald.returning import is_randomised
from portald.web.common import refusal
from portald.web.visits import Visits
from portald.web.ways import Ways


def online_pages(portal: Portal, ways: Ways, visits: Visits) -> Blueprint:
    """Return the pages; whoever is not online is led to the first one."""
    pages = Blueprint("online", __name__)

    @pages.get("/status")
    def status() -> Any:
        client = visits.who()
        session = portal.status(client)
        if session is None:
            return redirect("/", 303)
        return render_template("guest/status.html", **context(client, session))

    def context(client: Client, session: Session) -> dict[str, Any]:
        return {
            "session": session,
            "number": phone.mask_name(session.account.name),
            "left": portal.time_left(session),
            "volume_left": portal.volume_left(session),
            "may_extend": ways.returning.may_extend(session),
            "may_choose": ways.signing.may_choose(session) and is_randomised(client.mac),
            "chosen": "kept" in request.args,
            "form": visits.form(client),
        }

    @pages.post("/extend")
    def extend() -> Any:
        session = portal.status(visits.sender())
        if session is not None:
            ways.returning.extend(session)
        return redirect("/status", 303)

    @pages.post("/pin")
    def pin() -> Any:
        client = visits.sender()
        session = portal.status(client)
        if session is None:
            return redirect("/", 303)
        try:
            ways.signing.choose(session, request.form.get("password", ""))
        except Refused as error:
            return refusal(error, "guest/status.html", **context(client, session))
        return redirect("/status?kept", 303)

    @pages.post("/leave")
    def leave() -> Any:
        portal.leave(visits.sender())
        return redirect("/left", 303)

    @pages.get("/left")
    def left() -> Any:
        if portal.status(visits.who()):
            return redirect("/status", 303)
        return render_template("guest/left.html")

    @pages.get("/extend")
    @pages.get("/pin")
    @pages.get("/leave")
    def reloaded() -> Any:
        return redirect("/", 303)

    return pages
