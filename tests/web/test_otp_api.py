"""The OTP API: SMS.CX's paths, fields, states and errors, and its OpenAPI file."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from portald.config import Application, Limits, Numbers, Otp
from portald.errors import SmsError
from portald.model import Outcome, Policy
from portald.schema import Secret
from tests.conftest import NUMBER, Product

SECRET = "a-secret-of-the-application"
OPENAPI = json.loads((Path(__file__).parents[2] / "docs/openapi.json").read_text())
APPLICATIONS = (
    Application(id="booking", secret=Secret(SECRET), callbacks=("https://booking.example/",), texts=3),
    Application(id="other", secret=Secret("another-secret-of-it")),
)
CALLBACK = "https://booking.example/otp"


class Api:
    """A program that uses the API."""

    def __init__(self, product: Product, name: str = "booking", secret: str = SECRET) -> None:
        self.product = product
        self.web: FlaskClient = product.operator().test_client()
        login = base64.b64encode(f"{name}:{secret}".encode()).decode()
        answer = self.web.post(
            "/oauth/token", data={"grant_type": "client_credentials"},
            headers={"Authorization": f"Basic {login}", "Host": "localhost"},
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        fits(answer.json, "Token")
        self.token = answer.json["access_token"]

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}", "Host": "localhost"}
        answer = self.web.open(path, method=method, json=body, headers=headers)
        fits(answer.json, "Otp" if answer.status_code < 300 else "Error")
        template = "/otp" if path == "/otp" else "/otp/{otpId}"
        assert str(answer.status_code) in OPENAPI["paths"][template][method.lower()]["responses"]
        return answer.status_code, answer.json

    def create(self, **body: Any) -> Any:
        status, data = self.ask("POST", "/otp", {"phoneNumber": NUMBER, **body})
        assert status == 201, data
        return data

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, int]:
        status, data = self.ask(method, path, body)
        assert data["error"]["uri"] == path
        return status, data["error"]["code"]


def fits(value: Any, name: str) -> None:
    """Check an answer against the OpenAPI file."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": OPENAPI["components"]}
    Draft202012Validator(schema).validate(value)


@pytest.fixture
def product(make_product: Callable[..., Product]) -> Product:
    return make_product(applications=APPLICATIONS)


@pytest.fixture
def api(product: Product) -> Api:
    return Api(product)


def wrong(code: str) -> str:
    return "000000" if code != "000000" else "111111"


# The file -----------------------------------------------------------------------------------


def test_the_openapi_file_is_valid_and_tells_of_every_path(product: Product) -> None:
    validate(OPENAPI)
    served = {
        (re.sub(r"<(\w+)>", "{otpId}", rule.rule), method.lower())
        for rule in product.operator().url_map.iter_rules()
        if rule.endpoint.startswith("otp.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    told = {
        (path, method)
        for path, verbs in OPENAPI["paths"].items()
        for method in verbs
        if method != "parameters"
    }
    assert served == told


# Tokens -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("login", "form", "status", "kind"),
    [
        (("booking", "wrong"), {"grant_type": "client_credentials"}, 401, "invalid_client"),
        (("nobody", SECRET), {"grant_type": "client_credentials"}, 401, "invalid_client"),
        (("", ""), {"grant_type": "client_credentials"}, 401, "invalid_client"),
        (None, {"grant_type": "client_credentials"}, 401, "invalid_client"),
        (("booking", SECRET), {"grant_type": "password"}, 400, "unsupported_grant_type"),
        (("booking", SECRET), {}, 400, "unsupported_grant_type"),
    ],
)
def test_no_token(product: Product, login: Any, form: dict[str, str], status: int, kind: str) -> None:
    answer = product.operator().test_client().post(
        "/oauth/token", data=form, auth=login, headers={"Host": "localhost"}
    )  # fmt: skip
    assert (answer.status_code, answer.json["error"]["type"]) == (status, kind)
    assert answer.json["error"]["code"] == 1600


def test_a_token_is_good_for_an_hour(api: Api) -> None:
    made = api.create()
    api.product.clock.move(3599)
    assert api.ask("GET", f"/otp/{made['otpId']}")[0] == 200
    api.product.clock.move(1)
    assert api.ask("GET", f"/otp/{made['otpId']}")[0] == 401


