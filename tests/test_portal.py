"""The product for a guest and an operator: the whole journey and every way it can go wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from portald.config import Firewall, Limits, Numbers, Otp
from portald.errors import FirewallError, Reason, Refused, SmsError
from portald.model import Challenge, Client, End, Grant, Held, Outcome, Session, State, Text
from portald.phone import mask_all
from portald.plan import read
from portald.store.accounts import Device
from tests.conftest import NUMBER, Clock, Product

OTHER_NUMBER = "+14155552672"


class Broken:
    """A firewall that cannot be reached until it is repaired."""

    def __init__(self, working: Any) -> None:
        self.working = working
        self.broken = True

    def _reach(self) -> None:
        if self.broken:
            raise FirewallError("the helper is gone")

    def setup(self) -> None:
        self._reach()
        self.working.setup()

    def read(self) -> Mapping[int, Held]:
        self._reach()
        held: Mapping[int, Held] = self.working.read()
        return held

    def apply(self, add: Iterable[Grant], remove: Iterable[int]) -> None:
        self._reach()
        self.working.apply(add, remove)

    def lose_rules(self) -> None:
        self.working.lose_rules()


@pytest.fixture
def other(product: Product) -> Client:
    return product.table.join("10.77.0.12", "02:cc:00:00:00:02")


def refusal(call: Callable[[], object]) -> Refused:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value


def wrong(code: str) -> str:
    """Return another code."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"


def pending(product: Product, client: Client) -> Challenge:
    challenge = product.portal.pending(client)
    assert challenge is not None
    return challenge


def broken(product: Product) -> Broken:
    """Put a broken firewall between the product and its own."""
    firewall = Broken(product.firewall)
    product.door._firewall = product.rounds._firewall = firewall
    return firewall


def session(product: Product, number: int) -> Session:
    found = product.store.session(number)
    assert found is not None
    return found


# The journey -------------------------------------------------------------------------------


def test_the_whole_journey(product: Product, phone: Client, clock: Clock) -> None:
    portal = product.portal
    assert portal.who(phone.ip) == phone
    assert portal.zone(phone).name == "guest"
    assert portal.status(phone) is None
    assert portal.pending(phone) is None

    challenge = portal.request_code(phone, "(415) 555-2671")
    assert challenge.number == NUMBER
    ((to, text),) = product.outbox.texts
    assert to == NUMBER
    assert text == f"{product.outbox.code()} is your Lobby Wi-Fi code. It is good for 5 minutes."
    assert pending(product, phone).state is State.SENT
    assert product.inside() == set()

    code = product.outbox.code()
    opened = portal.confirm(phone, f" {code[:3]}-{code[3:]} ")
    assert (opened.id, opened.account.number, opened.mac) == (256, NUMBER, phone.mac)
    assert (opened.account.group, opened.plan) == ("SMS", "unlimited")
    (held,) = product.firewall.read().values()
    assert (held.session, held.mac, held.addresses) == (256, phone.mac, {phone.ip})
    assert held.seconds == product.config.firewall.longest
    status = portal.status(phone)
    assert status is not None
    assert status.granted_at == clock()
    assert portal.time_left(status) is None
    assert portal.pending(phone) is None
    assert portal.sessions() == [status]

    clock.move(60)
    portal.leave(phone)
    assert product.inside() == set()
    assert portal.status(phone) is None
    (ended,) = portal.ended()
    assert (ended.id, ended.end, ended.ended_at) == (256, End.LEFT, clock())
    portal.leave(phone)
    assert len(portal.ended()) == 1


def test_a_stranger_is_unknown(product: Product) -> None:
    assert refusal(lambda: product.portal.who("10.77.0.99")).reason is Reason.CLIENT_UNKNOWN


