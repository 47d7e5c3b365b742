"""Reads what a provider of the tests was asked, and answers one request after the other."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs

from tests.sms.conftest import Provider, Request


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def form(request: Request) -> dict[str, str]:
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    return {name: value for name, (value,) in parse_qs(request.body.decode(), strict_parsing=True).items()}


def sent_json(request: Request) -> Any:
    assert request.headers["Content-Type"] == "application/json"
    return json.loads(request.body)


def write(handler: Any, status: int, body: str = "") -> None:
    """Answer one request; what others will be answered stays as it is."""
    content = body.encode()
    handler.send_response_only(status)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def only(provider: Provider) -> Request:
    (request,) = provider.requests
    assert request.headers["User-Agent"] == "portald"
    return request
