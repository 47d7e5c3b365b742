"""The guests' pages: number, code, online.

Every page stands on its own: nothing is kept in the browser, so closing it loses nothing.
Without JavaScript; a page that waits asks again by itself.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from flask import Blueprint, Flask, redirect, render_template, request

from portald import phone
from portald.errors import Reason, Refused, StoreError
from portald.model import Client, Purpose, Session, State
from portald.plan import Proof
from portald.portal import Asking, Portal
from portald.returning import is_randomised
from portald.web.common import Forms, make_app, refusal
from portald.web.server import MAC
from portald.web.ways import Ways, token, way_pages, welcome

log = logging.getLogger(__name__)

_TAG = re.compile(r"(?=.{1,35}$)[A-Za-z]{1,8}([-_][A-Za-z0-9]{1,8})*")


def guest_app(portal: Portal, ways: Ways, key: bytes) -> Flask:
    """Return the application that guests see."""
    app = make_app("portald.guest")
    forms = Forms(key)
    app.context_processor(lambda: {"venue": portal.config.name, "keep_days": portal.config.keep_days})
    app.register_blueprint(_pages(portal, ways, forms))

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Any:
        return refusal(error, "guest/refused.html")

    @app.errorhandler(StoreError)
    def not_written(error: StoreError) -> Any:
        log.error("event=page_refused path=%s error=%s", request.path, error)
        return refusal(Refused(Reason.BUSY, retry_after=10), "guest/refused.html")

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Any:
        log.exception("event=page_failed path=%s", request.path)
        return render_template("error.html", title="Something went wrong", text=_SORRY), 500

    return app


_SORRY = "That is our fault, not yours. Please try again in a moment."


def _pages(portal: Portal, ways: Ways, forms: Forms) -> Blueprint:
    pages = Blueprint("guest", __name__)

    def who() -> Client:
        return portal.who(request.remote_addr or "", request.environ.get(MAC))

    def sender() -> Client:
        """Return who sends a form, which must be from a page made for the same device."""
        asking = who()
        forms.check(asking.mac)
        return asking

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

    def splash_context(asking: Client, typed: str = "", chosen: str = "") -> dict[str, Any]:
        offered, ended = portal.carriers()
        plan, known = portal.plan(asking), ways.returning.known(asking, token())
        asks = {Proof.NONE: "nothing"}.get(plan.proof, plan.proof.value) if plan else "sms"
        sends = portal.sends() if asks == "sms" else asks in ("email", "either")
        return {
            "form": forms.token(asking.mac),
            "typed": typed,
            "example": phone.example(portal.config.numbers.country),
            "asks": asks,
            "known": phone.mask_name(known.name) if known else "",
            "others": portal.zone(asking).ways,
            "sends": sends,
            "proves": portal.config.otp.mode == "code" and asks != "nothing",
            "offered": offered if asks in ("sms", "either") else [],
            "ended": ended,
            "chosen": chosen,
        }

    @pages.post("/number")
    def number() -> Any:
        asking, typed = sender(), request.form.get("number", "")
        if portal.status(asking):
            return redirect("/status", 303)
        try:
            plan = portal.plan(asking)
            if portal.config.otp.mode == "format_only" or (plan and plan.proof is Proof.NONE):
                portal.admit(asking, typed)
                return redirect("/status", 303)
            portal.request_code(asking, typed, wish())
        except Refused as error:
            pending = portal.pending(asking)
            if (
                error.reason is Reason.TOO_SOON
                and pending is not None
                and pending.number == portal.contact(typed)
            ):
                return redirect("/code", 303)  # a double tap: its text is on its way
            return refusal(
                error, "guest/splash.html", **splash_context(asking, typed[:254], wish().carrier)
            )
        return redirect("/code", 303)

    def wish() -> Asking:
        otp, accepted = portal.config.otp, request.accept_languages
        found = accepted.best_match([otp.language, *otp.texts])
        # Who reads the text's own language best gets it, and Liquid the tag as the guest wrote it.
        ours = found if found in otp.texts else accepted.best
        tag = request.headers.get("X-Request-Language") or ours or ""
        agent = request.headers.get("User-Agent", "")[:300]
        return Asking(
            # Both end in requests and in texts to others: nothing but a language, and one line.
            language=tag if _TAG.fullmatch(tag) else "",
            agent="".join(c for c in agent if c.isascii() and c.isprintable()),
            carrier=request.form.get("carrier", "")[:64],
        )

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
        challenge = portal.pending(asking)
        if challenge is None:
            return None
        return {
            "form": forms.token(asking.mac),
            "challenge": challenge,
            "number": phone.mask(challenge.number),
            "policy": challenge.policy,
            "left": challenge.policy.attempts - challenge.attempts,
            "tracked": portal.tracks(challenge) and challenge.delivered is None,
            "carrier": portal.carrier(challenge.carrier),
            "resend_in": portal.resend_in(challenge),
            "State": State,
            "by_mail": "@" in challenge.number,
            "resets": challenge.purpose is Purpose.RESET,
            "unsure": portal.unsure(challenge),
            "opens_window": portal.window_offered(asking),
            "window_left": portal.time_left(window) if (window := portal.window(asking)) else 0,
        }

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

    @pages.get("/status")
    def status() -> Any:
        asking = who()
        session = portal.status(asking)
        if session is None:
            return redirect("/", 303)
        return render_template("guest/status.html", **status_context(asking, session))

    def status_context(asking: Client, session: Session) -> dict[str, Any]:
        return {
            "session": session,
            "number": phone.mask_name(session.account.name),
            "left": portal.time_left(session),
            "volume_left": portal.volume_left(session),
            "may_choose": ways.signing.may_choose(session) and is_randomised(asking.mac),
            "chosen": "kept" in request.args,
            "form": forms.token(asking.mac),
        }

    @pages.post("/pin")
    def pin() -> Any:
        asking = sender()
        session = portal.status(asking)
        if session is None:
            return redirect("/", 303)
        try:
            ways.signing.choose(session, request.form.get("password", ""))
        except Refused as error:
            return refusal(error, "guest/status.html", **status_context(asking, session))
        return redirect("/status?kept", 303)

    @pages.post("/leave")
    def leave() -> Any:
        portal.leave(sender())
        return redirect("/left", 303)

    @pages.get("/left")
    def left() -> Any:
        if portal.status(who()):
            return redirect("/status", 303)
        return render_template("guest/left.html")

    @pages.get("/number")
    @pages.get("/reset")
    @pages.get("/window")
    @pages.get("/pin")
    @pages.get("/resend")
    @pages.get("/restart")
    @pages.get("/leave")
    def reloaded() -> Any:
        """A page that answered a form was loaded again: go to wherever this device is."""
        return redirect("/", 303)

    @pages.get("/favicon.ico")
    def icon() -> Any:
        return "", 204

    pages.register_blueprint(way_pages(portal, ways, forms, who, sender, wish))
    return pages
