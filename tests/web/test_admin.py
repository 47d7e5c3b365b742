"""The operator's page and API: what it shows, and that no web page elsewhere can use it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from werkzeug.test import Client as Browser

from portald.errors import FirewallError, SmsError
from portald.model import Client, Outcome
from tests.conftest import NUMBER, Product


@pytest.fixture
def operator(product: Product) -> Browser:
    return Browser(product.operator())


def get(operator: Browser, path: str, host: str = "localhost") -> Any:
    return operator.get(path, environ_overrides={"HTTP_HOST": host})


def test_sessions_are_listed_with_masked_numbers(
    product: Product, operator: Browser, phone: Client
) -> None:
    session = product.log_in(phone)
    product.firewall.count(session.id, 1500, 2_500_000)
    product.rounds.round()
    (row,) = get(operator, "/api/sessions").json
    assert (row["id"], row["mac"], row["addresses"]) == (session.id, phone.mac, [phone.ip])
    assert (row["up"], row["down"], row["group"], row["granted"]) == (1500, 2_500_000, "SMS", True)
    page = get(operator, "/").text
    for shown in (phone.mac, "+14…71", "1.5 kB", "2.5 MB", "1 online"):
        assert shown in page
    assert NUMBER not in page + str(row)


def test_health(product: Product, operator: Browser) -> None:
    assert get(operator, "/api/status").json["healthy"] is False, "no round yet"
    product.rounds.round()
    assert get(operator, "/api/status").json["healthy"] is True
    product.firewall.read = lambda: (_ for _ in ()).throw(FirewallError("helper away"))
    product.rounds.round()
    status = get(operator, "/api/status").json
    assert status["healthy"] is False
    assert "helper away" in status["last_error"]
    assert "helper away" in get(operator, "/").text


def test_the_operator_sees_what_the_provider_said(
    product: Product, operator: Browser, phone: Client
) -> None:
    product.outbox.error = SmsError(Outcome.NO_CREDIT, "HTTP 402 please top up")
    product.portal.request_code(phone, NUMBER)
    (row,) = get(operator, "/api/challenges").json
    assert (row["state"], row["outcome"], row["words"]) == ("failed", "no_credit", "HTTP 402 please top up")
    assert "please top up" in get(operator, "/").text
    assert get(operator, "/api/status").json["texts_failing"] == 1
    assert "The last text failed" in get(operator, "/").text
    assert "top up the account" in get(operator, "/").text
    product.outbox.error = None
    product.clock.move(20)  # the provider has rested
    product.portal.request_code(phone, NUMBER)
    assert get(operator, "/api/status").json["texts_failing"] == 0


def test_revoking_by_the_api(product: Product, operator: Browser, phone: Client) -> None:
    session = product.log_in(phone)
    path = f"/api/sessions/{session.id}/revoke"
    environ = {"HTTP_HOST": "localhost"}
    assert operator.post(path, data="x", environ_overrides=environ).status_code == 415
    assert product.firewall.read()
    assert operator.post(path, json={}, environ_overrides=environ).json == {"revoked": session.id}
    assert not product.inside()
    assert operator.post(path, json={}, environ_overrides=environ).status_code == 404


def test_revoking_on_the_page(product: Product, operator: Browser, phone: Client) -> None:
    session = product.log_in(phone)
    form = re.search(r'name="form" value="(\w+)"', get(operator, "/").text)
    assert form
    environ = {"HTTP_HOST": "localhost"}
    wrong = operator.post("/revoke", data={"session": str(session.id)}, environ_overrides=environ)
    assert wrong.status_code == 400
    assert product.firewall.read()
    data = {"session": str(session.id), "form": form[1]}
    assert operator.post("/revoke", data=data, environ_overrides=environ).status_code == 303
    assert not product.inside()
    assert "out of date" in operator.post("/revoke", data=data, environ_overrides=environ).text.lower()


@pytest.mark.parametrize("number", ["", "abc", "-1", "9" * 400, "²"])
def test_rubbish_session_numbers(operator: Browser, number: str) -> None:
    form = re.search(r'name="form" value="(\w+)"', get(operator, "/").text)
    data = {"session": number, "form": form[1] if form else "1"}
    answer = operator.post("/revoke", data=data, environ_overrides={"HTTP_HOST": "localhost"})
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["evil.example", "10.77.0.1", "localhost.evil.example", "", "["])
@pytest.mark.parametrize("path", ["/", "/api/sessions", "/api/status"])
def test_a_name_that_was_made_to_lead_here_is_refused(operator: Browser, path: str, host: str) -> None:
    """DNS rebinding: the operator's browser would send the other site's name."""
    assert get(operator, path, host).status_code == 400


def test_a_guests_form_is_no_operators_form(product: Product, operator: Browser, phone: Client) -> None:
    session = product.log_in(phone)
    guest = Browser(product.web()).get(
        "/status", environ_overrides={"REMOTE_ADDR": phone.ip, "HTTP_HOST": "10.77.0.1"}
    )
    form = re.search(r'name="form" value="(\w+)"', guest.text)
    assert form
    data = {"session": str(session.id), "form": form[1]}
    answer = operator.post("/revoke", data=data, environ_overrides={"HTTP_HOST": "localhost"})
    assert answer.status_code == 400


def test_errors_are_json_for_machines(operator: Browser) -> None:
    environ = {"HTTP_HOST": "localhost", "HTTP_ACCEPT": "application/json"}
    answer = operator.get("/api/nothing", environ_overrides=environ)
    assert answer.status_code == 404
    assert answer.json == {"error": "not_found", "retry_after": 0}


def test_impossible_numbers_are_no_sessions(operator: Browser) -> None:
    path = f"/api/sessions/{10**30}/revoke"
    assert operator.post(path, json={}, environ_overrides={"HTTP_HOST": "localhost"}).status_code == 404


def test_a_failure_of_ours_is_json_for_portalctl(product: Product, operator: Browser) -> None:
    product.store.connection.execute("ALTER TABLE groups RENAME TO gone")
    answer = get(operator, "/api/sessions")
    assert (answer.status_code, answer.json["error"]) == (500, "internal_error")
