"""Several providers as one: the next is asked when one cannot, and only if none can have sent it."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from portald.errors import SmsError
from portald.model import Outcome
from portald.ports import Sender

log = logging.getLogger(__name__)

# The number's own trouble is the same everywhere; an unknown fate must not become two texts.
FINAL = {Outcome.INVALID_NUMBER, Outcome.BLOCKED_BY_RECIPIENT, Outcome.UNKNOWN}


class Failover:
    """A sender made of senders, asked in order."""

    def __init__(self, senders: Sequence[tuple[str, Sender]]) -> None:
        self._senders = tuple(senders)

    def send(self, to: str, text: str) -> str:
        failures: list[SmsError] = []
        for name, sender in self._senders:
            try:
                return f"{name}:{sender.send(to, text)}"
            except SmsError as error:
                words = error.words
                for digits in re.findall(r"\d{4,}", text):  # the code among them
                    words = words.replace(digits, "…")
                log.warning(
                    "event=text_refused provider=%s outcome=%s words=%s", name, error.outcome, words
                )
                failures.append(error)
                if error.outcome in FINAL:
                    break
        raise failures[-1]