def test_who_opened_the_connection_must_be_who_has_the_address(
    product: Product, phone: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The neighbour table can be lied to; the first frame of the connection was what it was."""
    assert product.portal.who(phone.ip, phone.mac) == phone
    other = refusal(lambda: product.portal.who(phone.ip, "02:cc:00:00:00:66"))
    assert other.reason is Reason.CLIENT_UNKNOWN
    assert "event=mac_conflict" in caplog.text


def test_an_ipv6_guest_is_granted_and_looked_at_again(product: Product) -> None:
    woken: list[bool] = []
    product.door._wake = lambda: woken.append(True)
    opened = product.log_in(product.table.join("fe80::1", "02:cc:00:00:00:01"))
    assert opened.addresses == frozenset()
    assert product.firewall.read()[opened.id].addresses == frozenset()
    assert woken == [True]


def test_time_left(product: Product, phone: Client, clock: Clock) -> None:
    product.store.connection.execute('UPDATE plans SET terms = \'{"session": "2m"}\'')
    opened = product.log_in(phone)
    clock.move(50)
    assert product.portal.time_left(opened) == 70
    clock.move(100)
    assert product.portal.time_left(opened) == 0


def test_logging_in_again_replaces_the_session(product: Product, phone: Client, clock: Clock) -> None:
    first = product.log_in(phone)
    clock.move(61)
    second = product.log_in(phone, OTHER_NUMBER)
    assert product.inside() == {second.id}
    assert session(product, first.id).end is End.REPLACED


def test_two_devices_of_one_number(product: Product, phone: Client, other: Client, clock: Clock) -> None:
    first = product.log_in(phone)
    clock.move(61)
    second = product.log_in(other)
    assert first.account.id == second.account.id
    assert product.firewall.read().keys() == {first.id, second.id}


def test_revoke(product: Product, phone: Client) -> None:
    opened = product.log_in(phone)
    assert product.portal.revoke(opened.id)
    assert product.inside() == set()
    assert not product.portal.revoke(opened.id)
    assert not product.portal.revoke(4711)
    assert session(product, opened.id).end is End.REVOKED


def test_restart_forgets_the_number(product: Product, phone: Client) -> None:
    product.portal.request_code(phone, NUMBER)
    code = product.outbox.code()
    product.portal.restart(phone)
    assert product.portal.pending(phone) is None
    assert refusal(lambda: product.portal.confirm(phone, code)).reason is Reason.NO_CHALLENGE
    # A mistyped number may be corrected at once.
    product.portal.request_code(phone, OTHER_NUMBER)
    assert product.outbox.texts[-1][0] == OTHER_NUMBER


# Codes -------------------------------------------------------------------------------------


def test_a_wrong_code_and_then_the_right_one(product: Product, phone: Client) -> None:
    product.portal.request_code(phone, NUMBER)
    code = product.outbox.code()
    assert refusal(lambda: product.portal.confirm(phone, wrong(code))).reason is Reason.CODE_WRONG
    assert product.inside() == set()
    assert product.portal.confirm(phone, code).mac == phone.mac


@pytest.mark.parametrize("typed", ["", "12345", "1234567", "abcdef", "1" * 5000])
def test_what_cannot_be_a_code_costs_no_guess(product: Product, phone: Client, typed: str) -> None:
    product.portal.request_code(phone, NUMBER)
    for _ in range(20):
        assert refusal(lambda: product.portal.confirm(phone, typed)).reason is Reason.CODE_INCOMPLETE
    assert pending(product, phone).attempts == 0
    assert product.portal.confirm(phone, product.outbox.code())


def test_an_old_code(product: Product, phone: Client, clock: Clock) -> None:
    product.portal.request_code(phone, NUMBER)
    clock.move(product.config.otp.lifetime)
    refused = refusal(lambda: product.portal.confirm(phone, product.outbox.code()))
    assert refused.reason is Reason.CODE_EXPIRED


def test_a_code_is_good_for_its_time_from_when_it_was_sent(
    product: Product, phone: Client, clock: Clock
) -> None:
    product.paused = True
    product.portal.request_code(phone, NUMBER)
    clock.move(100)
    product.send_waiting()
    clock.move(product.config.otp.lifetime - 1)
    assert product.portal.confirm(phone, product.outbox.code())


def test_a_used_code(product: Product, phone: Client) -> None:
    product.log_in(phone)
    code = product.outbox.code()
    assert refusal(lambda: product.portal.confirm(phone, code)).reason is Reason.NO_CHALLENGE
    product.portal.leave(phone)
    assert refusal(lambda: product.portal.confirm(phone, code)).reason is Reason.NO_CHALLENGE


def test_the_code_of_another_client(product: Product, phone: Client, other: Client) -> None:
    product.portal.request_code(phone, NUMBER)
    code = product.outbox.code()
    assert refusal(lambda: product.portal.confirm(other, code)).reason is Reason.NO_CHALLENGE
    product.portal.request_code(other, OTHER_NUMBER)
    if code != product.outbox.code():
        assert refusal(lambda: product.portal.confirm(other, code)).reason is Reason.CODE_WRONG
    assert product.portal.confirm(phone, code).account.number == NUMBER


def test_the_code_of_a_replaced_challenge(product: Product, phone: Client, clock: Clock) -> None:
    product.portal.request_code(phone, NUMBER)
    old = product.outbox.code()
    new = old
    while new == old:
        clock.move(601)
        product.portal.request_code(phone, NUMBER)
        new = product.outbox.code()
    assert refusal(lambda: product.portal.confirm(phone, old)).reason is Reason.CODE_WRONG
    assert product.portal.confirm(phone, new)


def test_a_code_before_its_text_is_sent(product: Product, phone: Client) -> None:
    product.paused = True
    product.portal.request_code(phone, NUMBER)
    assert pending(product, phone).state is State.WAITING
    assert refusal(lambda: product.portal.confirm(phone, "123456")).reason is Reason.NO_CHALLENGE


def test_a_text_that_was_replaced_while_waiting_stays_dead(
    product: Product, phone: Client, clock: Clock
) -> None:
    product.paused = True
    product.portal.request_code(phone, NUMBER)
    product.portal.request_code(phone, OTHER_NUMBER)
    product.send_waiting()
    codes = {to: text[:6] for to, text in product.outbox.texts}
    challenge = pending(product, phone)
    assert challenge.number == OTHER_NUMBER
    if NUMBER in codes and codes[NUMBER] != codes[OTHER_NUMBER]:
        refused = refusal(lambda: product.portal.confirm(phone, codes[NUMBER]))
        assert refused.reason is Reason.CODE_WRONG
    assert product.portal.confirm(phone, codes[OTHER_NUMBER]).account.number == OTHER_NUMBER


def test_guesses_at_one_code_end(product: Product, phone: Client) -> None:
    product.portal.request_code(phone, NUMBER)
    code = product.outbox.code()
    reasons = [refusal(lambda: product.portal.confirm(phone, wrong(code))).reason for _ in range(6)]
    assert reasons == [Reason.CODE_WRONG] * 4 + [Reason.TOO_MANY_GUESSES] * 2
    assert refusal(lambda: product.portal.confirm(phone, code)).reason is Reason.TOO_MANY_GUESSES


def test_guesses_at_a_number_are_not_renewed_by_new_codes_or_other_devices(
    make_product: Callable[..., Product], clock: Clock
) -> None:
    product = make_product(limits=Limits(guesses_per_number=7, guesses_per_client=100))
    first = product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    second = product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    taken = 0
    for client in (first, second, first):
        product.portal.request_code(client, NUMBER)
        for _ in range(3):
            refused = refusal(lambda: product.portal.confirm(client, wrong(product.outbox.code())))  # noqa: B023
            taken += refused.reason is Reason.CODE_WRONG
        clock.move(121)
    assert taken == 7
    refused = refusal(lambda: product.portal.confirm(first, product.outbox.code()))
    assert refused.reason is Reason.GUESSES_USED_UP
    assert refused.retry_after == 3600 - 3 * 121
    clock.move(3600)
    assert product.log_in(first).account.number == NUMBER


def test_guesses_of_a_device_are_not_renewed_by_other_numbers(
    make_product: Callable[..., Product],
) -> None:
    product = make_product(limits=Limits(guesses_per_client=4))
    client = product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    reasons = []
    for number in (NUMBER, OTHER_NUMBER):
        product.portal.request_code(client, number)
        for _ in range(3):
            refused = refusal(lambda: product.portal.confirm(client, wrong(product.outbox.code())))
            reasons.append(refused.reason)
    assert reasons == [Reason.CODE_WRONG] * 4 + [Reason.GUESSES_USED_UP] * 2


# Asking for texts --------------------------------------------------------------------------


def test_a_number_that_is_refused_costs_nothing(make_product: Callable[..., Product]) -> None:
    product = make_product(numbers=Numbers(allowed=("US",)))
    client = product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    for _ in range(20):
        refused = refusal(lambda: product.portal.request_code(client, "+18762101234"))
        assert refused.reason is Reason.COUNTRY_CLOSED
    assert product.outbox.texts == []
    assert product.portal.request_code(client, NUMBER)


def test_a_pause_between_two_texts_to_a_number(
    product: Product, phone: Client, other: Client, clock: Clock
) -> None:
    challenge = product.portal.request_code(phone, NUMBER)
    code = product.outbox.code()
    clock.move(20)
    assert product.portal.resend_in(challenge) == 40
    for ask in (
        lambda: product.portal.resend(phone),
        lambda: product.portal.request_code(phone, NUMBER),
        lambda: product.portal.request_code(other, NUMBER),
    ):
        refused = refusal(ask)
        assert (refused.reason, refused.retry_after) == (Reason.TOO_SOON, 40)
    assert len(product.outbox.texts) == 1
    clock.move(40)
    assert product.portal.resend_in(challenge) == 0
    # The refusals have not cost the guest the code.
    assert product.portal.confirm(phone, code)


def test_resend_sends_a_new_code_to_the_same_number(product: Product, phone: Client, clock: Clock) -> None:
    first = product.portal.request_code(phone, NUMBER)
    clock.move(61)
    second = product.portal.resend(phone)
    assert second.id != first.id
    assert [to for to, _ in product.outbox.texts] == [NUMBER, NUMBER]
    assert product.portal.confirm(phone, product.outbox.code())


def test_resend_without_a_challenge(product: Product, phone: Client) -> None:
    assert refusal(lambda: product.portal.resend(phone)).reason is Reason.NO_CHALLENGE


def test_texts_to_a_number_are_counted_over_devices(product: Product, clock: Clock) -> None:
    reasons = []
    for i in range(7):
        client = product.table.join(f"10.77.0.{20 + i}", f"02:cc:00:00:01:{i:02}")
        try:
            product.portal.request_code(client, NUMBER)
        except Refused as refused:
            reasons.append(refused.reason)
        clock.move(1000)
    assert len(product.outbox.texts) == product.config.limits.texts_per_number == 5
    assert reasons == [Reason.TOO_MANY_TEXTS] * 2


def test_a_device_cannot_text_many_numbers_at_once(product: Product, phone: Client) -> None:
    for i in range(3):
        product.portal.request_code(phone, f"+1415555267{i}")
    refused = refusal(lambda: product.portal.request_code(phone, "+14155552675"))
    assert (refused.reason, refused.retry_after) == (Reason.SEVERAL_TEXTS, 600)


def test_the_operators_bill_has_an_end(make_product: Callable[..., Product]) -> None:
    product = make_product(limits=Limits(texts=2))
    for i in range(3):
        client = product.table.join(f"10.77.0.{20 + i}", f"02:cc:00:00:01:{i:02}")
        if i < 2:
            product.portal.request_code(client, f"+1415555267{i}")
    refused = refusal(lambda: product.portal.request_code(client, "+14155552675"))
    assert refused.reason is Reason.BUSY
    assert len(product.outbox.texts) == 2


def test_no_room_for_another_text(product: Product, phone: Client) -> None:
    later, product.exchange._later = product.exchange._later, lambda job: False
    refused = refusal(lambda: product.portal.request_code(phone, NUMBER))
    assert (refused.reason, refused.retry_after) == (Reason.BUSY, 5)
    failed = pending(product, phone)
    assert (failed.state, failed.outcome) == (State.FAILED, Outcome.TEMPORARY)
    product.exchange._later = later
    # It was certainly not sent: no pause.
    product.portal.request_code(phone, NUMBER)
    assert pending(product, phone).state is State.SENT


# Texts that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [o for o in Outcome if o not in (Outcome.ACCEPTED, Outcome.UNKNOWN)])
def test_a_text_that_was_not_sent_forgives_the_pause(
    product: Product, phone: Client, outcome: Outcome
) -> None:
    product.outbox.error = SmsError(outcome, "words of the provider")
    challenge = product.portal.request_code(phone, NUMBER)
    failed = pending(product, phone)
    assert (failed.state, failed.outcome, failed.words) == (State.FAILED, outcome, "words of the provider")
    assert product.portal.resend_in(challenge) == 0
    product.outbox.error = None
    product.clock.move(20)  # what the provider may have to rest
    product.portal.resend(phone)
    assert product.portal.confirm(phone, product.outbox.code())


@pytest.mark.parametrize(
    "error", [SmsError(Outcome.UNKNOWN, "no answer"), ValueError("?"), KeyError("sid")]
)
def test_a_text_that_may_have_been_sent_can_be_answered(
    product: Product, phone: Client, error: Exception
) -> None:
    """It may arrive after all: the code must be good then, and nobody sends another unasked."""
    codes: list[str] = []
    send = product.outbox.send

    def lost(text: Text) -> str:
        codes.append(text.code)
        raise error

    product.outbox.send = lost  # type: ignore[method-assign]
    challenge = product.portal.request_code(phone, NUMBER)
    unsure = pending(product, phone)
    assert (unsure.state, unsure.outcome) == (State.SENT, Outcome.UNKNOWN)
    assert unsure.words
    assert product.portal.resend_in(challenge) == 60
    assert refusal(lambda: product.portal.resend(phone)).reason is Reason.TOO_SOON
    assert len(codes) == 1
    assert product.portal.confirm(phone, codes[0]).mac == phone.mac
    product.outbox.send = send  # type: ignore[method-assign]


def test_an_outage_costs_nobody_a_text(make_product: Callable[..., Product], phone: Client) -> None:
    """What was certainly not sent is not paid for; the device's own tries stay counted."""
    product = make_product(limits=Limits(texts=3, texts_per_number=3, texts_per_client_burst=5))
    client = product.table.join(phone.ip, phone.mac)
    product.outbox.error = SmsError(Outcome.TEMPORARY, "later")
    for _ in range(5):
        product.portal.request_code(client, NUMBER)
    assert refusal(lambda: product.portal.request_code(client, NUMBER)).reason is Reason.SEVERAL_TEXTS
    product.outbox.error = None
    product.clock.move(120)  # the provider rests, longer each time
    other = product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    assert product.log_in(other).account.number == NUMBER


# The firewall ------------------------------------------------------------------------------


def test_a_grant_that_fails_is_repaired_by_the_next_round(
    product: Product, phone: Client, clock: Clock
) -> None:
    firewall = broken(product)
    opened = product.log_in(phone)
    assert session(product, opened.id).granted_at is None
    assert product.portal.status(phone) == session(product, opened.id)
    assert not product.rounds.round()
    clock.move(5)
    firewall.broken = False
    assert product.rounds.round()
    assert product.firewall.read().keys() == {opened.id}
    assert session(product, opened.id).granted_at == clock()


def test_a_revocation_that_fails_is_completed_by_the_next_round(product: Product, phone: Client) -> None:
    woken: list[bool] = []
    product.door._wake = lambda: woken.append(True)
    opened = product.log_in(phone)
    firewall = broken(product)
    assert product.portal.revoke(opened.id)
    assert session(product, opened.id).end is End.REVOKED
    assert product.firewall.read().keys() == {opened.id}
    assert woken == [True]
    firewall.broken = False
    assert product.rounds.round()
    assert product.inside() == set()


def test_a_group_that_is_closed(product: Product, phone: Client) -> None:
    product.portal.request_code(phone, NUMBER)
    product.store.connection.execute("DELETE FROM groups")
    refused = refusal(lambda: product.portal.confirm(phone, product.outbox.code()))
    assert refused.reason is Reason.GROUP_CLOSED
    assert product.inside() == set()
    product.store.connection.execute("INSERT INTO groups (name, plan) VALUES ('SMS', 'unlimited')")
    assert product.portal.confirm(phone, product.outbox.code())


def test_no_text_is_paid_for_whom_its_code_would_not_let_in(product: Product, phone: Client) -> None:
    closed = read("café", {"hours": "Mo 00:00-00:01"})
    product.store.set_plan(closed)
    product.store.set_group("SMS", "café", "")
    refused = refusal(lambda: product.portal.request_code(phone, NUMBER))
    assert refused.reason is Reason.CLOSED
    assert refused.retry_after > 0
    product.store.set_group("SMS", "unlimited", "")
    product.store.set_device(Device(phone.mac, "blocked", None, "", "", 0.0))
    assert refusal(lambda: product.portal.request_code(phone, NUMBER)).reason is Reason.BLOCKED
    assert product.outbox.texts == []
    product.store.delete_device(phone.mac)
    assert product.portal.request_code(phone, NUMBER), "it cost nothing of what may be asked for"


# Logs --------------------------------------------------------------------------------------


class Telling:
    """A sender that notes the codes it was given and quotes all it knows when it fails."""

    def __init__(self, product: Product) -> None:
        self._outbox = product.outbox
        self.codes: set[str] = set()
        self.failure: Callable[[str, str], Exception] | None = None

    def send(self, text: Text) -> str:
        self.codes.add(text.code)
        if self.failure is not None:
            raise self.failure(text.to, text.body)
        return self._outbox.send(text)


FAILURES: dict[str, Callable[[str, str], Exception]] = {
    "refused": lambda to, text: SmsError(Outcome.INVALID_NUMBER, mask_all(f"no {text!r} to {to}")),
    "fate unknown": lambda to, text: SmsError(Outcome.UNKNOWN, f"lost {text}"),
    "some exception": lambda to, text: ValueError(f"cannot send {text!r} to {to}"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_no_log_line_has_a_code_or_a_number(
    product: Product, phone: Client, clock: Clock, caplog: pytest.LogCaptureFixture, failure: str
) -> None:
    caplog.set_level(logging.DEBUG)
    sender = Telling(product)
    (way,) = product.routes.ways
    way.verifier._sender = sender  # type: ignore[attr-defined]
    portal = product.portal

    sender.failure = FAILURES[failure]
    portal.request_code(phone, NUMBER)
    clock.move(61)
    sender.failure = None
    portal.resend(phone)
    code = product.outbox.code()
    refusal(lambda: portal.confirm(phone, wrong(code)))
    firewall = broken(product)
    opened = portal.confirm(phone, code)
    product.rounds.round()
    firewall.broken = False
    product.rounds.round()
    firewall.broken = True
    portal.revoke(opened.id)
    refusal(lambda: portal.confirm(phone, code))

    for event in (
        "text_failed",
        "text_sent",
        "session_opened",
        "grant_failed",
        "round_failed",
        "kernel_changed",
    ):
        assert f"event={event}" in caplog.text
    assert "event=revoke_failed" in caplog.text
    assert "event=session_ended" in caplog.text
    # As the journal gets it: ``set_up_logs`` scrubs every line, tracebacks too.
    log = mask_all(caplog.text)
    assert not [known for known in sender.codes if known in log]
    assert NUMBER not in log
    assert NUMBER[1:] not in log
    # And what the operator sees of a failed text.
    shown = repr(portal.challenges())
    assert not [known for known in sender.codes if known in shown]


def test_log_lines_mask_numbers_by_themselves(
    product: Product, phone: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """Without help from the scrubber, wherever the number is portald's own to write."""
    caplog.set_level(logging.DEBUG)
    product.outbox.error = SmsError(Outcome.TEMPORARY, "later")
    product.portal.request_code(phone, NUMBER)
    product.outbox.error = RuntimeError("broken")
    product.portal.request_code(phone, NUMBER)
    product.outbox.error = None
    product.clock.move(61)
    product.log_in(phone)
    assert "number=+14…71" in caplog.text
    assert NUMBER not in caplog.text


def test_a_code_of_the_configured_length(make_product: Callable[..., Product]) -> None:
    product = make_product(otp=replace(Otp(), length=9), firewall=Firewall(longest=60))
    client = product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    product.portal.request_code(client, NUMBER)
    code = product.outbox.texts[-1][1][:9]
    assert code.isdecimal()
    assert refusal(lambda: product.portal.confirm(client, code[:6])).reason is Reason.CODE_INCOMPLETE
    opened = product.portal.confirm(client, code)
    assert product.firewall.read()[opened.id].seconds == 60


def test_busy_costs_the_guest_nothing(product: Product, phone: Client) -> None:
    product.exchange._later = lambda job: False
    for _ in range(20):
        assert refusal(lambda: product.portal.request_code(phone, NUMBER)).retry_after == 5
    product.exchange._later = lambda job: job() is None
    assert product.portal.request_code(phone, NUMBER)
