"""The operator's page and the API behind portalctl, on a unix socket only.

Whoever may open the socket is an operator.  Numbers are masked here too.  To see the page from
elsewhere: ``ssh -L 8081:/run/portald/admin.sock gateway``, then http://localhost:8081/.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from typing import Any

from flask import Flask, abort, jsonify, redirect, render_template, request

from portald import __version__, phone
from portald.applications import Applications
from portald.arranging import Arranging
from portald.errors import Reason, Refused, StoreError
from portald.model import LAST_SESSION, Alarm, Challenge, Outcome
from portald.portal import Portal
from portald.reconcile import Rounds
from portald.staff import Staff
from portald.texting import Texting, weak
from portald.vouchers import Vouchers
from portald.web.arranging_api import arranging_api
from portald.web.capture import hostname
from portald.web.common import Forms, make_app, refusal, wants_json
from portald.web.otp_api import otp_api
from portald.web.qr import picture
from portald.web.rows import session_row
from portald.web.sms_api import sms_api

log = logging.getLogger(__name__)

# A page of another site that got its name to lead here (DNS rebinding) has another Host.
HOSTS = {"localhost", "127.0.0.1", "::1", "portald"}


def admin_app(
    portal: Portal,
    rounds: Rounds,
    texting: Texting,
    applications: Applications,
    arranging: Arranging,
    vouchers: Vouchers,
    staff: Staff,
    key: bytes,
    alarms: Callable[[], list[Alarm]] = list,
) -> Flask:
    """Return the application that operators, portalctl and the venue's programs see."""
    app = make_app("portald.admin")
    app.register_blueprint(sms_api(texting))
    app.register_blueprint(otp_api(applications))
    app.register_blueprint(arranging_api(arranging, vouchers, staff))
    forms = Forms(key)

    @app.before_request
    def only_local_names() -> None:
        if hostname(request.headers.get("Host", "")) not in HOSTS:
            abort(400, "This page answers to the name localhost only.")

    @app.errorhandler(Refused)
    def refused(error: Refused) -> Any:
        return refusal(error, "error.html", title="Out of date", text=_STALE)

    @app.errorhandler(StoreError)
    def not_written(error: StoreError) -> Any:
        log.error("event=page_refused path=%s error=%s", request.path, error)
        if wants_json():
            return jsonify(error="store_unusable", message=str(error), retry_after=5), 503
        return render_template("error.html", title="The database cannot be used", text=str(error)), 503

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Any:
        log.exception("event=page_failed path=%s", request.path)
        if wants_json():
            return jsonify(error="internal_error", retry_after=0), 500
        return render_template("error.html", title="Something went wrong", text="See the log."), 500

    def status() -> dict[str, Any]:
        last_good = rounds.last_good
        return {
            "version": __version__,
            "name": portal.config.name,
            "backend": portal.config.firewall.backend,
            "sessions": portal.online(),
            "healthy": last_good is not None and rounds.last_error is None,
            "last_good_round": last_good,
            "last_error": rounds.last_error,
            "texts_failing": _failing(portal.challenges(10)),
            "alarms": [*({"text": a.text, "cure": a.cure} for a in alarms()), *texting.alarms()],
        }

    @app.get("/api/status")
    def api_status() -> Any:
        return jsonify(status())

    @app.get("/api/sessions")
    def api_sessions() -> Any:
        sessions = portal.ended() if request.args.get("ended") else portal.sessions()
        return jsonify([session_row(session) for session in sessions])

    @app.get("/api/challenges")
    def api_challenges() -> Any:
        return jsonify([_challenge(challenge) for challenge in portal.challenges()])

    @app.post("/api/sessions/<int:session_id>/revoke")
    def api_revoke(session_id: int) -> Any:
        if not request.is_json:  # a form of another site cannot send this type
            abort(415, "Send application/json.")
        if session_id > LAST_SESSION or not portal.revoke(session_id):
            return jsonify(error="no_such_session", retry_after=0), 404
        return jsonify(revoked=session_id)

    @app.get("/")
    def page() -> Any:
        return render_template(
            "admin/sessions.html",
            status=status(),
            sessions=[session_row(session) for session in portal.sessions()],
            ended=[session_row(session) for session in portal.ended(20)],
            challenges=[_challenge(challenge) for challenge in portal.challenges(20)],
            providers=texting.providers(),
            budget=texting.budget(),
            closed=texting.limits()["closed"],
            carriers=portal.carrier_report(),
            waiting=staff.waiting(),
            weak=weak(portal.config),
            form=forms.token("operator"),
            now=portal.now(),
        )

    @app.post("/revoke")
    def revoke() -> Any:
        forms.check("operator")
        number = request.form.get("session", "")
        if not number.isdecimal() or not portal.revoke(int(number[:12])):
            raise Refused(Reason.FORM_STALE)
        return redirect("/", 303)

    @app.post("/approve")
    def approve() -> Any:
        forms.check("operator")
        number = request.form.get("approval", "")
        if not number.isdecimal():
            raise Refused(Reason.FORM_STALE)
        if request.form.get("granted") == "yes":
            staff.approve(int(number[:12]))
        else:
            staff.refuse(int(number[:12]))
        return redirect("/", 303)

    @app.get("/vouchers/<int:batch>")
    def print_vouchers(batch: int) -> Any:
        found = next((each for each in vouchers.batches() if each.id == batch), None)
        if found is None:
            abort(404)
        return render_template(
            "admin/vouchers.html",
            venue=portal.config.name,
            batch=found,
            last=_last_day(found.expires_at, portal.config.tz),
            codes=[(code, picture(link(code))) for code in vouchers.codes(found)],
            url=portal.portal_address(),
        )

    def link(code: str) -> str:
        return f"{portal.portal_address()}voucher?code={code}"

    return app


_STALE = "The page was old, or the session had ended. Look again."


def _last_day(at: float | None, tz: tzinfo | None) -> str:
    """Return until when a voucher is good, as it is printed on it; empty is for ever."""
    if at is None:
        return ""
    then = datetime.fromtimestamp(at, tz)
    if then.time() == datetime.min.time():
        return (then - timedelta(days=1)).date().isoformat()
    return f"{then:%Y-%m-%d %H:%M}"


def _failing(latest: list[Challenge]) -> int:
    """Return how many texts have failed since the last one that was sent."""
    tried = [challenge.outcome for challenge in latest if challenge.outcome]
    return next((n for n, outcome in enumerate(tried) if outcome is Outcome.ACCEPTED), len(tried))


def _challenge(challenge: Challenge) -> dict[str, Any]:
    return {
        "id": challenge.id,
        "number": phone.mask(challenge.number),
        "mac": challenge.holder if not challenge.application else f"application {challenge.application}",
        "state": challenge.state,
        "outcome": challenge.outcome,
        "words": challenge.words,
        "attempts": challenge.attempts,
        "created_at": challenge.created_at,
    }