@pytest.mark.parametrize("change", ["", "x", "no dot", "é.é", "Og.x", "."])
def test_a_forged_token(api: Api, change: str) -> None:
    assert api.ask("GET", "/otp/x", token=change)[0] == 401
    name, _, signature = api.token.partition(".")
    claim = base64.urlsafe_b64decode(name + "==").decode().replace("booking", "other")
    forged = base64.urlsafe_b64encode(claim.encode()).decode().rstrip("=")
    assert api.ask("GET", "/otp/x", token=f"{forged}.{signature}")[0] == 401
    assert api.ask("GET", "/otp/x", token=api.token[:-1])[0] == 401


def test_without_a_token(product: Product) -> None:
    answer = product.operator().test_client().get("/otp/x", headers={"Host": "localhost"})
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_a_new_secret_ends_old_tokens(api: Api, make_product: Callable[..., Product]) -> None:
    changed = make_product(applications=(Application(id="booking", secret=Secret("n" * 20)),))
    answer = changed.operator().test_client().get(
        "/otp/x", headers={"Host": "localhost", "Authorization": f"Bearer {api.token}"}
    )  # fmt: skip
    assert answer.status_code == 401


# The way of a code -----------------------------------------------------------------------------


def test_sent_and_verified(api: Api) -> None:
    made = api.create(**{"from": "Verify"})
    assert made["status"] == "PENDING"
    assert (made["phoneNumber"], made["countryIso"]) == (NUMBER, "US")
    assert (made["maxAttempts"], made["attempts"], made["ttl"], made["parts"]) == (5, 0, 300, 1)
    assert (made["dateCreated"], made["dateExpires"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:18:20Z")
    assert api.product.outbox.sent[0].sender == "Verify"
    status, data = api.ask("POST", f"/otp/{made['otpId']}", {"pin": api.product.outbox.code()})
    assert (status, data["status"], data["attempts"]) == (200, "VERIFIED", 1)
    assert api.ask("GET", f"/otp/{made['otpId']}")[1] == data
    assert api.refused("POST", f"/otp/{made['otpId']}", {"pin": "1"}) == (400, 2023)


def test_wrong_pins_until_it_has_failed(api: Api) -> None:
    made = api.create(maxAttempts=2)
    path, code = f"/otp/{made['otpId']}", api.product.outbox.code()
    assert api.refused("POST", path, {"pin": wrong(code)}) == (400, 2029)
    assert api.ask("GET", path)[1]["attempts"] == 1
    assert api.refused("POST", path, {"pin": wrong(code)}) == (400, 2027)
    assert api.ask("GET", path)[1]["status"] == "FAILED"
    assert api.refused("POST", path, {"pin": code}) == (400, 2026)
    assert api.refused("DELETE", path) == (403, 2031)


def test_expired(api: Api) -> None:
    made = api.create(ttl=60)
    api.product.clock.move(60)
    path = f"/otp/{made['otpId']}"
    assert api.ask("GET", path)[1]["status"] == "EXPIRED"
    assert api.refused("POST", path, {"pin": api.product.outbox.code()}) == (400, 2025)


def test_cancelled(api: Api) -> None:
    path = f"/otp/{api.create()['otpId']}"
    status, data = api.ask("DELETE", path)
    assert (status, data["status"]) == (200, "CANCELLED")
    assert api.refused("POST", path, {"pin": api.product.outbox.code()}) == (400, 2024)
    assert api.refused("DELETE", path) == (403, 2030)


def test_sending_and_failing_to_send(api: Api) -> None:
    api.product.paused = True
    made = api.create()
    path = f"/otp/{made['otpId']}"
    assert made["status"] == "SENDING"
    assert api.refused("POST", path, {"pin": "123456"}) == (409, 2090)
    api.product.outbox.error = SmsError(
        Outcome.UNKNOWN, "Unexpected response while calling the SMS gateway: 500"
    )
    api.product.outbox.error = SmsError(
        Outcome.AUTHENTICATION, "Authentication failed while calling the SMS gateway: 401"
    )
    api.product.send_waiting()
    data = api.ask("GET", path)[1]
    assert data["status"] == "SEND_FAILED"
    assert data["error"] == "sms_provider_error"
    assert data["error_description"] == "Authentication failed while calling the SMS gateway: 401"
    assert api.refused("POST", path, {"pin": "123456"}) == (400, 2091)


def test_every_code_of_its_own(api: Api) -> None:
    """Two codes of one application live side by side: each has its id."""
    first = api.create()
    code = api.product.outbox.code()
    second = api.create(phoneNumber="+14155552672")
    assert api.ask("POST", f"/otp/{first['otpId']}", {"pin": code})[0] == 200
    assert api.ask("GET", f"/otp/{second['otpId']}")[1]["status"] == "PENDING"


@pytest.mark.parametrize("path", ["/otp/x", "/otp/02:cc:00:00:00:01", "/otp/%00"])
def test_ids_that_are_none(api: Api, path: str) -> None:
    client = api.product.table.join("10.77.0.11", "02:cc:00:00:00:01")
    api.product.portal.request_code(client, "+14155552679")
    assert api.ask("GET", path)[0] == 404
    assert api.ask("POST", path, {"pin": api.product.outbox.code()})[0] == 404
    assert api.ask("DELETE", path)[0] == 404


def test_codes_of_others_do_not_exist(api: Api) -> None:
    path = f"/otp/{api.create()['otpId']}"
    other = Api(api.product, "other", "another-secret-of-it")
    for method, body in (("GET", None), ("POST", {"pin": api.product.outbox.code()}), ("DELETE", None)):
        assert other.refused(method, path, body) == (404, 2021)
    assert api.ask("GET", path)[1]["status"] == "PENDING"


# What may be asked for -------------------------------------------------------------------------


def test_all_that_is_left_out_is_as_in_the_settings(make_product: Callable[..., Product]) -> None:
    product = make_product(
        applications=APPLICATIONS,
        otp=Otp(length=8, lifetime=120, attempts=2),
        numbers=Numbers(country="GB"),
    )
    made = Api(product).create(to="07400 123456", phoneNumber="07400 123456")
    assert (made["phoneNumber"], made["ttl"], made["maxAttempts"]) == ("+447400123456", 120, 2)
    assert len(product.outbox.sent[0].code) == 8


def test_overrides(api: Api) -> None:
    made = api.create(
        ttl=1800,
        maxAttempts=10,
        pinType="letters",
        pinLength=5,
        template="{{pin}} is it",
        otpCallbackUrl=CALLBACK,
    )
    text = api.product.outbox.sent[0]
    assert re.fullmatch(r"[A-Z]{5} is it", text.body)
    assert (text.lifetime, made["ttl"], made["maxAttempts"], made["otpCallbackUrl"]) == (
        1800,
        1800,
        10,
        CALLBACK,
    )
    assert api.ask("POST", f"/otp/{made['otpId']}", {"pin": text.code.lower()})[1]["status"] == "VERIFIED"


def test_to_is_phone_number_as_well(api: Api) -> None:
    assert api.ask("POST", "/otp", {"to": NUMBER})[1]["phoneNumber"] == NUMBER
    assert (
        api.ask("POST", "/otp", {"to": "01512 3456789", "countryIso": "de"})[1]["phoneNumber"]
        == "+4915123456789"
    )


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"phoneNumber": ""}, 2001), ({"phoneNumber": None}, 2001), ({"phoneNumber": 1}, 2001),
        ({"phoneNumber": "12"}, 2020), ({"countryIso": "XX"}, 2020), ({"phoneNumber": "+18005551234"}, 2020),
        ({"from": "ab"}, 2005), ({"from": "x" * 16}, 2005), ({"from": "a\r\nb"}, 2005), ({"from": 5}, 2005),
        ({"template": "no pin"}, 2006), ({"template": "no pin \0"}, 2006), ({"template": "{{pin}} {{x}}"}, 2006), ({"template": 5}, 2006),
        ({"template": "{{pin}}" + "x" * 640}, 2006), ({"template": "{% include 'x' %}{{pin}}"}, 2006),
        ({"ttl": "60"}, 2008), ({"ttl": 59}, 2009), ({"ttl": 1801}, 2009), ({"ttl": True}, 2008),
        ({"maxAttempts": 1.5}, 2011), ({"maxAttempts": 0}, 2012), ({"maxAttempts": 11}, 2012),
        ({"pinType": "emoji"}, 2014), ({"pinType": None}, 2014), ({"pinType": []}, 2014),
        ({"pinLength": "6"}, 2016), ({"pinLength": 3}, 2017), ({"pinLength": 11}, 2017),
        ({"trackId": "no"}, 2018), ({"otpCallbackUrl": "https://elsewhere.example/"}, 2019),
        ({"otpCallbackUrl": "http://127.0.0.1/"}, 2019), ({"otpCallbackUrl": 5}, 2019),
        ({"otpCallbackUrl": "https://booking.example.evil/"}, 2019),
    ],
)  # fmt: skip
def test_wrong_parameters(api: Api, body: dict[str, Any], code: int) -> None:
    assert api.refused("POST", "/otp", {"phoneNumber": NUMBER, **body}) == (400, code)
    assert api.product.outbox.texts == []
    assert api.product.store.used(api.product.clock()) == {}


