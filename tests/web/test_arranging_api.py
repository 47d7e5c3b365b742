"""What operators arrange, through the operator's API: who may, what is refused, what holds at once."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import Client as Browser
from werkzeug.test import TestResponse

from portald import passwords
from portald.model import Client, End
from tests.conftest import NUMBER, Product
from tests.web.test_guest import Phone

LOCAL = {"HTTP_HOST": "localhost"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_N", 2**4)
    monkeypatch.setattr(passwords, "_P", 1)


class Operator:
    def __init__(self, product: Product) -> None:
        self.browser = Browser(product.operator())

    def get(self, path: str) -> Any:
        return self.browser.get(path, environ_overrides=LOCAL).json

    def post(self, path: str, **body: Any) -> TestResponse:
        return self.browser.post(path, json=body, environ_overrides=LOCAL)

    def delete(self, path: str) -> TestResponse:
        return self.browser.delete(path, environ_overrides=LOCAL)

    def refusal(self, path: str, **body: Any) -> str:
        answer = self.post(path, **body)
        assert answer.status_code == 422, answer.text
        assert answer.json
        return str(answer.json["message"])


@pytest.fixture
def operator(product: Product) -> Operator:
    return Operator(product)


def test_plans_are_made_changed_and_deleted(operator: Operator) -> None:
    assert operator.post("/api/plans/café", session="2h", up="2M").json == {
        "name": "café",
        "session": "2h",
        "up": "2M",
    }
    assert operator.post("/api/plans/café", up="", down="10M").json == {
        "name": "café",
        "session": "2h",
        "down": "10M",
    }
    assert [plan["name"] for plan in operator.get("/api/plans")["plans"]] == ["café", "unlimited"]
    assert "did you mean 'session'" in operator.refusal("/api/plans/café", sesion="1h")
    assert "there is none called nobody" in operator.refusal("/api/plans/café", providers="nobody")
    assert operator.delete("/api/plans/unlimited").status_code == 422
    assert operator.delete("/api/plans/café").status_code == 200
    assert operator.delete("/api/plans/café").status_code == 404


def test_groups(operator: Operator, product: Product) -> None:
    operator.post("/api/plans/hotel", session="24h")
    group = operator.post("/api/groups/hotel", plan="hotel", note="rooms").json
    assert group == {"name": "hotel", "plan": "hotel", "note": "rooms", "accounts": 0}
    assert "there is no plan 'gold'" in operator.refusal("/api/groups/hotel", plan="gold")
    assert "no such field" in operator.refusal("/api/groups/hotel", plam="x")
    operator.post("/api/accounts/alice", group="hotel")
    assert operator.delete("/api/groups/hotel").status_code == 422, "somebody is in it"
    operator.delete("/api/accounts/alice")
    assert operator.delete("/api/groups/hotel").status_code == 200


def test_accounts_are_masked_but_for_an_export(operator: Operator) -> None:
    operator.post("/api/accounts/%2B14155552671", note="vip", email="a.person@example.org")
    (shown,) = operator.get("/api/accounts")
    assert (shown["name"], shown["email"]) == ("+14…71", "a.…@example.org")
    (plain,) = operator.get("/api/accounts?plain=1")
    assert (plain["name"], plain["email"], plain["note"]) == (NUMBER, "a.person@example.org", "vip")
    assert operator.get("/api/accounts?search=vip")
    assert operator.get("/api/accounts?search=%25") == []


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"name": "x/y"}, "cannot be a name"),
        ({"name": ""}, "cannot be a name"),
        ({"name": "x", "numbr": "1"}, "no such field"),
        ({"name": "x", "number": "123"}, "is no telephone number"),
        ({"name": "x", "group": "gold"}, "there is no group 'gold'"),
        ({"name": "x", "password": "12345"}, "password: from 6"),
        ({"name": "x", "number": NUMBER}, "is another account's"),
    ],
)
def test_accounts_that_cannot_be(operator: Operator, row: dict[str, Any], problem: str) -> None:
    operator.post("/api/accounts/owner", number=NUMBER)
    assert problem in operator.refusal("/api/accounts", rows=[row])
    assert len(operator.get("/api/accounts")) == 1


def test_an_import_is_all_or_none(operator: Operator) -> None:
    rows = [{"name": f"user{n}", "note": "new"} for n in range(50)]
    message = operator.refusal(
        "/api/accounts", rows=[*rows, {"name": "bad", "group": "gold"}, {"name": "/"}]
    )
    assert "row 51: there is no group" in message
    assert "row 52: '/' cannot be a name" in message
    assert operator.get("/api/accounts") == []
    assert operator.post("/api/accounts", rows=rows).json == {"count": 50}
    assert operator.post("/api/accounts", rows=rows).json == {"count": 50}
    assert len(operator.get("/api/accounts")) == 50


def test_blocking_an_account_cuts_it_at_once(operator: Operator, product: Product, phone: Client) -> None:
    product.log_in(phone)
    assert operator.post("/api/accounts/%2B14155552671", blocked=True).status_code == 200
    assert product.inside() == set()
    (ended,) = product.portal.ended()
    assert ended.end is End.BLOCKED
    product.clock.move(61)
    page = Phone(product)
    page.ask()
    assert "may not go online" in page.post("/code", form=page.form, code=product.outbox.code()).text


def test_deleting_an_account_forgets_everything_of_it(
    operator: Operator, product: Product, phone: Client
) -> None:
    opened = product.log_in(phone)
    product.firewall.count(opened.id, 1, 1)
    product.rounds.round()
    assert operator.delete("/api/accounts/%2B14155552671").status_code == 200
    assert product.inside() == set()
    product.rounds.round()
    for table in ("sessions", "addresses", "usage", "accounts", "tokens"):
        assert product.store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0
    assert operator.delete("/api/accounts/nobody").status_code == 422


def test_devices(operator: Operator) -> None:
    assert operator.post("/api/clients/02-AA-00-00-00-01", verdict="trusted", note="tv").status_code == 200
    assert "expected a device's MAC" in operator.refusal("/api/clients/printer", verdict="trusted")
    assert "expected a device's MAC" in operator.refusal(
        "/api/clients/01:00:5e:00:00:01", verdict="blocked"
    )
    assert "trusted or blocked" in operator.refusal("/api/clients/02:aa:00:00:00:02", verdict="liked")
    assert "there is no zone" in operator.refusal(
        "/api/clients/02:aa:00:00:00:02", verdict="trusted", zone="moon"
    )
    (device,) = operator.get("/api/clients")
    assert (device["mac"], device["verdict"], device["note"]) == ("02:aa:00:00:00:01", "trusted", "tv")
    assert operator.delete("/api/clients/02:aa:00:00:00:01").status_code == 200
    assert operator.delete("/api/clients/02:aa:00:00:00:01").status_code == 404


def test_vouchers_and_their_printed_page(operator: Operator, product: Product) -> None:
    made = operator.post("/api/vouchers", group="SMS", count=3, uses=2, lasts="1d", note="desk").json
    assert made
    assert len(made["codes"]) == 3
    assert operator.get("/api/vouchers/1")["codes"] == made["codes"], "they can be printed again"
    page = operator.browser.get("/vouchers/1", environ_overrides=LOCAL).text
    assert page.count("<svg") == 3
    assert page.count("Good for 24 hours from the first use on.") == 3, "each card says how long"
    assert "from the first use on. Print this page" in page
    assert all(code in page for code in made["codes"])
    assert operator.browser.get("/vouchers/9", environ_overrides=LOCAL).status_code == 404
    assert "there is no group" in operator.refusal("/api/vouchers", group="gold", count=1)
    assert "from 1 to" in operator.refusal("/api/vouchers", count=100_000)
    assert "expected a time" in operator.refusal("/api/vouchers", lasts="long")
    assert operator.delete("/api/vouchers/1").status_code == 200
    assert operator.delete("/api/vouchers/9").status_code == 404


def test_the_picture_on_a_voucher_leads_to_its_code(product: Product, phone: Client) -> None:
    """What a camera reads is the portal's address with the code, typed in already."""
    segno = pytest.importorskip("segno")
    from portald.web.qr import picture

    drawn = picture("http://10.77.0.1/voucher?code=23456-ABCDE")
    assert drawn.count("<path") == 1
    again = segno.make("http://10.77.0.1/voucher?code=23456-ABCDE", error="m", micro=False)
    assert str(drawn) == again.svg_inline(border=2, svgclass="qr", omitsize=True)


