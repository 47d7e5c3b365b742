"""ModemManager's mmcli: a text is created, sent, and taken out of the modem again.

The text goes through standard input: the quotation marks of mmcli's own language cannot be escaped
(mmcli(1), ``--messaging-create-sms-with-text``).
"""

from __future__ import annotations

import contextlib
import json
import re

from portald.errors import SmsError
from portald.model import Outcome, Report, Text
from portald.sms.modem_words import Run, refused, unsent

KEPT = 10
"""Texts that wait in the modem for their reports."""


def send(run: Run, modem: str, text: Text, reports: bool) -> str:
    """Send a text; return its number, by which its report can be asked for.  Raises ``SmsError``."""
    number = _create(run, modem, text, reports)
    try:
        done = run("mmcli", "-s", number, "--send")
        if done.code:
            raise refused(done, text, unsent(done))
    except SmsError:
        _forget(run, modem, number)
        raise
    # A report needs the text to be there; what has none after so many others will not get it.
    spare = int(number) - KEPT if reports else int(number)
    if spare >= 0:
        _forget(run, modem, str(spare))
    return number


def _create(run: Run, modem: str, text: Text, reports: bool) -> str:
    wish = ",delivery-report-request=yes" if reports else ""
    try:
        made = run(
            *("mmcli", "-m", modem, f"--messaging-create-sms=number={text.to}{wish}"),
            "--messaging-create-sms-with-text=/dev/stdin",
            stdin=text.body,
        )
    except SmsError as error:
        outcome = Outcome.TEMPORARY if error.outcome is Outcome.UNKNOWN else error.outcome
        raise SmsError(outcome, error.words) from None
    found = re.search(r"/SMS/([0-9]{1,9})\b", made.output)
    if made.code or not found:
        known = unsent(made)
        raise refused(made, text, Outcome.TEMPORARY if known is Outcome.UNKNOWN else known)
    return found[1]


def _forget(run: Run, modem: str, number: str) -> None:
    """Take a text out of the modem, whose memory is small; it does not matter if that fails."""
    with contextlib.suppress(SmsError):
        run("mmcli", "-m", modem, f"--messaging-delete-sms={number}")


def report(run: Run, modem: str, message: str) -> Report:
    """Return what the network says of a text.  Raises ``SmsError``."""
    done = run("mmcli", "-s", message, "-J")
    try:
        said = json.loads(done.output)["sms"]["properties"]["delivery-state"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Report(message, None)
    state = str(said).lower().replace("_", "-")
    delivered = _delivered(state)
    if delivered is not None:
        _forget(run, modem, message)
    return Report(message, delivered, "" if state == "--" else state[:60])


def _delivered(state: str) -> bool | None:
    """https://www.freedesktop.org/software/ModemManager/doc/latest/ModemManager/ MMSmsDeliveryState"""
    if state.startswith("completed"):
        return True
    return False if state.startswith(("error", "temporary-fatal")) else None
