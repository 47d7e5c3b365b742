"""Providers: how a text gets to a telephone.

To add one, write ``sms/<name>.py`` with a frozen dataclass whose fields are its settings and
whose ``send(to, text)`` hands one text over and returns the provider's message id, or raises
``SmsError`` with the outcome that fits.  Add its line to ``PROVIDERS`` and its table of answers
to ``tests/sms/test_answers.py``; a test fails until both are there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from portald.config import build
from portald.errors import ConfigError
from portald.ports import Sender
from portald.sms.failover import Failover
from portald.sms.gateway import Gateway
from portald.sms.sandbox import Sandbox
from portald.sms.twilio import Twilio

PROVIDERS: dict[str, type[Sender]] = {"twilio": Twilio, "http": Gateway, "sandbox": Sandbox}


def make(tables: Sequence[Mapping[str, Any]]) -> Failover:
    """Make the providers of the ``[[sms]]`` tables; raise ``ConfigError`` with every problem."""
    senders: list[tuple[str, Sender]] = []
    problems: list[str] = []
    for position, table in enumerate(tables):
        rest = dict(table)
        kind = rest.pop("type", None)
        if not isinstance(kind, str) or kind not in PROVIDERS:
            problems.append(f"sms[{position}].type: expected one of {', '.join(PROVIDERS)}, got {kind!r}")
            continue
        try:
            senders.append((kind, build(PROVIDERS[kind], rest, f"sms[{position}].")))
        except ConfigError as error:
            problems += error.problems
    if not tables:
        problems.append("sms: at least one [[sms]] table is needed, or nobody can be sent a code")
    if problems:
        raise ConfigError(problems)
    return Failover(senders)