def test_guests_who_ask(operator: Operator, product: Product, phone: Client) -> None:
    asked = product.staff.ask(phone, "Zoë")
    (row,) = operator.get("/api/approvals")
    assert (row["id"], row["name"]) == (asked.id, "Zoë")
    page = operator.browser.get("/", environ_overrides=LOCAL).text
    assert "Guests who ask to be let in" in page
    answer = operator.post(f"/api/approvals/{asked.id}", granted=True).json
    assert answer
    assert answer["mac"] == phone.mac
    assert "there is no request" in operator.refusal(f"/api/approvals/{asked.id}", granted=True)
    assert "there is no group 'gold'" in operator.refusal("/api/approvals/9", granted=True, group="gold")
    assert operator.post(f"/api/approvals/{asked.id}", granted=False).status_code == 404


def test_history_and_who_had_an_address(operator: Operator, product: Product, phone: Client) -> None:
    opened = product.log_in(phone)
    product.firewall.count(opened.id, 10, 100)
    product.rounds.round()
    (row,) = operator.get("/api/history?by=account&since=2023-11-01&until=2023-11-30")
    assert (row["what"], row["up"], row["down"]) == ("+14…71", 10, 100)
    answer = operator.browser.get("/api/history?since=today&until=2023-11-30", environ_overrides=LOCAL)
    assert answer.status_code == 422
    for days in ("since=2023-13-01&until=2023-12-01", "since=2023-12-02&until=2023-12-01"):
        assert operator.browser.get(f"/api/history?{days}", environ_overrides=LOCAL).status_code == 422
    (found,) = operator.get(f"/api/who?address={phone.ip}&at={product.clock()}")
    assert (found["number"], found["mac"]) == (NUMBER, phone.mac)
    assert operator.get(f"/api/who?address={phone.ip}&at={product.clock() - 60}") == []
    product.portal.revoke(opened.id)
    product.clock.move(100)
    assert operator.get(f"/api/who?address={phone.ip}&at={product.clock()}") == []


