"""A table for each provider: how to make one, and which of its answers is which outcome.

A table is a module named like its provider, with

``make(url, timeout=5)``  the provider, pointed at a server of the test;
``ROWS``                  its own answers: status, headers, body, and the message id or the outcome;
``SECRETS``               what of its settings must never be told;
``PLAIN``                 optional: false if it does not speak HTTP; then it has tests of its own.

``carry`` is what all of them can do.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from portald.model import Order, Outcome, Text
from portald.sms import PROVIDERS

NUMBER = "+14155552671"
CODE = "739126"
TEXT = f"{CODE} is your Lobby Wi-Fi code."
TOKEN = "t0k3n-of-the-account"

Row = tuple[int, Mapping[str, str], str, "Outcome | str"]
"""Status, headers, body; and the message id or reference if it is accepted, or else the outcome."""


def table(name: str) -> Any:
    return importlib.import_module(f"tests.sms.tables.{name}")


TABLES = {name: table(name) for name in PROVIDERS}
HTTP = [name for name, table in TABLES.items() if getattr(table, "PLAIN", True)]


def text(to: str = NUMBER, body: str = TEXT, **more: Any) -> Text:
    return Text(to, body, code=CODE, **more)


def carry(provider: Any, **more: Any) -> str:
    """Have a provider send a code, by a text or by itself; return its handle."""
    if hasattr(provider, "start"):
        return str(provider.start(Order(7, NUMBER, **more)).reference)
    return str(provider.send(text(**more)))
