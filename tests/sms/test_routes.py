"""Routes: which provider is asked, when the next, and what each attempt leaves behind."""

from __future__ import annotations

import logging
import re
from typing import Any, ClassVar

import pytest

from portald.errors import ConfigError, SmsError
from portald.model import Attempt, Order, Outcome, Sent, Text
from portald.sms.breaker import Breaker
from portald.sms.http import Answer
from portald.sms.routes import FINAL, Route, Routes, Way
from tests.conftest import NUMBER, Clock
from tests.sms.test_codes import make as make_codes

FAILURES = [outcome for outcome in Outcome if outcome is not Outcome.ACCEPTED]
ORDER = Order(7, NUMBER)
BRITISH = "+447400123456"


class Provider:
    """Makes codes, or fails as told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.orders: list[Order] = []

    def start(self, order: Order) -> Sent:
        self.orders.append(order)
        if self.error is not None:
            raise self.error
        return Sent(f"reference-{len(self.orders)}", order.policy, "m1")

    def check(self, reference: str, to: str, code: str) -> bool:
        return (reference, to, code) == ("reference-1", NUMBER, "123456")


class Quoting:
    """Refuses, and quotes what it refuses; numbers masked, as is asked of every provider."""

    def send(self, text: Text) -> str:
        raise SmsError(Outcome.TEMPORARY, f"cannot send {text.body!r}")


class Built:
    """Routes over providers, with what they recorded."""

    def __init__(
        self, clock: Clock, *providers: Any, parts: int = 1, routes: list[Route] | None = None
    ) -> None:
        self.recorded: list[Attempt] = []
        routes = routes or [Route(name=name) for name in "abcdef"[: len(providers)]]
        ways = [
            Way(
                route,
                "kind",
                provider,
                provider if hasattr(provider, "start") else make_codes(provider),
                Breaker(clock),
            )
            for route, provider in zip(routes, providers, strict=True)
        ]
        self.routes = Routes(ways, self.recorded.append, lambda order: parts)

    def start(self, order: Order = ORDER) -> str:
        return self.routes.start(order).reference

    def failure(self, order: Order = ORDER) -> SmsError:
        with pytest.raises(SmsError) as caught:
            self.routes.start(order)
        return caught.value


def test_the_first_that_can_does(clock: Clock) -> None:
    first, second = Provider(), Provider()
    built = Built(clock, first, second)
    assert built.start() == "a|reference-1"
    assert (first.orders, second.orders) == ([ORDER], [])
    (attempt,) = built.recorded
    assert (attempt.challenge, attempt.provider, attempt.number, attempt.country) == (7, "a", NUMBER, "US")
    assert (attempt.outcome, attempt.message) == (Outcome.ACCEPTED, "m1")


@pytest.mark.parametrize("outcome", FAILURES)
def test_the_next_is_asked_only_if_no_text_can_have_been_sent(outcome: Outcome, clock: Clock) -> None:
    first, second, third = Provider(SmsError(outcome, "words", 7)), Provider(), Provider()
    built = Built(clock, first, second, third)
    if outcome in FINAL:
        assert built.failure().outcome is outcome
        assert second.orders == []
    else:
        assert built.start() == "b|reference-1"
        assert [a.outcome for a in built.recorded] == [outcome, Outcome.ACCEPTED]
    assert len(first.orders) == 1
    assert third.orders == []


def test_every_outcome_is_decided_on() -> None:
    """A new outcome has to be put on one of the two sides by somebody."""
    assert {*FAILURES} - FINAL == {
        Outcome.REGION_NOT_ALLOWED, Outcome.NO_CREDIT, Outcome.AUTHENTICATION, Outcome.CONFIGURATION,
        Outcome.THROTTLED, Outcome.TEMPORARY,
    }  # fmt: skip


def test_if_none_can_the_last_says_why(clock: Clock) -> None:
    built = Built(
        clock,
        Provider(SmsError(Outcome.NO_CREDIT, "first")),
        Provider(SmsError(Outcome.THROTTLED, "last", 30)),
    )
    failed = built.failure()
    assert (failed.outcome, failed.words, failed.retry_after) == (Outcome.THROTTLED, "last", 30)


def test_every_refusal_is_logged_with_its_provider(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    Built(clock, Provider(SmsError(Outcome.NO_CREDIT, "no money")), Provider()).start()
    assert [record.getMessage() for record in caplog.records] == [
        "event=text_refused provider=a outcome=no_credit words='no money'"
    ]


def test_an_exception_of_another_kind_is_not_a_reason_to_send_again(clock: Clock) -> None:
    second = Provider()
    built = Built(clock, Provider(KeyError("739126")), second)
    failed = built.failure()
    assert (failed.outcome, failed.words) == (Outcome.UNKNOWN, "KeyError")
    assert second.orders == []


def test_a_provider_that_quotes_the_text_does_not_tell_the_code(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    built = Built(clock, Quoting(), Quoting())
    failed = built.failure()
    assert "event=text_refused provider=b" in caplog.text
    for told in (caplog.text, str(failed), repr(built.recorded)):
        assert not re.findall(r"(?<!\d)\d{6}(?!\d)", told.replace(NUMBER, ""))


def test_codes_are_judged_by_whoever_brought_them(clock: Clock) -> None:
    built = Built(clock, Provider(SmsError(Outcome.TEMPORARY, "")), Provider())
    reference = built.start()
    assert built.routes.check(reference, NUMBER, "123456")
    assert not built.routes.check(reference, NUMBER, "123457")
    with pytest.raises(SmsError) as caught:
        built.routes.check("gone|reference-1", NUMBER, "123456")
    assert caught.value.outcome is Outcome.CONFIGURATION


def test_a_text_of_unknown_fate_keeps_its_reference(clock: Clock) -> None:
    class Lost:
        def send(self, text: Text) -> str:
            raise SmsError(Outcome.UNKNOWN, "lost")

    failed = Built(clock, Lost()).failure()
    assert failed.reference is not None
    assert failed.reference.startswith("a|")
    assert len(failed.reference) > 40


# Where they lead ----------------------------------------------------------------------------


def test_routes_by_country_prefix_and_priority(clock: Clock) -> None:
    providers = [Provider() for _ in range(4)]
    built = Built(
        clock, *providers,
        routes=[
            Route(name="rest", priority=5), Route(name="british", only=("GB",)),
            Route(name="mobile", only=("+4477",), priority=-1), Route(name="off", priority=-9, enabled=False),
        ],
    )  # fmt: skip
    used = {to: built.start(Order(1, to)).partition("|")[0] for to in (NUMBER, BRITISH, "+447700900123")}
    assert used == {NUMBER: "rest", BRITISH: "british", "+447700900123": "mobile"}


def test_no_provider_for_a_number(clock: Clock) -> None:
    built = Built(clock, Provider(), routes=[Route(name="a", only=("DE",))])
    assert built.failure().outcome is Outcome.REGION_NOT_ALLOWED


def test_by_carrier_only_if_one_was_chosen(clock: Clock) -> None:
    class ByMail(Provider):
        carriers: ClassVar = {"x": "X"}

    built = Built(clock, ByMail(), Provider())
    assert built.start() == "b|reference-1"
    assert built.start(Order(1, NUMBER, carrier="x")) == "a|reference-1"
    assert built.routes.carriers() == {"x": "X"}


def test_names_are_unique(clock: Clock) -> None:
    with pytest.raises(ConfigError, match="two providers are called 'a'"):
        Built(clock, Provider(), Provider(), routes=[Route(name="a"), Route(name="a")])


@pytest.mark.parametrize(
    "bad", [{"only": ("Germany",)}, {"costs": {"uk": 1.0}}, {"name": "a b"}, {"only": ("+0",)}]
)
def test_a_route_that_leads_nowhere(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Route(**bad)


def test_prices(clock: Clock) -> None:
    cheap = Route(name="cheap", cost=0.01, costs={"GB": 0.05, "+4477": 0.2})
    assert [cheap.price(to) for to in (NUMBER, BRITISH, "+447700900123")] == [10_000, 50_000, 200_000]
    built = Built(clock, Provider(), Provider(), parts=2, routes=[cheap, Route(name="dear", cost=0.03)])
    assert built.routes.price(ORDER) == 60_000, "the dearest that may be asked, for all parts"
    built.start()
    assert [(a.cost, a.parts) for a in built.recorded] == [(20_000, 2)]


# Rest ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [Outcome.AUTHENTICATION, Outcome.CONFIGURATION, Outcome.NO_CREDIT])
def test_what_does_not_pass_by_itself_rests_at_once(outcome: Outcome, clock: Clock) -> None:
    first, second = Provider(SmsError(outcome, "")), Provider()
    built = Built(clock, first, second)
    for _ in range(3):
        built.start()
    assert (len(first.orders), len(second.orders)) == (1, 3)
    assert built.routes.ways[0].breaker.outcome is outcome


def test_a_status_alone_makes_nobody_rest_for_one_number(clock: Clock) -> None:
    """Many gateways answer 400 to a number they do not like: one guest must not close them for all."""
    first = Provider(Answer(400, "no such route", 0).error())
    built = Built(clock, first, Provider())
    built.start()
    assert built.routes.ways[0].breaker.wait() == 0
    for _ in range(3):
        built.start()
    assert len(first.orders) == 3
    assert built.routes.ways[0].breaker.outcome is Outcome.CONFIGURATION


def test_a_provider_that_is_off_sets_no_price(clock: Clock) -> None:
    routes = [Route(name="a", cost=0.05), Route(name="b", cost=5.0, enabled=False)]
    built = Built(clock, Provider(), Provider(), routes=routes)
    assert built.routes.price(ORDER) == 50_000


def test_what_may_pass_rests_after_three_in_a_row(clock: Clock) -> None:
    first = Provider(SmsError(Outcome.TEMPORARY, ""))
    built = Built(clock, first, Provider())
    for _ in range(5):
        built.start()
    assert len(first.orders) == 3


def test_a_number_that_cannot_get_texts_is_no_fault_of_the_provider(clock: Clock) -> None:
    first = Provider(SmsError(Outcome.INVALID_NUMBER, ""))
    built = Built(clock, first, Provider())
    for _ in range(5):
        built.failure()
    assert len(first.orders) == 5


def test_if_all_rest_the_guest_learns_at_once_and_how_long(clock: Clock) -> None:
    built = Built(clock, Provider(SmsError(Outcome.TEMPORARY, "")))
    for _ in range(3):
        built.failure()
    failed = built.failure()
    assert (failed.outcome, failed.retry_after) == (Outcome.TEMPORARY, 15)
    assert len(built.recorded) == 3
    unsure = Built(clock, Provider(SmsError(Outcome.UNKNOWN, "")))
    for _ in range(3):
        unsure.failure()
    assert unsure.failure().outcome is Outcome.TEMPORARY, "this one certainly was not sent"


@pytest.mark.parametrize("outcome", [Outcome.AUTHENTICATION, Outcome.CONFIGURATION, Outcome.NO_CREDIT])
def test_the_only_provider_is_not_closed_by_what_one_number_may_cause(
    outcome: Outcome, clock: Clock
) -> None:
    only = Provider(SmsError(outcome, ""))
    built = Built(clock, only)
    assert [built.failure().outcome for _ in range(3)] == [outcome] * 3
    only.error = None
    assert built.start() == "a|reference-4"
    assert built.routes.ways[0].breaker.outcome is None


def test_throttling_rests_as_long_as_the_provider_says(clock: Clock) -> None:
    first = Provider(SmsError(Outcome.THROTTLED, "", 40))
    built = Built(clock, first, Provider())
    built.start()
    clock.move(39)
    built.start()
    assert len(first.orders) == 1
    clock.move(1)
    built.start()
    assert len(first.orders) == 2


def test_after_a_rest_one_text_is_on_trial(clock: Clock) -> None:
    breaker = Breaker(clock)
    breaker.note(Outcome.NO_CREDIT)
    assert not breaker.admit()
    clock.move(15)
    assert [breaker.admit() for _ in range(3)] == [True, False, False]
    breaker.note(Outcome.NO_CREDIT)
    assert breaker.wait() == 30, "it rests longer each time"
    clock.move(30)
    assert breaker.admit()
    breaker.note(Outcome.ACCEPTED)
    assert all(breaker.admit() for _ in range(3))
    breaker.note(Outcome.NO_CREDIT)
    assert breaker.wait() == 15


def test_a_trial_that_never_ends_does_not_close_the_provider_for_good(clock: Clock) -> None:
    breaker = Breaker(clock)
    breaker.note(Outcome.AUTHENTICATION)
    clock.move(15)
    assert breaker.admit()
    clock.move(60)
    assert breaker.admit()


def test_a_rest_has_an_end(clock: Clock) -> None:
    breaker = Breaker(clock)
    for _ in range(40):
        breaker.note(Outcome.UNKNOWN)
    breaker.note(Outcome.THROTTLED, 1e9)
    assert breaker.wait() == 600