@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_a_body_that_is_no_object(api: Api, body: Any) -> None:
    assert api.ask("POST", "/otp", body)[0] == 400


@pytest.mark.parametrize("pin", ["", " ", None, 123456, []])
def test_a_pin_that_is_none(api: Api, pin: Any) -> None:
    path = f"/otp/{api.create()['otpId']}"
    assert api.refused("POST", path, {"pin": pin}) == (400, 2022)
    assert api.ask("GET", path)[1]["attempts"] == 0


def test_countries_that_are_closed(make_product: Callable[..., Product]) -> None:
    product = make_product(applications=APPLICATIONS, numbers=Numbers(country="DE", allowed=("DE",)))
    status, data = Api(product).ask("POST", "/otp", {"phoneNumber": NUMBER})
    assert (status, data["error"]["type"]) == (400, "NoCoverage")


def test_limits_are_the_numbers_and_the_applications(api: Api) -> None:
    api.create()
    status, data = api.ask("POST", "/otp", {"phoneNumber": NUMBER})
    assert (status, data["error"]["type"], data["error"]["message"]) == (
        429,
        "rate_limit",
        "too_soon: see Retry-After",
    )
    api.create(phoneNumber="+14155552672")
    api.create(phoneNumber="+14155552673")
    assert api.ask("POST", "/otp", {"phoneNumber": "+14155552674"})[0] == 429
    assert Api(api.product, "other", "another-secret-of-it").create(phoneNumber="+14155552674")


