"""Our own codes: sent once, kept nowhere, judged by the reference alone."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from portald.config import Config, Otp, Zone
from portald.errors import SmsError
from portald.model import Order, Outcome, Policy, Text
from portald.sms.codes import Codes
from portald.texts import Texts
from tests.conftest import KEY, NUMBER, Outbox


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def codes(outbox: Outbox) -> Codes:
    return make(outbox)


def make(sender: Any, key: bytes = KEY, otp: Otp | None = None, name: str = "Lobby") -> Codes:
    zone = Zone(interface="br-guest", networks=(IPv4Network("10.77.0.0/24"),))
    return Codes(sender, key, Texts(Config(name=name, zones=(zone,), otp=otp or Otp())))


def start(codes: Codes, **policy: Any) -> str:
    return codes.start(Order(7, NUMBER, Policy(**policy))).reference


def test_the_code_sent_is_the_code_that_counts(codes: Codes, outbox: Outbox) -> None:
    reference = start(codes)
    assert [to for to, _ in outbox.texts] == [NUMBER]
    code = outbox.code()
    assert codes.check(reference, NUMBER, code)
    assert not codes.check(reference, NUMBER, f"{(int(code) + 1) % 1_000_000:06}")
    assert not codes.check(reference, "+14155552672", code)
    assert not codes.check("", NUMBER, code)


def test_a_reference_is_good_after_a_restart_with_the_same_key_only(codes: Codes, outbox: Outbox) -> None:
    reference = start(codes)
    assert make(outbox).check(reference, NUMBER, outbox.code())
    assert not make(outbox, b"x" * 32).check(reference, NUMBER, outbox.code())


def test_the_reference_does_not_tell_the_code(codes: Codes, outbox: Outbox) -> None:
    references = [start(codes) for _ in range(20)]
    sent = [text[:6] for _, text in outbox.texts]
    assert len(set(sent)) > 15
    assert not any(code in reference for code, reference in zip(sent, references, strict=True))
    assert not any(NUMBER[1:] in reference for reference in references)


@pytest.mark.parametrize("digits", [4, 6, 10])
def test_digits(outbox: Outbox, digits: int) -> None:
    codes = make(outbox, otp=Otp(text="{code}"))
    reference = start(codes, length=digits)
    ((_, code),) = outbox.texts
    assert len(code) == digits
    assert code.isdecimal()
    assert codes.check(reference, NUMBER, code)


def test_the_provider_is_told_all_that_is_known(codes: Codes, outbox: Outbox) -> None:
    order = Order(
        7, NUMBER, Policy(lifetime=90), language="de", ip="10.77.0.9", agent="Phone", carrier="x", sender="Me",
        template="{{pin}}!",
    )  # fmt: skip
    sent = codes.start(order)
    (text,) = outbox.sent
    assert sent.policy == order.policy
    assert sent.message == "id1"
    assert text == Text(
        NUMBER, f"{text.code}!", text.code, 90, "de", "10.77.0.9", "Phone", "x", "Me", reference="7"
    )  # fmt: skip


def test_a_failure_says_what_the_provider_said_but_not_the_code() -> None:
    class Quoting:
        text = ""

        def send(self, text: Text) -> str:
            self.text = text.body
            raise SmsError(Outcome.THROTTLED, f"too fast: {text.body} {text.code}", 9)

    sender = Quoting()
    with pytest.raises(SmsError) as caught:
        start(make(sender))
    error = caught.value
    assert (error.outcome, error.retry_after) == (Outcome.THROTTLED, 9)
    assert error.words.startswith("too fast: … is your Lobby")
    assert sender.text[:6].isdecimal()
    assert sender.text[:6] not in f"{error} {error!r} {error.words} {error.args}"
