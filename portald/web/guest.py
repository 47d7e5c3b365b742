"""The guests' pages: number, code, online.

Every page stands on its own: nothing is kept in the browser, so closing it loses nothing.
Scripts make pages livelier and are needed nowhere; a page that waits asks again by itself.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from flask import Blueprint, Flask, g, jsonify, redirect, render_template, request
from markupsafe import Markup, escape
from werkzeug.exceptions import HTTPException

from portald import phone
from portald.consent import Consent, names_of
from portald.errors import Reason, Refused, StoreError
from portald.model import Client, Purpose, State
from portald.plan import Proof
from portald.portal import Portal
from portald.web.agreeing import agreeing_pages
from portald.web.captive import captive_pages
from portald.web.catalogues import choices, countries
from portald.web.common import Forms, make_app, refusal, wants_json
from portald.web.look import dress, pictures, surroundings
from portald.web.online import online_pages
from portald.web.visits import Visits
from portald.web.ways import Ways, token, way_pages, welcome

log = logging.getLogger(__name__)

_CODE = re.compile(r"[A-Z0-9]{4,10}")


def guest_app(portal: Portal, ways: Ways, consent: Consent, key: bytes) -> Flask:
    """Return the application that guests see."""
    app = make_app("portald.guest")
    config = portal.config
    visits = Visits(portal, ways.staff, Forms(key))
    dress(app, config)
    app.before_request(visits.begin)

    @app.context_processor
    def around() -> dict[str, Any]:
        zone = visits.zone()
        found = consent.documents(zone.name, g.get("language", "en"))
        look = surroundings(config, config.theme_of(zone), names_of(found))
        return look | {"languages": visits.languages()}

    app.register_blueprint(pictures(config, visits))
    app.register_blueprint(agreeing_pages(portal, consent, visits))
    app.register_blueprint(_pages(portal, ways, visits))
    app.register_blueprint(captive_pages(portal, ways.returning, visits.who))
    app.register_blueprint(online_pages(portal, ways, visits))
    app.register_blueprint(way_pages(portal, ways, visits))

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Any:
        return refusal(error, "guest/refused.html")

    @app.errorhandler(StoreError)
    def not_written(error: StoreError) -> Any:
        log.error("event=page_refused page=%s error=%s", request.endpoint, error)
        return refusal(Refused(Reason.BUSY, retry_after=10), "guest/refused.html")

    @app.errorhandler(HTTPException)
    def not_served(error: HTTPException) -> Any:
        if wants_json():
            return jsonify(error=error.name.lower().replace(" ", "_"), retry_after=0), error.code
        return render_template("guest/refused.html", missing=error.code == 404), error.code

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Any:
        # Not the path: a link in a text has the code in it.
        log.exception("event=page_failed page=%s", request.endpoint)
        return render_template("guest/refused.html"), 500

    return app


def _pages(portal: Portal, ways: Ways, visits: Visits) -> Blueprint:
    pages = Blueprint("guest", __name__)
    who, sender, wish = visits.who, visits.sender, visits.wish

    @pages.get("/")
    def splash() -> Any:
        asking = who()
        if portal.status(asking):
            return redirect("/status", 303)
        if portal.pending(asking):
            return redirect("/code", 303)
        asked = ways.staff.state(asking)
        if asked is not None and asked[1] is None and "other" not in request.args:
            return redirect("/staff", 303)
        try:
            if ways.returning.resume(asking):
                return redirect("/status", 303)
        except Refused as error:
            return refusal(error, "guest/splash.html", **splash_context(asking))
        return render_template("guest/splash.html", **splash_context(asking))

    def splash_context(asking: Client, typed: str = "") -> dict[str, Any]:
        offered, ended = portal.carriers()
        plan, known = portal.plan(asking), ways.returning.known(asking, token())
        asks = {Proof.NONE: "nothing"}.get(plan.proof, plan.proof.value) if plan else "sms"
        sends = portal.sends() if asks == "sms" else asks in ("email", "either")
        numbers, wished = portal.config.numbers, wish()
        return {
            "form": visits.form(asking),
            "typed": typed,
            "example": phone.example(numbers.country),
            "countries": choices(g.language, numbers),
            "chosen_country": wished.country or numbers.country,
            "country_names": countries(g.language),
            "asks": asks,
            "known": phone.mask_name(known.name) if known else "",
            "others": portal.zone(asking).ways,
            "sends": sends,
            "proves": portal.config.otp.mode == "code" and asks != "nothing",
            "offered": offered if asks in ("sms", "either") else [],
            "ended": ended,
            "chosen": wished.carrier,
        }

    @pages.post("/number")
    def number() -> Any:
        asking, typed = sender(), request.form.get("number", "")
        if portal.status(asking):
            return redirect("/status", 303)
        wished = wish()
        try:
            plan = portal.plan(asking)
            if portal.config.otp.mode == "format_only" or (plan and plan.proof is Proof.NONE):
                portal.admit(asking, typed, wished.country)
                return redirect("/status", 303)
            portal.request_code(asking, typed, wished)
        except Refused as error:
            pending = portal.pending(asking)
            if (
                error.reason is Reason.TOO_SOON
                and pending is not None
                and pending.number == portal.contact(typed, wished.country)
            ):
                return redirect("/code", 303)  # a double tap: its text is on its way
            return refusal(error, "guest/splash.html", **splash_context(asking, typed[:254]))
        return redirect("/code", 303)

    @pages.get("/code")
    def code() -> Any:
        asking = who()
        if portal.status(asking):
            return redirect("/status", 303)
        context = code_context(asking)
        if context is None:
            return redirect("/", 303)
        return render_template("guest/code.html", **context)

    def code_context(asking: Client) -> dict[str, Any] | None:
        state = visits.state()  # first: what changes from now on has the page loaded again
        challenge = portal.pending(asking)
        if challenge is None:
            return None
        carrier = portal.carrier(challenge.carrier)
        return {
            "form": visits.form(asking),
            "state": state,
            "challenge": challenge,
            "number": phone.mask(challenge.number),
            "policy": challenge.policy,
            "left": challenge.policy.attempts - challenge.attempts,
            "good_for": max(0.0, challenge.expires_at - portal.now()),
            "tracked": portal.tracks(challenge) and challenge.delivered is None,
            "carrier": carrier,
            "carrier_name": Markup("<strong>{}</strong>").format(escape(carrier.name)) if carrier else "",
            "resend_in": portal.resend_in(challenge),
            "State": State,
            "by_mail": "@" in challenge.number,
            "resets": challenge.purpose is Purpose.RESET,
            "unsure": portal.unsure(challenge),
            "opens_window": portal.window_offered(asking),
            "window_left": portal.time_left(window) if (window := portal.window(asking)) else 0,
        }

    @pages.get("/state")
    def state() -> Any:
        """Tell a page that waits whether it should be another."""
        return jsonify(state=visits.state())

    @pages.post("/code")
    def confirm() -> Any:
        asking = sender()
        try:
            return welcome(ways, asking, portal.confirm(asking, request.form.get("code", "")))
        except Refused as error:
            if portal.status(asking):
                return redirect("/status", 303)  # a double tap: the first one was right
            context = code_context(asking)
            if context is None or error.reason is Reason.GROUP_CLOSED:
                return refusal(error, "guest/refused.html")
            return refusal(error, "guest/code.html", **context)

    @pages.get("/c/<code>")
    def open_link(code: str) -> Any:
        """Show the link of a text: it changes nothing, as programs that look ahead open links too."""
        asking = who()
        if not _CODE.fullmatch(code):
            return redirect("/", 303)
        if portal.status(asking):
            return redirect("/status", 303)
        pending = portal.pending(asking)
        if pending is not None and pending.purpose is Purpose.RESET:
            return redirect("/code", 303)
        form = visits.form(asking) if pending else ""
        return render_template("guest/open.html", code=code, form=form)

    @pages.post("/reset")
    def reset() -> Any:
        asking = sender()
        try:
            ways.signing.reset(asking, request.form.get("code", ""), request.form.get("password", ""))
        except Refused as error:
            context = code_context(asking)
            return refusal(error, "guest/code.html" if context else "guest/refused.html", **context or {})
        return redirect("/password?done", 303)

    @pages.post("/window")
    def window() -> Any:
        asking = sender()
        try:
            portal.open_window(asking)
        except Refused as error:
            context = code_context(asking)
            return refusal(error, "guest/code.html" if context else "guest/refused.html", **context or {})
        return redirect("/code", 303)

    @pages.post("/resend")
    def resend() -> Any:
        asking = sender()
        try:
            portal.resend(asking, wish())
        except Refused as error:
            context = code_context(asking)
            if context is None:
                raise
            return refusal(error, "guest/code.html", **context)
        return redirect("/code", 303)

    @pages.post("/restart")
    def restart() -> Any:
        portal.restart(sender())
        return redirect("/", 303)

    @pages.get("/number")
    @pages.get("/reset")
    @pages.get("/window")
    @pages.get("/resend")
    @pages.get("/restart")
    def reloaded() -> Any:
        """A page that answered a form was loaded again: go to wherever this device is."""
        return redirect("/", 303)

    @pages.get("/favicon.ico")
    def icon() -> Any:
        return "", 204

    return pages
