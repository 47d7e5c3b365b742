"""Vonage Verify: what is ordered, what it promises, and how it judges."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from portald.errors import ConfigError, Reason, Refused, SmsError
from portald.model import Kind, Order, Outcome, Policy
from portald.schema import build
from portald.sms.vonage_verify import VonageVerify
from tests.sms.conftest import Provider
from tests.sms.tables import CODE, NUMBER, TOKEN
from tests.sms.tables.vonage_verify import ID, make, problem
from tests.sms.wire import basic, only, sent_json, write

ACCEPTED = json.dumps({"request_id": ID})
COMPLETED = json.dumps({"request_id": ID, "status": "completed"})


def test_request(provider: Provider) -> None:
    provider.say(202, ACCEPTED)
    sent = make(provider.url).start(Order(7, NUMBER))
    assert sent.reference == ID
    request = only(provider)
    assert (request.method, request.path) == ("POST", "/v2/verify")
    assert request.headers["Authorization"] == basic("abcd1234", TOKEN)
    assert sent_json(request) == {
        "brand": "Lobby Wi-Fi",
        "workflow": [{"channel": "sms", "to": "14155552671"}],
        "code_length": 6,
        "channel_timeout": 300,
    }


def test_request_with_a_language_and_a_sender(provider: Provider) -> None:
    provider.say(202, ACCEPTED)
    account = replace(make(provider.url), sender="Lobby")
    account.start(Order(7, NUMBER, language="pt-BR"))
    account.start(Order(7, NUMBER, language="tlh", sender="Bar"))
    first, second = map(sent_json, provider.requests)
    assert (first["locale"], first["workflow"][0]["from"]) == ("pt-br", "Lobby")
    assert "locale" not in second
    assert second["workflow"][0]["from"] == "Bar"


@pytest.mark.parametrize(
    ("ordered", "holds"),
    [
        (Policy(), Policy(Kind.NUMBERS, 6, 300, 3)),
        (Policy(Kind.ALPHANUMERIC, 12, 1800, 10), Policy(Kind.NUMBERS, 10, 900, 3)),
        (Policy(Kind.LETTERS, 3, 5, 1), Policy(Kind.NUMBERS, 4, 15, 1)),
    ],
)
def test_policy_is_what_really_holds(provider: Provider, ordered: Policy, holds: Policy) -> None:
    provider.say(202, ACCEPTED)
    assert make(provider.url).start(Order(7, NUMBER, ordered)).policy == holds
    body = sent_json(only(provider))
    assert (body["code_length"], body["channel_timeout"]) == (holds.length, holds.lifetime)


@pytest.mark.parametrize("brand", ["", "a" * 19, "a/b", "a{b}", "Wi-Fi: Lobby", "$"])
def test_brands_that_cannot_be(brand: str) -> None:
    with pytest.raises(ConfigError, match="brand: expected 1 to 18 characters"):
        build(VonageVerify, {"api_key": "k", "api_secret": "s", "brand": brand})


@pytest.mark.parametrize("brand", ["a", "Café am Fluß 1 & 2", "a" * 18])
def test_brands_that_can_be(brand: str) -> None:
    assert build(VonageVerify, {"api_key": "k", "api_secret": "s", "brand": brand}).brand == brand


# The judgement -------------------------------------------------------------------------------


def test_check_request(provider: Provider) -> None:
    provider.say(200, COMPLETED)
    assert make(f"{provider.url}/").check(ID, NUMBER, CODE) is True
    request = only(provider)
    assert (request.method, request.path) == ("POST", f"/v2/verify/{ID}")
    assert request.headers["Authorization"] == basic("abcd1234", TOKEN)
    assert sent_json(request) == {"code": CODE}


def test_a_reference_stays_one_part_of_the_path(provider: Provider) -> None:
    provider.say(404)
    with pytest.raises(Refused):
        make(provider.url).check("a/../b?c", NUMBER, CODE)
    assert only(provider).path == "/v2/verify/a%2F..%2Fb%3Fc"


def test_a_wrong_code(provider: Provider) -> None:
    provider.say(400, problem("Invalid Code"))
    assert make(provider.url).check(ID, NUMBER, CODE) is False
    assert len(provider.requests) == 1


@pytest.mark.parametrize(("status", "reason"), [(410, Reason.TOO_MANY_GUESSES), (404, Reason.CODE_EXPIRED)])
def test_a_dead_code(provider: Provider, status: int, reason: Reason) -> None:
    provider.say(status, problem("no"))
    with pytest.raises(Refused) as caught:
        make(provider.url).check(ID, NUMBER, CODE)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, "", Outcome.UNKNOWN),
        (200, '["completed"]', Outcome.UNKNOWN),
        (200, '{"status": "of a new kind"}', Outcome.UNKNOWN),
        (202, COMPLETED, Outcome.UNKNOWN),
        (401, problem("Unauthorized"), Outcome.AUTHENTICATION),
        (402, problem("Low balance"), Outcome.NO_CREDIT),
        (409, problem("Conflict"), Outcome.THROTTLED),
        (422, problem("Invalid params"), Outcome.CONFIGURATION),
        (429, problem("Rate Limit Hit"), Outcome.THROTTLED),
        (500, problem("Internal error"), Outcome.UNKNOWN),
        (503, "", Outcome.TEMPORARY),
    ],
)
def test_what_cannot_be_judged(provider: Provider, status: int, body: str, outcome: Outcome) -> None:
    provider.say(status, body)
    with pytest.raises(SmsError) as caught:
        make(provider.url).check(ID, NUMBER, CODE)
    assert caught.value.outcome is outcome
    assert len(provider.requests) == 1


@pytest.mark.parametrize("code", [CODE, "GRNXQ"])
@pytest.mark.parametrize("status", [200, 401, 429, 500])
def test_an_answer_that_quotes_the_code_does_not_tell_it(
    provider: Provider, status: int, code: str
) -> None:
    provider.say(status, f"the code {code} of {NUMBER} and {TOKEN}")
    with pytest.raises(SmsError) as caught:
        make(provider.url).check(ID, NUMBER, code)
    said = f"{caught.value} {caught.value.args} {caught.value.words}"
    assert "the code … of" in said
    assert code not in said
    assert NUMBER not in said
    assert TOKEN not in said


def test_repr_hides_the_secret() -> None:
    made: Any = make("https://api.example")
    assert TOKEN not in repr(made)


@pytest.mark.parametrize("status", [204, 404, 500])
def test_a_code_that_is_replaced_is_cancelled_first(provider: Provider, status: int) -> None:
    def behave(handler: Any) -> None:
        deleting = provider.requests[-1].method == "DELETE"
        write(handler, status if deleting else 202, "" if deleting else '{"request_id": "r2"}')

    provider.behave = behave
    sent = make(provider.url).start(Order(7, NUMBER, replaces="r1/../x"))
    assert sent.reference == "r2"
    assert [(r.method, r.path) for r in provider.requests] == [
        ("DELETE", "/v2/verify/r1%2F..%2Fx"), ("POST", "/v2/verify"),
    ]  # fmt: skip


def test_a_code_that_is_on_its_way_concerns_one_number_only(provider: Provider) -> None:
    provider.say(409, "{}")
    with pytest.raises(SmsError) as caught:
        make(provider.url).start(Order(7, NUMBER))
    assert (caught.value.outcome, caught.value.of_number) == (Outcome.THROTTLED, True)
