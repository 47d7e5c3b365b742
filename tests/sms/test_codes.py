"""Our own codes: sent once, kept nowhere, judged by the reference alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portald.config import Otp
from portald.errors import SmsError
from portald.model import Outcome
from portald.sms.codes import Codes
from tests.conftest import KEY, NUMBER, Outbox


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def codes(outbox: Outbox) -> Codes:
    return Codes(outbox, KEY, Otp(), "Lobby")


def test_the_code_sent_is_the_code_that_counts(codes: Codes, outbox: Outbox) -> None:
    reference = codes.start(NUMBER)
    assert [to for to, _ in outbox.texts] == [NUMBER]
    code = outbox.code()
    assert codes.check(reference, NUMBER, code)
    assert not codes.check(reference, NUMBER, f"{(int(code) + 1) % 1_000_000:06}")
    assert not codes.check(reference, "+14155552672", code)
    assert not codes.check("", NUMBER, code)


def test_a_reference_is_good_after_a_restart_with_the_same_key_only(codes: Codes, outbox: Outbox) -> None:
    reference = codes.start(NUMBER)
    assert Codes(outbox, KEY, Otp(), "Lobby").check(reference, NUMBER, outbox.code())
    assert not Codes(outbox, b"x" * 32, Otp(), "Lobby").check(reference, NUMBER, outbox.code())


def test_the_reference_does_not_tell_the_code(codes: Codes, outbox: Outbox) -> None:
    references = [codes.start(NUMBER) for _ in range(20)]
    sent = [text[:6] for _, text in outbox.texts]
    assert len(set(sent)) > 15
    assert not any(code in reference for code, reference in zip(sent, references, strict=True))
    assert not any(NUMBER[1:] in reference for reference in references)


@pytest.mark.parametrize("digits", [4, 6, 10])
def test_digits(outbox: Outbox, digits: int) -> None:
    settings = Otp(digits=digits, text="{code}")
    reference = Codes(outbox, KEY, settings, "Lobby").start(NUMBER)
    ((_, code),) = outbox.texts
    assert len(code) == digits
    assert code.isdecimal()
    assert Codes(outbox, KEY, settings, "Lobby").check(reference, NUMBER, code)


@pytest.mark.parametrize(("lifetime", "minutes"), [(60, 1), (119, 1), (300, 5), (1800, 30)])
def test_the_text(outbox: Outbox, lifetime: int, minutes: int) -> None:
    settings = replace(Otp(), lifetime=lifetime, text="{name}: {code} ({minutes} min)")
    text = Codes(outbox, KEY, settings, "Café {code}").text("0123")
    assert text == f"Café {{code}}: 0123 ({minutes} min)"


def test_the_text_of_the_default_settings_fits_one_sms(codes: Codes) -> None:
    text = codes.text("123456")
    assert text == "123456 is your Lobby Wi-Fi code. It is good for 5 minutes."
    assert text.isascii()
    assert len(text) <= 160


def test_a_failure_says_what_the_provider_said_but_not_the_code() -> None:
    class Quoting:
        text = ""

        def send(self, to: str, text: str) -> str:
            self.text = text
            raise SmsError(Outcome.THROTTLED, f"too fast: {text} {text[:6]}", 9)

    sender = Quoting()
    with pytest.raises(SmsError) as caught:
        Codes(sender, KEY, Otp(), "Lobby").start(NUMBER)
    error = caught.value
    assert (error.outcome, error.retry_after) == (Outcome.THROTTLED, 9)
    assert error.words.startswith("too fast: … is your Lobby")
    assert sender.text[:6].isdecimal()
    assert sender.text[:6] not in f"{error} {error!r} {error.words} {error.args}"
