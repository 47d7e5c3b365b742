"""What every page shares: forms that only our pages can send, headers, refusals, words for time."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, abort, g, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from portald.display import ago, amount, wait
from portald.errors import ConfigError, Reason, Refused
from portald.system import our_files

STATUS = {
    Reason.NUMBER_UNREADABLE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.NUMBER_INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.NUMBER_NOT_MOBILE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.COUNTRY_CLOSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.COUNTRY_BUSY: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.CARRIER_CLOSED: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.TOO_SOON: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.SEVERAL_TEXTS: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.TOO_MANY_TEXTS: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.CODE_INCOMPLETE: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.CODE_WRONG: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.CODE_EXPIRED: HTTPStatus.GONE,
    Reason.TOO_MANY_GUESSES: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.GUESSES_USED_UP: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.NO_CHALLENGE: HTTPStatus.GONE,
    Reason.CLIENT_UNKNOWN: HTTPStatus.FORBIDDEN,
    Reason.GROUP_CLOSED: HTTPStatus.FORBIDDEN,
    Reason.BLOCKED: HTTPStatus.FORBIDDEN,
    Reason.ACCOUNT_EXPIRED: HTTPStatus.FORBIDDEN,
    Reason.CLOSED: HTTPStatus.FORBIDDEN,
    Reason.AGAIN_LATER: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.TIME_USED: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.VOLUME_USED: HTTPStatus.TOO_MANY_REQUESTS,
    Reason.DEVICES_FULL: HTTPStatus.CONFLICT,
    Reason.WAY_CLOSED: HTTPStatus.FORBIDDEN,
    Reason.EMAIL_INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.PASSWORD_WRONG: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.PASSWORD_WEAK: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.PASSWORD_OLD: HTTPStatus.FORBIDDEN,
    Reason.VOUCHER_WRONG: HTTPStatus.UNPROCESSABLE_ENTITY,
    Reason.VOUCHER_USED: HTTPStatus.CONFLICT,
    Reason.BUSY: HTTPStatus.SERVICE_UNAVAILABLE,
    Reason.FORM_STALE: HTTPStatus.BAD_REQUEST,
    Reason.NOT_AGREED: HTTPStatus.CONFLICT,
}
FORM_LIFETIME = 43_200


class Forms:
    """Proves that a form came from our own page, without a cookie: phones drop those.

    The token is bound to who asks; another site can neither read it nor make one.
    """

    def __init__(self, key: bytes) -> None:
        self._key = hmac.new(key, b"forms", hashlib.sha256).digest()

    def token(self, who: str) -> str:
        return self._sign(who, self._period())

    def check(self, who: str) -> None:
        """Raise ``Refused`` unless the request's token is from this period or the one before."""
        given = request.form.get("form", "").encode()
        period = self._period()
        for valid in (self._sign(who, period), self._sign(who, period - 1)):
            if hmac.compare_digest(given, valid.encode()):
                return
        raise Refused(Reason.FORM_STALE)

    def _sign(self, who: str, period: int) -> str:
        return hmac.new(self._key, f"{period}:{who}".encode(), hashlib.sha256).hexdigest()[:32]

    @staticmethod
    def _period() -> int:
        return int(time.monotonic() // FORM_LIFETIME)


def make_app(name: str) -> Flask:
    """Return a Flask application with portald's templates, headers and errors."""
    app = Flask(name, template_folder=str(our_files("templates")), static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=16_384, MAX_FORM_MEMORY_SIZE=16_384, MAX_FORM_PARTS=20)
    app.jinja_env.filters.update(wait=wait, amount=amount, ago=ago)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.before_request(_new_nonce)
    app.context_processor(lambda: {"nonce": g.nonce})
    app.after_request(_secure)
    app.register_error_handler(HTTPException, _http_error)
    return app


def wants_json() -> bool:
    if request.path.startswith(("/api/", "/otp", "/oauth/")):
        return True  # programs only; few of them say what they accept
    best = request.accept_mimetypes.best_match(["text/html", "application/json"])
    return best == "application/json"


def only_json() -> None:
    """Refuse a POST that a form of another site could send: it has no such type."""
    if request.method == "POST" and not request.is_json:
        abort(415, "Send application/json.")


def json_object() -> dict[str, Any]:
    """Return the object that was sent; raise ``ConfigError`` if it is none."""
    given = request.get_json(silent=True)
    if not isinstance(given, dict):
        raise ConfigError("send a JSON object")
    return given


def refusal(refused: Refused, page: str, **context: Any) -> tuple[Response | str, int, dict[str, str]]:
    """Return a refusal as the page named, or as JSON to a machine."""
    status = STATUS[refused.reason]
    wait_seconds = int(refused.retry_after + 0.999)
    headers = {"Retry-After": str(wait_seconds)} if wait_seconds else {}
    if wants_json():
        body = {"error": refused.reason.value, "retry_after": wait_seconds}
        return jsonify(body), status, headers
    return render_template(page, refused=refused, **context), status, headers


def _new_nonce() -> None:
    g.nonce = secrets.token_urlsafe(12)


def _secure(response: Response) -> Response:
    if (response.mimetype or "").startswith("image/"):
        response.headers["Cache-Control"] = "private, max-age=3600"
    else:
        response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    nonce = g.get("nonce", "")
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return response


def _http_error(error: HTTPException) -> Any:
    """Answer what Flask refuses by itself: unknown paths, wrong methods, too much of anything."""
    if wants_json():
        return jsonify(error=error.name.lower().replace(" ", "_"), retry_after=0), error.code
    return render_template("error.html", title=error.name, text=error.description), error.code