def test_guesses_are_limited_over_codes(make_product: Callable[..., Product]) -> None:
    product = make_product(applications=APPLICATIONS, limits=Limits(guesses_per_number=1))
    api = Api(product)
    path, code = f"/otp/{api.create()['otpId']}", product.outbox.code()
    assert api.refused("POST", path, {"pin": wrong(code)}) == (400, 2029)
    assert api.ask("POST", path, {"pin": code})[0] == 429


# Callbacks ---------------------------------------------------------------------------------------


def told(product: Product) -> Iterator[str]:
    for callback in product.store.due_callbacks(product.clock()):
        body = json.loads(callback.body)
        fits(body, "Update")
        assert (callback.url, callback.application) == (CALLBACK, "booking")
        yield body["data"][0]["status"]


def test_the_callback_is_told_of_every_step(api: Api) -> None:
    made = api.create(otpCallbackUrl=CALLBACK)
    api.ask("POST", f"/otp/{made['otpId']}", {"pin": api.product.outbox.code()})
    assert list(told(api.product)) == ["PENDING", "VERIFIED"]


def test_the_callback_is_told_of_failure_and_cancellation(api: Api) -> None:
    made = api.create(otpCallbackUrl=CALLBACK, maxAttempts=1)
    api.ask("POST", f"/otp/{made['otpId']}", {"pin": wrong(api.product.outbox.code())})
    made = api.create(otpCallbackUrl=CALLBACK, phoneNumber="+14155552672")
    api.ask("DELETE", f"/otp/{made['otpId']}")
    api.product.outbox.error = SmsError(Outcome.NO_CREDIT, "no money")
    api.create(otpCallbackUrl=CALLBACK, phoneNumber="+14155552673")
    assert list(told(api.product)) == ["PENDING", "FAILED", "PENDING", "CANCELLED", "SEND_FAILED"]


def test_without_a_callback_nobody_is_told(api: Api) -> None:
    made = api.create()
    api.ask("POST", f"/otp/{made['otpId']}", {"pin": api.product.outbox.code()})
    api.product.portal.request_code(
        api.product.table.join("10.77.0.9", "02:cc:00:00:00:09"), "+14155552679"
    )
    assert list(told(api.product)) == []


def test_policies_are_the_orders(api: Api) -> None:
    api.create(pinLength=4)
    found = api.product.store.challenges(1)[0]
    assert found.policy == Policy(length=4)


def test_a_failure_of_ours_is_json_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.product.applications, "get", None)
    headers = {"Authorization": f"Bearer {api.token}", "Host": "localhost"}
    answer = api.web.get("/otp/anything", headers=headers)
    assert (answer.status_code, answer.json) == (500, {"error": "internal_error", "retry_after": 0})
