"""Money and abuse: limits in force, places that close, alarms; and that races pass none of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from portald.config import Application, Limits, Numbers
from portald.errors import ConfigError, Reason, Refused, SmsError
from portald.limits import DAY
from portald.model import Attempt, Client, Conversion, Outcome
from portald.schema import Secret
from portald.sms.breaker import Breaker
from portald.sms.codes import Codes
from portald.sms.routes import Route, Way
from portald.texts import Texts
from tests.conftest import KEY, NUMBER, Outbox, Product

GB = "+447400123456"
JAMAICA = "+18765550123"
Make = Callable[..., Product]


def priced(product_config: Any, clock: Any, outbox: Outbox, **route: Any) -> Way:
    return Way(Route(**route), "outbox", outbox, Codes(outbox, KEY, Texts(product_config)), Breaker(clock))


def ask(product: Product, number: str, device: int = 1) -> Any:
    client = product.table.join(f"10.77.0.{device}", f"02:cc:00:00:00:{device:02x}")
    return product.portal.request_code(client, number)


def reason(call: Callable[[], Any]) -> Reason:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.reason


def texts(product: Product, number: str, count: int, verified: int = 0, country: str = "US") -> None:
    """Put texts into the log as if they had been sent, the numbers differing in their last digits."""
    for i in range(count):
        to = f"{number[:-4]}{i:04}"
        attempt = Attempt(10_000 + i, "outbox", to, country, Outcome.ACCEPTED)
        product.store.add_attempt(attempt, product.clock())
        if i < verified:
            product.store.connection.execute("UPDATE texts SET verified_at = 1 WHERE number = ?", (to,))


# Limits ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "numbers", "expected"),
    [
        ({"texts_per_prefix": 2}, ["+14155552671", "+14155552672", "+14155552673"], Reason.BUSY),
        ({"texts_per_zone": 2}, ["+14155552671", "+14165552672", "+14175552673"], Reason.BUSY),
        ({"texts_per_country": 2}, [GB, "+447400223456", "+447400323456"], Reason.COUNTRY_BUSY),
        ({"texts": 2}, ["+14155552671", "+14165552672", "+14175552673"], Reason.BUSY),
        ({"texts_per_hour": 2}, ["+14155552671", "+14165552672", "+14175552673"], Reason.BUSY),
    ],
)
def test_limits(make_product: Make, limits: dict[str, int], numbers: list[str], expected: Reason) -> None:
    product = make_product(limits=Limits(**limits))
    for device, number in enumerate(numbers[:-1], start=1):
        ask(product, number, device)
    assert reason(lambda: ask(product, numbers[-1], 9)) is expected
    assert len(product.outbox.texts) == len(numbers) - 1


def test_the_limit_of_a_country_is_not_for_ones_own(make_product: Make) -> None:
    product = make_product(limits=Limits(texts_per_country=1))
    for device, number in enumerate(["+14155552671", "+14165552672"], start=1):
        ask(product, number, device)
    ask(product, JAMAICA, 5)
    assert reason(lambda: ask(product, "+18765560124", 6)) is Reason.COUNTRY_BUSY


def test_sixty_at_once_get_exactly_what_the_money_is_for(
    make_product: Make, config: Any, clock: Any
) -> None:
    outbox = Outbox()
    product = make_product(
        ways=[priced(config, clock, outbox, cost=0.1)], limits=Limits(money=0.75, texts_per_prefix=100)
    )
    clients = [product.table.join(f"10.77.0.{i}", f"02:cc:00:00:00:{i:02x}") for i in range(1, 61)]
    product.paused = True
    sent, refused = [], []
    barrier = threading.Barrier(60)

    def run(client: Client, number: str) -> None:
        barrier.wait()
        try:
            sent.append(product.portal.request_code(client, number))
        except Refused as error:
            refused.append(error.reason)

    threads = [
        threading.Thread(target=run, args=(client, f"+1415555{i:04}"))
        for i, client in enumerate(clients, start=2000)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(sent), refused) == (7, [Reason.BUSY] * 53)
    product.send_waiting()
    assert len(outbox.texts) == 7
    assert product.purse.budget()["money"] == pytest.approx(0.7)


def test_what_was_set_aside_and_not_spent_is_given_back(
    make_product: Make, config: Any, clock: Any
) -> None:
    cheap, dear = Outbox(), Outbox()
    ways = [
        priced(config, clock, cheap, name="cheap", cost=0.01),
        priced(config, clock, dear, name="dear", cost=0.5),
    ]
    product = make_product(ways=ways, limits=Limits(money=1.0))
    ask(product, NUMBER)
    assert product.purse.budget()["money"] == pytest.approx(0.01)
    cheap.error = SmsError(Outcome.NO_CREDIT, "")
    ask(product, "+14155552672")
    assert product.purse.budget()["money"] == pytest.approx(0.51)
    dear.error = SmsError(Outcome.INVALID_NUMBER, "")
    assert reason(lambda: ask(product, "+14155552673")) is Reason.BUSY, "0.5 more would be too much"


def test_what_may_have_been_sent_may_have_cost(make_product: Make, config: Any, clock: Any) -> None:
    lost = Outbox(error=SmsError(Outcome.UNKNOWN, "lost"))
    product = make_product(ways=[priced(config, clock, lost, cost=0.5)], limits=Limits(money=1.0))
    ask(product, NUMBER)
    assert product.purse.budget()["money"] == 0.5


def test_a_limit_changed_in_running(product: Product) -> None:
    product.purse.set_limit("texts", "1")
    ask(product, NUMBER)
    assert reason(lambda: ask(product, "+14165552672", 2)) is Reason.BUSY
    product.purse.set_limit("texts", None)
    ask(product, "+14165552672", 2)
    product.purse.set_limit("money", "2.5")
    assert product.purse.limits().money == 2.5


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("text", "5", "no such limit; known: texts_per_number"), ("guesses_free", "x", "no such limit"),
        ("texts", "many", "expected a number"), ("texts", "1.5", "expected a number"), ("texts", "0", "from 1"),
        ("money", "-1", "from 0"), ("money", "nan", "from 0"), ("conversion", "91", "from 0 to 90"),
    ],
)  # fmt: skip
def test_a_limit_that_cannot_be(product: Product, name: str, value: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        product.purse.set_limit(name, value)
    assert product.store.limits() == {}


# Places that close ---------------------------------------------------------------------------------


def test_a_country_whose_codes_do_not_come_back_closes(product: Product) -> None:
    texts(product, JAMAICA, 20, verified=3, country="JM")
    ask(product, JAMAICA)  # their guests may still be typing
    product.clock.move(product.config.otp.lifetime + 1)
    assert reason(lambda: ask(product, "+18765560124", 2)) is Reason.COUNTRY_CLOSED
    assert product.purse.closed()[0] == {"place": "JM", "why": "its codes do not come back"}
    ask(product, GB, 3)
    product.clock.move(DAY)
    ask(product, "+18765560124", 4)


@pytest.mark.parametrize(("count", "verified"), [(19, 0), (20, 4), (100, 20)])
def test_a_country_that_stays_open(product: Product, count: int, verified: int) -> None:
    texts(product, JAMAICA, count, verified, country="JM")
    product.clock.move(product.config.otp.lifetime + 1)
    ask(product, "+18765560124")
    assert [row["place"] for row in product.purse.closed() if row["place"] == "JM"] == []


def test_a_place_that_shares_ones_own_numbers_is_not_said_to_be_closed(make_product: Make) -> None:
    product = make_product(numbers=Numbers(country="GB"))
    texts(product, "+447781123456", 40, country="GG")
    product.clock.move(400)
    assert [row["place"] for row in product.purse.closed()] == ["+44778112"]


def test_what_could_not_be_written_down_may_have_cost(make_product: Make, config: Any, clock: Any) -> None:
    outbox = Outbox()
    way = priced(config, clock, outbox, cost=0.1)
    product = make_product(ways=[way], limits=Limits(money=1.0))

    def full(attempt: Attempt) -> None:
        raise OSError("no space left")

    product.routes._record = full
    ask(product, NUMBER)
    assert len(outbox.texts) == 1
    assert product.store.used(clock())["money"] == 100_000


def test_programs_codes_have_their_whole_time_before_they_are_judged(make_product: Make) -> None:
    product = make_product(applications=(Application(id="booking", secret=Secret("s" * 16)),))
    texts(product, JAMAICA, 20, country="JM")
    product.clock.move(1799)
    ask(product, JAMAICA)
    product.clock.move(2)
    assert reason(lambda: ask(product, "+18765560124", 2)) is Reason.COUNTRY_CLOSED


def test_ones_own_country_is_only_told_about(product: Product) -> None:
    """Or a stranger could close the portal for everybody, by texts that nobody answers."""
    for block in range(4):
        texts(product, f"+1415{block}550000", 6)
    product.clock.move(product.config.otp.lifetime + 1)
    ask(product, NUMBER)
    assert "few codes come back from US" in " ".join(alarm.text for alarm in product.purse.alarms())


def test_a_prefix_closes_at_home_too(product: Product) -> None:
    texts(product, NUMBER, 20)
    product.clock.move(product.config.otp.lifetime + 1)
    assert reason(lambda: ask(product, NUMBER)) is Reason.COUNTRY_CLOSED
    ask(product, "+14155562671", 2)


def test_never_closed_if_the_operator_says_so(make_product: Make) -> None:
    product = make_product(limits=Limits(conversion=0))
    texts(product, JAMAICA, 50, country="JM")
    product.clock.move(product.config.otp.lifetime + 1)
    ask(product, JAMAICA)


def test_opened_by_hand_it_is_judged_afresh(product: Product) -> None:
    texts(product, JAMAICA, 30, country="JM")
    product.clock.move(product.config.otp.lifetime + 1)
    for place in ("JM", JAMAICA[:-4]):
        product.purse.set_gate(place, closed=False)
    ask(product, JAMAICA)
    texts(product, JAMAICA, 30, country="JM")
    product.clock.move(product.config.otp.lifetime + 1)
    assert reason(lambda: ask(product, JAMAICA, 2)) is Reason.COUNTRY_CLOSED


def test_closed_by_hand(product: Product) -> None:
    product.purse.set_gate("GB", closed=True)
    product.purse.set_gate("+1415", closed=True)
    assert reason(lambda: ask(product, GB)) is Reason.COUNTRY_CLOSED
    assert reason(lambda: ask(product, NUMBER)) is Reason.COUNTRY_CLOSED
    ask(product, "+14165552671")
    product.purse.set_gate("GB", closed=False)
    ask(product, GB, 2)
    assert product.purse.closed() == [{"place": "+1415", "why": "by hand"}]
    with pytest.raises(ConfigError, match="did you mean 'GB'"):
        product.purse.set_gate("gb", closed=True)


def test_the_code_that_came_back_counts(product: Product) -> None:
    client = product.table.join("10.77.0.1", "02:cc:00:00:00:01")
    product.log_in(client)
    assert dict(product.purse.conversions("country")) == {"US": Conversion(1, 1)}
    assert dict(product.purse.conversions("provider")) == {"outbox": Conversion(1, 1)}


# Alarms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "cure"),
    [
        (Outcome.NO_CREDIT, "top up the account"), (Outcome.AUTHENTICATION, "key or password"),
        (Outcome.CONFIGURATION, "portalctl sms test"), (Outcome.THROTTLED, "portalctl sms log"),
    ],
)  # fmt: skip
def test_a_provider_that_rests_is_an_alarm(product: Product, outcome: Outcome, cure: str) -> None:
    assert list(product.purse.alarms()) == []
    product.outbox.error = SmsError(outcome, "words")
    ask(product, NUMBER)
    (alarm,) = product.purse.alarms()
    assert alarm.text == f"provider outbox rests: {outcome}"
    assert cure in alarm.cure
    product.outbox.error = None
    product.clock.move(60)
    ask(product, NUMBER)
    assert list(product.purse.alarms()) == []


def test_a_budget_that_runs_out_is_an_alarm(make_product: Make, config: Any, clock: Any) -> None:
    product = make_product(
        ways=[priced(config, clock, Outbox(), cost=0.1)], limits=Limits(money=0.25, texts=2)
    )
    ask(product, NUMBER)
    assert list(product.purse.alarms()) == []
    ask(product, "+14165552672", 2)
    found = {alarm.text for alarm in product.purse.alarms()}
    assert found == {"texts of the day: 2 of 2 used", "money of the day: 0.2 of 0.25 used"}


def test_home_is_the_numbering_plan_and_not_the_calling_code(make_product: Make) -> None:
    product = make_product(numbers=Numbers(country="GB"))
    guernsey = product.purse.ask("+447911123456", "x", "guest", 0, "")
    assert (guernsey.country, guernsey.home) == ("GG", True)
    assert not product.purse.ask(JAMAICA, "x", "guest", 0, "").home
