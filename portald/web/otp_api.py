"""The OTP API for the venue's own programs, on the operator's listener; see docs/openapi.json."""

from __future__ import annotations

import json
from typing import Any

from flask import Blueprint, jsonify, request

from portald.applications import TOKEN_LIFETIME, ApiError, Applications
from portald.config import Application


def otp_api(applications: Applications) -> Blueprint:
    """Return the API's routes; who asks is proven by a bearer token, not by a cookie or a form."""
    api = Blueprint("otp", __name__)

    @api.errorhandler(ApiError)
    def failed(error: ApiError) -> Any:
        body = {"type": error.type, "message": error.message, "uri": request.path, "code": error.code}
        answer = jsonify(error=body)
        answer.status_code = error.status
        if error.retry_after:
            answer.headers["Retry-After"] = str(int(error.retry_after + 0.999))
        if error.status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def who() -> Application:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise ApiError(401, "invalid_token", 1600, "Send Authorization: Bearer with a token.")
        return applications.who(token.strip())

    def body() -> dict[str, Any]:
        try:
            given = request.get_json(silent=True)
            json.dumps(given, ensure_ascii=False).encode()
        except (RecursionError, UnicodeEncodeError):  # too deep, or half a character
            given = None
        if not isinstance(given, dict):
            raise ApiError(400, "invalid_param", 2000, "Send a JSON object.")
        return given

    @api.post("/oauth/token")
    def token() -> Any:
        login = request.authorization
        if request.form.get("grant_type") != "client_credentials":
            raise ApiError(400, "unsupported_grant_type", 1600, "grant_type is client_credentials.")
        if login is None or login.type != "basic":
            raise ApiError(401, "invalid_client", 1600, "Send the id and secret by basic authentication.")
        made = applications.token(login.username or "", login.password or "")
        return jsonify(
            access_token=made,
            expires_in=TOKEN_LIFETIME,
            token_type="Bearer",  # noqa: S106, RFC 6749's word
            scope="otp",
        )

    @api.post("/otp")
    def create() -> Any:
        application, wish = who(), body()
        language = request.headers.get("X-Request-Language") or request.accept_languages.best
        return jsonify(applications.create(application, {"language": language or "", **wish})), 201

    @api.get("/otp/<otp_id>")
    def get(otp_id: str) -> Any:
        return jsonify(applications.get(who(), otp_id))

    @api.post("/otp/<otp_id>")
    def check(otp_id: str) -> Any:
        return jsonify(applications.check(who(), otp_id, body().get("pin")))

    @api.delete("/otp/<otp_id>")
    def cancel(otp_id: str) -> Any:
        return jsonify(applications.cancel(who(), otp_id))

    return api
