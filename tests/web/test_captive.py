"""The captive-portal API (RFC 8908), and requests that nginx brings."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import Client as Browser

from portald.config import Config, Web
from portald.demo.venue import form_token
from portald.errors import FirewallError
from portald.model import Client
from portald.web.proxied import Proxied
from tests.conftest import NUMBER, Product

API = "/captive-portal/api"
WEB = "https://wifi.example.net/"
PHONE, PHONE6 = "10.77.0.11", "2001:db8:77::11"


@pytest.fixture
def product(make_product: Callable[..., Product], config: Config) -> Product:
    zone = replace(config.zones[0], venue_url="https://aurora.example/menu")
    return make_product(zones=(zone,), web=Web(url=WEB))


@pytest.fixture
def phone(product: Product) -> Client:
    product.table.join(PHONE6, "02:cc:00:00:00:01")
    return product.table.join(PHONE, "02:cc:00:00:00:01")


def ask(product: Product, ip: str = PHONE, path: str = API, method: str = "GET", **more: Any) -> Any:
    client = product.web().test_client()
    return client.open(
        path, method=method, environ_overrides={"REMOTE_ADDR": ip}, **({"base_url": WEB} | more)
    )


def state(product: Product, ip: str = PHONE) -> dict[str, Any]:
    answer = ask(product, ip, headers={"Accept": "application/captive+json"})
    assert (answer.status_code, answer.content_type) == (200, "application/captive+json")
    assert answer.headers["Cache-Control"] == "private, no-store"
    found: dict[str, Any] = json.loads(answer.data)
    return found


CAPTIVE = {"captive": True, "user-portal-url": WEB, "venue-info-url": "https://aurora.example/menu"}
FREE = CAPTIVE | {"captive": False, "can-extend-session": False}


def test_before_and_after_login_by_either_family(product: Product, phone: Client) -> None:
    assert state(product) == state(product, PHONE6) == CAPTIVE
    assert state(product, "10.77.0.99") == CAPTIVE, "who is unknown is let out nowhere"
    session = product.log_in(phone)
    assert state(product) == state(product, PHONE6) == FREE
    product.portal.revoke(session.id)
    assert state(product) == CAPTIVE


def test_what_is_left(product: Product, phone: Client) -> None:
    product.arranging.set_plan("unlimited", {"session": "1h", "day_volume": "100MB"})
    product.log_in(phone)
    product.clock.move(600.5)
    assert state(product) == FREE | {
        "seconds-remaining": 2999,
        "bytes-remaining": 100_000_000,
        "can-extend-session": True,
    }


def test_what_the_kernel_has_not_heard_of_is_not_free(product: Product, phone: Client) -> None:
    class Deaf:
        def apply(self, *_: Any) -> None:
            raise FirewallError("the helper is gone")

    product.use_firewall(Deaf())
    product.log_in(phone)
    assert product.portal.status(phone) is not None
    assert state(product) == CAPTIVE


def test_it_asks_the_database_little(product: Product, phone: Client) -> None:
    """Phones ask often, and hundreds of them at once."""
    product.arranging.set_plan("unlimited", {"session": "1h", "day_volume": "100MB"})
    asked: list[str] = []
    connection: sqlite3.Connection = product.store.connection
    connection.set_trace_callback(asked.append)
    assert state(product)["captive"] is True
    assert len(asked) == 1
    product.log_in(phone)
    asked.clear()
    assert state(product)["captive"] is False
    connection.set_trace_callback(None)
    assert len(asked) <= 6, asked
    assert all(statement.startswith("SELECT") for statement in map(str.lstrip, asked))


def test_a_browser_is_led_to_the_page(product: Product, phone: Client) -> None:
    answer = ask(product, headers={"Accept": "text/html,*/*;q=0.8"})
    assert (answer.status_code, answer.location) == (303, WEB)
    for accept in ("*/*", "", "application/json", "text/html, application/captive+json"):
        assert ask(product, headers={"Accept": accept}).status_code == 200
    head = ask(product, method="HEAD")
    assert (head.status_code, head.data, head.content_type) == (200, b"", "application/captive+json")
    assert ask(product, method="POST").status_code == 405


def test_without_https_there_is_none(make_product: Callable[..., Product]) -> None:
    assert ask(make_product(), base_url="http://10.77.0.1/").status_code == 404


# What nginx brings ------------------------------------------------------------------------------


def app(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [f"{environ['wsgi.url_scheme']} {environ['REMOTE_ADDR']}".encode()]


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        ("10.77.0.11", (200, "https 10.77.0.11")),
        ("2001:DB8::1", (200, "https 2001:db8::1")),
        *((bad, (400, "Send X-Real-IP; see: portalctl render nginx\n")) for bad in (
            None, "", "10.77.0.11, 10.77.0.12", "10.77.0.11:80", "localhost", "10.77.0.1/24", "1", "\xb2",
        )),
    ],
)  # fmt: skip
def test_the_address_nginx_saw(sent: str | None, answer: tuple[int, str]) -> None:
    environ = {"REMOTE_ADDR": ""} | ({} if sent is None else {"HTTP_X_REAL_IP": sent})
    got = Browser(Proxied(app)).open("/", environ_overrides=environ)
    assert (got.status_code, got.text) == answer


def test_on_an_open_listener_the_header_is_nothing(product: Product, phone: Client) -> None:
    product.log_in(phone)
    product.table.join("10.77.0.12", "02:cc:00:00:00:02")
    for name in ("X-Real-IP", "X-Forwarded-For"):
        assert json.loads(ask(product, "10.77.0.12", headers={name: PHONE}).data)["captive"] is True


def test_the_token_goes_back_by_https_only(product: Product, phone: Client) -> None:
    for scheme, secure in (("https", True), ("http", False)):
        there = {"base_url": f"{scheme}://wifi.example.net/", "path": "/code"}
        product.portal.request_code(phone, NUMBER)
        token = form_token(ask(product, **there).text)
        typed = {"form": token, "code": product.outbox.code()}
        entered = ask(product, method="POST", data=typed, **there)
        assert ("; Secure;" in entered.headers["Set-Cookie"]) is secure
        product.portal.leave(phone)
        product.clock.move(3600)
