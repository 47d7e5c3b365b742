"""What portalctl sms asks for: all of it, nothing secret in it, and clear refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from portald.config import Limits, Otp
from portald.errors import SmsError
from portald.model import Client, Outcome
from portald.schema import Secret
from portald.sms.breaker import Breaker
from portald.sms.codes import Codes
from portald.sms.routes import Route, Way
from portald.sms.twilio import Twilio
from portald.texts import Texts
from tests.conftest import KEY, NUMBER, Product

SECRET = "t0k3n-of-the-account"


class Operator:
    """portalctl's side of it."""

    def __init__(self, product: Product) -> None:
        self.web: FlaskClient = product.operator().test_client()

    def get(self, path: str) -> Any:
        answer = self.web.get(f"/api/sms/{path}", headers={"Host": "localhost"})
        assert answer.status_code == 200
        return answer.json

    def post(self, path: str, **body: Any) -> tuple[int, Any]:
        answer = self.web.post(f"/api/sms/{path}", json=body, headers={"Host": "localhost"})
        return answer.status_code, answer.json


@pytest.fixture
def operator(product: Product) -> Operator:
    return Operator(product)


def test_providers_without_their_secrets(
    make_product: Callable[..., Product], config: Any, clock: Any
) -> None:
    provider = Twilio(
        account_sid="AC1", auth_token=Secret(SECRET), sender="Lobby", url="http://127.0.0.1:9"
    )
    route = Route(name="main", only=("GB",), note="for the British", cost=0.04, priority=2)
    way = Way(route, "twilio", provider, Codes(provider, KEY, Texts(config)), Breaker(clock))
    operator = Operator(make_product(ways=[way]))
    (row,) = operator.get("providers")
    assert (row["name"], row["type"], row["state"], row["only"]) == ("main", "twilio", "ready", ["GB"])
    assert (row["note"], row["cost"], row["priority"]) == ("for the British", 0.04, 2)
    assert (row["settings"]["account_sid"], row["settings"]["auth_token"]) == ("AC1", "***")
    assert SECRET not in str(row)
    way.breaker.note(Outcome.NO_CREDIT)
    assert operator.get("providers")[0]["state"] == "rests: no_credit"


def test_a_trial(operator: Operator, product: Product) -> None:
    status, answer = operator.post("test", number=NUMBER)
    assert (status, answer["provider"], answer["outcome"], answer["message"]) == (
        200,
        "outbox",
        "accepted",
        "id1",
    )
    assert answer["number"] == "+14…71"
    (row,) = operator.get("log")
    assert (row["provider"], row["outcome"], row["verified"]) == ("outbox", "accepted", False)
    assert operator.get("providers")[0]["sent"] == 0, "a trial says nothing about conversion"


def test_a_trial_tells_what_the_provider_said_and_passes_its_rest(
    operator: Operator, product: Product
) -> None:
    words = "Unexpected response while calling the SMS gateway: 500"
    product.outbox.error = SmsError(Outcome.AUTHENTICATION, words, 7)
    for _ in range(2):
        status, answer = operator.post("test", number=NUMBER)
        assert (status, answer["outcome"], answer["words"], answer["retry_after"]) == (
            400, "authentication", words, 7,
        )  # fmt: skip
        assert (answer["error"], answer["error_description"]) == ("sms_provider_error", words)
    product.outbox.error = None
    assert operator.post("test", number=NUMBER, provider="outbox")[0] == 200
    assert operator.get("providers")[0]["state"] == "ready", "a trial that works ends the rest"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"number": "12"}, "12: number invalid"), ({}, "number unreadable"),
        ({"number": NUMBER, "provider": "nix"}, "no provider nix; there are: outbox"),
    ],
)  # fmt: skip
def test_a_trial_that_cannot_be(operator: Operator, body: dict[str, Any], problem: str) -> None:
    status, answer = operator.post("test", **body)
    assert status == 422
    assert problem in answer["message"]


def test_limits_are_shown_changed_and_forgotten(
    operator: Operator, product: Product, phone: Client
) -> None:
    product.log_in(phone)
    rows = {row["name"]: row for row in operator.get("limits")["limits"]}
    assert set(rows) == {field for field in Limits.__dataclass_fields__ if field != "guesses_free"}
    fullest = {name: row["fullest"] for name, row in rows.items() if row["fullest"]}
    assert fullest == dict.fromkeys(
        [
            "texts_per_number", "texts_per_client", "texts_per_client_burst", "texts_per_prefix", "texts_per_zone",
            "texts_per_hour", "texts", "guesses_per_number", "guesses_per_client",
        ],
        1,
    )  # fmt: skip
    status, answer = operator.post(
        "limits", set={"texts": "3"}, close=["GB"], forget=[NUMBER, phone.mac.upper()]
    )
    assert status == 200
    rows = {row["name"]: row for row in answer["limits"]}
    assert (rows["texts"]["most"], rows["texts"]["setting"], rows["texts"]["changed"]) == (3, 500, True)
    assert answer["closed"] == [{"place": "GB", "why": "by hand"}]
    assert answer["forgotten"] == 6
    assert rows["texts_per_number"]["fullest"] == 0
    assert answer["conversion"]["country"] == [{"country": "US", "sent": 1, "verified": 1}]
    status, answer = operator.post("limits", set={"texts": None}, open=["GB"])
    assert answer["closed"] == []
    assert next(row["most"] for row in answer["limits"] if row["name"] == "texts") == 500


@pytest.mark.parametrize(
    "body",
    [{"set": {"x": "1"}}, {"set": {"texts": "x"}}, {"open": ["gb"]}, {"close": ["+x"]}, {"forget": ["12"]}],
)
def test_changes_that_cannot_be(operator: Operator, body: dict[str, Any]) -> None:
    status, answer = operator.post("limits", **body)
    assert (status, answer["error"]) == (422, "refused")


def test_the_budget(operator: Operator, product: Product, phone: Client) -> None:
    product.portal.request_code(phone, NUMBER)
    assert operator.get("budget") == {
        "texts": 1, "texts_limit": 500, "texts_hour": 1, "texts_hour_limit": 100, "money": 0, "money_limit": None,
    }  # fmt: skip


def test_previews(make_product: Callable[..., Product]) -> None:
    operator = Operator(make_product(otp=Otp(texts={"de": "{code}"})))
    assert operator.get("preview")[0] == {
        "for": "de", "text": "888888", "encoding": "GSM-7", "units": 6, "parts": 1,
    }  # fmt: skip


def test_the_log_has_no_number_and_no_code(operator: Operator, product: Product, phone: Client) -> None:
    product.portal.request_code(phone, NUMBER)
    text = str(operator.get("log?limit=9999"))
    assert product.outbox.code() not in text
    assert NUMBER not in text


def test_no_form_of_another_site(product: Product) -> None:
    web = product.operator().test_client()
    for path in ("test", "limits"):
        answer = web.post(f"/api/sms/{path}", data={"number": NUMBER}, headers={"Host": "localhost"})
        assert answer.status_code == 415
    assert web.get("/api/sms/log", headers={"Host": "evil.example"}).status_code == 400
    assert product.outbox.texts == []
