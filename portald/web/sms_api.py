"""What ``portalctl sms`` asks for; part of the operator's application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, jsonify, request

from portald.errors import ConfigError
from portald.texting import Texting
from portald.web.common import json_object, only_json


def sms_api(texting: Texting) -> Blueprint:
    """Return the routes below ``/api/sms``."""
    api = Blueprint("sms", __name__, url_prefix="/api/sms")

    @api.errorhandler(ConfigError)
    def refused(error: ConfigError) -> Any:
        return jsonify(error="refused", message=str(error)), 422

    api.before_request(only_json)

    def show(name: str, look: Callable[[], Any]) -> None:
        api.add_url_rule(f"/{name}", f"show_{name}", lambda: jsonify(look()))

    show("providers", texting.providers)
    show("limits", texting.limits)
    show("budget", texting.budget)
    show("preview", texting.previews)
    show("log", lambda: texting.log(max(1, min(request.args.get("limit", 50, int), 1000))))

    @api.post("/test")
    def test() -> Any:
        given = json_object()
        provider, carrier = given.get("provider"), str(given.get("carrier") or "")
        answer = texting.test(str(given.get("number", "")), provider and str(provider), carrier)
        # A program reads the same here as where it would ask Auth0.
        return jsonify(answer), 400 if "error" in answer else 200

    @api.post("/limits")
    def limits() -> Any:
        given = json_object()
        for key, kind in (("set", dict), ("open", list), ("close", list), ("forget", list)):
            if not isinstance(given.get(key, kind()), kind):
                raise ConfigError(f"{key}: expected {'an object' if kind is dict else 'a list'}")
        most = {name: None if value is None else str(value) for name, value in given.get("set", {}).items()}
        places = [[str(word) for word in given.get(key, [])] for key in ("open", "close", "forget")]
        forgotten = texting.change(most, *places)
        return jsonify(texting.limits() | {"forgotten": forgotten})

    return api
