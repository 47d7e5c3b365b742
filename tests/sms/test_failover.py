"""Failover: the next provider is asked if one cannot, and never after one that may have sent it."""

from __future__ import annotations

import logging
import re

import pytest

from portald.config import Otp
from portald.errors import SmsError
from portald.model import Outcome
from portald.sms.codes import Codes
from portald.sms.failover import Failover
from tests.conftest import KEY, NUMBER

FINAL = {Outcome.INVALID_NUMBER, Outcome.BLOCKED_BY_RECIPIENT, Outcome.UNKNOWN}
FAILURES = [outcome for outcome in Outcome if outcome is not Outcome.ACCEPTED]


class Carrier:
    """Takes texts, or fails as told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.texts: list[tuple[str, str]] = []

    def send(self, to: str, text: str) -> str:
        self.texts.append((to, text))
        if self.error is not None:
            raise self.error
        return "id"


class Quoting:
    """Refuses, and quotes what it refuses; numbers masked, as is asked of every provider."""

    def send(self, to: str, text: str) -> str:
        raise SmsError(Outcome.TEMPORARY, f"cannot send {text!r}")


def test_the_first_that_can_does() -> None:
    first, second = Carrier(), Carrier()
    assert Failover([("a", first), ("b", second)]).send(NUMBER, "text") == "a:id"
    assert first.texts == [(NUMBER, "text")]
    assert second.texts == []


@pytest.mark.parametrize("outcome", FAILURES)
def test_the_next_is_asked_only_if_no_text_can_have_been_sent(outcome: Outcome) -> None:
    first, second, third = Carrier(SmsError(outcome, "words", 7)), Carrier(), Carrier()
    failover = Failover([("a", first), ("b", second), ("c", third)])
    if outcome in FINAL:
        with pytest.raises(SmsError) as caught:
            failover.send(NUMBER, "text")
        assert caught.value is first.error
        assert second.texts == []
    else:
        assert failover.send(NUMBER, "text") == "b:id"
        assert second.texts == [(NUMBER, "text")]
    assert len(first.texts) == 1
    assert third.texts == []


def test_every_outcome_is_decided_on() -> None:
    """A new outcome has to be put on one of the two sides by somebody."""
    assert set(FAILURES) - FINAL == {
        Outcome.REGION_NOT_ALLOWED,
        Outcome.NO_CREDIT,
        Outcome.AUTHENTICATION,
        Outcome.CONFIGURATION,
        Outcome.THROTTLED,
        Outcome.TEMPORARY,
    }


def test_if_none_can_the_last_says_why() -> None:
    errors = [SmsError(Outcome.NO_CREDIT, "first"), SmsError(Outcome.THROTTLED, "last", 30)]
    with pytest.raises(SmsError) as caught:
        Failover([("a", Carrier(errors[0])), ("b", Carrier(errors[1]))]).send(NUMBER, "text")
    assert caught.value is errors[1]


def test_every_refusal_is_logged_with_its_provider(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    poor = Carrier(SmsError(Outcome.NO_CREDIT, "no money"))
    Failover([("a", poor), ("b", Carrier())]).send(NUMBER, "text")
    assert [record.getMessage() for record in caplog.records] == [
        "event=text_refused provider=a outcome=no_credit words=no money"
    ]


def test_an_exception_of_another_kind_is_not_a_reason_to_send_again() -> None:
    second = Carrier()
    with pytest.raises(KeyError):
        Failover([("a", Carrier(KeyError("sid"))), ("b", second)]).send(NUMBER, "text")
    assert second.texts == []


def test_a_provider_that_quotes_the_text_does_not_bring_the_code_into_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    codes = Codes(Failover([("a", Quoting()), ("b", Quoting())]), KEY, Otp(), "Lobby")
    with pytest.raises(SmsError) as caught:
        codes.start(NUMBER)
    assert "event=text_refused provider=b" in caplog.text
    assert not re.findall(r"\d{6}", caplog.text)
    assert not re.findall(r"\d{6}", str(caught.value))