def test_extending(operator: Operator, product: Product, phone: Client) -> None:
    operator.post("/api/plans/unlimited", session="1h")
    opened = product.log_in(phone)
    answer = operator.post(f"/api/sessions/{opened.id}/extend", seconds=600)
    assert answer.json
    assert answer.json["expires_at"] == opened.started_at + 4200, "told at once, not after a round"
    product.rounds.round()
    found = product.portal.status(phone)
    assert found is not None
    assert found.expires_at == opened.started_at + 4200
    assert operator.post("/api/sessions/999/extend", seconds=600).status_code == 404
    assert operator.post(f"/api/sessions/{10**30}/extend", seconds=600).status_code == 404
    assert "whole number" in operator.refusal(f"/api/sessions/{opened.id}/extend", seconds="soon")


POSTS = [
    "/api/plans/x", "/api/groups/x", "/api/accounts", "/api/accounts/x", "/api/clients/02:aa:00:00:00:01",
    "/api/vouchers", "/api/approvals/1", "/api/sessions/256/extend", "/api/seen",
]  # fmt: skip


@pytest.mark.parametrize("path", POSTS)
def test_a_form_of_another_site_changes_nothing(operator: Operator, path: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = operator.browser.post(path, data="{}", content_type=kind, environ_overrides=LOCAL)
        assert answer.status_code == 415
    foreign = operator.browser.post(path, json={}, environ_overrides={"HTTP_HOST": "evil.example"})
    assert foreign.status_code == 400


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b"{", b'{"rows": 5}', b'{"rows": [5]}'])
def test_rubbish_is_refused_in_words(operator: Operator, body: bytes) -> None:
    for path in ("/api/accounts", "/api/plans/x", "/api/approvals/1"):
        answer = operator.browser.post(
            path, data=body, content_type="application/json", environ_overrides=LOCAL
        )
        assert answer.status_code in (404, 422), (path, answer.text)
