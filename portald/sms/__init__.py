"""Providers: how a code or a text gets to a telephone.

To add one, write ``sms/<name>.py`` with a frozen dataclass whose fields are its settings.  Either
it carries texts (``portald.ports.Sender``) or it makes and judges the codes itself
(``portald.ports.Verifier``); it may offer ``Tracker`` and ``Reporter`` besides.  Add its line to
``PROVIDERS`` and its table of answers to ``tests/sms/tables``; a test fails until both are there.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from portald.errors import ConfigError
from portald.ports import Clock, Sender, Verifier
from portald.schema import build
from portald.sms.breaker import Breaker
from portald.sms.presets import described, preset
from portald.sms.routes import Route, Way

PROVIDERS = {
    "twilio": "portald.sms.twilio:Twilio",
    "twilio_verify": "portald.sms.twilio_verify:TwilioVerify",
    "vonage": "portald.sms.vonage:Vonage",
    "vonage_verify": "portald.sms.vonage_verify:VonageVerify",
    "smscx": "portald.sms.smscx:SmsCx",
    "sms_gateway": "portald.sms.auth0:SmsGateway",
    "http": "portald.sms.gateway:Gateway",
    "email": "portald.sms.email:Email",
    "mailbox": "portald.sms.mailbox:Mailbox",
    "modem": "portald.sms.modem:Modem",
    "sandbox": "portald.sms.sandbox:Sandbox",
}


def find(kind: object) -> type[Any]:
    """Return the class of a provider by its name here, or by ``package.module:Class`` elsewhere.

    Only what is used is imported.  Raises ``ConfigError``.
    """
    path = PROVIDERS.get(kind, kind) if isinstance(kind, str) else ""
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        known = ", ".join((*PROVIDERS, *described()))
        near = difflib.get_close_matches(str(kind), (*PROVIDERS, *described()), 1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known: {known}, or package.module:Class"
        raise ConfigError(f"type: {kind!r} is not known{hint}" if kind else f"type: missing{hint}")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"type: {kind!r} cannot be loaded: {error}") from error
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise ConfigError(f"type: {kind!r} is not a dataclass, so its settings are not known")
    if not (hasattr(found, "send") or (hasattr(found, "start") and hasattr(found, "check"))):
        raise ConfigError(f"type: {kind!r} has neither send, nor start and check")
    return found


def make(
    tables: Sequence[Mapping[str, Any]],
    codes: Callable[[Sender], Verifier],
    clock: Clock,
    reports_url: str | None = None,
    needed: bool = True,
) -> list[Way]:
    """Make the providers of the ``[[sms]]`` tables; raise ``ConfigError`` with every problem.

    There must be one where they are ``needed``.  ``codes`` turns a provider that only carries
    texts into one that judges codes.  Providers that can report are asked to do so below
    ``reports_url``.
    """
    ways: list[Way] = []
    problems: list[str] = []
    for position, table in enumerate(tables):
        try:
            ways.append(_way(table, codes, clock, reports_url))
        except ConfigError as error:
            problems += [f"sms[{position}].{problem}" for problem in error.problems]
    if needed and not tables:
        problems.append("sms: at least one [[sms]] table is needed, or nobody can be sent a code")
    if problems:
        raise ConfigError(problems)
    return ways


def _way(
    table: Mapping[str, Any],
    codes: Callable[[Sender], Verifier],
    clock: Clock,
    reports_url: str | None,
) -> Way:
    common = {field.name for field in dataclasses.fields(Route)}
    route = build(Route, {key: value for key, value in table.items() if key in common})
    rest = {key: value for key, value in table.items() if key not in common}
    kind = rest.pop("type", None)
    if "from" in rest:  # what most providers call it; a word that Python keeps for itself
        if "sender" in rest:
            raise ConfigError("sender: given twice, as from and sender")
        rest["sender"] = rest.pop("from")
    ready = preset(kind) if isinstance(kind, str) else None
    if ready is not None:
        found, rest = find("http"), {**ready, **rest}
    else:
        found = find(kind)
    if reports_url and "status_callback" in {field.name for field in dataclasses.fields(found)}:
        rest.setdefault("status_callback", f"{reports_url.rstrip('/')}/{route.name or kind}")
    provider = build(found, rest)
    verifier = provider if hasattr(provider, "start") else codes(provider)
    return Way(route, str(kind), provider, verifier, Breaker(clock))
